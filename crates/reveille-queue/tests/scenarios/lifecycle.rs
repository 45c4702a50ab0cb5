//! Sessions come, end, expire and go.

use std::sync::Arc;

use jiff::SignedDuration;
use reveille_memory::MemoryBackend;
use reveille_queue::{
    AppendOptions, QueueLimits, SessionError, SessionOptions, Sessions, SubscribeOptions,
    WaitOptions,
};
use reveille_types::{EndReason, Filter, SessionKey, Start, Tenant};
use tokio::time::sleep;

use crate::support::{append, create, draft, drain, key, ms, on_manual_clock, sessions, wait_now};

const MINUTE: u64 = 60_000;

fn ttl(millis: u64) -> SessionOptions {
    SessionOptions::default().ttl(ms(millis))
}

#[tokio::test]
async fn d000_07_idle_sessions_expire_and_then_vanish() {
    let (sessions, clock) = on_manual_clock();
    for n in 0..10_000 {
        create(&sessions, &n.to_string(), ttl(1000));
    }
    clock.advance(ms(999));
    assert_eq!(sessions.sweep().ended, 0);
    clock.advance(ms(1));
    let swept = sessions.sweep();
    assert_eq!(
        (swept.ended, swept.removed, sessions.len()),
        (10_000, 0, 10_000)
    );
    assert_eq!(
        sessions.get(&key("7")).unwrap().info().reason,
        Some(EndReason::Expired)
    );
    clock.advance(ms(1000));
    assert!(
        sessions.get(&key("7")).is_err(),
        "gone before the sweep, too"
    );
    let swept = sessions.sweep();
    assert_eq!(
        (swept.removed, sessions.len(), swept.next),
        (10_000, 0, None)
    );
}

#[tokio::test]
async fn d001_16_activity_keeps_a_session_alive_and_readers_do_not() {
    let (sessions, clock) = on_manual_clock();
    let log = create(&sessions, "s", ttl(10 * MINUTE));
    let mut reader = log
        .subscribe(SubscribeOptions::from(Start::Latest))
        .unwrap();
    for minute in 1..=60 {
        clock.advance(ms(MINUTE));
        match minute % 10 {
            0 => log.touch(),
            5 => drop(append(&log, &["a"])),
            _ => {}
        }
        sessions.sweep();
        assert_eq!(log.info().reason, None, "minute {minute}");
    }
    for _ in 0..10 {
        clock.advance(ms(MINUTE));
        wait_now(&log).await;
        sessions.sweep();
    }
    assert_eq!(drain(&mut reader).last().unwrap(), "end expired");
    let error = log
        .append([draft("a")], AppendOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "session_expired");
    log.touch();
    assert_eq!(log.info().reason, Some(EndReason::Expired));
}

#[tokio::test]
async fn d001_16_live_emitter_keeps_its_session_alive() {
    let (sessions, clock) = on_manual_clock();
    let log = create(&sessions, "s", ttl(1000));
    let emitters = [log.keep_alive(), log.keep_alive()];
    let alive = |expected: bool| {
        sessions.sweep();
        assert_eq!(log.info().reason.is_none(), expected);
    };
    for _ in 0..10 {
        clock.advance(ms(999));
        alive(true);
    }
    assert_eq!(log.info().expires_at, None);
    let [first, second] = emitters;
    drop(first);
    clock.advance(ms(5000));
    alive(true);
    drop(second);
    clock.advance(ms(999));
    alive(true);
    clock.advance(ms(1));
    alive(false);
    // A guard of a session that is over changes nothing.
    drop(log.keep_alive());
    clock.advance(ms(1000));
    assert_eq!(sessions.sweep().removed, 1);
}

#[tokio::test]
async fn d001_16_absolute_lifetime_ends_the_busiest_session() {
    let (sessions, clock) = on_manual_clock();
    let log = create(&sessions, "s", ttl(1000).lifetime(ms(3000)));
    let _emitter = log.keep_alive();
    for _ in 0..5 {
        clock.advance(ms(500));
        append(&log, &["a"]);
        sessions.sweep();
    }
    assert_eq!(log.info().reason, None);
    // Without a sweep: whoever comes finds it over.
    clock.advance(ms(500));
    let late = log.try_append([draft("a")], AppendOptions::default());
    assert_eq!(late.unwrap_err().code(), "session_expired");
    assert_eq!(log.info().reason, Some(EndReason::Expired));
    let zero = sessions.create(key("zero"), SessionOptions::default().lifetime(ms(0)));
    assert_eq!(zero.await.unwrap_err().code(), "invalid_option");
}

#[tokio::test(start_paused = true)]
async fn lifetime_of_an_idle_session_ends_on_time() {
    let sessions = crate::support::sessions();
    let driver = tokio::spawn(sessions.drive());
    let options = SessionOptions::default().lifetime(ms(3000));
    let log = create(&sessions, "s", options);
    let began = tokio::time::Instant::now();
    let mut reader = log.subscribe(SubscribeOptions::default()).unwrap();
    while !matches!(
        reader.next().await.unwrap().unwrap(),
        reveille_queue::StreamItem::Ended { .. }
    ) {}
    assert_eq!(began.elapsed(), ms(3000));
    drop((log, reader, sessions));
    driver.await.unwrap();
}

#[tokio::test]
async fn sessions_are_told_in_numbers() {
    let (sessions, clock) = on_manual_clock();
    let log = create(&sessions, "open", ttl(10_000).max_events(2));
    append(&log, &["a"; 5]);
    create(&sessions, "closed", ttl(10_000))
        .close(None)
        .await
        .unwrap();
    create(&sessions, "expired", ttl(1000));
    clock.advance(ms(1000));
    sessions.sweep();
    let info = sessions.info();
    assert_eq!((info.open, info.ended, info.expired), (1, 2, 1));
    assert_eq!((info.dropped, info.created, info.removed), (3, 3, 0));
    assert_eq!(info.bytes as u64, log.info().bytes);
    clock.advance(ms(1000));
    assert_eq!(sessions.sweep().removed, 1);
    sessions.remove(&key("closed")).await.unwrap();
    let info = sessions.info();
    assert_eq!((info.open, info.ended, info.removed), (1, 0, 2));
}

#[tokio::test]
async fn d001_17_steps_of_the_wall_clock_move_no_deadline_and_no_order() {
    let (sessions, clock) = on_manual_clock();
    let log = create(&sessions, "s", ttl(1000));
    for hours in [-2, 2, 87_600, -87_600] {
        clock.step_wall(SignedDuration::from_hours(hours));
        append(&log, &["a"]);
        clock.advance(ms(999));
        sessions.sweep();
        assert_eq!(log.info().reason, None);
    }
    let mut reader = log.subscribe(SubscribeOptions::default()).unwrap();
    assert_eq!(drain(&mut reader), ["0", "1", "2", "3", "live"]);
    clock.advance(ms(1));
    assert_eq!(sessions.sweep().ended, 1);
}

#[tokio::test]
async fn d001_18_d001_23_options_left_open_come_from_the_sessions_and_zero_is_refused() {
    let sessions = Sessions::builder(MemoryBackend::new())
        .default_ttl(ms(5 * MINUTE))
        .build();
    let minutes = |log: reveille_queue::SessionLog| log.info().ttl_ms.unwrap() / MINUTE;
    assert_eq!(
        minutes(create(&sessions, "a", SessionOptions::default())),
        5
    );
    assert_eq!(minutes(create(&sessions, "b", ttl(60 * MINUTE))), 60);
    let open = SessionOptions::default();
    for options in [ttl(0), open.max_events(0), open.max_bytes(0)] {
        let error = sessions.create(key("c"), options).await.unwrap_err();
        assert_eq!(error.code(), "invalid_option");
    }
    let forever = create(&sessions, "d", open.ttl(std::time::Duration::MAX));
    assert_eq!(forever.info().ttl_ms, None);
    let broken = Sessions::builder(MemoryBackend::new())
        .default_ttl(ms(0))
        .build();
    assert_eq!(
        broken.create(key("a"), open).await.unwrap_err().code(),
        "invalid_option"
    );
    assert_eq!((sessions.len(), broken.len()), (3, 0));
}

#[tokio::test]
async fn d001_20_d000_13_closed_session_keeps_its_name_until_it_is_made_anew() {
    let sessions = sessions();
    let old = create(&sessions, "k", SessionOptions::default());
    let exists = sessions.create(key("k"), SessionOptions::default()).await;
    assert_eq!(exists.unwrap_err().code(), "session_exists");
    let open = sessions.recreate(key("k"), SessionOptions::default()).await;
    assert_eq!(open.unwrap_err().code(), "session_exists");
    append(&old, &["a"; 5]);
    assert!(old.close(Some("done")).await.unwrap());
    assert!(!old.close(None).await.unwrap());
    let Err(SessionError::Ended { reason, at, .. }) =
        sessions.create(key("k"), SessionOptions::default()).await
    else {
        panic!("it is over, and readable");
    };
    assert_eq!((reason, Some(at)), (EndReason::Closed, old.info().ended_at));
    let (found, created) = sessions
        .get_or_create(key("k"), SessionOptions::default())
        .await
        .unwrap();
    assert!(!created && found.epoch() == old.epoch());

    let new = sessions
        .recreate(key("k"), SessionOptions::default())
        .await
        .unwrap();
    assert_ne!(new.epoch(), old.epoch());
    append(&new, &["a"; 3]);
    let stale = WaitOptions::any(Filter::all()).from(Start::After(old.latest()));
    assert_eq!(
        new.wait(stale).await.unwrap_err().code(),
        "cursor_epoch_mismatch"
    );
    let mut drained = old.subscribe(SubscribeOptions::default()).unwrap();
    assert_eq!(drain(&mut drained).len(), 7, "readers of the old one drain");
    assert_eq!(sessions.len(), 1);
}

#[tokio::test]
async fn removed_session_is_unknown_and_over() {
    let sessions = sessions();
    let log = create(&sessions, "k", SessionOptions::default());
    append(&log, &["a"]);
    sessions.remove(&key("k")).await.unwrap();
    for error in [
        sessions.get(&key("k")).unwrap_err(),
        sessions.remove(&key("k")).await.unwrap_err(),
    ] {
        assert_eq!(error.code(), "session_not_found");
    }
    let info = log.info();
    assert_eq!(
        (info.reason, info.retained, info.bytes),
        (Some(EndReason::Deleted), 0, 0)
    );
    let again = create(&sessions, "k", SessionOptions::default());
    assert_ne!(again.epoch(), log.epoch());
}

#[tokio::test]
async fn d001_24_only_ended_sessions_make_room() {
    let mut limits = QueueLimits::default();
    limits.sessions_per_tenant = 3;
    limits.sessions = 4;
    let sessions = Sessions::builder(MemoryBackend::new())
        .limits(limits)
        .build();
    let logs: Vec<_> = (0..3)
        .map(|n| create(&sessions, &n.to_string(), SessionOptions::default()))
        .collect();
    let full = || sessions.create(key("3"), SessionOptions::default());
    assert_eq!(full().await.unwrap_err().code(), "too_many_sessions");
    logs[1].close(None).await.unwrap();
    full().await.unwrap();
    assert!(sessions.get(&key("1")).is_err());
    assert_eq!(sessions.len(), 3);
    // Another tenant has its own bound, and the same bound in all.
    let theirs = |id| SessionKey::in_tenant(Tenant::parse("b").unwrap(), id).unwrap();
    let create = |id| sessions.create(theirs(id), SessionOptions::default());
    create("0").await.unwrap();
    assert_eq!(create("1").await.unwrap_err().code(), "too_many_sessions");
    sessions.remove(&key("0")).await.unwrap();
    create("1").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn d001_19_concurrent_get_or_create_makes_one_session() {
    for round in 0..20 {
        let sessions = sessions();
        let barrier = Arc::new(tokio::sync::Barrier::new(64));
        let callers: Vec<_> = (0..64)
            .map(|_| {
                let (sessions, barrier) = (sessions.clone(), Arc::clone(&barrier));
                tokio::spawn(async move {
                    barrier.wait().await;
                    let made = sessions.get_or_create(key("k"), SessionOptions::default());
                    let (log, created) = made.await.unwrap();
                    (log.epoch(), created)
                })
            })
            .collect();
        let mut epochs = std::collections::HashSet::new();
        let mut created = 0;
        for caller in callers {
            let (epoch, made) = caller.await.unwrap();
            epochs.insert(epoch);
            created += usize::from(made);
        }
        assert_eq!((epochs.len(), created), (1, 1), "round {round}");
    }
}

#[tokio::test(start_paused = true)]
async fn driver_expires_on_time_and_ends_with_the_sessions() {
    let sessions = sessions();
    let drivers = [
        tokio::spawn(sessions.drive()),
        tokio::spawn(sessions.drive()),
    ];
    tokio::task::yield_now().await;
    let log = create(&sessions, "s", ttl(5000));
    let mut reader = log.subscribe(SubscribeOptions::default()).unwrap();
    assert_eq!(drain(&mut reader), ["live"]);
    let began = tokio::time::Instant::now();
    sleep(ms(3000)).await;
    log.touch();
    assert!(reader.next().await.is_some());
    assert_eq!(began.elapsed(), ms(8000));
    assert_eq!(log.info().reason, Some(EndReason::Expired));
    sleep(ms(5000)).await;
    tokio::task::yield_now().await;
    assert_eq!(sessions.len(), 0);
    drop((log, reader, sessions));
    for driver in drivers {
        driver.await.unwrap();
    }
}

#[tokio::test]
async fn sessions_of_the_system_cannot_be_made() {
    let error = sessions()
        .create(key("system/x"), SessionOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "reserved_name");
}
