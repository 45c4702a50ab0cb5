//! Many threads at once: no lost wake-up, one order for everybody.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use reveille_queue::{PageOptions, SubscribeOptions, TakeOptions, WaitOptions, WaitOutcome};
use reveille_types::{Event, EventDraft, Filter, Label, Start};

use crate::support::{append, draft, log, position, taken};

/// Far beyond what any round takes; a lost wake-up shows as this time-out.
const LOST: Duration = Duration::from_secs(20);

fn numbered(producer: usize, number: usize) -> EventDraft {
    let mut draft = draft("a");
    draft.agent = Some(Label::parse(producer.to_string()).unwrap());
    draft.turn = Some(Label::parse(number.to_string()).unwrap());
    draft
}

#[test]
fn d000_01_take_that_races_an_append_is_always_woken() {
    const ROUNDS: u64 = 10_000;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    thread::scope(|scope| {
        for _ in 0..2 {
            let log = log();
            let round = Arc::new(AtomicU64::new(0));
            let (taker_log, taker_round) = (log.clone(), Arc::clone(&round));
            let runtime = &runtime;
            scope.spawn(move || {
                for n in 0..ROUNDS {
                    taker_round.store(n + 1, Ordering::Release);
                    let take = taker_log.take(TakeOptions::new().timeout(LOST));
                    assert_eq!(taken(&runtime.block_on(take).unwrap()), [n]);
                }
            });
            scope.spawn(move || {
                for n in 0..ROUNDS {
                    while round.load(Ordering::Acquire) <= n {
                        thread::yield_now();
                    }
                    (0..n % 61).for_each(|_| std::hint::spin_loop());
                    append(&log, &["a"]);
                }
            });
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn d000_05_reader_that_follows_its_cursor_sees_every_event_once_in_one_order() {
    const PRODUCERS: usize = 8;
    const EACH: usize = 1000;
    let log = log();
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|producer| {
            let log = log.clone();
            tokio::spawn(async move {
                for number in 0..EACH {
                    let draft = numbered(producer, number);
                    log.append([draft], Default::default()).await.unwrap();
                    if number % 16 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
            })
        })
        .collect();
    let mut subscription = log.subscribe(SubscribeOptions::default()).unwrap();
    let mut after = log.oldest();
    let mut next = [0; PRODUCERS];
    for expected in 0..(PRODUCERS * EACH) as u64 {
        let options = WaitOptions::any(Filter::all()).from(Start::After(after));
        let WaitOutcome::Matched {
            events,
            cursor,
            gap,
        } = log.wait(options.timeout(LOST)).await.unwrap()
        else {
            panic!("a wake-up was lost before {expected}");
        };
        assert_eq!((position(&events[0]), gap), (expected, None));
        let envelope = events[0].envelope();
        let number = |label: &Option<Label>| label.as_ref().unwrap().as_str().parse().unwrap();
        let (producer, turn): (usize, usize) = (number(&envelope.agent), number(&envelope.turn));
        assert_eq!(turn, next[producer]);
        next[producer] += 1;
        after = cursor;
    }
    for producer in producers {
        producer.await.unwrap();
    }
    let streamed = crate::support::drain(&mut subscription);
    assert_eq!(streamed.len(), PRODUCERS * EACH + 1);
}

#[test]
fn d001_27_d001_25_plain_threads_append_without_a_runtime() {
    let log = log();
    thread::scope(|scope| {
        for producer in 0..4 {
            let log = &log;
            scope.spawn(move || {
                for number in 0..1000 {
                    log.try_append([numbered(producer, number)], Default::default())
                        .unwrap();
                }
            });
        }
    });
    let mut events = Vec::new();
    let mut start = Start::Earliest;
    loop {
        let page = log.page(&PageOptions::from(start, 10_000)).unwrap();
        events.extend(page.events);
        start = Start::After(page.cursor);
        if page.caught_up {
            break;
        }
    }
    assert!(events.iter().map(position).eq(0..4000));
    let ids: HashSet<_> = events.iter().map(|event| event.id().clone()).collect();
    assert_eq!(ids.len(), 4000);
    for producer in 0..4 {
        let agent = Label::parse(producer.to_string()).ok();
        let turns = events.iter().map(Event::envelope);
        let turns = turns.filter(|e| e.agent == agent).map(|e| e.turn.clone());
        assert!(turns.eq((0..1000).map(|n| Label::parse(n.to_string()).ok())));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn d000_22_many_takers_that_come_and_go_share_the_log_without_loss() {
    const EVENTS: u64 = 4000;
    let log = log();
    let takers: Vec<_> = (0..16)
        .map(|n| {
            let log = log.clone();
            tokio::spawn(async move {
                let mut mine = Vec::new();
                loop {
                    let outcome = tokio::select! {
                        biased;
                        outcome = log.take(TakeOptions::new().max(1 + n % 3)) => outcome,
                        () = tokio::task::yield_now() => continue,
                    };
                    match taken(&outcome.unwrap()) {
                        positions if positions.is_empty() => return mine,
                        positions => mine.extend(positions),
                    }
                }
            })
        })
        .collect();
    for _ in 0..EVENTS {
        append(&log, &["a"]);
    }
    log.close(None).await.unwrap();
    let mut all = Vec::new();
    for taker in takers {
        all.extend(taker.await.unwrap());
    }
    all.sort_unstable();
    assert_eq!(all, Vec::from_iter(0..EVENTS));
    assert_eq!(log.info().waiters, 0);
}
