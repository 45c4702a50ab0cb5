//! What happens when the server stops, dies, or forgets: nothing that was acknowledged is lost, nothing
//! is there twice, and nobody sleeps for ever.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::time::Duration;

use common::{Keeps, Make, Sentinel, Server, survives};
use data_encoding::BASE64URL_NOPAD;
use reveille_backend::types::{Durability, EndReason, Position, Seq, Tenant};
use reveille_backend::{
    AppendError, Backend, BackendError, Entry, IdempotencyKey, Incarnation, ReadLimit, Seal, Slot,
};
use reveille_redis::RedisBackend;
use reveille_testkit::chaos::PATIENCE;
use reveille_testkit::dropped_at_each_poll;
use reveille_testkit::stored::{contents, entry, key, log, now, try_log};
use rustix::process::Signal;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_nothing_that_was_acknowledged() {
    let mut server = Server::start(Keeps::Always);
    survives(&mut server, Server::backend, 5, |server| {
        server.kill();
        server.start_again();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_valkey_loses_nothing_that_was_acknowledged() {
    let mut server = Server::of(Make::Valkey, Keeps::Always);
    survives(&mut server, Server::backend, 5, |server| {
        server.kill();
        server.start_again();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_server_goes_on_where_it_was() {
    let mut server = Server::start(Keeps::Always);
    survives(&mut server, Server::backend, 2, |server| {
        server.signal(Signal::STOP);
        // Longer than any patience of the backend.
        std::thread::sleep(Duration::from_millis(2_500));
        server.signal(Signal::CONT);
    })
    .await;
}

#[tokio::test]
async fn two_processes_append_densely_and_wake_each_other() {
    let server = Server::start(Keeps::EverySecond);
    let (one, two) = (server.backend().await, server.backend().await);
    let (one, two) = (log(&one, "s").await, log(&two, "s").await);
    for round in 0..50 {
        let watch = two.watch(Position(2 * round)).await.unwrap();
        let slots = one
            .append(vec![entry(&format!("one-{round}"))], now())
            .await
            .unwrap();
        assert_eq!(slots[0].position, Position(2 * round));
        tokio::time::timeout(PATIENCE, watch)
            .await
            .unwrap()
            .unwrap();
        let slots = two
            .append(vec![entry(&format!("two-{round}"))], now())
            .await
            .unwrap();
        assert_eq!(slots[0].position, Position(2 * round + 1));
    }
    let again = two.append(vec![entry("one-7")], now()).await.unwrap();
    assert!(again[0].deduplicated, "a key of one is known to the other");
    assert_eq!(contents(&*one).await.len(), 100);
}

/// However many logs are watched, there are two connections; and none of a dropped backend.
#[tokio::test]
async fn watches_share_one_connection() {
    let server = Server::start(Keeps::Nothing);
    let connections = || {
        let list = server.cli(&["CLIENT", "LIST"]);
        // One of them asks.
        list.lines().count() - 1
    };
    let backend = server.backend().await;
    let mut watches = Vec::new();
    for n in 0..50 {
        let log = log(&backend, &format!("s{n}")).await;
        watches.push(log.watch(Position::START).await.unwrap());
    }
    assert_eq!(connections(), 2);
    drop((watches, backend));
    let closed = tokio::time::timeout(PATIENCE, async {
        while connections() > 0 {
            tokio::task::yield_now().await;
        }
    });
    closed.await.expect("the connections are closed");
}

/// A watch sleeps while its connection is cut and the log grows: it is woken by the reconnect.
#[tokio::test]
async fn a_watch_whose_connection_is_cut_is_woken() {
    let server = Server::start(Keeps::EverySecond);
    let (watching, appending) = (server.backend().await, server.backend().await);
    let watched = log(&watching, "s").await;
    for round in 0..5 {
        let watch = watched.watch(Position(round)).await.unwrap();
        server.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        let log = log(&appending, "s").await;
        log.append(vec![entry(&round.to_string())], now())
            .await
            .unwrap();
        tokio::time::timeout(PATIENCE, watch)
            .await
            .expect("a lost wake")
            .unwrap();
    }
}

#[tokio::test]
async fn a_level_is_what_the_server_keeps() {
    for (keeps, expected) in [
        (Keeps::Nothing, Durability::Volatile),
        (Keeps::EverySecond, Durability::Os),
        (Keeps::Always, Durability::Fsync),
    ] {
        let server = Server::start(keeps);
        let backend = server.backend().await;
        assert_eq!(backend.capabilities().durability, expected);
    }
}

/// A server that promises less than it did is not used, rather than believed.
#[tokio::test]
async fn a_server_that_keeps_less_is_refused() {
    let server = Server::start(Keeps::Always);
    let backend = server.backend().await;
    let log = log(&backend, "s").await;
    server.cli(&["CONFIG", "SET", "appendfsync", "everysec"]);
    server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    let refused = loop {
        match log.append(vec![entry("a")], now()).await {
            // The old connection: its end was not noticed before.
            Err(AppendError::OutcomeUnknown) => {}
            other => break other,
        }
    };
    let unavailable = matches!(
        refused,
        Err(AppendError::Backend(BackendError::Unavailable { .. }))
    );
    assert!(unavailable, "{refused:?}");
    server.cli(&["CONFIG", "SET", "appendfsync", "always"]);
    let used_again = tokio::time::timeout(PATIENCE, async {
        while log.append(vec![entry("a")], now()).await.is_err() {
            tokio::task::yield_now().await;
        }
    });
    used_again.await.expect("the server is used again");
}

/// A store that was emptied behind the backend's back: its logs are gone, and the next incarnation has
/// another epoch and higher sequence numbers.
#[tokio::test]
async fn an_emptied_store_is_told() {
    let server = Server::start(Keeps::EverySecond);
    let backend = server.backend().await;
    let old = log(&backend, "s").await;
    let before = old.append(vec![entry("a")], now()).await.unwrap();
    let watch = old.watch(Position(1)).await.unwrap();
    server.cli(&["FLUSHALL"]);
    let woken = tokio::time::timeout(PATIENCE, watch).await;
    woken
        .expect("a watch sleeps on in an emptied store")
        .unwrap();
    let answer = old.append(vec![entry("b")], now()).await;
    let gone = matches!(answer, Err(AppendError::Backend(BackendError::NotFound)));
    assert!(gone, "{answer:?}");
    assert!(matches!(old.info().await, Err(BackendError::NotFound)));
    let (_, new) = try_log(&backend, "s", Incarnation::CurrentOrNew, 2)
        .await
        .unwrap();
    let after = new.append(vec![entry("a")], now()).await.unwrap();
    assert!(!after[0].deduplicated);
    assert!(
        after[0].seq > before[0].seq,
        "a sequence number is given twice"
    );
}

/// Whichever part of a log is evicted, no operation takes the rest for the whole.
#[tokio::test]
async fn an_evicted_part_is_damage() {
    let server = Server::start(Keeps::EverySecond);
    let backend = server.backend().await;
    for part in ["events", "keys", "order"] {
        let log = log(&backend, part).await;
        log.append(vec![entry("a"), entry("b")], now())
            .await
            .unwrap();
        let found = server.cli(&["KEYS", &format!("*:{part}:*")]);
        let evicted: Vec<&str> = found.lines().collect();
        assert_eq!(server.cli(&["DEL", evicted[0]]), "1");
        let limit = ReadLimit {
            events: 9,
            bytes: 999,
        };
        let appended = match log.append(vec![entry("a")], now()).await {
            Err(AppendError::Backend(error)) => Err(error),
            other => panic!("{part}: {other:?}"),
        };
        for answer in [
            appended,
            log.read(Position::START, limit).await.map(drop),
            log.info().await.map(drop),
            try_log(&backend, part, Incarnation::Current, 2)
                .await
                .map(drop),
        ] {
            assert!(
                matches!(answer, Err(BackendError::Corrupt { .. })),
                "{part}: {answer:?}"
            );
        }
        let (epoch, _) = try_log(&backend, part, Incarnation::New, 3).await.unwrap();
        assert_ne!(
            epoch,
            try_log(&backend, "other", Incarnation::CurrentOrNew, 1)
                .await
                .unwrap()
                .0
        );
        assert!(backend.remove(&key(part)).await.unwrap());
    }
}

/// Readers of all sessions get what is left, and go on.
#[tokio::test]
async fn an_evicted_part_does_not_stop_the_order() {
    let server = Server::start(Keeps::EverySecond);
    let backend = server.backend().await;
    let all = ReadLimit {
        events: 100,
        bytes: usize::MAX,
    };
    let tenant = Tenant::default_tenant();
    let (evicted, sound) = (log(&backend, "s").await, log(&backend, "t").await);
    evicted.append(vec![entry("a")], now()).await.unwrap();
    server.cli(&["DEL", &server.cli(&["KEYS", "*:events:*"])]);
    let first = sound.append(vec![entry("b")], now()).await.unwrap();
    let page = backend.read_order(&tenant, Seq(0), all).await.unwrap();
    let read = page.events.iter().map(|event| event.place().seq);
    assert!(read.eq([first[0].seq]), "{page:?}");
    assert_eq!(page.through, first[0].seq);
    server.cli(&["DEL", &server.cli(&["KEYS", "*:sequence"])]);
    let second = sound.append(vec![entry("c")], now()).await.unwrap();
    let page = backend.read_order(&tenant, Seq(0), all).await.unwrap();
    let read = page.events.iter().map(|event| event.place().seq);
    assert!(read.eq([second[0].seq]), "{page:?}");
}

/// The tenant's counter alone is gone: it goes on above all it has given.
#[tokio::test]
async fn an_evicted_counter_gives_no_number_twice() {
    let server = Server::start(Keeps::EverySecond);
    let backend = server.backend().await;
    let log = log(&backend, "s").await;
    let before = log.append(vec![entry("a")], now()).await.unwrap();
    let counter = server.cli(&["KEYS", "*:tenant"]);
    server.cli(&["DEL", &counter]);
    let after = log.append(vec![entry("b")], now()).await.unwrap();
    assert!(after[0].seq > before[0].seq);
    let last = backend.last_seq(&Tenant::default_tenant()).await.unwrap();
    assert_eq!(last, after[0].seq);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    for (url, code) in [
        ("redis://127.0.0.1:1/", "redis_unavailable"),
        ("http://127.0.0.1:1/", "redis_url_invalid"),
    ] {
        let refused = RedisBackend::connect(url, common::options()).await;
        assert_eq!(refused.unwrap_err().code(), code);
    }
    let mut options = common::options();
    options.prefix = "a*".into();
    let refused = RedisBackend::connect("redis://127.0.0.1:1/", options).await;
    assert_eq!(refused.unwrap_err().code(), "redis_prefix_invalid");
}

#[tokio::test]
async fn sentinels_name_the_server() {
    let server = Server::start(Keeps::EverySecond);
    let sentinel = Sentinel::of(&server);
    let url = sentinel.url();
    let backend = RedisBackend::connect(&url, common::options()).await;
    let there = log(&backend.unwrap(), "s").await;
    there.append(vec![entry("a")], now()).await.unwrap();
    let here = log(&server.backend().await, "s").await;
    assert_eq!(contents(&*here).await.len(), 1);
}

/// A server that may not use more memory refuses what is more, and is read; with room it takes events
/// again.
#[tokio::test]
async fn a_server_without_memory_refuses_and_is_read() {
    let server = Server::start(Keeps::Nothing);
    let backend = server.backend().await;
    let log = log(&backend, "s").await;
    log.append(vec![entry("a")], now()).await.unwrap();
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = log.append(vec![entry("b")], now()).await.unwrap_err();
    let full = matches!(refused, AppendError::Backend(BackendError::Full { .. }));
    assert!(full, "{refused:?}");
    assert_eq!(log.info().await.unwrap().latest, Position(1));
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    let slots = log.append(vec![entry("b")], now()).await.unwrap();
    assert_eq!(slots[0].position, Position(1));
}

/// A connect that is dropped at any point leaves no connection behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn connect_that_is_dropped_leaves_nothing() {
    let server = Server::start(Keeps::Nothing);
    let url = server.url();
    // The first line is the one that asks.
    let connections = || server.cli(&["CLIENT", "LIST"]).lines().count() - 1;
    dropped_at_each_poll(
        async || (),
        async |()| {
            RedisBackend::connect(&url, common::options())
                .await
                .unwrap()
        },
        async |(), _| (),
        async |(), made| {
            drop(made);
            let gone = async {
                while connections() > 0 {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(PATIENCE, gone).await.unwrap();
        },
    )
    .await;
}

/// Appends that go to the server in one call are told each what has become of it alone.
#[tokio::test]
async fn appends_of_one_call_do_not_share_their_fate() {
    for is_foreign in [false, true] {
        appends_of_one_call(is_foreign).await;
    }
}

async fn appends_of_one_call(is_foreign: bool) {
    let server = Server::start(Keeps::EverySecond);
    let backend = server.backend().await;
    let names = [
        "good", "sealed", "removed", "evicted", "keyed", "foreign", "last",
    ];
    let mut logs = Vec::new();
    for name in names {
        let log = log(&backend, name).await;
        let mut first = entry("a");
        // What knows no keys is not looked at before it is written to.
        first.key = first.key.filter(|_| name != "evicted");
        log.append(vec![first], now()).await.unwrap();
        logs.push(log);
    }
    let seal = Seal {
        reason: EndReason::Closed,
        message: None,
    };
    logs[1].seal(seal).await.unwrap();
    backend.remove(&key("removed")).await.unwrap();
    let events = |log: usize| {
        let found = server.cli(&["KEYS", "*:events:*"]);
        let name = BASE64URL_NOPAD.encode(names[log].as_bytes());
        let found = found.lines().find(|line| line.ends_with(&name));
        found.unwrap().to_owned()
    };
    server.cli(&["DEL", &events(3)]);
    // Of another type, which ends the script before it has written anything.
    if is_foreign {
        let foreign = events(5);
        server.cli(&["DEL", &foreign]);
        server.cli(&["SET", &foreign, "x"]);
    }
    let expecting = |position| {
        let mut options = now();
        options.expected = Some(Position(position));
        options
    };
    let mut plain = entry("b");
    plain.key = None;
    let outcomes = tokio::join!(
        logs[0].append(vec![plain.clone()], now()),
        logs[0].append(vec![entry("c"), entry("a")], expecting(2)),
        logs[0].append(vec![plain.clone(), plain.clone()], now()),
        logs[0].append(vec![entry("d")], expecting(2)),
        logs[1].append(vec![plain.clone()], now()),
        logs[2].append(vec![plain.clone()], now()),
        logs[3].append(vec![plain.clone()], now()),
        logs[4].append(vec![conflicting("a"), entry("e")], now()),
        logs[4].append(vec![entry("f"), entry("f")], now()),
        logs[5].append(vec![plain.clone()], now()),
        logs[6].append(vec![plain.clone()], now()),
    );
    let places = |outcome: &Result<Vec<Slot>, AppendError>| -> Vec<(u64, bool)> {
        let slots = outcome.as_ref().unwrap().iter();
        slots
            .map(|slot| (slot.position.0, slot.deduplicated))
            .collect()
    };
    assert_eq!(places(&outcomes.0), [(1, false)]);
    assert_eq!(places(&outcomes.1), [(2, false), (0, true)]);
    assert_eq!(places(&outcomes.2), [(3, false), (4, false)]);
    let actual = match outcomes.3 {
        Err(AppendError::PositionConflict { actual, .. }) => actual,
        other => panic!("{other:?}"),
    };
    assert_eq!(actual, Position(5));
    assert!(matches!(outcomes.4, Err(AppendError::Sealed { .. })));
    let backend_error = |outcome| match outcome {
        Err(AppendError::Backend(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(backend_error(outcomes.5), BackendError::NotFound));
    let is_damaged = |error| matches!(error, BackendError::Corrupt { .. });
    assert!(is_damaged(backend_error(outcomes.6)));
    match is_foreign {
        true => assert!(is_damaged(backend_error(outcomes.9))),
        false => assert_eq!(places(&outcomes.9), [(1, false)]),
    }
    let conflict = matches!(outcomes.7, Err(AppendError::IdempotencyConflict { .. }));
    assert!(conflict, "{:?}", outcomes.7);
    assert_eq!(places(&outcomes.8), [(1, false), (1, true)]);
    assert_eq!(places(&outcomes.10), [(1, false)]);
    assert_eq!(contents(&*logs[0]).await.len(), 5);
    assert_eq!(contents(&*logs[4]).await.len(), 2);
}

/// An entry with the key of another one.
fn conflicting(id: &str) -> Entry {
    let mut entry = entry(id);
    entry.key = entry.key.map(|key| IdempotencyKey {
        fingerprint: 2,
        ..key
    });
    entry
}
