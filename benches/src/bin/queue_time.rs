//! How long appends, takes, waits and replays of sessions take.

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use reveille_bench::harness::{Contender, Effort, compare, medians, nanos_each, poll, print};
use reveille_bench::naive::{NaiveEvent, NaiveQueue};
use reveille_bench::sessions::{KIND, OTHER_KIND, append, create, kind, manager, next, now, take};
use reveille_queue::{StreamItem, SubscribeOptions};
use reveille_types::Start;
use tokio::sync::{broadcast, mpsc};

/// Operations of one sample, in a full run.
const OPERATIONS: usize = 100_000;
/// The same where one operation of a peer takes long.
const FEW: usize = 500;
/// Many queued events.
const QUEUED: usize = 100_000;
/// Events that a session retains where they are taken at once: as many as by default.
const RETAINED: usize = 10_000;
/// Events that a broadcast channel holds.
const BUFFER: usize = 1024;
/// Events that a peer reads at once when it replays.
const PAGE: usize = 1000;

const REVEILLE: &str = "reveille";
const MPSC: &str = "tokio mpsc";
const BROADCAST: &str = "tokio broadcast";
const NAIVE: &str = "two mutexed maps";

fn main() {
    let effort = Effort::from_args();
    append_take(effort, "append_take_1", 1, 0);
    append_take(effort, "append_take_1000", 1000, 0);
    append_take(effort, "append_take_queued_100000", 1, QUEUED);
    wait_at_tail(effort);
    for waiters in [0, 1, 1000] {
        append_beside_waiters(effort, waiters);
    }
    replay(effort);
}

/// What peers without an event type of their own send.
fn event(kind: &Arc<str>) -> Arc<NaiveEvent> {
    Arc::new(NaiveEvent {
        position: 0,
        kind: kind.clone(),
    })
}

/// One event in and one out, session after session, each with so many queued before.
fn append_take(effort: Effort, row: &str, sessions: usize, queued: usize) {
    let operations = effort.operations(OPERATIONS);
    let retained = RETAINED.max(2 * queued);
    let text: Arc<str> = KIND.into();

    let manager = manager();
    let kind = kind();
    let logs: Vec<_> = (0..sessions)
        .map(|n| create(&manager, &format!("session-{n}"), retained))
        .collect();
    let unbounded: Vec<_> = (0..sessions).map(|_| mpsc::unbounded_channel()).collect();
    let (senders, mut receivers): (Vec<_>, Vec<_>) = unbounded.into_iter().unzip();
    let shared: Vec<_> = (0..sessions)
        .map(|_| broadcast::channel(BUFFER.max(2 * queued)))
        .collect();
    let (speakers, mut listeners): (Vec<_>, Vec<_>) = shared.into_iter().unzip();
    let naive = NaiveQueue::new(retained);
    let names: Vec<_> = (0..sessions).map(|n| format!("session-{n}")).collect();
    for _ in 0..queued {
        append(&logs[0], &kind);
        senders[0].send(event(&text)).expect("it is open");
        speakers[0].send(event(&text)).expect("it is open");
        now(naive.append(&names[0], &text));
    }

    // Which session is next, for each contender.
    let mut turns = [0; 4];
    let turn = |at: &mut usize| {
        *at = (*at + 1) % sessions;
        *at
    };
    let [a, b, c, d] = &mut turns;
    let contenders = vec![
        Contender::new(REVEILLE, || {
            nanos_each(operations, || {
                let log = &logs[turn(a)];
                append(log, &kind);
                take(log);
            })
        }),
        Contender::new(MPSC, || {
            nanos_each(operations, || {
                let n = turn(b);
                senders[n].send(event(&text)).expect("it is open");
                assert!(now(receivers[n].recv()).is_some());
            })
        }),
        Contender::new(BROADCAST, || {
            nanos_each(operations, || {
                let n = turn(c);
                speakers[n].send(event(&text)).expect("it is open");
                assert!(now(listeners[n].recv()).is_ok());
            })
        }),
        Contender::new(NAIVE, || {
            nanos_each(operations, || {
                let name = &names[turn(d)];
                now(naive.append(name, &text));
                now(naive.take(name));
            })
        }),
    ];
    compare(row, "ns/pair", effort, contenders);
}

/// A wait from the end of the log on, and the event that ends it, beside few and many events.
fn wait_at_tail(effort: Effort) {
    let text: Arc<str> = KIND.into();
    let kind = kind();
    let operations = effort.operations(OPERATIONS);
    let few = effort.operations(FEW);
    let manager = manager();
    let sizes = [10, QUEUED];
    let logs = sizes.map(|size| create(&manager, &format!("session-{size}"), size));
    let naive = sizes.map(NaiveQueue::new);
    for ((size, log), naive) in sizes.iter().zip(&logs).zip(&naive) {
        for _ in 0..*size {
            append(log, &kind);
            now(naive.append("session", &text));
        }
    }
    let reveille = logs.iter().map(|log| {
        Contender::new(REVEILLE, || {
            nanos_each(operations, || {
                let mut wait = pin!(log.wait(next(KIND)));
                assert!(poll(wait.as_mut()).is_pending());
                append(log, &kind);
                assert!(poll(wait).is_ready());
            })
        })
    });
    let naive = naive.iter().map(|naive| {
        let mut last = now(naive.append("session", &text));
        let text = &text;
        Contender::new(NAIVE, move || {
            nanos_each(few, || {
                let mut wait = pin!(naive.wait("session", KIND, last));
                assert!(poll(wait.as_mut()).is_pending());
                last = now(naive.append("session", text));
                assert!(poll(wait).is_ready());
            })
        })
    });
    // All in one comparison: both sizes are sampled in turn.
    let values = medians(effort, &mut reveille.chain(naive).collect::<Vec<_>>());
    let [ours_of_few, ours_of_many, naive_of_few, naive_of_many] = values[..] else {
        unreachable!("there are four contenders");
    };
    print("wait_at_tail_10", "ns", REVEILLE, ours_of_few);
    print("wait_at_tail_10", "ns", NAIVE, naive_of_few);
    print("wait_at_tail_100000", "ns", REVEILLE, ours_of_many);
    print("wait_at_tail_100000", "ns", NAIVE, naive_of_many);
    let growth = "wait_at_tail_growth";
    print(growth, "times", REVEILLE, ours_of_many / ours_of_few);
    print(growth, "times", NAIVE, naive_of_many / naive_of_few);
}

/// An append in a session where others wait for another kind. Where it wakes them, their look at
/// it is part of its cost.
fn append_beside_waiters(effort: Effort, waiters: usize) {
    let full = if waiters > 100 { FEW } else { OPERATIONS };
    let operations = effort.operations(OPERATIONS);
    let fewer = effort.operations(full);
    let text: Arc<str> = KIND.into();
    let kind = kind();

    let manager = manager();
    let log = create(&manager, "session", RETAINED);
    let mut waits: Vec<_> = (0..waiters)
        .map(|_| Box::pin(log.wait(next(OTHER_KIND))))
        .collect();
    for wait in &mut waits {
        assert!(poll(wait.as_mut()).is_pending());
    }
    let (sender, receiver) = broadcast::channel(BUFFER);
    let mut receivers: Vec<_> = (0..waiters).map(|_| sender.subscribe()).collect();
    let naive = NaiveQueue::new(BUFFER);
    let mut naive_waits: Vec<_> = (0..waiters)
        .map(|_| Box::pin(naive.wait("session", OTHER_KIND, 0)))
        .collect();
    let contenders = vec![
        Contender::new(REVEILLE, || nanos_each(operations, || append(&log, &kind))),
        Contender::new(BROADCAST, || {
            nanos_each(fewer, || {
                sender.send(event(&text)).expect("it is open");
                for receiver in &mut receivers {
                    assert_ne!(&*now(receiver.recv()).expect("it is open").kind, OTHER_KIND);
                }
            })
        }),
        Contender::new(NAIVE, || {
            nanos_each(fewer, || {
                now(naive.append("session", &text));
                for wait in &mut naive_waits {
                    assert!(poll(wait.as_mut()).is_pending());
                }
            })
        }),
    ];
    compare(
        &format!("append_waiters_{waiters}"),
        "ns",
        effort,
        contenders,
    );
    drop(receiver);
    assert_eq!(log.info().waiters, waiters as u64);
}

/// All of many events, from the first one on, by somebody who comes later.
fn replay(effort: Effort) {
    let text: Arc<str> = KIND.into();
    let kind = kind();
    let manager = manager();
    let log = create(&manager, "session", QUEUED);
    let naive = NaiveQueue::new(QUEUED);
    let (sender, first) = broadcast::channel(QUEUED);
    for _ in 0..QUEUED {
        append(&log, &kind);
        now(naive.append("session", &text));
        sender.send(event(&text)).expect("it is open");
    }
    let per_second = |start: Instant| QUEUED as f64 / start.elapsed().as_secs_f64();
    // A receiver cannot go back: the first one is kept where it is by filling the buffer anew.
    let mut behind = first;
    let contenders = vec![
        Contender::new(REVEILLE, || {
            let start = Instant::now();
            let from_the_first = SubscribeOptions::from(Start::Earliest);
            let mut all = log.subscribe(from_the_first).expect("there is room");
            let mut events = 0;
            while let Some(Ok(StreamItem::Event(_))) = now(all.next()) {
                events += 1;
            }
            assert_eq!(events, QUEUED);
            per_second(start)
        }),
        Contender::new(BROADCAST, || {
            let start = Instant::now();
            for _ in 0..QUEUED {
                assert!(now(behind.recv()).is_ok());
            }
            let rate = per_second(start);
            for _ in 0..QUEUED {
                sender.send(event(&text)).expect("it is open");
            }
            rate
        }),
        Contender::new(NAIVE, || {
            let start = Instant::now();
            let (mut events, mut after) = (0, 0);
            loop {
                let page = now(naive.page("session", after, PAGE));
                let Some(last) = page.last() else { break };
                after = last.position;
                events += page.len();
            }
            assert_eq!(events, QUEUED);
            per_second(start)
        }),
    ];
    compare("replay", "events/s", effort, contenders);
}
