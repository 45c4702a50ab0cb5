//! The guarantees of reliability that speak of sessions. With `REVEILLE_DEEP` in the environment the same
//! code runs with larger numbers.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use jiff::SignedDuration;
use proptest::prelude::*;
use reveille_core::ManualClock;
use reveille_memory::{KEYS_PER_TENANT, MemoryBackend};
use reveille_queue::{
    AppendOptions, PageOptions, QueueLimits, SessionLog, SessionOptions, Sessions, StreamItem,
    SubscribeOptions, TakeOptions, TakeOutcome, WaitOptions, WaitOutcome,
};
use reveille_types::{Event, EventDraft, Filter, Label, Payload, Position, Start};
use tokio_test::task;

use crate::support::{
    append, create, draft, drain, key, log, log_of, matching, ms, on_manual_clock, position,
    take_now, taken, wait_now,
};

/// How much of something: usually, and when there is time.
fn amount(usual: usize, deep: usize) -> usize {
    match std::env::var_os("REVEILLE_DEEP") {
        None => usual,
        Some(_) => deep,
    }
}

fn producer_and_number(event: &Event) -> (usize, usize) {
    let envelope = event.envelope();
    let number = |label: &Option<Label>| label.as_ref().unwrap().as_str().parse().unwrap();
    (number(&envelope.agent), number(&envelope.turn))
}

/// What a reader has seen: all of it, at its place, each producer in its order.
struct Seen {
    next: u64,
    of_producer: Vec<usize>,
}

impl Seen {
    fn nothing(producers: usize) -> Self {
        Self {
            next: 0,
            of_producer: vec![0; producers],
        }
    }

    fn see(&mut self, event: &Event) {
        assert_eq!(position(event), self.next, "a hole, or another order");
        self.next += 1;
        let (producer, number) = producer_and_number(event);
        assert_eq!(number, self.of_producer[producer], "of one producer");
        self.of_producer[producer] += 1;
    }
}

/// Follows by waits if `n` is even, by a subscription if it is odd.
async fn follow(log: SessionLog, n: usize, producers: usize, all: u64) {
    let mut seen = Seen::nothing(producers);
    if n.is_multiple_of(2) {
        let mut after = log.oldest();
        while seen.next < all {
            let options = WaitOptions::any(Filter::all()).from(Start::After(after));
            let WaitOutcome::Matched { events, cursor, .. } = log.wait(options).await.unwrap()
            else {
                panic!("the wait ends before all is there");
            };
            events.iter().for_each(|event| seen.see(event));
            after = cursor;
        }
    } else {
        let mut subscription = log.subscribe(SubscribeOptions::default()).unwrap();
        while seen.next < all {
            match subscription.next().await.unwrap().unwrap() {
                StreamItem::Event(event) => seen.see(&event),
                StreamItem::CaughtUp(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn r10_positions_are_dense_and_one_order_for_all_readers() {
    const PRODUCERS: usize = 8;
    const READERS: usize = 4;
    let each = amount(2_500, 250_000);
    let all = (PRODUCERS * each) as u64;
    let options = SessionOptions::default()
        .max_events(PRODUCERS * each)
        .max_bytes(usize::MAX);
    let mut limits = QueueLimits::default();
    (limits.bytes, limits.bytes_per_tenant) = (usize::MAX, usize::MAX);
    let sessions = Sessions::builder(MemoryBackend::new())
        .limits(limits)
        .build();
    let log = create(&sessions, "s", options);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let readers: Vec<_> = (0..READERS)
        .map(|n| runtime.spawn(follow(log.clone(), n, PRODUCERS, all)))
        .collect();
    thread::scope(|scope| {
        for producer in 0..PRODUCERS {
            let log = &log;
            scope.spawn(move || {
                for number in 0..each {
                    let mut draft = draft("a");
                    draft.agent = Some(Label::parse(producer.to_string()).unwrap());
                    draft.turn = Some(Label::parse(number.to_string()).unwrap());
                    log.try_append([draft], AppendOptions::default()).unwrap();
                }
            });
        }
    });
    for reader in readers {
        runtime.block_on(reader).unwrap();
    }
    assert_eq!(log.latest().position(), Some(Position(all)));
}

/// What a reader does.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// So many events of this kind are appended.
    Append(usize, bool),
    /// So many items are read.
    Read(usize),
    /// The reader goes, and comes back with the cursor of the last item that it handled.
    Reconnect,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..12_usize, any::<bool>()).prop_map(|(n, odd)| Step::Append(n, odd)),
        3 => (1..8_usize).prop_map(Step::Read),
        1 => Just(Step::Reconnect),
    ]
}

proptest! {
    /// A reader of a log that drops its oldest, however slow it is and however often it comes back: what it
    /// got and what it was told as missing are all there was, in order, and the gap comes first.
    #[test]
    fn r11_r12_delivered_and_missed_are_all_there_was(
        steps in prop::collection::vec(step(), 1..60),
        retained in 1..20_usize,
        only_odd in any::<bool>(),
    ) {
        let log = log_of(retained);
        let filter = match only_odd {
            true => matching("odd"),
            false => Filter::all(),
        };
        let subscribe = |start| {
            let options = SubscribeOptions::from(start).matching(filter.clone());
            log.subscribe(options).unwrap()
        };
        let mut reader = subscribe(Start::At(Position::START));
        let mut kinds: Vec<bool> = Vec::new();
        // The first place that the reader does not know of yet.
        let (mut next, mut delivered, mut missed) = (0_u64, Vec::new(), Vec::new());
        let mut handled = log.oldest();
        let last = [Step::Read(usize::MAX)];
        for step in steps.iter().chain(&last) {
            match *step {
                Step::Append(count, is_odd) => {
                    append(&log, &vec![if is_odd { "odd" } else { "even" }; count]);
                    kinds.extend(vec![is_odd; count]);
                }
                Step::Reconnect => reader = subscribe(Start::After(handled)),
                Step::Read(most) => {
                    for _ in 0..most {
                        let mut item = task::spawn(reader.next());
                        let std::task::Poll::Ready(item) = item.poll() else {
                            break;
                        };
                        match item.unwrap().unwrap() {
                            StreamItem::Event(event) => {
                                let at = position(&event);
                                prop_assert!(at >= next, "events come in order, each once");
                                delivered.push(at);
                                next = at + 1;
                                handled = event.cursor();
                            }
                            StreamItem::Gap(gap) => {
                                for (first, last) in gap.ranges.as_slice() {
                                    prop_assert!(*first >= next, "gaps come before what follows");
                                    missed.extend(*first..=*last);
                                    next = *last + 1;
                                }
                                prop_assert_eq!(gap.resumes_at.position(), Some(Position(next)));
                                handled = gap.resumes_at;
                            }
                            StreamItem::CaughtUp(cursor) => handled = cursor,
                            other => panic!("{other:?}"),
                        }
                    }
                }
            }
        }
        let is_wanted = |at: &u64| !only_odd || kinds[usize::try_from(*at).unwrap()];
        prop_assert!(delivered.iter().all(is_wanted));
        let mut told: Vec<u64> = delivered.iter().chain(&missed).copied().collect();
        told.sort_unstable();
        told.dedup();
        prop_assert_eq!(told.len(), delivered.len() + missed.len(), "nothing is told twice");
        // Only what does not match may go untold.
        let untold = (0..kinds.len() as u64).filter(|at| told.binary_search(at).is_err());
        prop_assert_eq!(untold.filter(is_wanted).count(), 0);
    }
}

#[test]
fn r14_takers_of_which_some_give_up_get_every_event_once() {
    const TAKERS: usize = 64;
    let events = amount(20_000, 2_000_000) as u64;
    let log = log();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let taking = (0..TAKERS).map(|n| {
        let log = log.clone();
        runtime.spawn(async move {
            let mut mine: Vec<u64> = Vec::new();
            for turn in n.. {
                let take = log.take(TakeOptions::new());
                let outcome = match turn.is_multiple_of(10) {
                    // One of ten is dropped at its edge.
                    true => tokio::select! {
                        outcome = take => outcome,
                        () = tokio::task::yield_now() => continue,
                    },
                    false => take.await,
                };
                match taken(&outcome.unwrap()) {
                    none if none.is_empty() => break,
                    some => mine.extend(some),
                }
            }
            mine
        })
    });
    let takers: Vec<_> = taking.collect();
    for n in 0..events {
        append(&log, &["a"]);
        // No faster than the takers, so that retention takes nothing from them.
        while n.is_multiple_of(1_000) && n + 1 - settled(&log) > 5_000 {
            thread::yield_now();
        }
    }
    append(&log, &["task.result"]);
    let mut all: Vec<u64> = Vec::new();
    for taker in takers {
        all.extend(runtime.block_on(taker).unwrap());
    }
    all.sort_unstable();
    assert!(all.into_iter().eq(0..=events), "lost or taken twice");
    assert_eq!(log.info().waiters, 0);
}

/// How far the group is.
fn settled(log: &SessionLog) -> u64 {
    let group = log.group_info(&TakeOptions::new().group);
    group.map_or(0, |group| group.cursor.position().unwrap().0)
}

#[tokio::test(start_paused = true)]
async fn r16_event_and_deadline_in_one_tick_lose_nothing_and_never_move_back() {
    let log = log();
    let mut after = log.latest();
    let mut found = 0;
    let rounds = amount(2_000, 20_000);
    for round in 0..rounds {
        let publisher = tokio::spawn({
            let log = log.clone();
            async move {
                tokio::time::sleep(ms(10)).await;
                append(&log, &["a"]);
            }
        });
        if round % 2 == 0 {
            tokio::task::yield_now().await;
        }
        let wait = WaitOptions::any(Filter::all()).from(Start::After(after));
        let next = match log.wait(wait.timeout(ms(10))).await.unwrap() {
            WaitOutcome::Matched { events, cursor, .. } => {
                found += events.len();
                cursor
            }
            WaitOutcome::TimedOut { next, waited } => {
                assert!(waited >= ms(10));
                next
            }
            WaitOutcome::Ended { .. } => panic!("nobody ends the session"),
        };
        assert!(next.position() >= after.position());
        after = next;
        publisher.await.unwrap();
    }
    // What was not found in its tick is found after it.
    let page = log.page(&PageOptions::from(Start::After(after), rounds));
    assert_eq!(found + page.unwrap().events.len(), rounds);
}

/// Ten thousand sessions, of which every second one is used: the wall clock jumps as it likes.
#[test]
fn r17_only_what_idled_expires_whatever_the_wall_clock_does() {
    let (sessions, clock): (_, Arc<ManualClock>) = on_manual_clock();
    let count = 10_000;
    let options = SessionOptions::default().ttl(ms(1_000));
    let logs: Vec<_> = (0..count)
        .map(|n| create(&sessions, &n.to_string(), options))
        .collect();
    for hours in [1, -1, 87_600, -87_600] {
        clock.step_wall(SignedDuration::from_hours(hours));
        clock.advance(ms(300));
        for log in logs.iter().step_by(2) {
            log.touch();
        }
        sessions.sweep();
    }
    let is_open = |log: &SessionLog| log.info().reason.is_none();
    let open = logs.iter().map(is_open);
    assert!(open.eq((0..count).map(|n| n % 2 == 0)));
    clock.step_wall(SignedDuration::from_hours(-87_600));
    clock.advance(ms(1_000));
    sessions.sweep();
    assert!(!logs.iter().any(is_open), "none is immortal");
}

/// Nine read on, one has stopped: the log holds and does for it what it does for none.
#[tokio::test]
async fn r18_stalled_reader_costs_neither_producer_nor_others() {
    let log = log_of(100);
    let mut stalled = log.subscribe(SubscribeOptions::default()).unwrap();
    assert!(stalled.next().await.is_some());
    let mut live: Vec<_> = (0..9)
        .map(|_| log.subscribe(SubscribeOptions::default()).unwrap())
        .collect();
    live.iter_mut().for_each(|reader| drop(drain(reader)));
    for n in 0..10_000 {
        append(&log, &["a"]);
        for reader in &mut live {
            assert_eq!(drain(reader), [n.to_string()], "live readers miss nothing");
        }
        let info = log.info();
        assert!(info.retained <= 100, "nothing is kept for the stalled one");
    }
    let told = drain(&mut stalled);
    assert_eq!(told[0], "gap [(0, 9899)] missed 9900");
    assert_eq!(
        told[1..101],
        Vec::from_iter((9900..10_000).map(|n| n.to_string()))
    );
}

fn heavy(bytes: usize) -> EventDraft {
    draft("heavy").with_payload(Payload::json(&"x".repeat(bytes)).unwrap())
}

/// Each bound is asked for ten times what it allows: what does not fit is refused, by name, or goes with a
/// gap, and what fits still works.
#[tokio::test]
async fn r19_every_bound_holds_at_ten_times_its_load() {
    let mut limits = QueueLimits::default();
    limits.sessions = 20;
    limits.sessions_per_tenant = 10;
    limits.session_events = 50;
    limits.session_bytes = 40_000;
    limits.bytes_per_tenant = 100_000;
    limits.waiters_per_session = 10;
    limits.groups_per_session = 5;
    limits.leases_per_group = 10;
    limits.kept_events_per_group = 5;
    limits.batch_events = 10;
    limits.event_bytes = 2_000;
    let sessions = Sessions::builder(MemoryBackend::new())
        .limits(limits)
        .build();

    let mut logs: Vec<SessionLog> = Vec::new();
    for n in 0..100 {
        let created = sessions.create(key(&n.to_string()), SessionOptions::default());
        match created.await {
            Ok(log) => logs.push(log),
            Err(error) => assert_eq!(error.code(), "too_many_sessions"),
        }
    }
    assert_eq!((logs.len(), sessions.len()), (10, 10));

    let log = &logs[0];
    let append_codes = [
        (vec![draft("a"); 100], "batch_too_large"),
        (vec![heavy(20_000)], "event_too_large"),
    ];
    for (batch, code) in append_codes {
        let refused = log.try_append(batch, AppendOptions::default());
        assert_eq!(refused.unwrap_err().code(), code);
    }

    for log in &logs {
        for _ in 0..500 {
            log.try_append([heavy(1_000)], AppendOptions::default())
                .unwrap();
            assert!(log.info().retained <= 50 && log.info().bytes <= 40_000);
        }
    }
    let held: u64 = logs.iter().map(|log| log.info().bytes).sum();
    assert!(held <= 100_000, "{held} bytes are held");
    for log in &logs {
        let info = log.info();
        assert_eq!(
            info.retained + info.dropped,
            500,
            "all that went is counted"
        );
    }

    let mut waiting = Vec::new();
    for _ in 0..100 {
        let wait = WaitOptions::any(matching("never"));
        let mut wait = task::spawn(log.wait(wait));
        match wait.poll() {
            std::task::Poll::Pending => waiting.push(wait),
            std::task::Poll::Ready(refused) => {
                assert_eq!(refused.unwrap_err().code(), "too_many_waiters");
            }
        }
    }
    assert_eq!((waiting.len(), log.info().waiters), (10, 10));
    drop(waiting);

    let mut groups = 0;
    for n in 0..50 {
        let group = Label::parse(format!("g{n}")).unwrap();
        let options = TakeOptions::new().group(group).timeout(Duration::ZERO);
        match log.take(options).await {
            Ok(_) => groups += 1,
            Err(error) => assert_eq!(error.code(), "too_many_groups"),
        }
    }
    assert_eq!(groups, 5);

    let group = Label::parse("g0").unwrap();
    let mut leases = 0;
    for _ in 0..100 {
        let options = TakeOptions::new()
            .group(group.clone())
            .lease(ms(1_000_000))
            .timeout(Duration::ZERO);
        append(log, &["a"]);
        if let Ok(TakeOutcome::Taken { taken, .. }) = log.take(options).await {
            leases += taken.len();
        }
    }
    assert!(leases <= 10, "{leases} leases");
    assert!(
        log.info().bytes <= 40_000 + 5 * 2_000,
        "what groups keep, too"
    );
}

#[test]
fn r19_keys_of_idempotency_are_bounded_and_the_oldest_go_first() {
    let log = log_of(10);
    let keyed = |n: usize| {
        let mut draft = draft("a");
        draft.idempotency_key = Some(n.to_string().into());
        let appended = log.try_append([draft], AppendOptions::default());
        appended.unwrap().deduplicated()
    };
    for n in 0..=KEYS_PER_TENANT {
        assert!(!keyed(n));
    }
    assert!(keyed(KEYS_PER_TENANT), "the newest are known");
    assert!(keyed(1));
    assert!(!keyed(0), "the oldest was forgotten");
}

/// What is left after any ends of a session is the same for who comes next.
#[tokio::test]
async fn r21_whoever_comes_after_the_end_is_told_at_once() {
    let log = log();
    append(&log, &["a", "task.result"]);
    for _ in 0..2 {
        assert!(matches!(wait_now(&log).await, WaitOutcome::Matched { .. }));
    }
    assert_eq!(taken(&take_now(&log).await), [0]);
    assert_eq!(taken(&take_now(&log).await), [1]);
    let without_end = task::spawn(log.take(TakeOptions::new())).await;
    assert!(matches!(without_end, Ok(TakeOutcome::Ended { .. })));
    let never = WaitOptions::any(matching("never"));
    let without_end = task::spawn(log.wait(never)).await;
    assert!(matches!(without_end, Ok(WaitOutcome::Ended { .. })));
}
