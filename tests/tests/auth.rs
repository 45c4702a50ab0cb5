//! Tokens: which are accepted, what they show, and how streams end with them.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256};
use reqwest::{Client, StatusCode};
use reveille_e2e::tokens::{
    believing, changed, claims, hs256, issuer, now, shared, signed, status,
};
use reveille_e2e::{Server, SseReader, readme_script, reveille, soon};
use reveille_gateway::{
    AuthConfig, GatewayConfig, IssuerConfig, JwtAlgorithm, Secret, StaticAuthorizer,
};
use serde_json::{Value, json};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
#[tokio::test]
async fn a_token_counts_only_with_every_claim_in_order() {
    let server = believing(vec![shared()]).await;
    assert_eq!(status(&server, &hs256(&claims())).await, 200);
    for good in [
        changed("aud", json!(["other", "reveille"])),
        changed("tenant", json!("acme")),
        changed("iat", Value::Null),
        changed("authorization_details", Value::Null),
        changed("nbf", json!(now() - 10)),
    ] {
        assert_eq!(status(&server, &hs256(&good)).await, 200, "{good}");
    }
    for bad in [
        changed("exp", Value::Null),
        changed("exp", json!(now() - 10)),
        changed("exp", json!("2099-01-01")),
        changed("exp", json!(now() + 48 * 3600)),
        changed("nbf", json!(now() + 60)),
        changed("nbf", json!("soon")),
        changed("aud", Value::Null),
        changed("aud", json!("other")),
        changed("iss", Value::Null),
        changed("iss", json!("https://other.example")),
        changed("sub", Value::Null),
        changed("sub", json!("")),
        changed("sub", json!(7)),
        changed("tenant", json!("rival")),
        changed("tenant", json!(7)),
        changed("authorization_details", json!("all")),
        changed(
            "authorization_details",
            json!([{"type": "reveille", "actions": ["publish"], "tenant": "rival"}]),
        ),
        changed(
            "authorization_details",
            json!([{"type": "reveille", "actions": ["publish"], "sessions": [""]}]),
        ),
        changed("authorization_details", json!([{"type": "reveille"}])),
    ] {
        assert_eq!(status(&server, &hs256(&bad)).await, 401, "{bad}");
    }
}

/// RFC 9728: a client that knows nothing but the server finds out where to get a token.
#[tokio::test]
async fn who_has_no_token_learns_who_issues_them() {
    let mut named = shared();
    named.issuer = "a name".into();
    let mut config = GatewayConfig::default();
    let auth = || AuthConfig {
        issuers: vec![shared(), named.clone()],
        ..AuthConfig::default()
    };
    let known = || Arc::new(StaticAuthorizer::new(auth()).unwrap());
    let own = Server::for_known(config.clone(), known()).await;
    config.public_url = Some("https://events.example:8443".into());
    let public = Server::for_known(config, known()).await;
    for (server, url, host) in [
        (&own, own.at("").trim_end_matches('/').to_owned(), None),
        (
            &own,
            "http://events.example".into(),
            Some("Events.example:80"),
        ),
        (
            &public,
            "https://events.example:8443".into(),
            Some("other.example"),
        ),
    ] {
        let get = async |path: &str| {
            let mut asked = Client::new().get(server.at(path));
            if let Some(host) = host {
                asked = asked.header("host", host);
            }
            asked.send().await.unwrap()
        };
        let metadata = format!("{url}/.well-known/oauth-protected-resource");
        let refused = get("/v1/limits").await;
        assert_eq!(
            refused.headers()["www-authenticate"],
            format!("Bearer realm=\"reveille\", resource_metadata=\"{metadata}\"").as_str()
        );
        let found = get("/.well-known/oauth-protected-resource").await;
        assert_eq!(found.status(), 200);
        let found: Value = found.json().await.unwrap();
        let expected = json!({
            "resource": url,
            // What is no URL leads nowhere.
            "authorization_servers": [shared().issuer],
            "bearer_methods_supported": ["header"],
        });
        assert_eq!(found, expected);
    }
    let publish = Client::new().post(own.at("/v1/sessions/s/events"));
    let refused = publish.bearer_auth("x").json(&json!({"type": "a"}));
    let refused = refused.send().await.unwrap();
    assert_eq!(refused.status(), 401);
    let challenge = refused.headers()["www-authenticate"].to_str().unwrap();
    assert!(
        challenge
            .starts_with("Bearer realm=\"reveille\", error=\"invalid_token\", resource_metadata="),
        "{challenge}"
    );
}

#[tokio::test]
async fn a_host_that_is_none_is_not_repeated_in_a_challenge() {
    let server = believing(vec![shared()]).await;
    let get = async |path: &str| {
        let asked = Client::new().get(server.at(path));
        let asked = asked.header("host", "a\"b, c=d");
        asked.send().await.unwrap()
    };
    let refused = get("/v1/limits").await;
    assert_eq!(refused.status(), 401);
    assert_eq!(
        refused.headers()["www-authenticate"],
        "Bearer realm=\"reveille\""
    );
    let metadata = get("/.well-known/oauth-protected-resource").await;
    assert_eq!(metadata.status(), 421);
}

#[tokio::test]
async fn without_authentication_nobody_issues_tokens() {
    let server = Server::start().await;
    let metadata = server.at("/.well-known/oauth-protected-resource");
    assert_eq!(reqwest::get(metadata).await.unwrap().status(), 404);
}

#[tokio::test]
async fn the_algorithm_is_the_one_of_the_issuer_and_the_header_brings_nothing_of_its_own() {
    let keys = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pem");
    std::fs::write(&path, keys.public_key_pem()).unwrap();
    let mut issuer = issuer(JwtAlgorithm::EdDSA);
    issuer.public_key_file = Some(path);
    let server = believing(vec![issuer]).await;
    let key = EncodingKey::from_ed_pem(keys.serialize_pem().as_bytes()).unwrap();
    let header = Header::new(Algorithm::EdDSA);
    assert_eq!(
        status(&server, &signed(&header, &claims(), &key)).await,
        200
    );

    // The public key as a shared secret, and no signature at all.
    let public = EncodingKey::from_secret(keys.public_key_pem().as_bytes());
    let confused = signed(&Header::new(Algorithm::HS256), &claims(), &public);
    assert_eq!(status(&server, &confused).await, 401);
    let part = |value: Value| data_encoding::BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let none = format!("{}.{}.", part(json!({"alg": "none"})), part(claims()));
    assert_eq!(status(&server, &none).await, 401);

    let mut typed = Header::new(Algorithm::EdDSA);
    typed.typ = Some("at+jwt".into());
    assert_eq!(status(&server, &signed(&typed, &claims(), &key)).await, 200);
    typed.typ = Some("dpop+jwt".into());
    assert_eq!(status(&server, &signed(&typed, &claims(), &key)).await, 401);
    let mut critical = Header::new(Algorithm::EdDSA);
    critical.crit = Some(vec!["exp".into()]);
    let mut bringing = Header::new(Algorithm::EdDSA);
    bringing.jku = Some("https://evil.example/keys".into());
    let mut own = Header::new(Algorithm::EdDSA);
    own.jwk = Some(Jwk::from_encoding_key(&public, Algorithm::HS256).unwrap());
    for header in [critical, bringing, own] {
        assert_eq!(
            status(&server, &signed(&header, &claims(), &key)).await,
            401
        );
    }
}

fn write_keys(path: &Path, keys: &[(&str, &EncodingKey, Algorithm)]) {
    let jwk = |(id, key, algorithm): &(&str, &EncodingKey, Algorithm)| {
        let mut jwk = Jwk::from_encoding_key(key, *algorithm).unwrap();
        jwk.common.key_id = Some((*id).to_owned());
        jwk
    };
    let set = JwkSet {
        keys: keys.iter().map(jwk).collect(),
    };
    std::fs::write(path, serde_json::to_string(&set).unwrap()).unwrap();
}

fn with_id(id: &str, algorithm: Algorithm) -> Header {
    let mut header = Header::new(algorithm);
    header.kid = Some(id.to_owned());
    header
}

#[tokio::test]
async fn a_key_set_is_read_again_when_its_file_changes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jwks.json");
    let rsa = |_| {
        let keys = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        EncodingKey::from_rsa_pem(keys.serialize_pem().as_bytes()).unwrap()
    };
    let [old, new] = [0, 1].map(rsa);
    write_keys(&path, &[("old", &old, Algorithm::RS256)]);
    let mut issuer = issuer(JwtAlgorithm::RS256);
    issuer.jwks_file = Some(path.clone());
    let server = believing(vec![issuer]).await;
    let by_old = signed(&with_id("old", Algorithm::RS256), &claims(), &old);
    let by_new = signed(&with_id("new", Algorithm::RS256), &claims(), &new);
    assert_eq!(status(&server, &by_old).await, 200);
    assert_eq!(status(&server, &by_new).await, 401);
    // A key under the id of another is not the key.
    let posing = signed(&with_id("old", Algorithm::RS256), &claims(), &new);
    assert_eq!(status(&server, &posing).await, 401);

    write_keys(
        &path,
        &[
            ("old", &old, Algorithm::RS256),
            ("new", &new, Algorithm::RS256),
        ],
    );
    becomes(&server, &by_new, 200).await;
    assert_eq!(status(&server, &by_old).await, 200);
    std::fs::write(&path, "no key set").unwrap();
    write_keys(&path, &[("new", &new, Algorithm::RS256)]);
    becomes(&server, &by_old, 401).await;
    assert_eq!(status(&server, &by_new).await, 200);
}

async fn becomes(server: &Server, token: &str, expected: u16) {
    soon("the new keys", async {
        while status(server, token).await != expected {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_curve_p_256_is_spoken() {
    let keys = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pem");
    std::fs::write(&path, keys.public_key_pem()).unwrap();
    let mut issuer = issuer(JwtAlgorithm::ES256);
    issuer.public_key_file = Some(path);
    let server = believing(vec![issuer]).await;
    let key = EncodingKey::from_ec_pem(keys.serialize_pem().as_bytes()).unwrap();
    let token = signed(&Header::new(Algorithm::ES256), &claims(), &key);
    assert_eq!(status(&server, &token).await, 200);
}

#[test]
fn an_issuer_that_could_let_anybody_in_is_refused_at_the_start() {
    let refused = |change: fn(&mut IssuerConfig)| {
        let mut issuer = shared();
        change(&mut issuer);
        let auth = AuthConfig {
            issuers: vec![issuer],
            ..AuthConfig::default()
        };
        StaticAuthorizer::new(auth).unwrap_err().to_string()
    };
    assert!(refused(|i| i.secret = Some(Secret::new("short"))).contains("32 bytes"));
    assert!(refused(|i| i.secret = None).contains("secret"));
    assert!(refused(|i| i.audience.clear()).contains("audience"));
    assert!(refused(|i| i.audience = vec![String::new()]).contains("audience"));
    assert!(refused(|i| i.tenants.clear()).contains("tenants"));
    assert!(refused(|i| i.algorithm = JwtAlgorithm::RS256).contains("public_key_file"));
    assert!(StaticAuthorizer::new(AuthConfig::default()).is_err());
}

/// Claims of a token that ends so many seconds from now.
fn ending(seconds: i64) -> Value {
    changed("exp", json!(now() + seconds))
}

async fn stream(server: &Server, token: &str) -> SseReader {
    let asked = Client::new()
        .get(server.at("/v1/sessions/s/events?after=earliest"))
        .header("accept", "text/event-stream")
        .bearer_auth(token);
    SseReader::of(asked.send().await.unwrap())
}

async fn publish(server: &Server, token: &str, session: &str, events: &Value) -> StatusCode {
    let url = server.at(&format!("/v1/sessions/{session}/events"));
    let sent = Client::new().post(url).bearer_auth(token).json(events);
    sent.send().await.unwrap().status()
}

#[tokio::test]
async fn a_stream_is_told_that_its_token_ends_and_ends_with_it() {
    let server = believing(vec![shared()]).await;
    let begun = std::time::Instant::now();
    let mut stream = stream(&server, &hs256(&ending(2))).await;
    assert!(stream.next().await.unwrap().is("reveille.open"));
    let told = loop {
        let block = stream.next().await.unwrap();
        if block.is("reveille.reconnect") {
            break block;
        }
    };
    assert_eq!(told.json()["reason"], "token_expired");
    assert_eq!(told.id, None);
    // What happens until then is still shown, and nothing after.
    let other = hs256(&claims());
    assert_eq!(
        publish(&server, &other, "s", &json!({"type": "a"})).await,
        201
    );
    let rest = stream.rest().await;
    assert!(rest.iter().any(reveille_e2e::Block::is_event), "{rest:?}");
    assert!(begun.elapsed().as_secs() <= 4);
}

#[tokio::test]
async fn a_stream_goes_on_with_a_new_token_of_the_same_subject() {
    let server = believing(vec![shared()]).await;
    let first = hs256(&ending(2));
    let mut stream = stream(&server, &first).await;
    let open = stream.next().await.unwrap().json();
    let id = open["connection"].as_str().unwrap();
    let renew = |claims: Value| {
        let url = server.at(&format!("/v1/connections/{id}/token"));
        Client::new().post(url).bearer_auth(hs256(&claims)).send()
    };
    let other = renew(changed("sub", json!("somebody else"))).await.unwrap();
    assert_eq!(other.status(), 404);
    let narrower = json!([{"type": "reveille", "actions": ["subscribe"]}]);
    let narrower = renew(changed("authorization_details", narrower))
        .await
        .unwrap();
    assert_eq!(narrower.status(), 409);
    let renewed = renew(claims()).await.unwrap();
    assert_eq!(renewed.status(), 200);
    let renewed: Value = renewed.json().await.unwrap();
    assert!(renewed["expires_at"].is_string());

    becomes(&server, &first, 401).await;
    let other = hs256(&claims());
    assert_eq!(
        publish(&server, &other, "s", &json!({"type": "a"})).await,
        201
    );
    while !stream.next().await.unwrap().is_event() {}
}

#[tokio::test]
async fn a_wait_ends_with_its_token() {
    let server = believing(vec![shared()]).await;
    let asked = Client::new()
        .get(server.at("/v1/sessions/s/wait?match=never&timeout=60s"))
        .bearer_auth(hs256(&ending(1)));
    let answer = soon("the end of the token", asked.send()).await.unwrap();
    assert_eq!(answer.status(), 401);
    let url = server.at("/v1/sessions/s/take");
    let asked = Client::new()
        .post(url)
        .json(&json!({"match": ["never"], "timeout_ms": 60_000}))
        .bearer_auth(hs256(&ending(1)));
    let answer = soon("the end of the token", asked.send()).await.unwrap();
    assert_eq!(answer.status(), 401);
}

/// A token that may do this in these sessions with these kinds.
fn granted(actions: &[&str], sessions: &[&str], types: &[&str]) -> String {
    let detail =
        json!({"type": "reveille", "actions": actions, "sessions": sessions, "types": types});
    hs256(&changed("authorization_details", json!([detail])))
}

#[tokio::test]
async fn what_is_replayed_is_what_the_token_shows() {
    let server = believing(vec![shared()]).await;
    let all = hs256(&claims());
    let events = json!([{"type": "a.open"}, {"type": "b.secret"}, {"type": "a.shut"}]);
    for session in ["s", "t"] {
        assert_eq!(publish(&server, &all, session, &events).await, 201);
    }
    let some = granted(&["subscribe", "wait", "take"], &["s"], &["a.*"]);
    let get = async |path: &str| {
        let asked = Client::new()
            .get(server.at(path))
            .header("accept", "application/json");
        let answer = asked.bearer_auth(&some).send().await.unwrap();
        (
            answer.status(),
            answer.json::<Value>().await.unwrap_or_default(),
        )
    };
    let kinds = |page: &Value| -> Vec<String> {
        let events = page["events"].as_array().unwrap().iter();
        events
            .map(|e| e["type"].as_str().unwrap().to_owned())
            .collect()
    };
    let (_, page) = get("/v1/sessions/s/events").await;
    assert_eq!(kinds(&page), ["a.open", "a.shut"]);
    let (_, page) = get("/v1/sessions/s/events?match=b.*").await;
    assert!(kinds(&page).is_empty());
    let (_, page) = get("/v1/events?after=earliest").await;
    assert_eq!(kinds(&page), ["a.open", "a.shut"]);
    assert_eq!(get("/v1/sessions/t/events").await.0, 403);
    let (_, list) = get("/v1/sessions").await;
    assert_eq!(list["sessions"].as_array().unwrap().len(), 1);
    let (found, _) = get("/v1/sessions/s/wait?match=b.secret&timeout=1ms").await;
    assert_eq!(found, 204);

    let mut stream = stream(&server, &some).await;
    let mut seen = Vec::new();
    loop {
        let block = stream.next().await.unwrap();
        if block.is("reveille.caught_up") {
            break;
        }
        if block.is_event() {
            seen.push(block.json()["type"].clone());
        }
    }
    assert_eq!(seen, [json!("a.open"), json!("a.shut")]);
    let take = Client::new()
        .post(server.at("/v1/sessions/s/take"))
        .json(&json!({"max": 10, "timeout_ms": 1}))
        .bearer_auth(&some);
    let taken: Value = take.send().await.unwrap().json().await.unwrap();
    assert_eq!(kinds(&taken), ["a.open", "a.shut"]);
}

#[tokio::test]
async fn publishing_is_bounded_by_session_and_kind_and_nothing_of_a_refused_batch_is_stored() {
    let server = believing(vec![shared()]).await;
    let some = granted(&["publish"], &["build-*"], &["task.*"]);
    assert_eq!(
        publish(&server, &some, "build-1", &json!({"type": "task.done"})).await,
        201
    );
    let mixed = json!([{"type": "task.done"}, {"type": "other"}]);
    assert_eq!(publish(&server, &some, "build-1", &mixed).await, 403);
    assert_eq!(
        publish(&server, &some, "release", &json!({"type": "task.done"})).await,
        403
    );
    let all = hs256(&claims());
    let url = server.at("/v1/sessions/build-1");
    let info = Client::new()
        .get(url)
        .bearer_auth(all)
        .send()
        .await
        .unwrap();
    let info: Value = info.json().await.unwrap();
    assert_eq!(info["retained"], 1);
}

#[tokio::test]
async fn a_tenant_sees_nothing_of_another() {
    let mut rival = shared();
    rival.issuer = "https://rival.example".into();
    rival.tenants = vec!["rival".parse().unwrap()];
    let server = believing(vec![shared(), rival]).await;
    let ours = hs256(&claims());
    let theirs = hs256(&changed("iss", json!("https://rival.example")));
    assert_eq!(
        publish(&server, &ours, "s", &json!({"type": "a"})).await,
        201
    );
    assert_eq!(
        publish(&server, &theirs, "s", &json!({"type": "b"})).await,
        201
    );
    let cursor_of = async |token: &str| {
        let asked = Client::new().get(server.at("/v1/sessions/s/events"));
        let asked = asked
            .header("accept", "application/json")
            .bearer_auth(token);
        let page: Value = asked.send().await.unwrap().json().await.unwrap();
        assert_eq!(page["events"].as_array().unwrap().len(), 1);
        page["cursor"].as_str().unwrap().to_owned()
    };
    let (our, their) = (cursor_of(&ours).await, cursor_of(&theirs).await);
    assert_ne!(our, their);
    // Another tenant's cursor is as good as any nonsense.
    let after = async |cursor: &str| {
        let url = server.at(&format!("/v1/sessions/s/events?after={cursor}"));
        let asked = Client::new().get(url).header("accept", "application/json");
        let answer = asked
            .header("traceparent", TRACE)
            .bearer_auth(&theirs)
            .send()
            .await
            .unwrap();
        (answer.status(), answer.text().await.unwrap())
    };
    assert_eq!(after(&our).await, after("nonsense").await);
}

/// From nothing to an authenticated stream, as the README tells it, but for the port.
#[tokio::test]
async fn the_script_of_the_readme_makes_a_key_and_uses_it() {
    let home = tempfile::TempDir::new().unwrap();
    // An address of its own, so that nobody else takes the port meanwhile.
    let [.., high, low] = std::process::id().to_be_bytes();
    let port = std::net::TcpListener::bind((Ipv4Addr::new(127, 99, high, low), 0)).unwrap();
    let address = port.local_addr().unwrap().to_string();
    drop(port);
    let script = readme_script("authentication").replace("127.0.0.1:7601", &address);
    let command = reveille(&[]);
    let binary = Path::new(command.as_std().get_program());
    let mut path = binary.parent().unwrap().as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    let run = tokio::process::Command::new("sh")
        .args(["-ec", &format!("trap 'kill $!' EXIT; {script}")])
        .current_dir(home.path())
        .env("PATH", path)
        .kill_on_drop(true)
        .output();
    let output = soon("the end of the script", run).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let out = String::from_utf8(output.stdout).unwrap();
    let page: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!(page["events"][0]["type"], "task.completed", "{out}");
    // Without the key there is nothing.
    let file = std::fs::read_to_string(home.path().join("reveille.toml")).unwrap();
    let key = std::fs::read_to_string(home.path().join("laptop.key")).unwrap();
    assert!(!file.contains(key.trim()), "{file}");
}
