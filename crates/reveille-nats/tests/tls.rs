//! Servers whose certificates are of an authority of one's own, and who ask for one in return.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::error::Error;
use std::fs;
use std::path::Path;

use common::options;
use common::server::Server;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use reveille_nats::{ConnectError, NatsBackend, SignalHub, SignalNodeOptions};
use reveille_testkit::stored::{contents, entry, log, now};
use tempfile::TempDir;

/// An authority, whose certificate stands in `NAME.pem`.
fn authority(dir: &Path, name: &str) -> Issuer<'static, KeyPair> {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let made = params.self_signed(&key).unwrap();
    fs::write(dir.join(format!("{name}.pem")), made.pem()).unwrap();
    Issuer::new(params, key)
}

/// Writes a certificate of an authority, and its key, as `NAME.pem` and `NAME.key`.
fn certificate(dir: &Path, name: &str, host: &str, authority: &Issuer<'_, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
    let made = params.signed_by(&key, authority).unwrap();
    fs::write(dir.join(format!("{name}.pem")), made.pem()).unwrap();
    fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}

/// A server that asks for a certificate of the authority `own`; and the files, in a directory:
/// those of the server and of a `client`, a `stranger` with its key, and `nonsense.pem`.
fn server() -> (Server, TempDir) {
    let files = tempfile::tempdir().unwrap();
    let dir = files.path();
    let own = authority(dir, "own");
    certificate(dir, "server", "127.0.0.1", &own);
    certificate(dir, "client", "client", &own);
    certificate(dir, "stranger", "stranger", &authority(dir, "other"));
    fs::write(dir.join("nonsense.pem"), "nonsense").unwrap();
    let path = |name: &str| dir.join(name).display().to_string();
    let server = Server::with_more(&format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}\n",
        path("server.pem"),
        path("server.key"),
        path("own.pem")
    ));
    (server, files)
}

/// An address with files behind it, `NAME=FILE` each.
fn address(server: &Server, files: &TempDir, settings: &str) -> String {
    let of = |setting: &str| {
        let (name, file) = setting.split_once('=').unwrap();
        format!("{name}={}", files.path().join(file).display())
    };
    let settings: Vec<String> = settings.split_whitespace().map(of).collect();
    match settings.is_empty() {
        true => server.url(),
        false => format!("{}?{}", server.url(), settings.join("&")),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn whoever_shows_a_certificate_that_the_server_trusts_is_let_in_and_nobody_else() {
    let (server, files) = server();
    for (settings, may) in [
        ("ca=own.pem cert=client.pem key=client.key", true),
        ("", false),
        ("ca=own.pem", false),
        ("cert=client.pem key=client.key", false),
        ("ca=other.pem cert=client.pem key=client.key", false),
        ("ca=own.pem cert=stranger.pem key=stranger.key", false),
    ] {
        let url = address(&server, &files, settings);
        let mut short = SignalNodeOptions::default();
        short.broker_patience = options().patience;
        let hub = SignalHub::connect(&url, short).await;
        assert_eq!(hub.is_ok(), may, "{settings}");
        match NatsBackend::connect(&url, options()).await {
            Ok(backend) => {
                assert!(may, "{settings}");
                let log = log(&backend, "s").await;
                log.append(vec![entry("a")], now()).await.unwrap();
                assert_eq!(contents(&*log).await.len(), 1);
            }
            Err(error) => {
                assert!(!may, "{settings}: {error:?}");
                assert_eq!(error.code(), "nats_unavailable", "{settings}");
            }
        }
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named() {
    let (server, files) = server();
    for (settings, named) in [
        ("ca=nowhere.pem", "ca"),
        ("ca=nonsense.pem", "ca"),
        ("ca=client.key", "ca"),
        ("cert=nowhere.pem key=client.key", "cert"),
        ("cert=nonsense.pem key=client.key", "cert"),
        ("cert=client.pem key=nonsense.pem", "key"),
        ("cert=client.pem key=stranger.key", "key"),
        ("cert=client.pem", "key"),
        ("key=client.key", "cert"),
    ] {
        let url = address(&server, &files, settings);
        let refused = NatsBackend::connect(&url, options()).await.unwrap_err();
        assert_eq!(refused.code(), "nats_tls_unreadable", "{settings}");
        let is_named = matches!(refused, ConnectError::Tls { parameter, .. } if parameter == named);
        assert!(is_named, "{settings}: {refused}");
        let refused = SignalHub::connect(&url, SignalNodeOptions::default()).await;
        let refused = refused.unwrap_err();
        let source = refused.source().unwrap().to_string();
        assert!(
            source.contains(&format!("`{named}`")),
            "{settings}: {source}"
        );
    }
}

/// What is sent in the clear is not sent for want of TLS.
#[tokio::test]
async fn who_names_an_authority_speaks_to_no_server_without_tls() {
    let (_, files) = server();
    let plain = Server::start();
    for settings in ["ca=own.pem", "cert=client.pem key=client.key"] {
        let url = address(&plain, &files, settings);
        let refused = NatsBackend::connect(&url, options()).await;
        assert_eq!(refused.unwrap_err().code(), "nats_unavailable");
    }
    NatsBackend::connect(&plain.url(), options()).await.unwrap();
}
