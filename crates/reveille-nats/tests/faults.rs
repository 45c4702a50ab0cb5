//! What happens when the server stops, dies, or forgets: nothing that was acknowledged is lost, nothing
//! is there twice, and nobody sleeps for ever.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use common::relay::{Mode, Relay};
use common::server::Server;
use common::{MANY, backend, options, survives};
use reveille_backend::types::{Durability, Position, Seq, Tenant};
use reveille_backend::{AppendError, Backend, BackendError, Incarnation, ReadLimit};
use reveille_nats::{NatsBackend, Storage};
use reveille_testkit::chaos::{PATIENCE, rounds};
use reveille_testkit::dropped_at_each_poll;
use reveille_testkit::stored::{self, contents, entry, key, log, now, try_log};
use rustix::process::Signal;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_nothing_that_was_acknowledged() {
    let mut server = Server::start();
    let url = [server.url()];
    survives(&url, options, MANY, rounds(3), async || {
        server.kill();
        server.start_again();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_server_goes_on_where_it_was() {
    let server = Server::start();
    survives(&[server.url()], options, MANY, rounds(1), async || {
        server.signal(Signal::STOP);
        // Longer than the connection is waited for.
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        server.signal(Signal::CONT);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_connection_loses_nothing() {
    let server = Server::start();
    let relay = Relay::to(server.port()).await;
    let modes = [Mode::Cut, Mode::Hold, Mode::HoldAnswers];
    let mut round = 0;
    survives(
        &[server.url(), relay.url()],
        options,
        MANY,
        rounds(3),
        async || {
            let mode = modes[round % modes.len()];
            round += 1;
            relay.set(mode);
            let long = match mode {
                Mode::Cut => Duration::from_millis(50),
                // Longer than the connection is waited for.
                _ => Duration::from_millis(2_500),
            };
            tokio::time::sleep(long).await;
            relay.set(Mode::Pass);
        },
    )
    .await;
}

#[tokio::test]
async fn two_processes_append_densely_and_wake_each_other() {
    let server = Server::start();
    let (one, two) = (backend(&server.url()).await, backend(&server.url()).await);
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
        let mut options = now();
        options.expected = Some(Position(2 * round + 1));
        let slots = two
            .append(vec![entry(&format!("two-{round}"))], options)
            .await
            .unwrap();
        assert_eq!(slots[0].position, Position(2 * round + 1));
    }
    let again = two.append(vec![entry("one-7")], now()).await.unwrap();
    assert!(again[0].deduplicated, "a key of one is known to the other");
    assert_eq!(contents(&*one).await.len(), 100);
}

/// Keys are known after a restart of the process and of the server, and after their events are trimmed.
#[tokio::test]
async fn keys_outlive_the_process_and_their_events() {
    let mut server = Server::start();
    let first = {
        let log = log(&backend(&server.url()).await, "s").await;
        let first = log
            .append(vec![entry("a"), entry("b")], now())
            .await
            .unwrap();
        log.append(vec![entry("c")], now()).await.unwrap();
        log.trim(Position(3)).await.unwrap();
        assert_eq!(log.info().await.unwrap().oldest, Position(3));
        first
    };
    server.kill();
    server.start_again();
    let log = log(&backend(&server.url()).await, "s").await;
    let again = log.append(vec![entry("b")], now()).await.unwrap();
    assert!(again[0].deduplicated);
    assert_eq!(
        (again[0].position, again[0].seq),
        (first[1].position, first[1].seq)
    );
    let next = log.append(vec![entry("d")], now()).await.unwrap();
    assert_eq!(next[0].position, Position(3));
}

/// A batch costs a server with files as much as many single messages. All events of a step bear its name.
#[tokio::test]
async fn appends_that_wait_are_stored_together_where_that_is_sooner() {
    for (appends, events, steps) in [
        // Few are stored one after the other.
        (20, 1, 20..=20),
        (300, 1, 1..=3),
        // A batch is needed anyway.
        (20, 2, 1..=2),
    ] {
        let server = Server::start();
        let log = log(&backend(&server.url()).await, "s").await;
        let append = |n: usize| {
            let batch = (0..events).map(|event| entry(&format!("{n}-{event}")));
            log.append(batch.collect(), now())
        };
        for appended in futures_util::future::join_all((0..appends).map(append)).await {
            appended.unwrap();
        }
        let headers = server.headers("events").await;
        assert_eq!(headers.len(), appends * events);
        let names = headers.iter().map(|header| header.split(' ').nth(1));
        let names: HashSet<_> = names.collect();
        let told = format!("{appends} appends of {events}: {} steps", names.len());
        assert!(steps.contains(&names.len()), "{told}");
    }
}

/// Events without keys leave the server when they are trimmed, all but the last.
#[tokio::test]
async fn what_is_trimmed_leaves_the_server() {
    let server = Server::start();
    let backend = backend(&server.url()).await;
    let log = log(&backend, "s").await;
    let batch: Vec<_> = (0..1_000)
        .map(|n| {
            let mut entry = entry(&n.to_string());
            entry.key = None;
            entry
        })
        .collect();
    for _ in 0..3 {
        log.append(batch.clone(), now()).await.unwrap();
    }
    log.trim(Position(2_900)).await.unwrap();
    let messages = server.messages("events").await;
    assert!((100..400).contains(&messages), "{messages} are left");
    let limit = ReadLimit {
        events: 5,
        bytes: usize::MAX,
    };
    let page = log.read(Position(0), limit).await.unwrap();
    assert_eq!(page.oldest, Position(2_900));
    assert_eq!(page.events[0].position(), Position(2_900));
    // A handle that has seen nothing of the log finds the middle of it.
    let other = stored::log(&common::backend(&server.url()).await, "s").await;
    let page = other.read(Position(2_990), limit).await.unwrap();
    assert_eq!(page.events[0].position(), Position(2_990));
    assert!(backend.remove(&key("s")).await.unwrap());
    assert_eq!(
        server.messages("events").await,
        0,
        "a removed log leaves nothing"
    );
    assert_eq!(
        server.messages("logs").await,
        0,
        "a removed log leaves nothing"
    );
}

/// However many logs are watched, there is one connection and one consumer for each stream; and none
/// of a dropped backend.
#[tokio::test]
async fn watches_share_one_reader_which_leaves_nothing() {
    let server = Server::start();
    let watching = backend(&server.url()).await;
    let mut watches = Vec::new();
    for n in 0..50 {
        let log = log(&watching, &format!("s{n}")).await;
        watches.push(log.watch(Position::START).await.unwrap());
    }
    assert_eq!(server.consumers().await, 2);
    drop((watches, watching));
    let gone = tokio::time::timeout(PATIENCE, async {
        while server.consumers().await > 0 {
            tokio::task::yield_now().await;
        }
    });
    gone.await.expect("a consumer is left behind");
}

/// A watch sleeps while its connection is cut and the log grows: it is woken by the reconnect.
#[tokio::test]
async fn a_watch_whose_connection_is_cut_is_woken() {
    let server = Server::start();
    let relay = Relay::to(server.port()).await;
    let watched = log(&backend(&relay.url()).await, "s").await;
    let appending = log(&backend(&server.url()).await, "s").await;
    for round in 0..5 {
        let watch = watched.watch(Position(round)).await.unwrap();
        relay.set(Mode::Cut);
        appending
            .append(vec![entry(&round.to_string())], now())
            .await
            .unwrap();
        relay.set(Mode::Pass);
        tokio::time::timeout(PATIENCE, watch)
            .await
            .expect("a lost wake")
            .unwrap();
    }
}

#[tokio::test]
async fn a_level_is_what_the_streams_keep() {
    let server = Server::start();
    for (prefix, storage, expected) in [
        ("files", Storage::File, Durability::Os),
        ("memory", Storage::Memory, Durability::Volatile),
    ] {
        let mut options = common::options();
        (options.prefix, options.storage) = (prefix.into(), storage);
        let backend = NatsBackend::connect(&server.url(), options).await.unwrap();
        assert_eq!(backend.capabilities().durability, expected);
        // Whoever comes later takes what is there.
        let mut options = common::options();
        options.prefix = prefix.into();
        let backend = NatsBackend::connect(&server.url(), options).await.unwrap();
        assert_eq!(backend.capabilities().durability, expected);
    }
}

/// Streams that were deleted behind the backend's back: their logs are gone, and the next incarnation
/// has another epoch.
#[tokio::test]
async fn deleted_streams_are_told() {
    let server = Server::start();
    let backend = backend(&server.url()).await;
    let old = log(&backend, "s").await;
    old.append(vec![entry("a")], now()).await.unwrap();
    server.delete_streams().await;
    let answer = old.append(vec![entry("b")], now()).await;
    let gone = matches!(answer, Err(AppendError::Backend(BackendError::NotFound)));
    assert!(gone, "{answer:?}");
    assert!(matches!(old.info().await, Err(BackendError::NotFound)));
    let (_, new) = try_log(&backend, "s", Incarnation::CurrentOrNew, 2)
        .await
        .unwrap();
    let watch = new.watch(Position(0)).await.unwrap();
    let after = new.append(vec![entry("a")], now()).await.unwrap();
    assert!(!after[0].deduplicated);
    let woken = tokio::time::timeout(PATIENCE, watch).await;
    woken
        .expect("a stream that was made anew is heard")
        .unwrap();
}

/// Messages that are gone though nobody trimmed: no operation takes the rest for the whole.
/// Readers of all sessions get the others.
#[tokio::test]
async fn damage_does_not_stop_the_order() {
    let server = Server::start();
    let backend = backend(&server.url()).await;
    let all = ReadLimit {
        events: 100,
        bytes: usize::MAX,
    };
    let (damaged, sound) = (log(&backend, "s").await, log(&backend, "t").await);
    for (log, id) in [(&damaged, "a"), (&sound, "b"), (&damaged, "c")] {
        log.append(vec![entry(id)], now()).await.unwrap();
    }
    server.send_stranger("events").await;
    sound.append(vec![entry("d")], now()).await.unwrap();
    server.delete_message("events", 1).await;
    let tenant = Tenant::default_tenant();
    let page = backend.read_order(&tenant, Seq(0), all).await.unwrap();
    let read = page.events.iter().map(|event| event.place().seq);
    assert!(read.eq([Seq(2), Seq(3), Seq(5)]), "{page:?}");
    assert_eq!(page.through, Seq(5));
}

#[tokio::test]
async fn missing_events_are_damage() {
    let server = Server::start();
    let backend = backend(&server.url()).await;
    let all = ReadLimit {
        events: 100,
        bytes: usize::MAX,
    };
    let log = log(&backend, "s").await;
    for id in ["a", "b", "c"] {
        log.append(vec![entry(id)], now()).await.unwrap();
    }
    server.delete_message("events", 2).await;
    let read = log.read(Position::START, all).await;
    assert!(
        matches!(read, Err(BackendError::Corrupt { .. })),
        "{read:?}"
    );
    server.purge("events").await;
    let appended = match log.append(vec![entry("d")], now()).await {
        Err(AppendError::Backend(error)) => Err(error),
        other => panic!("{other:?}"),
    };
    for answer in [
        appended,
        log.info().await.map(drop),
        try_log(&backend, "s", Incarnation::Current, 2)
            .await
            .map(drop),
    ] {
        assert!(
            matches!(answer, Err(BackendError::Corrupt { .. })),
            "{answer:?}"
        );
    }
    try_log(&backend, "s", Incarnation::New, 3).await.unwrap();
    assert!(backend.remove(&key("s")).await.unwrap());
}

/// A stream that holds as much as it may refuses what is more, at once, and is read on; with room it takes
/// events again.
#[tokio::test]
async fn a_full_stream_refuses_and_is_read() {
    let server = Server::start();
    let mut options = common::options();
    options.max_bytes = Some(64 * 1024);
    let backend = NatsBackend::connect(&server.url(), options).await.unwrap();
    let log = log(&backend, "s").await;
    let mut stored = 0;
    let refused = loop {
        let mut entry = entry(&stored.to_string());
        entry.key = None;
        match log.append(vec![entry], now()).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 1_000, "there is no limit");
    };
    let full = matches!(refused, AppendError::Backend(BackendError::Full { .. }));
    assert!(full, "{refused:?}");
    let begin = Instant::now();
    assert!(log.append(vec![entry("more")], now()).await.is_err());
    assert!(
        begin.elapsed() < common::options().patience,
        "it is tried on"
    );
    assert_eq!(contents(&*log).await.len(), stored);
    log.trim(Position(stored as u64)).await.unwrap();
    let slots = log.append(vec![entry("more")], now()).await.unwrap();
    assert_eq!(slots[0].position, Position(stored as u64));
}

/// One tenant's keys, sequence numbers and streams are nothing to another.
#[tokio::test]
async fn the_same_keys_of_two_tenants_do_not_meet() {
    let server = Server::start();
    let backend = backend(&server.url()).await;
    let (_, other) = (Tenant::default_tenant(), Tenant::parse("other").unwrap());
    let mine = log(&backend, "s").await;
    mine.append(vec![entry("a")], now()).await.unwrap();
    assert_eq!(backend.last_seq(&other).await.unwrap().0, 0);
    let their_key = reveille_backend::types::SessionKey::in_tenant(other.clone(), "s").unwrap();
    let epoch = reveille_backend::types::Epoch::from_parts(1_700_000_000_000, 7);
    let options = reveille_backend::OpenOptions::new(Incarnation::CurrentOrNew, epoch);
    let opened = backend.open(&their_key, options).await.unwrap();
    let reveille_backend::LogHandle::Stored(theirs) = opened.log else {
        panic!("a stored log");
    };
    let slots = theirs.append(vec![entry("a")], now()).await.unwrap();
    assert!(!slots[0].deduplicated);
    assert_eq!(slots[0].position, Position(0));
}

/// Without a server, an append is refused or unknown within the patience, and readers go on later.
#[tokio::test]
async fn a_server_that_is_gone_is_told_in_time() {
    let mut server = Server::start();
    let backend = backend(&server.url()).await;
    let log = log(&backend, "s").await;
    log.append(vec![entry("a")], now()).await.unwrap();
    server.kill();
    let begin = Instant::now();
    let refused = log.append(vec![entry("b")], now()).await;
    let patience = options().patience + options().response_timeout * 2;
    assert!(begin.elapsed() < patience, "{:?}", begin.elapsed());
    assert!(
        matches!(
            refused,
            Err(AppendError::OutcomeUnknown
                | AppendError::Backend(BackendError::Unavailable { .. }))
        ),
        "{refused:?}"
    );
    assert!(backend.health().await.is_err());
    server.start_again();
    let used_again = tokio::time::timeout(PATIENCE, async {
        while log.append(vec![entry("b")], now()).await.is_err() {
            tokio::task::yield_now().await;
        }
    });
    used_again.await.expect("the server is used again");
    assert_eq!(contents(&*log).await.len(), 2);
}

/// An append that waits behind another one, to a log of which nothing is known yet, does not begin to
/// be patient when the other one has ended.
#[tokio::test]
async fn appends_to_a_log_that_is_not_loaded_wait_for_silence_once() {
    let server = Server::start();
    let relay = Relay::to(server.port()).await;
    let log = log(&backend(&relay.url()).await, "s").await;
    relay.set(Mode::Hold);
    let append = |id: &'static str| {
        let log = std::sync::Arc::clone(&log);
        tokio::spawn(async move {
            let begin = Instant::now();
            (log.append(vec![entry(id)], now()).await, begin.elapsed())
        })
    };
    let first = append("a");
    // The first one is looked at alone, and the second one has most of its patience left then.
    tokio::time::sleep(options().patience / 5).await;
    let second = append("b");
    for append in [first, second] {
        let (refused, waited) = append.await.unwrap();
        let silent = matches!(
            refused,
            Err(AppendError::Backend(BackendError::Unavailable { .. }))
        );
        assert!(silent, "{refused:?}");
        let longest = options().patience + options().response_timeout;
        assert!(waited < longest, "{waited:?}");
    }
    relay.set(Mode::Pass);
    log.append(vec![entry("b")], now()).await.unwrap();
    assert_eq!(contents(&*log).await.len(), 1);
}

#[tokio::test]
async fn a_server_that_will_not_do_is_named() {
    for (url, code) in [
        ("nats://127.0.0.1:1", "nats_unavailable"),
        ("http://127.0.0.1:1", "nats_url_invalid"),
    ] {
        let refused = NatsBackend::connect(url, options()).await;
        assert_eq!(refused.unwrap_err().code(), code, "{url}");
    }
    let mut options = common::options();
    options.prefix = "a.b".into();
    let refused = NatsBackend::connect("nats://127.0.0.1:1", options).await;
    assert_eq!(refused.unwrap_err().code(), "nats_prefix_invalid");
}

#[tokio::test]
async fn who_may_not_connect_is_told() {
    for (authorization, right) in [
        ("user: u, password: \"p@ss\"", "u:p%40ss@"),
        ("token: \"s3cret\"", "s3cret@"),
    ] {
        let server = Server::with_authorization(authorization);
        for (who, may) in [(right, true), ("u:wrong@", false), ("", false)] {
            let url = format!("nats://{who}127.0.0.1:{}", server.port());
            let connected = NatsBackend::connect(&url, options()).await;
            assert_eq!(connected.is_ok(), may, "{authorization}: {who}");
            if let Err(error) = connected {
                assert_eq!(error.code(), "nats_unavailable");
            }
        }
    }
}

/// A connect that is dropped at any point leaves no connection behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn connect_that_is_dropped_leaves_nothing() {
    let server = Server::start();
    let url = server.url();
    dropped_at_each_poll(
        async || (),
        async |()| backend(&url).await,
        async |(), _| (),
        async |(), made| {
            drop(made);
            let gone = async {
                while server.connections() > 0 {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(PATIENCE, gone).await.unwrap();
        },
    )
    .await;
}
