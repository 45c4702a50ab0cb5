//! How many deliveries a bus makes, what matching costs, and what a slow subscriber does to others.

use std::future::poll_fn;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Instant;

use reveille_bench::harness::{Contender, Effort, compare, nanos_each};
use reveille_bench::sessions::{KIND, now};
use reveille_bus::{Bus, BusItem, BusSubscription, EventBus, SubscribeOptions};
use reveille_memory::MemoryBackend;
use reveille_queue::{AppendOptions, SessionLog, SessionOptions, Sessions, TailLimits, TailWatch};
use reveille_types::sets::OverflowPolicy;
use reveille_types::{EventDraft, Filter, Kind, Pattern, Payload, Seq, SessionKey, Tenant};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::broadcast;
use tokio::task::yield_now;

/// Deliveries of one sample, in a full run.
const DELIVERIES: usize = 2_000_000;
/// Events that are published before the readers go on.
const BURST: usize = 256;
/// Events that a channel holds.
const QUEUE: usize = 1024;
/// Events of one sample of matching, in a full run.
const EVENTS: usize = 100_000;

const REVEILLE: &str = "reveille";

fn main() {
    let effort = Effort::from_args();
    for subscribers in [1, 10, 100, 1000, 10_000] {
        fan_out(effort, subscribers);
    }
    slow_one(effort);
    for patterns in [10, 1000, 100_000] {
        matching(effort, patterns);
    }
    for policy in [
        OverflowPolicy::DropNonTerminal,
        OverflowPolicy::DropOldest,
        OverflowPolicy::LatestOnly,
        OverflowPolicy::SummarizeAndContinue,
    ] {
        pressure(effort, policy);
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().build().expect("a runtime")
}

fn key() -> SessionKey {
    SessionKey::in_tenant(Tenant::default_tenant(), "s").expect("the name is good")
}

fn bus() -> Bus {
    // As much as the channels hold.
    let limits = TailLimits {
        events: QUEUE,
        ..TailLimits::default()
    };
    let sessions = Sessions::builder(MemoryBackend::new()).tail(limits).build();
    now(Bus::open(sessions, Tenant::default_tenant())).expect("there is a tail")
}

/// The session that everything is published in.
fn session(bus: &Bus) -> SessionLog {
    let options = SessionOptions::default().max_events(QUEUE);
    let sessions = bus.sessions().clone();
    let (log, _) = now(sessions.get_or_create(key(), options)).expect("there is room");
    log
}

fn draft() -> EventDraft {
    let mut draft = EventDraft::parse(KIND).expect("the kind is good");
    draft.payload = Payload::bytes(Some("application/octet-stream"), vec![7; 64]).expect("it is");
    draft
}

fn publish(log: &SessionLog, draft: &EventDraft) {
    now(log.append([draft.clone()], AppendOptions::default())).expect("the session is open");
}

/// Everything that the default policy and a filter are asked about.
fn options() -> SubscribeOptions {
    let filter = Filter::matching("task.*").expect("the pattern is good");
    SubscribeOptions::matching(filter).payloads()
}

/// A reader that counts.
async fn read(mut events: BusSubscription, delivered: Arc<AtomicUsize>) {
    while let Some(Ok(item)) = events.next().await {
        if let BusItem::Event(frame) = item {
            black_box(&frame);
            delivered.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Publishes in bursts, each of which all readers have read before the next: million deliveries a
/// second.
fn bursts(
    runtime: &Runtime,
    (events, subscribers): (usize, usize),
    delivered: &AtomicUsize,
    mut publish: impl FnMut(),
) -> f64 {
    let before = delivered.load(Ordering::Relaxed);
    let start = Instant::now();
    runtime.block_on(async {
        let mut published = 0;
        while published < events {
            let burst = BURST.min(events - published);
            (0..burst).for_each(|_| publish());
            published += burst;
            while delivered.load(Ordering::Relaxed) < before + published * subscribers {
                yield_now().await;
            }
        }
    });
    (events * subscribers) as f64 / start.elapsed().as_secs_f64() / 1e6
}

fn fan_out(effort: Effort, subscribers: usize) {
    let events = effort.operations((DELIVERIES / subscribers).clamp(BURST, 200_000));
    let size = (events, subscribers);
    let counter = || Arc::new(AtomicUsize::new(0));

    let reveille = runtime();
    let (bus, counted) = (bus(), counter());
    let (log, draft) = (session(&bus), draft());
    for _ in 0..subscribers {
        let events = bus.subscribe(options()).expect("the options are good");
        reveille.spawn(read(events, counted.clone()));
    }

    let value: Arc<[u8]> = vec![7; 64].into();
    let (tokio_runtime, tokio_counted) = (runtime(), counter());
    let (speaker, _) = broadcast::channel::<Arc<[u8]>>(QUEUE);
    for _ in 0..subscribers {
        let (mut listener, delivered) = (speaker.subscribe(), tokio_counted.clone());
        tokio_runtime.spawn(async move {
            while let Ok(value) = listener.recv().await {
                black_box(&value);
                delivered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }

    let (async_runtime, async_counted) = (runtime(), counter());
    let (loud, first) = async_broadcast::broadcast::<Arc<[u8]>>(QUEUE);
    for _ in 0..subscribers {
        let (mut listener, delivered) = (first.new_receiver(), async_counted.clone());
        async_runtime.spawn(async move {
            while let Ok(value) = listener.recv_direct().await {
                black_box(&value);
                delivered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let _quiet = first.deactivate();

    let (flume_runtime, flume_counted) = (runtime(), counter());
    let pipes = (0..subscribers).map(|_| {
        let (to, from) = flume::bounded::<Arc<[u8]>>(QUEUE);
        let delivered = flume_counted.clone();
        flume_runtime.spawn(async move {
            while let Ok(value) = from.recv_async().await {
                black_box(&value);
                delivered.fetch_add(1, Ordering::Relaxed);
            }
        });
        to
    });
    let pipes: Vec<_> = pipes.collect();

    let (kanal_runtime, kanal_counted) = (runtime(), counter());
    let canals = (0..subscribers).map(|_| {
        let (to, from) = kanal::bounded_async::<Arc<[u8]>>(QUEUE);
        let delivered = kanal_counted.clone();
        kanal_runtime.spawn(async move {
            while let Ok(value) = from.recv().await {
                black_box(&value);
                delivered.fetch_add(1, Ordering::Relaxed);
            }
        });
        to
    });
    let canals: Vec<_> = canals.collect();

    let contenders = vec![
        Contender::new(REVEILLE, || {
            bursts(&reveille, size, &counted, || publish(&log, &draft))
        }),
        Contender::new("tokio broadcast", || {
            bursts(&tokio_runtime, size, &tokio_counted, || {
                assert!(speaker.send(value.clone()).is_ok());
            })
        }),
        Contender::new("async-broadcast", || {
            bursts(&async_runtime, size, &async_counted, || {
                assert!(loud.try_broadcast(value.clone()).is_ok());
            })
        }),
        Contender::new("flume", || {
            bursts(&flume_runtime, size, &flume_counted, || {
                for pipe in &pipes {
                    assert!(pipe.try_send(value.clone()).is_ok());
                }
            })
        }),
        Contender::new("kanal", || {
            bursts(&kanal_runtime, size, &kanal_counted, || {
                for canal in &canals {
                    assert!(canal.try_send(value.clone()).is_ok());
                }
            })
        }),
    ];
    compare(&format!("fan_out_{subscribers}"), "M/s", effort, contenders);
}

/// A hundred readers, beside one that never reads.
fn slow_one(effort: Effort) {
    const SUBSCRIBERS: usize = 100;
    let size = (effort.operations(DELIVERIES / SUBSCRIBERS), SUBSCRIBERS);
    let with = |slow: bool| {
        let runtime = runtime();
        let bus = bus();
        let log = session(&bus);
        let counted = Arc::new(AtomicUsize::new(0));
        for _ in 0..SUBSCRIBERS {
            let events = bus.subscribe(options()).expect("the options are good");
            runtime.spawn(read(events, counted.clone()));
        }
        let slow = slow.then(|| bus.subscribe(options()).expect("the options are good"));
        (runtime, log, counted, slow)
    };
    let (beside, alone) = (with(true), with(false));
    let draft = draft();
    let contenders = vec![
        Contender::new(REVEILLE, || {
            bursts(&beside.0, size, &beside.2, || publish(&beside.1, &draft))
        }),
        Contender::new("reveille without it", || {
            bursts(&alone.0, size, &alone.2, || publish(&alone.1, &draft))
        }),
    ];
    compare("fan_out_100_beside_a_slow_one", "M/s", effort, contenders);
}

/// A waiting subscriber for each pattern, three of which match: what publishing costs more than
/// without any.
fn matching(effort: Effort, patterns: usize) {
    let events = effort.operations(EVENTS);
    let of = |n: usize| match n {
        0 => KIND.to_owned(),
        1 => "task.*".to_owned(),
        2 => "*.completed".to_owned(),
        n if n % 2 == 0 => format!("service{n}.*"),
        n => format!("service{n}.done"),
    };
    let texts: Vec<String> = (0..patterns).map(of).collect();
    let (watched, quiet) = (bus(), bus());
    let watches: Vec<_> = texts.iter().map(|text| waiting(&watched, text)).collect();
    let (log, quiet_log, draft) = (session(&watched), session(&quiet), draft());
    let parsed: Vec<Pattern> = texts
        .iter()
        .map(|t| t.parse().expect("it is good"))
        .collect();
    let kind = Kind::parse(KIND).expect("it is good");
    let linear = effort.operations((10_000_000 / patterns).clamp(10, EVENTS));
    let contenders = vec![
        Contender::new(REVEILLE, || {
            let with = nanos_each(events, || publish(&log, &draft));
            let without = nanos_each(events, || publish(&quiet_log, &draft));
            (with - without).max(0.0)
        }),
        Contender::new("linear scan", || {
            nanos_each(linear, || {
                let matching = parsed.iter().filter(|pattern| pattern.matches(&kind));
                black_box(matching.count());
            })
        }),
    ];
    compare(&format!("matching_{patterns}"), "ns", effort, contenders);
    drop(watches);
}

/// A reader that waits.
fn waiting(bus: &Bus, pattern: &str) -> TailWatch {
    let mut watch = bus
        .tail()
        .watch(Filter::matching(pattern).expect("the pattern is good"));
    let registered = poll_fn(|cx| {
        assert!(watch.poll_read(cx, Seq(0), 1, 0).is_pending());
        Poll::Ready(())
    });
    now(registered);
    watch
}

/// A subscriber that comes back after so many events as are retained: nanoseconds for each of them.
fn pressure(effort: Effort, policy: OverflowPolicy) {
    let events = QUEUE;
    let bus = bus();
    let (log, draft) = (session(&bus), draft());
    let all = options().capacity(64).policy(policy);
    let mut subscription = bus.subscribe(all).expect("the options are good");
    let contender = Contender::new(REVEILLE, || {
        while let Poll::Ready(item) = next(&mut subscription) {
            black_box(item);
        }
        (0..events).for_each(|_| publish(&log, &draft));
        let start = Instant::now();
        while let Poll::Ready(item) = next(&mut subscription) {
            black_box(item);
        }
        start.elapsed().as_nanos() as f64 / events as f64
    });
    compare(
        &format!("pressure_{policy}"),
        "ns/event",
        effort,
        vec![contender],
    );
}

fn next(events: &mut BusSubscription) -> Poll<Option<Result<BusItem, reveille_bus::BusError>>> {
    events.poll_item(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}
