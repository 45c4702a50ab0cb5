//! The scenarios of handlers that held up, disturbed or outlived others.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reveille_bus::{Bus, Emitted, EventBus, HandlerOptions, HistoryQuery, SubscribeOptions};
use reveille_types::{Event, Filter, Kind, Label};
use tokio::sync::{mpsc, oneshot};

mod common;
use common::{bus, draft, key, publish};

fn forwarding(
    to: &mpsc::UnboundedSender<String>,
) -> impl Fn(Event) -> std::future::Ready<Result<(), reveille_bus::HandlerError>> + Send + 'static {
    let to = to.clone();
    move |event| std::future::ready(to.send(event.kind().to_string()).map_err(Into::into))
}

#[tokio::test]
async fn d004_01_a_predicate_that_panics_stays_in_its_subscription() {
    let bus = bus().await;
    let (to, mut seen) = mpsc::unbounded_channel();
    let everything = SubscribeOptions::default;
    bus.on(everything(), forwarding(&to)).unwrap();
    let panicking = everything().predicate(|_| panic!("a predicate of the test panics"));
    let second = bus.on(panicking, forwarding(&to)).unwrap();
    let third = bus.on(everything(), forwarding(&to)).unwrap();
    publish(&bus, "s", "task.failed").await;
    for _ in 0..2 {
        assert_eq!(seen.recv().await.unwrap(), "task.failed");
    }
    let errors = |id| move |bus: &Bus| bus.stats().subscriptions[&id].errors;
    while errors(second)(&bus) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!((errors(second)(&bus), errors(third)(&bus)), (1, 0));
    assert!(seen.try_recv().is_err());
}

#[tokio::test]
async fn d004_01_a_handler_that_panics_or_fails_goes_on_and_is_counted() {
    let bus = bus().await;
    let (to, mut seen) = mpsc::unbounded_channel();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let id = bus
        .on(SubscribeOptions::default(), move |_event| {
            let call = counted.fetch_add(1, Ordering::Relaxed);
            async move {
                match call {
                    0 => panic!("a handler of the test panics"),
                    1 => Err("a handler of the test fails".into()),
                    _ => Ok(()),
                }
            }
        })
        .unwrap();
    bus.on(SubscribeOptions::default(), forwarding(&to))
        .unwrap();
    for n in 0..3 {
        publish(&bus, "s", &format!("e.{n}")).await;
        assert_eq!(seen.recv().await.unwrap(), format!("e.{n}"));
    }
    while calls.load(Ordering::Relaxed) < 3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bus.stats().subscriptions[&id].errors, 2);
}

#[tokio::test]
async fn d004_03_subscribing_and_unsubscribing_disturb_nobody() {
    let bus = bus().await;
    let (to, mut seen) = mpsc::unbounded_channel();
    // A handler that is in the middle of an event while the set of subscriptions changes.
    let (entered, in_handler) = oneshot::channel();
    let (release, released) = oneshot::channel::<()>();
    let once = Mutex::new(Some((entered, released)));
    let busy = bus
        .on(SubscribeOptions::default(), move |_event| {
            let first = once.lock().unwrap().take();
            async move {
                if let Some((entered, released)) = first {
                    let _ = entered.send(());
                    let _ = released.await;
                }
                Ok(())
            }
        })
        .unwrap();
    let mut early = Vec::new();
    for _ in 0..10 {
        early.push(
            bus.on(SubscribeOptions::default(), forwarding(&to))
                .unwrap(),
        );
    }
    publish(&bus, "s", "one").await;
    in_handler.await.unwrap();
    for id in early.drain(..5) {
        assert!(bus.off(id).await);
        assert!(!bus.off(id).await, "it is off");
    }
    let mut late = Vec::new();
    for _ in 0..10 {
        late.push(
            bus.on(SubscribeOptions::default(), forwarding(&to))
                .unwrap(),
        );
    }
    release.send(()).unwrap();
    publish(&bus, "s", "two").await;
    // Each of the five that were there all the time gets both; each new one gets the second.
    let mut ones = 0;
    let mut twos = 0;
    while twos < 15 {
        match seen.recv().await.unwrap().as_str() {
            "one" => ones += 1,
            _ => twos += 1,
        }
    }
    assert!((5..=10).contains(&ones), "{ones}");
    assert_eq!(bus.stats().subscriptions.len(), 16);
    assert!(bus.off(busy).await);
}

/// Handlers end with their bus: nothing keeps either alive.
#[tokio::test]
async fn handlers_end_with_their_bus() {
    let bus = bus().await;
    let (to, mut seen) = mpsc::unbounded_channel();
    bus.on(SubscribeOptions::default(), forwarding(&to))
        .unwrap();
    drop(to);
    publish(&bus, "s", "a").await;
    assert_eq!(seen.recv().await.as_deref(), Some("a"));
    drop(bus);
    assert_eq!(seen.recv().await, None);
}

/// 003-D22: no lock is left behind that nobody can take any more.
#[tokio::test]
async fn d003_22_a_panic_disables_nothing() {
    let bus = bus().await;
    let (to, mut seen) = mpsc::unbounded_channel();
    let first = AtomicBool::new(true);
    let panics_once = SubscribeOptions::default().predicate({
        let calls = AtomicUsize::new(0);
        move |_| match calls.fetch_add(1, Ordering::Relaxed) {
            0 => panic!("a predicate of the test panics"),
            _ => true,
        }
    });
    bus.on(panics_once, forwarding(&to)).unwrap();
    bus.on(SubscribeOptions::default(), move |_event| {
        let panics = first.swap(false, Ordering::Relaxed);
        async move {
            assert!(!panics, "a handler of the test panics");
            Ok(())
        }
    })
    .unwrap();
    publish(&bus, "s", "one").await;
    publish(&bus, "s", "two").await;
    assert_eq!(seen.recv().await.unwrap(), "two");
    assert_eq!(bus.stats().retained_by_kind.len(), 2);
    let late = bus
        .on(SubscribeOptions::default(), forwarding(&to))
        .unwrap();
    publish(&bus, "s", "three").await;
    for _ in 0..2 {
        assert_eq!(seen.recv().await.unwrap(), "three");
    }
    assert!(bus.off(late).await);
}

#[tokio::test(start_paused = true)]
async fn d004_02_publishing_does_not_wait_for_handlers() {
    let bus = bus().await;
    let (to, mut done) = mpsc::unbounded_channel();
    bus.on(SubscribeOptions::default(), move |event: Event| {
        let to = to.clone();
        async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            to.send(event.place().seq.0).map_err(Into::into)
        }
    })
    .unwrap();
    let began = tokio::time::Instant::now();
    for _ in 0..100 {
        publish(&bus, "s", "step").await;
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(done.try_recv().is_err());
    assert_eq!(done.recv().await, Some(1));
}

/// 004-D14: taking off is a barrier.
#[tokio::test]
async fn d004_14_once_off_returns_no_call_begins_and_none_runs() {
    let bus = bus().await;
    let running = Arc::new(AtomicUsize::new(0));
    let calls = Arc::new(AtomicUsize::new(0));
    let (entered, in_handler) = oneshot::channel();
    let entered = Mutex::new(Some(entered));
    let id = bus
        .on(SubscribeOptions::default(), {
            let (running, calls) = (Arc::clone(&running), Arc::clone(&calls));
            move |_event| {
                calls.fetch_add(1, Ordering::Relaxed);
                running.fetch_add(1, Ordering::Relaxed);
                if let Some(entered) = entered.lock().unwrap().take() {
                    let _ = entered.send(());
                }
                let running = Arc::clone(&running);
                async move {
                    tokio::task::yield_now().await;
                    running.fetch_sub(1, Ordering::Relaxed);
                    Ok(())
                }
            }
        })
        .unwrap();
    for _ in 0..10 {
        publish(&bus, "s", "step").await;
    }
    in_handler.await.unwrap();
    assert!(bus.off(id).await);
    let called = calls.load(Ordering::Relaxed);
    assert!((1..10).contains(&called), "{called}");
    assert_eq!(running.load(Ordering::Relaxed), 0);
    publish(&bus, "s", "step").await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(calls.load(Ordering::Relaxed), called);
}

/// 004-D16: one event at a time, in the order of the bus.
#[tokio::test]
async fn d004_16_a_slow_handler_sees_everything_in_order() {
    let bus = bus().await;
    let (to, mut seen) = mpsc::unbounded_channel();
    bus.on(SubscribeOptions::default(), move |event: Event| {
        let to = to.clone();
        async move {
            let seq = event.place().seq.0;
            for _ in 0..seq % 5 {
                tokio::task::yield_now().await;
            }
            to.send(seq).map_err(Into::into)
        }
    })
    .unwrap();
    for n in 0..1_000 {
        publish(&bus, &format!("s{}", n % 3), "step").await;
    }
    for n in 1..=1_000 {
        assert_eq!(seen.recv().await, Some(n));
    }
}

/// 004-D02, 004-F06: emitting waits for the handlers, but no longer than it is told to.
#[tokio::test(start_paused = true)]
async fn d004_02_emitting_waits_for_handlers_up_to_its_deadline() {
    let bus = bus().await;
    let (to, mut seen) = mpsc::unbounded_channel();
    let only = |pattern| SubscribeOptions::matching(Filter::matching(pattern).unwrap());
    bus.on(only("task.*"), forwarding(&to)).unwrap();
    bus.on(only("other.*"), forwarding(&to)).unwrap();
    bus.on(only("task.*"), |_event| async { Err("it fails".into()) })
        .unwrap();
    bus.on(only("task.*").predicate(|_| false), forwarding(&to))
        .unwrap();
    let emit = |kind, millis| {
        let deadline = Duration::from_millis(millis);
        bus.emit(key("s"), vec![draft(kind)], deadline)
    };
    let emitted = emit("task.done", 100).await.unwrap();
    let counts = |emitted: &Emitted| (emitted.handled, emitted.failed, emitted.timed_out);
    assert_eq!(counts(&emitted), (2, 1, 0));
    assert_eq!(seen.try_recv().unwrap(), "task.done", "it has been handled");
    assert_eq!(emitted.published.receipt.results.len(), 1);

    bus.on(only("task.*"), |_event| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(())
    })
    .unwrap();
    let began = tokio::time::Instant::now();
    assert_eq!(counts(&emit("task.done", 100).await.unwrap()), (2, 1, 1));
    assert_eq!(began.elapsed(), Duration::from_millis(100));
    // It went on with the first one, and comes to this one after it.
    assert_eq!(counts(&emit("task.done", 5_000).await.unwrap()), (3, 1, 0));
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    assert_eq!(counts(&emit("nobody", 100).await.unwrap()), (0, 0, 0));
}

/// 004-D12: who answers his own answers is stopped.
#[tokio::test]
async fn d004_12_a_chain_of_answers_ends() {
    let bus = bus().await;
    let publisher = bus.clone();
    let (to, mut refused) = mpsc::unbounded_channel();
    let options = HandlerOptions::new(SubscribeOptions::default()).hops(16);
    let id = bus
        .on(options, move |event: Event| {
            let (bus, to) = (publisher.clone(), to.clone());
            async move {
                let again = draft(event.kind().as_str());
                if let Err(error) = bus.publish(key("s"), vec![again]).await {
                    to.send(error.code())?;
                }
                Ok(())
            }
        })
        .unwrap();
    let first = publish(&bus, "s", "ping").await;
    // Once for the answer that is one too many, once for the answer to the report of it.
    for _ in 0..2 {
        assert_eq!(refused.recv().await, Some("loop_detected"));
    }
    assert!(bus.off(id).await);
    let kinds = bus.stats().retained_by_kind;
    let count = |kind: &str| kinds[&Kind::parse(kind).unwrap()];
    assert_eq!((count("ping"), count("error.loop_detected")), (1 + 16, 1));
    let all = bus.history(&HistoryQuery::default());
    for pair in all.windows(2) {
        let cause = pair[1].envelope().caused_by.as_ref();
        assert_eq!(cause.map(Label::as_str), Some(pair[0].id().as_str()));
    }
    // Whoever is not in a handler publishes as before.
    assert!(publish(&bus, "s", "ping").await.place() > first.place());
}

/// 004-D15: what fails for good is told, and who.
/// 004-D15: a call that hangs is a call that failed; what comes after it is handled.
#[tokio::test(start_paused = true)]
async fn d004_15_a_call_that_hangs_ends_at_its_deadline() {
    let bus = bus().await;
    let (to, mut seen) = mpsc::unbounded_channel();
    let all = SubscribeOptions::matching(Filter::matching("task.*").unwrap());
    let options = HandlerOptions::new(all)
        .deadline(Duration::from_secs(5))
        .retries(1, Duration::from_secs(1))
        .dead_letters(key("letters"));
    let id = bus
        .on(options, move |event: reveille_types::Event| {
            let to = to.clone();
            async move {
                if event.kind().as_str() == "task.hangs" {
                    std::future::pending::<()>().await;
                }
                to.send(event.kind().to_string())?;
                Ok(())
            }
        })
        .unwrap();
    let began = tokio::time::Instant::now();
    for kind in ["task.hangs", "task.works"] {
        publish(&bus, "s", kind).await;
    }
    assert_eq!(seen.recv().await.unwrap(), "task.works");
    assert_eq!(began.elapsed(), Duration::from_secs(5 + 1 + 5));
    assert_eq!(bus.stats().subscriptions[&id].errors, 2);
    let letters = HistoryQuery::of("error.handler_failed", None, None)
        .unwrap()
        .payloads();
    let letter: serde_json::Value = bus.history(&letters)[0].payload().parse().unwrap();
    assert_eq!(letter["error"], "the handler took too long");
}

/// 004-D12: handlers that answer each event with many are limited as a chain, however short it is.
#[tokio::test(start_paused = true)]
async fn d004_12_a_chain_that_branches_is_limited_by_its_rate() {
    let bus = bus().await;
    let refused = Arc::new(AtomicUsize::new(0));
    let (publisher, counted) = (bus.clone(), Arc::clone(&refused));
    let grows = SubscribeOptions::matching(Filter::matching("grow").unwrap()).capacity(100_000);
    let options = HandlerOptions::new(grows).rate(100, Duration::from_secs(10));
    bus.on(options, move |_event| {
        let (publisher, counted) = (publisher.clone(), Arc::clone(&counted));
        async move {
            let answers = vec![draft("grow"), draft("grow")];
            match publisher.publish(key("s"), answers).await {
                Ok(_) => Ok(()),
                Err(error) => {
                    assert_eq!(error.code(), "chain_too_fast");
                    counted.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                }
            }
        }
    })
    .unwrap();
    let emitted = bus
        .emit(key("s"), vec![draft("grow")], Duration::from_secs(1))
        .await;
    assert_eq!(emitted.unwrap().handled, 1);
    // Of each 101 events 50 are answered, and then all have been handled.
    let all_refused = async |times| {
        while refused.load(Ordering::Relaxed) < times {
            tokio::task::yield_now().await;
        }
    };
    all_refused(51).await;
    let count = |pattern| {
        let filter = Filter::matching(pattern).unwrap();
        bus.history(&HistoryQuery::matching(filter)).len()
    };
    assert_eq!(count("grow"), 1 + 100);
    assert_eq!(count("error.loop_detected"), 1);
    assert_eq!(refused.load(Ordering::Relaxed), 51);
    // Another chain is not held up.
    bus.publish(key("s"), vec![draft("grow")]).await.unwrap();
    all_refused(2 * 51).await;
    assert_eq!(count("grow"), 2 * (1 + 100));
}

#[tokio::test(start_paused = true)]
async fn d004_15_an_event_that_cannot_be_handled_becomes_a_dead_letter() {
    let bus = bus().await;
    let (to, mut seen) = mpsc::unbounded_channel();
    bus.on(SubscribeOptions::default(), forwarding(&to))
        .unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let began = tokio::time::Instant::now();
    let bad_ones = SubscribeOptions::matching(Filter::matching("bad").unwrap());
    let options = HandlerOptions::new(bad_ones)
        .retries(2, Duration::from_secs(1))
        .dead_letters(key("letters"));
    let id = bus
        .on(options, move |_event| {
            counted.fetch_add(1, Ordering::Relaxed);
            async { Err("it cannot be handled".into()) }
        })
        .unwrap();
    let bad = bus.publish(key("s"), vec![draft("bad")]).await.unwrap();
    assert_eq!(seen.recv().await.unwrap(), "bad");
    assert_eq!(seen.recv().await.unwrap(), "error.handler_failed");
    assert_eq!(began.elapsed(), Duration::from_secs(1 + 2));
    assert_eq!(calls.load(Ordering::Relaxed), 3);
    assert_eq!(bus.stats().subscriptions[&id].errors, 3);

    let letters = bus.history(&HistoryQuery::default().payloads().limit(1));
    assert_eq!(letters[0].session().name(), "letters");
    let letter: serde_json::Value = letters[0].payload().parse().unwrap();
    assert_eq!(letter["error"], "it cannot be handled");
    assert_eq!(letter["calls"], 3);
    assert_eq!(letter["event"]["type"], "bad");
    assert_eq!(letter["cursor"], bad.receipt.cursor.to_string());
}

/// A handler that fails on everything fails on letters, too, and gets no letter about them.
#[tokio::test(start_paused = true)]
async fn d004_15_no_letter_is_written_about_a_letter() {
    let bus = bus().await;
    let options = HandlerOptions::new(SubscribeOptions::default()).dead_letters(key("letters"));
    let id = bus
        .on(options, |_event| async { Err("it always fails".into()) })
        .unwrap();
    publish(&bus, "s", "bad").await;
    while bus.stats().subscriptions[&id].errors < 2 {
        tokio::task::yield_now().await;
    }
    assert!(bus.off(id).await);
    assert_eq!(bus.tail().info().latest.0, 2);
}
