//! What operators see: settings and their sources, numbers, readiness, logs without secrets, TLS.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::path::PathBuf;
use std::process::Stdio;

use reqwest::Client;
use reveille_e2e::{Program, Server, SseReader, publish, reveille, soon};
use reveille_gateway::GatewayConfig;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A file with settings, and the directory that it lives in.
fn file(text: &str) -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("reveille.toml");
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

/// A key that the command makes up, and what it says to put into the file.
async fn key(id: &str, actions: &str) -> (String, String) {
    let made = reveille(&["key", id, "--tenant", "acme", "--actions", actions]);
    let made = { made }.output().await.unwrap();
    assert!(made.status.success());
    let key = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    let said = String::from_utf8(made.stderr).unwrap();
    let entry = said.split_once("[[auth.keys]]").unwrap().1;
    (key, format!("[[auth.keys]]{entry}"))
}

#[tokio::test]
async fn config_prints_every_setting_with_its_source_and_no_secret() {
    let (key, entry) = key("ci", "publish").await;
    let secret = "a shared secret of at least 32 bytes";
    let issuer = format!(
        "[[auth.issuers]]\nissuer = 'i'\naudience = ['a']\nalgorithm = 'HS256'\nsecret = '{secret}'\ntenants = ['acme']\n"
    );
    let (_dir, path) = file(&format!("heartbeat = '20s'\n{issuer}{entry}"));
    let output = reveille(&["config", "--retry", "3s", "--config"])
        .arg(&path)
        .env("REVEILLE_WAIT_MAX", "1m")
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    for line in [
        "retry = \"3s\"  # flag --retry",
        "wait_max = \"1m\"  # environment REVEILLE_WAIT_MAX",
        &format!("heartbeat = \"20s\"  # {}", path.display()),
        "listen = \"127.0.0.1:7600\"  # default",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    assert!(text.contains("key ci of tenant acme"));
    let digest = entry
        .split("sha256 = \"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    for hidden in [secret, key.as_str(), digest] {
        assert!(!text.contains(hidden), "{text}");
    }
    // What it prints is a file that says the same.
    let (_again, printed) = file(&text);
    let output = reveille(&["config", "--config"])
        .arg(printed)
        .output()
        .await
        .unwrap();
    let again = String::from_utf8(output.stdout).unwrap();
    assert!(again.contains("retry = \"3s\""), "{again}");
}

#[tokio::test]
async fn a_key_that_is_not_known_is_wrong_usage_with_a_suggestion() {
    let (_dir, path) = file("heartbeet = '20s'\n");
    let output = reveille(&["serve", "--config"])
        .arg(&path)
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("did you mean heartbeat?"), "{text}");
}

#[tokio::test]
async fn with_a_key_and_a_certificate_any_address_may_be_served() {
    let (key, entry) = key("cli", "publish,subscribe,wait,admin").await;
    let dir = TempDir::new().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let (cert, private) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&private, made.signing_key.serialize_pem()).unwrap();
    let (_dir, path) = file(&format!("auto_create = true\n{entry}"));
    let path = path.to_str().unwrap();
    let open = ["serve", "--listen", "0.0.0.0:0", "--config", path];
    let output = reveille(&open).output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("without TLS"), "{said}");
    let (cert, private) = (cert.to_str().unwrap(), private.to_str().unwrap());
    let tls = ["--tls-cert", cert, "--tls-key", private];
    let program = Program::start(&[&open[..], &tls].concat()).await;
    assert!(
        program.url.starts_with("https://0.0.0.0:"),
        "{}",
        program.url
    );
    let url = program.url.replace("0.0.0.0", "127.0.0.1");
    for http2 in [true, false] {
        let root = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
        let client = Client::builder().tls_certs_only([root]);
        let client = if http2 { client } else { client.http1_only() };
        let client = client.build().unwrap();
        let asked = client.get(format!("{url}/v1/limits")).bearer_auth(&key);
        let answer = asked.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let is_2 = answer.version() == reqwest::Version::HTTP_2;
        assert_eq!(is_2, http2);
        let unknown = client.get(format!("{url}/v1/limits")).send().await.unwrap();
        assert_eq!(unknown.status(), 401);
        let challenge = unknown.headers()["www-authenticate"].to_str().unwrap();
        let metadata = format!("{url}/.well-known/oauth-protected-resource");
        let expected = format!("Bearer realm=\"reveille\", resource_metadata=\"{metadata}\"");
        assert_eq!(challenge, expected, "with HTTP/2: {http2}");
        let found: Value = client
            .get(metadata)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        assert_eq!(found["resource"], url);
    }
    let plain = format!("{}/healthz", url.replace("https", "http"));
    assert!(reqwest::get(plain).await.is_err());
}

#[tokio::test]
async fn s02_a_certificate_is_read_again_when_the_process_is_told_to() {
    let (_, entry) = key("ops", "admin").await;
    let (dir, path) = file(&entry);
    let (cert, private) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let write = || {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&private, made.signing_key.serialize_pem()).unwrap();
        let root = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
        Client::builder().tls_certs_only([root]).build().unwrap()
    };
    let old = write();
    let mut program = Program::start(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--config",
        path.to_str().unwrap(),
        "--tls-cert",
        cert.to_str().unwrap(),
        "--tls-key",
        private.to_str().unwrap(),
    ])
    .await;
    let url = format!("{}/healthz", program.url);
    assert_eq!(old.get(&url).send().await.unwrap().status(), 200);
    std::fs::write(&cert, "no certificate").unwrap();
    let said = async |program: &mut Program, what: &str| {
        program.signal(rustix::process::Signal::HUP);
        while !program.note().await.contains(what) {}
    };
    said(&mut program, "the old stays").await;
    let fresh = |client: &Client| client.get(&url).header("connection", "close").send();
    assert_eq!(fresh(&old).await.unwrap().status(), 200);
    let new = write();
    assert!(new.get(&url).send().await.is_err(), "it is not read yet");
    said(&mut program, "read again").await;
    assert_eq!(new.get(&url).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn numbers_are_counted_and_name_no_session() {
    let mut config = GatewayConfig::default();
    config.wait_max = std::time::Duration::from_secs(1);
    let server = Server::with(config).await;
    let event = json!({"type": "a", "id": "1", "source": "/s"});
    publish(&server.url, "canary-session", &event).await;
    publish(&server.url, "canary-session", &event).await;
    let path = |query: &str| server.at(&format!("/v1/sessions/canary-session/{query}"));
    for query in ["wait?match=a", "wait?match=never&timeout=1ms"] {
        reqwest::get(path(query)).await.unwrap();
    }
    let mut stream = SseReader::open(&path("events?after=nonsense"), None).await;
    while !stream.next().await.unwrap().is("reveille.caught_up") {}
    let scrape = async || {
        let answer = reqwest::get(server.at("/metrics")).await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.text().await.unwrap()
    };
    let text = scrape().await;
    for line in [
        "reveille_streams 1",
        "reveille_streams_opened_total 1",
        "reveille_stream_lag_events 0",
        "reveille_events_delivered_total 1",
        "reveille_events_published_total 1",
        "reveille_events_deduplicated_total 1",
        "reveille_gaps_total{reason=\"unknown_cursor\"} 1",
        "reveille_waits_total{outcome=\"matched\"} 1",
        "reveille_waits_total{outcome=\"timed_out\"} 1",
        "reveille_publishes_total{result=\"stored\"} 1",
        "reveille_publishes_total{result=\"deduplicated\"} 1",
        "reveille_sessions_open 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    // Clients make up methods.
    let made_up = reqwest::Method::from_bytes(b"CANARY").unwrap();
    let odd = Client::new().request(made_up, path(""));
    assert_eq!(odd.send().await.unwrap().status(), 404);
    let text_after = scrape().await;
    assert!(!text_after.contains("CANARY"), "{text_after}");
    assert!(text_after.contains("method=\"other\""), "{text_after}");
    let routes = "reveille_requests_total{route=\"/v1/sessions/{session}/wait\",method=\"GET\",status=\"204\"} 1";
    assert!(text.contains(routes), "{text}");
    assert!(!text.contains("canary-session"), "{text}");
    drop(stream);
    soon("the end of the stream", async {
        while !scrape()
            .await
            .contains("reveille_streams_closed_total{reason=\"client\"} 1")
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_admin_address_answers_without_credentials_and_the_open_one_does_not() {
    let (key, entry) = key("ops", "admin").await;
    let (_dir, path) = file(&entry);
    // A free port: nobody else takes it between here and there, most likely.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = free.local_addr().unwrap().to_string();
    drop(free);
    let path = path.to_str().unwrap();
    let arguments = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--config",
        path,
        "--admin-listen",
        &admin,
    ];
    let program = Program::start(&arguments).await;
    let get = async |url: String| reqwest::get(url).await.unwrap().status();
    assert_eq!(get(format!("http://{admin}/metrics")).await, 200);
    assert_eq!(get(format!("http://{admin}/readyz")).await, 200);
    assert_eq!(get(format!("http://{admin}/v1/sessions")).await, 404);
    assert_eq!(get(format!("{}/metrics", program.url)).await, 401);
    assert_eq!(get(format!("{}/readyz", program.url)).await, 200);
    let known = Client::new()
        .get(format!("{}/metrics", program.url))
        .bearer_auth(key);
    assert_eq!(known.send().await.unwrap().status(), 200);
    let open = [
        "serve",
        "--config",
        path,
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "0.0.0.0:0",
    ];
    let refused = reveille(&open).output().await.unwrap();
    assert_eq!(refused.status.code(), Some(2));
}

#[tokio::test]
async fn s41_no_credential_and_no_payload_is_seen_in_logs_numbers_errors_or_settings() {
    let (key, entry) = key("canary", "publish,subscribe,trigger,admin").await;
    let issuer = "[[auth.issuers]]\nissuer = 'i'\naudience = ['a']\nalgorithm = 'HS256'\n\
        secret = 'secret-canary-of-32-bytes-or-more'\ntenants = ['acme']\n";
    let (_dir, path) = file(&format!("auto_create = true\n{issuer}{entry}"));
    let mut child = reveille(&["serve", "--listen", "127.0.0.1:0", "--config"])
        .arg(&path)
        // What libraries say at this level is not ours, and must not hold any of it either.
        .args(["--log", "trace", "--log-format", "json"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = child.stderr.take().unwrap();
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(stderr));
    let first = lines.next_line().await.unwrap().unwrap();
    let url = first.rsplit(' ').next().unwrap().to_owned();
    let log = tokio::spawn(async move {
        let mut log = Vec::new();
        while let Ok(Some(line)) = lines.next_line().await {
            log.push(line);
        }
        log
    });
    let client = Client::new();
    let at = |path: &str| format!("{url}{path}");
    let sent = client
        .post(at("/v1/sessions/s/events"))
        .bearer_auth(&key)
        .header(
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        )
        .json(&json!({"type": "a", "data": "payload-canary"}));
    assert_eq!(sent.send().await.unwrap().status(), 201);
    let ticket = client
        .post(at("/v1/tickets"))
        .bearer_auth(&key)
        .json(&json!({"session": "s"}));
    let ticket: Value = ticket.send().await.unwrap().json().await.unwrap();
    let ticket = ticket["ticket"].as_str().unwrap().to_owned();
    let signal = client
        .post(at("/v1/signals"))
        .bearer_auth(&key)
        .json(&json!({}));
    let signal: Value = signal.send().await.unwrap().json().await.unwrap();
    let secret = signal["secret"].as_str().unwrap().to_owned();
    let trigger = format!("/v1/signals/{}/trigger", signal["handle"].as_str().unwrap());
    let completed = client.post(at(&trigger)).bearer_auth(&key);
    completed
        .json(&json!({"secret": secret}))
        .send()
        .await
        .unwrap();
    let stream = client.get(at(&format!("/v1/sessions/s/events?ticket={ticket}")));
    assert_eq!(stream.send().await.unwrap().status(), 200);
    let get = |path: &str| client.get(at(path));
    let post = |path: &str| client.post(at(path)).bearer_auth(&key);
    let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJpIn0.jwt-canary";
    let mut seen = Vec::new();
    for (request, status) in [
        (get("/v1/sessions/s?access_token=query-canary"), 400),
        (get("/v1/sessions/s?ticket=ticket-canary"), 401),
        (
            get("/v1/sessions/s?ticket=ticket-canary").bearer_auth(&key),
            400,
        ),
        (
            get("/v1/sessions/s/events?ticket=ticket-canary&errors=stream"),
            200,
        ),
        (
            get("/v1/limits").header("cookie", "__Secure-reveille_token=cookie-canary"),
            403,
        ),
        (get("/v1/limits").bearer_auth("bearer-canary"), 401),
        (get("/v1/limits").bearer_auth("rvk_canary_key-canary"), 401),
        (get("/v1/limits").bearer_auth(jwt), 401),
        (
            get("/v1/limits").header("authorization", "Basic basic-canary"),
            401,
        ),
        (
            post("/v1/signals").json(&json!({"name": 7, "x": "body-canary"})),
            422,
        ),
        (
            post("/v1/signals").json(&json!({"lease_ms": "body-canary"})),
            422,
        ),
        (post("/v1/signals").body("{\"name\": \"body-canary"), 400),
        (post(&trigger).json(&json!({"secret": "wrong-canary"})), 403),
        (
            post("/v1/sessions/s/events").json(&json!({"type": "a", "time": "body-canary"})),
            422,
        ),
        (
            post("/v1/sessions/s/events").json(&json!("body-canary")),
            422,
        ),
    ] {
        let answer = request.send().await.unwrap();
        let (found, url) = (answer.status(), answer.url().path().to_owned());
        let headers = format!("{:?}", answer.headers());
        let text = answer.text().await.unwrap();
        assert_eq!(found, status, "{url}: {text}");
        seen.extend([headers, text]);
    }
    let numbers = get("/metrics").bearer_auth(&key).send().await.unwrap();
    assert_eq!(numbers.status(), 200);
    seen.push(numbers.text().await.unwrap());
    child.kill().await.unwrap();
    let log = soon("the log", log).await.unwrap();
    let settings = reveille(&["config", "--config"]).arg(&path).output().await;
    seen.push(String::from_utf8(settings.unwrap().stdout).unwrap());
    for text in seen.iter().chain(&log) {
        for canary in [key.as_str(), &ticket, &secret, "-canary"] {
            assert!(!text.contains(canary), "{canary} in {text}");
        }
    }
    let published = log
        .iter()
        .filter_map(|l| serde_json::from_str::<Value>(l).ok());
    let access: Vec<Value> = published
        .filter(|l| l["target"] == "reveille_gateway::access")
        .collect();
    let publish = access
        .iter()
        .find(|l| l["fields"]["status"] == 201)
        .unwrap();
    let fields = &publish["fields"];
    assert_eq!(fields["route"], "/v1/sessions/{session}/events");
    assert_eq!(fields["trace_id"], "0af7651916cd43dd8448eb211c80319c");
}

#[tokio::test]
async fn a_key_that_is_taken_out_of_the_file_ends_its_streams_and_a_new_one_counts() {
    let (old, old_entry) = key("old", "publish,subscribe").await;
    let (new, new_entry) = key("new", "publish,subscribe").await;
    let (_dir, path) = file(&format!("auto_create = true\n{old_entry}"));
    let text = path.to_str().unwrap();
    let program = Program::start(&["serve", "--listen", "127.0.0.1:0", "--config", text]).await;
    let url = format!("{}/v1/sessions/s/events", program.url);
    let stream = Client::new().get(&url).bearer_auth(&old);
    let mut stream = SseReader::of(stream.send().await.unwrap());
    assert!(stream.next().await.unwrap().is("reveille.open"));
    // A file that is broken for a moment takes nobody's rights.
    std::fs::write(&path, "[[auth.keys").unwrap();
    std::fs::write(&path, format!("auto_create = true\n\n{new_entry}")).unwrap();
    let rest = soon("the end of the stream", stream.rest()).await;
    assert!(
        !rest.iter().any(|frame| frame.is("reveille.end")),
        "{rest:?}"
    );
    let status = async |key: &str| {
        let asked = Client::new().get(format!("{}/v1/limits", program.url));
        asked.bearer_auth(key).send().await.unwrap().status()
    };
    assert_eq!(status(&old).await, 401);
    assert_eq!(status(&new).await, 200);
}
