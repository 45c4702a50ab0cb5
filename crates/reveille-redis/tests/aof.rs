//! What a write that was torn leaves in the append-only file takes nothing with it.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::fs::{self, OpenOptions};
use std::path::PathBuf;

use common::{Keeps, Make, Server};
use reveille_backend::types::Durability;
use reveille_backend::{Backend, BackendError, Incarnation};
use reveille_redis::RedisBackend;
use reveille_testkit::chaos::PATIENCE;
use reveille_testkit::stored::{contents, entry, log, now, try_log};

/// How the file ends with a transaction.
const EXEC: &str = "*1\r\n$4\r\nEXEC\r\n";

/// The file that the server writes to.
fn written(server: &Server) -> PathBuf {
    let files = fs::read_dir(server.dir().join("appendonlydir")).unwrap();
    let mut files = files.map(|file| file.unwrap().path());
    let is_written = |path: &PathBuf| path.to_string_lossy().ends_with(".incr.aof");
    files.find(is_written).unwrap()
}

/// Ends the server in the middle of the last but one command of what it wrote last, as it may when it is
/// killed.
fn tear(server: &mut Server) {
    server.kill();
    let path = written(server);
    let file = fs::read_to_string(&path).unwrap();
    assert!(file.ends_with(EXEC), "the last append is a transaction");
    let kept = file.len() - EXEC.len() - 5;
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(kept.try_into().unwrap()).unwrap();
}

#[tokio::test]
async fn what_follows_a_torn_append_outlives_the_next_start() {
    for make in [Make::Redis, Make::Valkey] {
        let mut server = Server::of(make, Keeps::Always);
        let stored = async |server: &Server| log(&server.backend().await, "s").await;
        let before = stored(&server).await;
        before.append(vec![entry("a")], now()).await.unwrap();
        before.append(vec![entry("torn")], now()).await.unwrap();
        tear(&mut server);
        server.start_again();
        let after = stored(&server).await;
        after.append(vec![entry("b")], now()).await.unwrap();
        server.kill();
        server.start_again();
        let last = stored(&server).await;
        last.append(vec![entry("c")], now()).await.unwrap();
        let events = contents(&*last).await;
        let ids: Vec<_> = events.iter().map(|event| event.id().as_str()).collect();
        assert_eq!(ids, ["a", "b", "c"], "{make:?}");
    }
}

/// It takes 3 s here to write the file anew, which is longer than a connection may take.
#[tokio::test]
async fn nothing_is_written_before_the_file_is_written_anew() {
    let mut server = Server::start(Keeps::EverySecond);
    let keys = "for n = 1, 30 do redis.call('SET', n, n) end";
    server.cli(&["EVAL", keys, "0"]);
    server.kill();
    server.start_again();
    server.cli(&["CONFIG", "SET", "rdb-key-save-delay", "100000"]);
    let backend = server.backend().await;
    let is_written = || {
        let info = server.cli(&["INFO", "persistence"]);
        !info.contains("aof_last_rewrite_time_sec:-1")
    };
    let mut refused = 0;
    let opening = tokio::time::timeout(PATIENCE, async {
        loop {
            match try_log(&backend, "s", Incarnation::New, 1).await {
                Err(BackendError::Unavailable { .. }) => refused += 1,
                other => return other.map(drop),
            }
        }
    });
    opening.await.unwrap().unwrap();
    assert!(is_written());
    assert!(refused > 0, "it was opened before");
}

#[tokio::test]
async fn a_server_that_must_not_be_asked_promises_nothing() {
    let server = Server::start(Keeps::Always);
    let rules = "on >secret ~* &* +@all -bgrewriteaof";
    let rules: Vec<&str> = rules.split(' ').collect();
    server.cli(&[&["ACL", "SETUSER", "limited"], &*rules].concat());
    let url = format!("redis://limited:secret@127.0.0.1:{}/", server.port());
    let backend = RedisBackend::connect(&url, common::options()).await;
    let durability = backend.unwrap().capabilities().durability;
    assert_eq!(durability, Durability::Volatile);
}
