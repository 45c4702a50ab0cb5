//! What is another tenant's cannot be told from what is nobody's.

use std::sync::Arc;

use reqwest::Client;
use reveille_e2e::tokens::{changed, hs256, shared};
use reveille_e2e::{Server, SseReader};
use reveille_gateway::{AuthConfig, GatewayConfig, StaticAuthorizer};
use serde_json::{Value, json};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// What is the same for everything that may not be seen: status, headers but for the trace, and body.
async fn appearance(request: reqwest::RequestBuilder) -> String {
    let answer = request.header("traceparent", TRACE).send().await.unwrap();
    let status = answer.status();
    let mut headers: Vec<String> = answer
        .headers()
        .iter()
        .filter(|(name, _)| *name != "date")
        .map(|(name, value)| format!("{name}: {value:?}"))
        .collect();
    headers.sort();
    format!("{status} {headers:?} {}", answer.text().await.unwrap())
}

/// Two tenants; `ours` has a session `s`, a signal and a stream, whose handle and connection are given.
async fn two_tenants() -> (Server, String, String, [String; 2], SseReader) {
    let mut rival = shared();
    rival.issuer = "https://rival.example".into();
    rival.tenants = vec!["rival".parse().unwrap()];
    let mut config = GatewayConfig::default();
    config.auto_create = Some(false);
    let auth = AuthConfig {
        issuers: vec![shared(), rival],
        ..AuthConfig::default()
    };
    let server = Server::for_known(config, Arc::new(StaticAuthorizer::new(auth).unwrap())).await;
    let everything = json!([{"type": "reveille", "actions": [
        "publish", "subscribe", "wait", "take", "trigger", "cancel", "admin"]}]);
    let ours = changed("authorization_details", everything);
    let mut theirs = ours.clone();
    theirs["iss"] = json!("https://rival.example");
    let (ours, theirs) = (hs256(&ours), hs256(&theirs));
    let put = Client::new().put(server.at("/v1/sessions/s"));
    put.bearer_auth(&ours).send().await.unwrap();
    let sent = Client::new().post(server.at("/v1/sessions/s/events"));
    let sent = sent.bearer_auth(&ours).json(&json!({"type": "a"}));
    assert_eq!(sent.send().await.unwrap().status(), 201);
    let signal = Client::new().post(server.at("/v1/signals"));
    let signal = signal.bearer_auth(&ours).send().await.unwrap();
    let signal: Value = signal.json().await.unwrap();
    let stream = Client::new().get(server.at("/v1/sessions/s/events?after=earliest"));
    let stream = stream
        .header("accept", "text/event-stream")
        .bearer_auth(&ours);
    let mut stream = SseReader::of(stream.send().await.unwrap());
    let open = stream.next().await.unwrap().json();
    let named = [&signal["handle"], &open["connection"]];
    let named = named.map(|name| name.as_str().unwrap().to_owned());
    (server, ours, theirs, named, stream)
}

#[tokio::test]
async fn s17_what_is_anothers_looks_like_what_is_nobodys() {
    let (server, _, theirs, [handle, connection], _stream) = two_tenants().await;
    // As long as the real ones, so that nothing differs but whether they are there.
    let nobodys_handle = format!("{}7", &handle[..handle.len() - 1]);
    let nobodys_connection = "01890000-0000-7000-8000-000000000000";
    let secret = json!({"secret": "x", "reason": "r"});
    let rows: Vec<(&str, String, String, Value)> = [
        ("GET", "/v1/sessions/{}", Value::Null),
        ("DELETE", "/v1/sessions/{}", Value::Null),
        ("GET", "/v1/sessions/{}/events", Value::Null),
        ("GET", "/v1/sessions/{}/events?wait=1ms", Value::Null),
        ("POST", "/v1/sessions/{}/events", json!({"type": "a"})),
        ("GET", "/v1/sessions/{}/wait?timeout=1ms", Value::Null),
        ("POST", "/v1/sessions/{}/take", json!({"timeout_ms": 1})),
        ("POST", "/v1/sessions/{}/ack", json!({"leases": []})),
        ("POST", "/v1/sessions/{}/cancel", json!({})),
        ("POST", "/v1/sessions/{}/close", json!({})),
        ("GET", "/v1/sessions/{}/groups/g", Value::Null),
        ("GET", "/v1/sessions/{}/groups/g/dead-letters", Value::Null),
        ("GET", "/events/queues/{}", Value::Null),
        ("GET", "/events/queues/{}/offset", Value::Null),
    ]
    .into_iter()
    .map(|(method, path, body)| {
        let with = |id: &str| path.replace("{}", id);
        (method, with("s"), with("u"), body)
    })
    .chain(
        [
            ("GET", "/v1/signals/{}", Value::Null),
            ("GET", "/v1/signals/{}?timeout=1ms", Value::Null),
            ("GET", "/v1/signals/{}/why", Value::Null),
            ("POST", "/v1/signals/{}/trigger", json!({"secret": "x"})),
            ("POST", "/v1/signals/{}/poison", secret),
            ("POST", "/v1/signals/{}/cancel", json!({"secret": "x"})),
            ("POST", "/v1/signals/{}/renew", json!({"secret": "x"})),
        ]
        .map(|(method, path, body)| {
            let with = |id: &str| path.replace("{}", id);
            (method, with(&handle), with(&nobodys_handle), body)
        }),
    )
    .chain([(
        "POST",
        format!("/v1/connections/{connection}/token"),
        format!("/v1/connections/{nobodys_connection}/token"),
        Value::Null,
    )])
    .collect();
    for (method, foreign, unknown, body) in rows {
        let ask = async |path: &str| {
            let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
            let asked = Client::new().request(method, server.at(path));
            let asked = asked
                .bearer_auth(&theirs)
                .header("accept", "application/json");
            match body.is_null() {
                true => appearance(asked).await,
                false => appearance(asked.json(&body)).await,
            }
        };
        let (one, other) = (ask(&foreign).await, ask(&unknown).await);
        // The name that was asked for is all that may differ.
        let unnamed = |text: String, id: &str, handle: &str| {
            let text = text.replace(&format!("\\\"{id}\\\""), "NAME");
            text.replace(&format!("/{id}\\\""), "/NAME")
                .replace(handle, "NAME")
        };
        let one = unnamed(one, "s", &handle);
        let other = unnamed(other, "u", &nobodys_handle);
        assert_eq!(one, other, "{method} {foreign}");
        assert!(one.starts_with("404"), "{method} {foreign}: {one}");
    }
}

/// Medians of many: what is looked up and what is not there take as long.
#[tokio::test]
async fn s17_what_is_anothers_takes_as_long_as_what_is_nobodys() {
    let (server, _, theirs, ..) = two_tenants().await;
    let client = Client::new();
    let mut apart = Vec::new();
    for _ in 0..5 {
        let mut times = [Vec::new(), Vec::new()];
        for n in 0..2_000 {
            let which = n % 2;
            let path = ["/v1/sessions/s", "/v1/sessions/u"][which];
            let asked = client.get(server.at(path)).bearer_auth(&theirs);
            let begun = std::time::Instant::now();
            assert_eq!(asked.send().await.unwrap().status(), 404);
            times[which].push(begun.elapsed());
        }
        let [foreign, unknown] = times.map(|mut times| {
            times.sort();
            times[times.len() / 2].as_secs_f64()
        });
        apart.push((foreign / unknown - 1.0).abs());
        // Other work on the machine may fall on one of them; what leaks would always show.
        if apart.iter().any(|apart| *apart < 0.05) {
            return;
        }
    }
    panic!("{apart:?}");
}
