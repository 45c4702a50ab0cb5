//! What comes and goes leaves nothing: neither counts nor memory.

#![cfg(not(loom))]
#![allow(
    clippy::unwrap_used,
    reason = "in a test an unwrap that fails is the failure"
)]

use std::sync::Arc;
use std::time::Duration;

use allocation_counter::measure;
use futures_util::FutureExt;
use reveille_core::ManualClock;
use reveille_memory::MemoryBackend;
use reveille_queue::{
    AppendOptions, MultiWait, SessionLog, SessionOptions, Sessions, SubscribeOptions, TailLimits,
    TakeOptions, TakeOutcome, WaitOptions,
};
use reveille_types::{EventDraft, Filter, Kind, Label, Position, SessionKey, Start, Tenant};
use tokio_test::{assert_pending, task};

const MANY: usize = 100_000;
/// What may be left: lists that keep their capacity.
const SLACK: i64 = 64 * 1024;

fn sessions() -> (Sessions, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new());
    let sessions = Sessions::builder(MemoryBackend::new())
        .clock(clock.clone())
        .tail(TailLimits {
            events: 100,
            bytes: 1024 * 1024,
        })
        .build();
    (sessions, clock)
}

fn create(sessions: &Sessions, name: &str, options: SessionOptions) -> SessionLog {
    let key = SessionKey::in_tenant(Tenant::default_tenant(), name).unwrap();
    let created = sessions.create(key, options).now_or_never();
    created.unwrap().unwrap()
}

fn append(log: &SessionLog) {
    let draft = EventDraft::parse("a").unwrap();
    log.try_append([draft], AppendOptions::default()).unwrap();
}

/// Does something a few times, and then many times, which must not cost memory for good.
fn leaves_nothing(what: &str, mut once: impl FnMut(usize)) {
    (0..1000).for_each(&mut once);
    let info = measure(|| (1000..MANY).for_each(&mut once));
    assert!(info.count_total > 0, "it is measured at all");
    assert!(
        info.bytes_current.abs() <= SLACK,
        "{what}: {} bytes are left",
        info.bytes_current
    );
}

#[test]
fn d000_06_waits_and_takes_that_come_and_go_leave_nothing() {
    let (sessions, _clock) = sessions();
    let log = create(&sessions, "s", SessionOptions::default());
    let other = create(&sessions, "t", SessionOptions::default());
    leaves_nothing("waits", |_| {
        let mut wait = task::spawn(log.wait(WaitOptions::any(Filter::all())));
        assert_pending!(wait.poll());
    });
    leaves_nothing("takes", |_| {
        let mut take = task::spawn(log.take(TakeOptions::new()));
        assert_pending!(take.poll());
    });
    leaves_nothing("waits in several sessions", |_| {
        let both = [&log, &other].map(|log| (log.clone(), WaitOptions::any(Filter::all())));
        let mut wait = task::spawn(MultiWait::all(both.to_vec()).wait());
        assert_pending!(wait.poll());
    });
    leaves_nothing("waits without time", |_| {
        let now = WaitOptions::any(Filter::all()).timeout(Duration::ZERO);
        log.wait(now).now_or_never().unwrap().unwrap();
    });
    // All at once, too.
    let info = measure(|| {
        let mut all: Vec<_> = (0..10_000)
            .map(|_| task::spawn(log.wait(WaitOptions::any(Filter::all()))))
            .collect();
        for wait in &mut all {
            assert_pending!(wait.poll());
        }
        assert_eq!(log.info().waiters, 10_000);
    });
    assert!(info.bytes_current < 4 * 1024 * 1024, "{info:?}");
    assert_eq!(log.info().waiters, 0);
    assert_eq!(other.info().waiters, 0);
}

#[test]
fn subscriptions_that_come_and_go_leave_nothing() {
    let (sessions, _clock) = sessions();
    let log = create(&sessions, "s", SessionOptions::default().max_events(100));
    leaves_nothing("subscriptions", |n| {
        append(&log);
        let mut all = log
            .subscribe(SubscribeOptions::from(Start::Earliest))
            .unwrap();
        // Some leave at once, some in the middle, some when they wait.
        for _ in 0..n % 5 * 30 {
            if all.next().now_or_never().is_none() {
                break;
            }
        }
        let kept = log.keep_alive();
        drop((all, kept));
    });
    assert_eq!(log.info().subscribers, 0);
    assert_eq!(log.info().retained, 100);
}

#[test]
fn groups_that_take_settle_and_skip_keep_nothing() {
    let (sessions, clock) = sessions();
    let options = SessionOptions::default().max_events(100).max_deliveries(2);
    let log = create(&sessions, "s", options);
    let group = Label::parse("g").unwrap();
    leaves_nothing("leases", |n| {
        append(&log);
        let lease = TakeOptions::new()
            .group(group.clone())
            .lease(Duration::from_millis(10))
            .max(10);
        let taking = log.take(lease.timeout(Duration::ZERO));
        let TakeOutcome::Taken { taken, .. } = taking.now_or_never().unwrap().unwrap() else {
            return;
        };
        for taken in taken {
            let id = taken.lease.unwrap().id;
            match n % 3 {
                0 => log.ack(&group, id).now_or_never().unwrap().unwrap(),
                1 => log.nack(&group, id).now_or_never().unwrap().unwrap(),
                _ => clock.advance(Duration::from_millis(10)),
            }
        }
        for letter in log.dead_letters(&group) {
            let position = letter.event.position();
            log.discard_dead_letter(&group, position).now_or_never();
        }
        if n % 10 == 0 {
            log.skip_to(&group, Start::Latest).now_or_never();
        }
    });
    let end = log.latest().position().unwrap();
    log.skip_to(&group, Start::At(Position(end.0)))
        .now_or_never();
    let info = log.group_info(&group).unwrap();
    assert_eq!((info.pending, info.dead, info.kept_bytes), (0, 0, 0));
}

#[test]
fn d000_07_sessions_that_come_and_go_leave_nothing() {
    let (sessions, clock) = sessions();
    let options = || SessionOptions::default().ttl(Duration::from_secs(1));
    leaves_nothing("sessions that are removed", |n| {
        let log = create(&sessions, &n.to_string(), options());
        append(&log);
        let removed = sessions.remove(log.key()).now_or_never();
        removed.unwrap().unwrap();
    });
    leaves_nothing("sessions that expire", |n| {
        let log = create(&sessions, &n.to_string(), options());
        append(&log);
        if n % 100 == 0 {
            clock.advance(Duration::from_secs(1));
            sessions.sweep();
            clock.advance(Duration::from_secs(1));
            sessions.sweep();
        }
    });
    clock.advance(Duration::from_secs(1));
    sessions.sweep();
    clock.advance(Duration::from_secs(1));
    sessions.sweep();
    let info = sessions.info();
    assert_eq!((info.open, info.ended, info.bytes), (0, 0, 0));
    assert!(sessions.is_empty());
}

#[test]
fn d000_07_many_sessions_at_once_give_their_memory_back() {
    let (sessions, clock) = sessions();
    let info = measure(|| {
        for n in 0..MANY {
            let options = SessionOptions::default().ttl(Duration::from_secs(1));
            append(&create(&sessions, &n.to_string(), options));
        }
        assert_eq!(sessions.info().open, MANY);
        clock.advance(Duration::from_secs(1));
        assert_eq!(sessions.sweep().ended, MANY);
        clock.advance(Duration::from_secs(1));
        assert_eq!(sessions.sweep().removed, MANY);
    });
    assert_eq!(sessions.info().bytes, 0);
    assert!(
        info.bytes_current * 20 < info.bytes_max as i64,
        "{} of {} bytes are left",
        info.bytes_current,
        info.bytes_max
    );
}

#[test]
fn d001_28_append_to_a_full_log_costs_as_much_as_to_an_empty_one() {
    let (sessions, _clock) = sessions();
    let empty = create(&sessions, "empty", SessionOptions::default());
    let full = create(
        &sessions,
        "full",
        SessionOptions::default().max_events(1000),
    );
    (0..MANY).for_each(|_| append(&full));
    let cost = |log: &SessionLog| {
        let info = measure(|| (0..1000).for_each(|_| append(log)));
        (info.count_total, info.bytes_total)
    };
    let (empty, full) = (cost(&empty), cost(&full));
    assert!(full.0 <= empty.0 + 2 * 1000, "{full:?} and {empty:?}");
    assert!(full.1 <= 2 * empty.1, "{full:?} and {empty:?}");
}

#[test]
fn d000_18_taker_that_passes_over_a_full_log_copies_nothing_of_it() {
    let (sessions, _clock) = sessions();
    let log = create(&sessions, "s", SessionOptions::default());
    (0..1000).for_each(|_| append(&log));
    let other = Filter::matching("other").unwrap();
    let register = || {
        let mut take = task::spawn(log.take(TakeOptions::new().matching(other.clone())));
        assert_pending!(take.poll());
    };
    register();
    let info = measure(register);
    assert!(info.bytes_total < 4096, "{info:?}");
}

/// The event itself, the receipt's rows and the taken events.
#[test]
fn append_and_take_of_one_event_allocate_three_times() {
    let sessions = Sessions::builder(MemoryBackend::new()).build();
    let log = create(&sessions, "s", SessionOptions::default().max_events(100));
    let kind = Kind::parse("task.completed").unwrap();
    let pair = || {
        let draft = EventDraft::new(kind.clone());
        log.try_append([draft], AppendOptions::default()).unwrap();
        let taken = log.take(TakeOptions::new()).now_or_never().unwrap();
        assert!(matches!(taken, Ok(TakeOutcome::Taken { .. })));
    };
    (0..1000).for_each(|_| pair());
    let info = measure(|| (0..1000).for_each(|_| pair()));
    assert_eq!(info.count_total, 3 * 1000);
}

#[test]
fn idle_session_costs_less_than_a_kibibyte() {
    const SESSIONS: i64 = 10_000;
    let sessions = Sessions::builder(MemoryBackend::new()).build();
    create(&sessions, "first", SessionOptions::default());
    let info = measure(|| {
        for n in 0..SESSIONS {
            let log = create(&sessions, &n.to_string(), SessionOptions::default());
            drop(log);
        }
    });
    let each = info.bytes_current / SESSIONS;
    assert!((1..1024).contains(&each), "{each} bytes");
}
