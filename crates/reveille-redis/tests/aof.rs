//! What a write that was torn leaves in the append-only file takes nothing with it.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::time::Instant;

use common::{Keeps, Make, Server};
use futures_util::future::join_all;
use reveille_backend::types::{Durability, Tenant};
use reveille_backend::{AppendError, Backend, BackendError, Incarnation};
use reveille_redis::RedisBackend;
use reveille_testkit::chaos::PATIENCE;
use reveille_testkit::stored::{contents, entry, epoch, log, now, try_log};

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

/// It takes 3 s here to write the file anew, which is longer than an answer may take. What is stored is read
/// meanwhile.
#[tokio::test]
async fn nothing_is_stored_before_the_file_is_written_anew() {
    let mut server = Server::start(Keeps::EverySecond);
    let backend = server.backend().await;
    let stored = log(&backend, "s").await;
    stored.append(vec![entry("a")], now()).await.unwrap();
    let keys = "for n = 1, 30 do redis.call('SET', n, n) end";
    server.cli(&["EVAL", keys, "0"]);
    server.kill();
    server.start_again();
    server.cli(&["CONFIG", "SET", "rdb-key-save-delay", "100000"]);
    let was_written = || {
        let info = server.cli(&["INFO", "persistence"]);
        let took = info.lines().find_map(|line| {
            let seconds = line.strip_prefix("aof_last_rewrite_time_sec:")?;
            seconds.trim().parse::<i64>().ok()
        });
        took.expect("the server tells") >= 0
    };
    assert!(!was_written());
    let mut refused = 0;
    let storing = tokio::time::timeout(PATIENCE, async {
        loop {
            match stored.append(vec![entry("b")], now()).await {
                Err(AppendError::Backend(BackendError::Unavailable { .. })) => refused += 1,
                // The old connection: its end was not noticed before.
                Err(AppendError::OutcomeUnknown) => {}
                other => return other.map(drop),
            }
            assert_eq!(contents(&*stored).await.len(), 1);
        }
    });
    storing.await.unwrap().unwrap();
    assert!(was_written());
    assert!(refused > 0, "it was stored before");
    assert_eq!(contents(&*stored).await.len(), 2);
}

/// Whoever may not ask for it waits until somebody else has, and reads.
#[tokio::test]
async fn a_user_who_must_not_ask_stores_nothing_before_somebody_has() {
    let server = Server::start(Keeps::Always);
    let rules = "on >secret ~* &* +@all -bgrewriteaof";
    let rules: Vec<&str> = rules.split(' ').collect();
    server.cli(&[&["ACL", "SETUSER", "limited"], &*rules].concat());
    let url = format!("redis://limited:secret@127.0.0.1:{}/", server.port());
    let backend = RedisBackend::connect(&url, common::options())
        .await
        .unwrap();
    assert_eq!(backend.capabilities().durability, Durability::Fsync);
    let opened = try_log(&backend, "s", Incarnation::CurrentOrNew, 1).await;
    let refused = opened.map(drop).unwrap_err();
    assert!(
        common::told(&refused).contains("bgrewriteaof"),
        "{refused:?}"
    );
    let tenant = Tenant::default_tenant();
    let order = backend.order_epoch(&tenant, epoch(1)).await;
    assert!(order.is_err(), "the order has begun");
    backend.last_seq(&tenant).await.unwrap();
    server.cli(&["BGREWRITEAOF"]);
    let opening = tokio::time::timeout(PATIENCE, async {
        while try_log(&backend, "s", Incarnation::CurrentOrNew, 1)
            .await
            .is_err()
        {
            tokio::task::yield_now().await;
        }
    });
    opening.await.unwrap();
}

/// However many wait, none waits longer than for an answer.
#[tokio::test]
async fn all_who_wait_for_the_file_are_refused_in_time() {
    let server = Server::start(Keeps::EverySecond);
    let keys = "for n = 1, 100 do redis.call('SET', n, n) end";
    server.cli(&["EVAL", keys, "0"]);
    server.cli(&["CONFIG", "SET", "rdb-key-save-delay", "100000"]);
    let backend = server.backend().await;
    let names: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let opening = names
        .iter()
        .map(|name| try_log(&backend, name, Incarnation::New, 1));
    let begin = Instant::now();
    let opened = join_all(opening).await;
    assert!(opened.iter().all(Result::is_err), "it took too long");
    assert!(begin.elapsed() < 2 * common::options().response_timeout);
}
