//! Clients that other people wrote, each in its own program, through a restart of the server and a gap:
//! what is published is seen exactly once, or reported as missing.
//!
//! `cargo xtask clients` installs what they need and runs them all; `cargo xtask ci` runs those that
//! need no browser and no proxy.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use reveille_e2e::{Relay, Server, publish, soon, with_key};
use reveille_gateway::{Action, GatewayConfig, Grant, Rate};
use reveille_types::Tenant;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// Events that the session retains.
const RETAINED: usize = 20;

/// Where `cargo xtask` has put the clients and what they need.
fn home() -> PathBuf {
    let home = std::env::var_os("REVEILLE_CLIENTS");
    PathBuf::from(home.expect("REVEILLE_CLIENTS is set: run `cargo xtask clients`"))
}

fn python() -> PathBuf {
    home().join("venv/bin/python")
}

fn script(program: impl Into<PathBuf>, name: &str) -> Command {
    let mut command = Command::new(program.into());
    command
        .arg(home().join(name))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// What a client has told so far.
struct Told {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// The positions that it saw or that were told as missing, in that order.
    positions: Vec<u64>,
    gaps: usize,
}

impl Told {
    fn by(mut client: Command, url: &str) -> Self {
        let mut child = client.arg(url).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            _child: child,
            lines,
            positions: Vec::new(),
            gaps: 0,
        }
    }

    /// Reads the next line; what kind of frame it was.
    async fn next(&mut self) -> String {
        let line = soon("a line", self.lines.next_line()).await.unwrap();
        let line: Value = serde_json::from_str(&line.expect("the client goes on")).unwrap();
        let (frame, data) = self.read(&line);
        match &*frame {
            "message" => {
                // The cursor of an event is the place after it.
                let place = data["reveillecursor"].as_str().unwrap();
                let (_, place) = place.split_once('.').unwrap();
                self.positions.push(place.parse::<u64>().unwrap() - 1);
            }
            "reveille.gap" => {
                self.gaps += 1;
                for range in data["ranges"].as_array().unwrap() {
                    let end = |n: usize| {
                        range[n]
                            .to_string()
                            .trim_matches('"')
                            .parse::<u64>()
                            .unwrap()
                    };
                    self.positions.extend(end(0)..=end(1));
                }
            }
            _ => {}
        }
        frame
    }

    /// The frame and its data, from an event of an SSE client or a line of NDJSON.
    fn read(&self, line: &Value) -> (String, Value) {
        if let Some(event) = line["event"].as_str() {
            let data = serde_json::from_str(line["data"].as_str().unwrap()).unwrap();
            return (event.to_owned(), data);
        }
        let control = line.as_object().unwrap().iter().next();
        match control {
            Some((name, data)) if name.starts_with("reveille.") => (name.clone(), data.clone()),
            _ => ("message".to_owned(), line.clone()),
        }
    }

    async fn frame(&mut self, wanted: &str) {
        while self.next().await != wanted {}
    }

    async fn position(&mut self, wanted: u64) {
        while self.positions.last() != Some(&wanted) {
            self.next().await;
        }
    }
}

async fn publish_many(url: &str, count: usize) {
    let events: Vec<_> = (0..count)
        .map(|n| json!({"type": "step", "data": n}))
        .collect();
    publish(url, "s", &json!(events)).await;
}

/// How a connection breaks before the gap.
enum Break {
    /// In the middle of the response.
    Wire,
    /// As before, with a proxy behind the break.
    Proxy,
    /// In the middle of a response that is compressed.
    Compressed,
}

/// nginx as it is when nobody configures it, in front of a server.
struct Nginx {
    _child: Child,
    _home: TempDir,
    url: String,
}

impl Nginx {
    async fn to(server: &str) -> Self {
        let home = TempDir::new().unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {};", home.path().display()))
            .concat();
        let config = format!(
            "daemon off; master_process off; error_log stderr; pid {}/pid; events {{}} \
             http {{ access_log off; {paths} \
             server {{ listen {port}; location / {{ proxy_pass {server}; }} }} }}",
            home.path().display(),
        );
        let file = home.path().join("nginx.conf");
        std::fs::write(&file, config).unwrap();
        let child = Command::new("nginx")
            .arg("-c")
            .arg(file)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let url = format!("http://{port}");
        soon("nginx", async {
            while reqwest::get(&url).await.is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        Self {
            _child: child,
            _home: home,
            url,
        }
    }
}

/// Goes through everything that may happen to a client.
async fn survives(client: Command, how: Break) {
    let mut config = GatewayConfig::default();
    config.retry = Duration::from_millis(50);
    let server = Server::with(config).await;
    let created = reqwest::Client::new()
        .put(server.at("/v1/sessions/s"))
        .json(&json!({"max_events": RETAINED}))
        .send()
        .await
        .unwrap();
    assert!(created.status().is_success());
    let proxy = match how {
        Break::Wire | Break::Compressed => None,
        Break::Proxy => Some(Nginx::to(&server.url).await),
    };
    let behind = proxy.as_ref().map_or(&server.url, |proxy| &proxy.url);
    let relay = Relay::to(behind).await;
    let compress = u8::from(matches!(how, Break::Compressed));
    let url = format!(
        "{}/v1/sessions/s/events?gap=frame&compress={compress}",
        relay.url
    );

    let mut told = Told::by(client, &url);
    told.frame("reveille.caught_up").await;
    publish_many(&server.url, 5).await;
    told.position(4).await;

    let server = server.restart().await;
    publish_many(&server.url, 5).await;
    told.position(9).await;

    relay.cut();
    publish_many(&server.url, 3 * RETAINED).await;
    relay.mend();
    let latest = 9 + 3 * RETAINED as u64;
    told.position(latest).await;

    let ended = reqwest::Client::new()
        .post(server.at("/v1/sessions/s/close"))
        .send()
        .await
        .unwrap();
    assert!(ended.status().is_success(), "{ended:?}");
    told.frame("reveille.end").await;
    assert_eq!(told.positions, Vec::from_iter(0..=latest));
    assert_eq!(told.gaps, 1);
    server.stop().await;
}

/// Tests of clients that read, and tests of clients that publish and read.
macro_rules! clients {
    ($($name:ident => $client:expr, $how:expr;)*) => {
        $(#[tokio::test]
        #[ignore = "needs what `cargo xtask clients` installs"]
        async fn $name() {
            survives($client, $how).await;
        })*
    };
}

clients! {
    fast_curl => script("bash", "curl.sh"), Break::Wire;
    fast_npm_eventsource => script("node", "eventsource.mjs"), Break::Wire;
    fast_npm_undici => script("node", "undici.mjs"), Break::Wire;
    fast_npm_event_source_polyfill => script("node", "polyfill.mjs"), Break::Wire;
    fast_npm_fetch_event_source => script("node", "fetch-event-source.mjs"), Break::Wire;
    fast_pypi_httpx_sse => script(python(), "httpx_client.py"), Break::Wire;
    fast_pypi_sseclient => script(python(), "sseclient_client.py"), Break::Wire;
    fast_curl_compressed => script("bash", "curl.sh"), Break::Compressed;
    fast_npm_undici_compressed => script("node", "undici.mjs"), Break::Compressed;
    fast_pypi_httpx_sse_compressed => script(python(), "httpx_client.py"), Break::Compressed;
    chromium_compressed => script("node", "chromium.mjs"), Break::Compressed;
    chromium => script("node", "chromium.mjs"), Break::Wire;
    nginx_before_curl => script("bash", "curl.sh"), Break::Proxy;
    nginx_before_pypi_httpx_sse => script(python(), "httpx_client.py"), Break::Proxy;
}

/// Written in Rust, this one needs nothing that would have to be installed.
#[tokio::test]
async fn crate_eventsource_stream() {
    let mut client = Command::new(env!("CARGO_BIN_EXE_eventsource_client"));
    client.stdin(Stdio::null()).kill_on_drop(true);
    survives(client, Break::Wire).await;
}

async fn publishes_and_reads(client: Command) {
    let server = Server::start().await;
    let mut client = client;
    let output = client
        .arg(server.at("/v1/sessions/s/events"))
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    server.stop().await;
}

#[tokio::test]
#[ignore = "needs what `cargo xtask clients` installs"]
async fn fast_npm_cloudevents() {
    publishes_and_reads(script("node", "cloudevents.mjs")).await;
}

#[tokio::test]
#[ignore = "needs what `cargo xtask clients` installs"]
async fn fast_pypi_cloudevents() {
    publishes_and_reads(script(python(), "cloudevents_client.py")).await;
}

/// A person with the gateway's page: watches, follows, sees a gap, waits, publishes, cancels, asks why.
#[tokio::test]
#[ignore = "needs what `cargo xtask clients` installs"]
async fn chromium_page() {
    works_with_the_page(Server::start().await, None).await;
}

/// The same with an API key that is pasted into the page, which is refused until then.
#[tokio::test]
#[ignore = "needs what `cargo xtask clients` installs"]
async fn chromium_page_with_a_token() {
    let (server, key) = known(GatewayConfig::default()).await;
    works_with_the_page(server, Some(&key)).await;
}

/// A server with authentication, and a key to everything.
async fn known(config: GatewayConfig) -> (Server, String) {
    let tenant = Tenant::default_tenant();
    let grants = vec![Grant::everything(Action::ALL)];
    let (server, key) = with_key(config, tenant.as_str(), grants).await;
    (server, key.expose().to_owned())
}

async fn works_with_the_page(server: Server, token: Option<&str>) {
    let output = script("node", "page.mjs")
        .arg(&server.url)
        .args(token)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    server.stop().await;
}

/// Waits and streams that end soon, because whoever tries all of an API reads each to its end.
fn hasty() -> GatewayConfig {
    let mut config = GatewayConfig::default();
    config.max_age = Duration::from_millis(50);
    config.wait_default = Duration::from_millis(20);
    config.wait_max = Duration::from_millis(50);
    // What is tried without a credential must not keep out what has one.
    config.traffic.anonymous = Rate::per_second(100_000, 100_000);
    config.traffic.failures = Rate::per_minute(100_000);
    config
}

/// Schemathesis, which holds a server against its OpenAPI document.
#[tokio::test]
#[ignore = "needs what `cargo xtask clients` installs"]
async fn pypi_schemathesis() {
    finds_nothing(Server::with(hasty()).await, None).await;
}

/// The same with an API key.
#[tokio::test]
#[ignore = "needs what `cargo xtask clients` installs"]
async fn pypi_schemathesis_with_a_key() {
    let (server, key) = known(hasty()).await;
    finds_nothing(server, Some(&key)).await;
}

async fn finds_nothing(server: Server, key: Option<&str>) {
    let mut command = Command::new(home().join("venv/bin/schemathesis"));
    command
        .args(["--config-file", "schemathesis.toml", "run", "--no-color"])
        .arg(server.at("/openapi.json"))
        .args(key.map(|key| format!("--header=Authorization: Bearer {key}")))
        .current_dir(home())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = command.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    server.stop().await;
}
