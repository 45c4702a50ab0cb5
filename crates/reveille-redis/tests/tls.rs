//! TLS: who is trusted, who is let in, and what is said when it is not so.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::env;
use std::error::Error as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::cluster::Cluster;
use common::{Keeps, Make, Sentinel, Server, told};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use reveille_redis::{ConnectError, RedisBackend};
use reveille_testkit::chaos::PATIENCE;
use reveille_testkit::free_port;
use reveille_testkit::stored::{contents, entry, log, now};
use tempfile::TempDir;

/// An authority, and the files of those it vouches for.
struct Authority {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        // Two of one name would be taken for each other.
        let name = format!("authority {}", dir.path().display());
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key).unwrap();
        fs::write(dir.path().join("ca.pem"), certificate.pem()).unwrap();
        let issuer = Issuer::new(params, key);
        let authority = Self { dir, issuer };
        authority.vouch("server", "127.0.0.1");
        authority.vouch("client", "client");
        authority
    }

    /// Makes `WHO.pem` and `WHO.key` for this name.
    fn vouch(&self, who: &str, name: &str) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, who);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.file(&format!("{who}.pem")), certificate.pem()).unwrap();
        fs::write(self.file(&format!("{who}.key")), key.serialize_pem()).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// How a server is told of its certificate, its own port for TLS, and whom it lets in.
    fn settings(&self, port: u16, who: &str, auth_clients: &str) -> Vec<[String; 2]> {
        let file = |name: String| self.file(&name).to_str().unwrap().to_owned();
        [
            ("tls-port", port.to_string()),
            ("tls-cert-file", file(format!("{who}.pem"))),
            ("tls-key-file", file(format!("{who}.key"))),
            ("tls-ca-cert-file", file("ca.pem".to_owned())),
            ("tls-auth-clients", auth_clients.to_owned()),
            ("tls-replication", "yes".to_owned()),
        ]
        .map(|(name, value)| [name.to_owned(), value])
        .into()
    }

    /// A server and its port for TLS.
    fn server(&self, who: &str, auth_clients: &str) -> (Server, u16) {
        let taken = std::cell::Cell::new(0);
        let server = Server::with(Make::Redis, || {
            taken.set(free_port());
            self.arguments(taken.get(), who, auth_clients)
        });
        (server, taken.get())
    }

    fn arguments(&self, port: u16, who: &str, auth_clients: &str) -> Vec<String> {
        let settings = self.settings(port, who, auth_clients).into_iter();
        let arguments = settings.flat_map(|[name, value]| [format!("--{name}"), value]);
        let keeps = Keeps::EverySecond.arguments().iter();
        keeps.map(ToString::to_string).chain(arguments).collect()
    }

    fn ca(&self) -> String {
        format!("ca={}", self.file("ca.pem").display())
    }

    fn client(&self) -> String {
        let (cert, key) = (self.file("client.pem"), self.file("client.key"));
        format!("cert={}&key={}", cert.display(), key.display())
    }
}

async fn connected(url: &str) -> Result<RedisBackend, ConnectError> {
    // What is refused is refused by the server or its certificate, never by the clock.
    let mut options = common::options();
    (options.connect_timeout, options.response_timeout) = (PATIENCE, PATIENCE);
    RedisBackend::connect(url, options).await
}

/// Two backends there share what is appended, and wake each other.
async fn serves(url: &str) {
    let (one, two) = (connected(url).await.unwrap(), connected(url).await.unwrap());
    let (one, two) = (log(&one, "s").await, log(&two, "s").await);
    let latest = two.info().await.unwrap().latest;
    let watch = two.watch(latest).await.unwrap();
    one.append(vec![entry(url)], now()).await.unwrap();
    tokio::time::timeout(PATIENCE, watch)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(contents(&*two).await.len() as u64, latest.0 + 1);
}

/// Why there is no backend, with the name of the kind.
async fn refused(url: &str) -> String {
    let error = connected(url).await.unwrap_err();
    format!("{} {}", error.code(), told(&error))
}

#[tokio::test]
async fn an_authority_of_ones_own_is_trusted_and_no_other() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (_server, port) = authority.server("server", "no");
    serves(&format!("rediss://127.0.0.1:{port}?{}", authority.ca())).await;
    for query in [String::new(), format!("?{}", other.ca())] {
        let said = refused(&format!("rediss://127.0.0.1:{port}{query}")).await;
        assert!(said.starts_with("redis_unavailable"), "{said}");
        assert!(said.contains("UnknownIssuer"), "{said}");
    }
    let said = refused(&format!("redis://127.0.0.1:{port}")).await;
    assert!(said.starts_with("redis_unavailable"), "{said}");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let authority = Authority::new();
    authority.vouch("elsewhere", "elsewhere.example");
    let (_server, port) = authority.server("elsewhere", "no");
    let said = refused(&format!("rediss://127.0.0.1:{port}?{}", authority.ca())).await;
    assert!(said.contains("not valid for name"), "{said}");
}

#[tokio::test]
async fn who_has_to_show_a_certificate_is_let_in_with_it_alone() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (_server, port) = authority.server("server", "yes");
    let url = format!("rediss://127.0.0.1:{port}?{}", authority.ca());
    serves(&format!("{url}&{}", authority.client())).await;
    let said = refused(&url).await;
    assert!(said.contains("CertificateRequired"), "{said}");
    let said = refused(&format!("{url}&{}", other.client())).await;
    assert!(said.starts_with("redis_unavailable"), "{said}");
}

#[tokio::test]
async fn sentinels_that_speak_tls_name_the_server() {
    let authority = Authority::new();
    let (_server, port) = authority.server("server", "yes");
    let own = free_port();
    let settings = authority.settings(own, "server", "yes");
    let lines: Vec<String> = settings.iter().map(|line| line.join(" ")).collect();
    let _sentinel = Sentinel::with(port, &lines.join("\n"));
    let query = format!("{}&{}", authority.ca(), authority.client());
    serves(&format!("rediss+sentinel://127.0.0.1:{own}/main?{query}")).await;
    let said = refused(&format!("rediss+sentinel://127.0.0.1:{own}/main")).await;
    assert!(said.contains("UnknownIssuer"), "{said}");
}

#[tokio::test]
async fn the_servers_of_a_cluster_are_reached_over_tls() {
    let authority = Authority::new();
    let cluster = Cluster::with(Make::Redis, &|| {
        let mut arguments = authority.arguments(free_port(), "server", "yes");
        arguments.extend(["--tls-cluster", "yes"].map(str::to_owned));
        arguments
    });
    let query = format!("{}&{}", authority.ca(), authority.client());
    for server in &cluster.0 {
        let port = server.cli(&["CONFIG", "GET", "tls-port"]);
        let port = port.lines().last().unwrap();
        serves(&format!("rediss+cluster://127.0.0.1:{port}?{query}")).await;
        // With nothing to show.
        let said = refused(&format!(
            "rediss+cluster://127.0.0.1:{port}?{}",
            authority.ca()
        ))
        .await;
        assert!(said.contains("CertificateRequired"), "{said}");
    }
}

/// What the system trusts is named by the environment, which a process of its own has.
#[test]
fn the_authorities_of_the_system_are_trusted() {
    const URL: &str = "REVEILLE_TEST_URL";
    let block_on = |url: &str| {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(serves(url));
    };
    if let Ok(url) = env::var(URL) {
        return block_on(&url);
    }
    let authority = Authority::new();
    let (_server, port) = authority.server("server", "no");
    let name = "the_authorities_of_the_system_are_trusted";
    let run = |trusted: &Path| {
        Command::new(env::current_exe().unwrap())
            .args(["--exact", name])
            .env(URL, format!("rediss://127.0.0.1:{port}"))
            .env("SSL_CERT_FILE", trusted)
            .output()
            .unwrap()
    };
    let trusted = run(&authority.file("ca.pem"));
    assert!(trusted.status.success(), "{trusted:?}");
    let other = run(&Authority::new().file("ca.pem"));
    assert!(!other.status.success());
}

/// Nothing is connected to before the files will do, and what will not do is named.
#[tokio::test]
async fn a_parameter_that_will_not_do_is_named() {
    let (authority, other) = (Authority::new(), Authority::new());
    let file = |name: &str| authority.file(name).display().to_string();
    fs::write(authority.file("empty"), "").unwrap();
    fs::write(authority.file("a b"), "").unwrap();
    let (empty, ca) = (file("empty"), file("ca.pem"));
    let (cert, key) = (file("client.pem"), file("client.key"));
    let foreign = other.file("client.key").display().to_string();
    for (query, name, why) in [
        (format!("ca={}", file("none")), "ca", "No such file"),
        ("ca=".to_owned(), "ca", "No such file"),
        (format!("ca={empty}"), "ca", "no certificate"),
        (format!("ca={}", file("a%20b")), "ca", "no certificate"),
        (format!("ca={ca}&ca={ca}"), "ca", "twice"),
        (format!("cert={cert}"), "cert", "key=FILE"),
        (format!("key={key}"), "key", "cert=FILE"),
        (format!("cert={empty}&key={key}"), "cert", "no certificate"),
        (format!("cert={cert}&key={empty}"), "key", ""),
        (format!("cert={cert}&key={foreign}"), "key", "keys"),
    ] {
        let error = connected(&format!("rediss://127.0.0.1:1?{query}")).await;
        let error = error.unwrap_err();
        assert_eq!(error.code(), "redis_url_parameter_invalid", "{query}");
        assert!(error.to_string().contains(name), "{query}: {error}");
        assert!(
            error.source().unwrap().to_string().contains(why),
            "{query}: {}",
            told(&error)
        );
    }
    for url in [
        "redis://127.0.0.1:1",
        "redis+sentinel://127.0.0.1:1/main",
        "redis+cluster://127.0.0.1:1",
        "unix:///run/redis.sock",
    ] {
        let said = refused(&format!("{url}?ca={ca}")).await;
        assert!(said.contains("rediss://"), "{said}");
    }
}
