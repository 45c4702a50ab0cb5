//! Credentials that are taken back: new requests, open streams and waits end within a second.

use std::time::{Duration, Instant};

use reqwest::{Client, Response};
use reveille_e2e::tokens::{ISSUER, SECRET, changed, hs256};
use reveille_e2e::{Program, SseReader, reveille, soon};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// How soon what is open must end.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A credential with a stream and a wait that are open.
struct Open {
    token: String,
    stream: SseReader,
    wait: JoinHandle<reqwest::Result<Response>>,
}

impl Open {
    async fn with(program: &Program, token: &str) -> Self {
        let at = |path: &str| Client::new().get(format!("{}/v1/sessions/s/{path}", program.url));
        let stream = at("events?after=earliest").bearer_auth(token);
        let stream = stream.header("accept", "text/event-stream");
        let mut stream = SseReader::of(stream.send().await.unwrap());
        while !stream.next().await.unwrap().is("reveille.caught_up") {}
        let wait = at("wait?match=never&timeout=60s").bearer_auth(token).send();
        Self {
            token: token.to_owned(),
            stream,
            wait: tokio::spawn(wait),
        }
    }

    async fn status(&self, program: &Program) -> u16 {
        let asked = Client::new().get(format!("{}/v1/limits", program.url));
        let asked = asked.bearer_auth(&self.token);
        asked.send().await.unwrap().status().as_u16()
    }

    /// All of it ends, without a word that could pass for an end.
    async fn ends(mut self, program: &Program, since: Instant) {
        let rest = soon("the end of the stream", self.stream.rest()).await;
        assert!(rest.is_empty(), "{rest:?}");
        assert!(since.elapsed() < AT_ONCE, "stream: {:?}", since.elapsed());
        let answer = soon("the end of the wait", &mut self.wait).await;
        assert_eq!(answer.unwrap().unwrap().status(), 401);
        assert!(since.elapsed() < AT_ONCE, "wait: {:?}", since.elapsed());
        assert_eq!(self.status(program).await, 401);
    }
}

async fn waiters(program: &Program, token: &str, count: u64) {
    soon("waiters", async {
        loop {
            let info = Client::new().get(format!("{}/v1/sessions/s", program.url));
            let info = info.bearer_auth(token).send().await.unwrap();
            if info.json::<Value>().await.unwrap()["waiters"] == count {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn s16_tokens_subjects_and_keys_are_taken_back_from_what_is_open() {
    let made = reveille(&["key", "ci", "--tenant", "acme"])
        .output()
        .await
        .unwrap();
    let key = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    let said = String::from_utf8(made.stderr).unwrap();
    let entry = said.split_once("[[auth.keys]]").unwrap().1;
    let known = format!(
        "auto_create = true\n[[auth.keys]]{entry}\n[[auth.issuers]]\nissuer = '{ISSUER}'\n\
         audience = ['reveille']\nalgorithm = 'HS256'\nsecret = '{SECRET}'\ntenants = ['acme']\n"
    );
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("reveille.toml");
    std::fs::write(&path, &known).unwrap();
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--config"];
    let program = Program::start(&[&arguments[..], &[path.to_str().unwrap()]].concat()).await;

    let token = |subject: &str, id: &str| {
        let mut claims = changed("sub", json!(subject));
        claims["jti"] = json!(id);
        hs256(&claims)
    };
    let lost = Open::with(&program, &token("me", "lost")).await;
    let kept = Open::with(&program, &token("me", "kept")).await;
    let other = Open::with(&program, &token("other", "t")).await;
    let by_key = Open::with(&program, &key).await;
    // What was made with a credential ends with it.
    let asked = Client::new().post(format!("{}/v1/tickets", program.url));
    let asked = asked.bearer_auth(&key).json(&json!({"session": "s"}));
    let ticket: Value = asked.send().await.unwrap().json().await.unwrap();
    let ticket = ticket["ticket"].as_str().unwrap();
    let by_ticket = format!("{}/v1/sessions/s/events?ticket={ticket}", program.url);
    let mut ticketed = SseReader::of(reqwest::get(&by_ticket).await.unwrap());
    assert!(ticketed.next().await.unwrap().is("reveille.open"));
    waiters(&program, &other.token, 9).await;

    let mut revoked = known.clone();
    let mut take_back = |entry: &str| {
        revoked.push_str(&format!("[[auth.revoked]]\n{entry}\n"));
        std::fs::write(&path, &revoked).unwrap();
        Instant::now()
    };
    let since = take_back("token = 'lost'\ntenant = 'acme'");
    lost.ends(&program, since).await;
    assert_eq!(kept.status(&program).await, 200);
    let since = take_back("key = 'ci'");
    by_key.ends(&program, since).await;
    soon("the end of the ticket", ticketed.rest()).await;
    assert!(since.elapsed() < AT_ONCE, "{:?}", since.elapsed());
    assert_eq!(reqwest::get(&by_ticket).await.unwrap().status(), 401);
    // Nobody of another tenant, or of another issuer, was meant.
    take_back("subject = 'me'\ntenant = 'rival'");
    let since = take_back("subject = 'me'");
    kept.ends(&program, since).await;
    waiters(&program, &other.token, 2).await;
    assert_eq!(other.status(&program).await, 200);
}
