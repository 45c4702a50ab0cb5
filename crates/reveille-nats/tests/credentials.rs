//! A server that knows nobody but the users of an operator's accounts, by their credentials.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::fs;
use std::path::Path;

use common::options;
use common::server::Server;
use data_encoding::BASE64URL_NOPAD;
use nkeys::KeyPair;
use reveille_backend::Backend;
use reveille_core::SignalSystem;
use reveille_nats::{NatsBackend, SignalHub, SignalNode, SignalNodeOptions};
use reveille_testkit::chaos::PATIENCE;
use serde_json::{Value, json};

/// A JWT as `nsc` makes them: what `issuer` says about `subject`.
fn jwt(issuer: &KeyPair, subject: &KeyPair, about: &Value) -> String {
    let claims = json!({
        "jti": subject.public_key(),
        "iat": 1_700_000_000,
        "iss": issuer.public_key(),
        "sub": subject.public_key(),
        "name": "test",
        "nats": about,
    });
    let header = json!({"typ": "JWT", "alg": "ed25519-nkey"});
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let signature = issuer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
}

fn account(operator: &KeyPair, account: &KeyPair, storage: i64) -> String {
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
        "conn": -1, "leaf": -1, "mem_storage": storage, "disk_storage": storage, "streams": -1,
        "consumer": -1,
    });
    let about = json!({"type": "account", "version": 2, "limits": limits});
    jwt(operator, account, &about)
}

/// Writes the credentials of a new user, which the account's key signs.
fn credentials(path: &Path, account: &KeyPair) {
    let user = KeyPair::new_user();
    let about = json!({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1});
    let text = format!(
        "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        jwt(account, &user, &about),
        user.seed().unwrap()
    );
    fs::write(path, text).unwrap();
}

/// A server that knows this account.
fn server_of(known: &KeyPair) -> Server {
    let (operator, system) = (KeyPair::new_operator(), KeyPair::new_account());
    Server::with_more(&format!(
        "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{ {}: {}, {}: {} }}\n",
        jwt(
            &operator,
            &operator,
            &json!({"type": "operator", "version": 2})
        ),
        system.public_key(),
        system.public_key(),
        account(&operator, &system, 0),
        known.public_key(),
        account(&operator, known, -1),
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_has_the_credentials_of_a_user_is_let_in_and_nobody_else() {
    let known = KeyPair::new_account();
    let server = server_of(&known);
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    credentials(&path("a user.creds"), &known);
    credentials(&path("stranger.creds"), &KeyPair::new_account());
    fs::write(path("nonsense.creds"), "nonsense").unwrap();

    for (file, refusal) in [
        ("a%20user.creds", None),
        ("stranger.creds", Some("nats_unavailable")),
        ("nonsense.creds", Some("nats_credentials_unreadable")),
        ("nowhere.creds", Some("nats_credentials_unreadable")),
    ] {
        let file = dir.path().join(file);
        let url = format!("{}?credentials={}", server.url(), file.display());
        let connected = NatsBackend::connect(&url, options()).await;
        assert_eq!(connected.err().map(|error| error.code()), refusal, "{url}");
        let mut short = SignalNodeOptions::default();
        short.broker_patience = options().patience;
        let hub = SignalHub::connect(&url, short).await;
        assert_eq!(hub.is_ok(), refusal.is_none(), "{url}");
    }
    let without = NatsBackend::connect(&server.url(), options()).await;
    assert_eq!(without.unwrap_err().code(), "nats_unavailable");

    let mut own = options();
    own.credentials = Some(path("a user.creds"));
    NatsBackend::connect(&server.url(), own).await.unwrap();
    let mut own = SignalNodeOptions::default();
    own.credentials = Some(path("a user.creds"));
    let system = SignalSystem::<()>::builder();
    let node = SignalNode::join(&server.url(), system, own).await.unwrap();
    node.leave().await;
}

/// Users' credentials are replaced before they run out.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn credentials_that_are_replaced_count_from_the_next_connect_on() {
    let known = KeyPair::new_account();
    let mut server = server_of(&known);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("user.creds");
    credentials(&path, &known);
    let url = format!("{}?credentials={}", server.url(), path.display());
    let backend = NatsBackend::connect(&url, options()).await.unwrap();
    credentials(&path, &KeyPair::new_account());
    backend.health().await.unwrap();
    server.kill();
    server.start_again();
    backend.health().await.unwrap_err();
    credentials(&path, &known);
    let used_again =
        tokio::time::timeout(PATIENCE, async { while backend.health().await.is_err() {} });
    used_again.await.expect("the new credentials are read");
}
