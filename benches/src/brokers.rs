//! A `nats-server` and a `redis-server` of a benchmark's own, on free ports of loopback, and what is
//! appended to them.

use std::env;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use reveille_backend::{Backend, Entry, Incarnation, LogHandle, OpenOptions, StoredLog};
use reveille_types::{
    DraftDefaults, Epoch, EventDraft, EventId, KindRegistry, Payload, SessionKey, Source, Tenant,
};
use tempfile::TempDir;

/// A running server, killed when it is dropped.
#[derive(Debug)]
pub struct Broker {
    child: Child,
    /// Where it listens on loopback.
    pub port: u16,
    _dir: TempDir,
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A `nats-server` with JetStream in files: the one of `REVEILLE_NATS_SERVER`, of `cargo xtask preflight`,
/// or of the search path.
///
/// # Panics
/// If it does not start.
#[must_use]
pub fn nats() -> Broker {
    let installed = env::var_os("CARGO_TARGET_DIR")
        .map_or_else(
            || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")),
            PathBuf::from,
        )
        .join("nats/bin/nats-server");
    let program = match env::var_os("REVEILLE_NATS_SERVER") {
        Some(named) => PathBuf::from(named),
        None if installed.is_file() => installed,
        None => "nats-server".into(),
    };
    start(|port, dir| {
        let mut command = Command::new(&program);
        command.args(["-js", "-a", "127.0.0.1", "-p", port]);
        command.arg("-sd").arg(dir);
        command
    })
}

/// A `redis-server` that writes a file, and syncs it each second.
///
/// # Panics
/// If it does not start.
#[must_use]
pub fn redis() -> Broker {
    start(|port, dir| {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", port, "--save", ""]);
        command.args(["--appendonly", "yes", "--appendfsync", "everysec", "--dir"]);
        command.arg(dir);
        command
    })
}

fn start(command: impl FnOnce(&str, &std::path::Path) -> Command) -> Broker {
    let dir = TempDir::new().expect("there is room for a directory");
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let port = free.local_addr().expect("it is bound").port();
    drop(free);
    let mut command = command(&port.to_string(), dir.path());
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let broker = Broker {
        child: child.expect("the server is installed: see cargo xtask preflight"),
        port,
        _dir: dir,
    };
    let begin = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(begin.elapsed() < Duration::from_secs(10), "it listens");
        std::thread::sleep(Duration::from_millis(10));
    }
    broker
}

/// A log of this name.
///
/// # Panics
/// If it cannot be opened.
pub async fn log(backend: &dyn Backend, name: &str) -> Arc<dyn StoredLog> {
    let key = SessionKey::in_tenant(Tenant::default_tenant(), name).expect("the name is good");
    let epoch = Epoch::from_parts(1_700_000_000_000, 1);
    let options = OpenOptions::new(Incarnation::CurrentOrNew, epoch);
    match backend.open(&key, options).await.expect("it opens").log {
        LogHandle::Stored(log) => log,
        LogHandle::Immediate(_) => unreachable!("it is stored"),
    }
}

/// An event with a payload of about 256 bytes, without a key.
///
/// # Panics
/// Never.
#[must_use]
pub fn entry() -> Entry {
    let session = SessionKey::in_tenant(Tenant::default_tenant(), "s").expect("the name is good");
    let text = format!("{{\"text\":\"{}\"}}", "x".repeat(244));
    let payload = Payload::json_text(&text).expect("it is JSON");
    let draft = EventDraft::parse("a").expect("the kind is good");
    let event = draft.with_payload(payload).complete(DraftDefaults {
        id: EventId::parse("01a1fe8b-3cfa-77b5-a38b-a093fbcf9fc7").expect("the id is good"),
        time: jiff::Timestamp::UNIX_EPOCH,
        source: &Source::of_session(&session),
        registry: &KindRegistry::empty(),
    });
    Entry { event, key: None }
}
