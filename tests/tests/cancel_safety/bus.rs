//! The bus.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use reveille_bus::{
    Bus, BusItem, BusStart, BusSubscription, EventBus, HandlerOptions, PageQuery, SubscribeOptions,
    SubscriptionId,
};
use reveille_e2e::soon;
use reveille_memory::MemoryBackend;
use reveille_queue::{Sessions, TailLimits};
use reveille_testkit::dropped_at_each_poll;
use reveille_types::{Event, Filter, Tenant};
use tokio::sync::{Mutex, Semaphore};

use crate::queue::{draft, key};
use crate::yielding::Yielding;

async fn bus() -> Bus {
    let sessions = Sessions::builder(MemoryBackend::new())
        .tail(TailLimits::default())
        .build();
    Bus::open(sessions, Tenant::default_tenant()).await.unwrap()
}

async fn publish(bus: &Bus) {
    bus.publish(key(), vec![draft("a")]).await.unwrap();
}

fn all_from_the_first() -> SubscribeOptions {
    SubscribeOptions::default().from(BusStart::Earliest)
}

async fn followed() -> (Bus, Mutex<BusSubscription>) {
    let bus = bus().await;
    let events = bus.subscribe(all_from_the_first()).unwrap();
    (bus, Mutex::new(events))
}

async fn check_followed((bus, events): &(Bus, Mutex<BusSubscription>), given: usize) {
    let mut left = 0;
    let mut events = events.lock().await;
    while let Some(Some(item)) = events.next().now_or_never() {
        left += usize::from(matches!(item.unwrap(), BusItem::Event(_)));
    }
    assert_eq!(given + left, bus.tail().info().retained);
}

/// A bus with a handler that waits for leave, and how often it was called.
struct Handled {
    bus: Bus,
    id: SubscriptionId,
    leave: Arc<Semaphore>,
    calls: Arc<AtomicUsize>,
}

async fn handled() -> Handled {
    let bus = bus().await;
    let leave = Arc::new(Semaphore::new(0));
    let calls = Arc::new(AtomicUsize::new(0));
    let of_handler = (Arc::clone(&leave), Arc::clone(&calls));
    let handler = move |_: Event| {
        let (leave, calls) = of_handler.clone();
        async move {
            leave.acquire().await?.forget();
            calls.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    };
    let id = bus
        .on(HandlerOptions::from(all_from_the_first()), handler)
        .unwrap();
    Handled {
        bus,
        id,
        leave,
        calls,
    }
}

impl Handled {
    /// The handler is called for each event, whoever waited for it.
    async fn check_called(&self) {
        let events = self.bus.tail().info().retained;
        self.leave.add_permits(events + 1);
        let emitted = self
            .bus
            .emit(key(), vec![draft("b")], Duration::from_secs(60));
        assert_eq!(emitted.await.unwrap().handled, 1);
        assert_eq!(self.calls.load(Ordering::Relaxed), events + 1);
    }
}

cases! {
    bus_is_opened_or_not drops "bus/src/bus.rs open" {
        dropped_at_each_poll(
            async || {
                let builder = Sessions::builder(Yielding::default());
                builder.tail(TailLimits::default()).build()
            },
            async |sessions| Bus::open(sessions.clone(), Tenant::default_tenant()).await.unwrap(),
            async |_, _| (),
            async |sessions, _| {
                let bus = Bus::open(sessions.clone(), Tenant::default_tenant()).await.unwrap();
                publish(&bus).await;
                assert_eq!(bus.tail().info().retained, 1);
            },
        )
        .await;
    }

    publishing_is_whole_or_nothing drops "bus/src/bus.rs EventBus::publish" {
        dropped_at_each_poll(
            async || {
                let builder = Sessions::builder(Yielding::default());
                let sessions = builder.tail(TailLimits::default()).build();
                Bus::open(sessions, Tenant::default_tenant()).await.unwrap()
            },
            async |bus| bus.publish(key(), vec![draft("a"), draft("a")]).await.unwrap(),
            async |_, _| (),
            async |bus, published| {
                // Behind it comes what is published next.
                let next = bus.publish(key(), vec![draft("b")]).await.unwrap();
                let before = next.receipt.first().0;
                assert!([0, 2].contains(&before), "{before} events of a batch of two");
                assert!(published.is_none() || before == 2);
                let mut watch = bus.tail().watch(Filter::matching("b").unwrap());
                let seen = std::future::poll_fn(|cx| {
                    watch.poll_read(cx, reveille_types::Seq(0), 1, usize::MAX)
                });
                assert_eq!(seen.await.events.len(), 1);
            },
        )
        .await;
    }

    wait_leaves_no_subscription drops "bus/src/bus.rs wait" {
        dropped_at_each_poll(
            bus,
            async |bus| {
                let timeout = Duration::from_secs(1_000);
                bus.wait(Filter::all(), BusStart::Latest, timeout).await.unwrap()
            },
            async |bus, _| publish(bus).await,
            async |bus, _| {
                assert_eq!(bus.stats().subscriptions.len(), 0);
                assert_eq!(bus.tail().info().watchers, 0);
            },
        )
        .await;
    }

    page_is_read_again drops "bus/src/page.rs page" {
        dropped_at_each_poll(
            async || {
                let store = Yielding::default();
                let of = |store: &Yielding| {
                    let builder = Sessions::builder(store.clone());
                    builder.tail(TailLimits::default()).build()
                };
                let before = Bus::open(of(&store), Tenant::default_tenant()).await.unwrap();
                let begin = before.cursor(before.tail().info().latest, &Filter::all());
                publish(&before).await;
                let bus = Bus::open(of(&store), Tenant::default_tenant()).await.unwrap();
                (bus, PageQuery::new(Filter::all(), BusStart::After(begin)))
            },
            async |(bus, query)| bus.page(query).await.unwrap(),
            async |_, _| (),
            async |(bus, query), page| {
                let again = bus.page(query).await.unwrap();
                assert_eq!(again.events.len(), 1);
                assert!(page.is_none_or(|page| page == again));
            },
        )
        .await;
    }

    next_item_is_handed_out_or_still_there drops "bus/src/subscription.rs next" {
        dropped_at_each_poll(
            followed,
            async |(_, events)| {
                let mut events = events.lock().await;
                let _live = events.next().await.unwrap().unwrap();
                events.next().await.unwrap().unwrap()
            },
            async |(bus, _), _| publish(bus).await,
            async |followed, item| {
                check_followed(followed, usize::from(item.is_some())).await;
            },
        )
        .await;
    }

    stream_of_items_loses_none drops "bus/src/subscription.rs BusSubscription" {
        dropped_at_each_poll(
            followed,
            async |(_, events)| {
                let mut events = events.lock().await;
                let _live = StreamExt::next(&mut *events).await.unwrap().unwrap();
                StreamExt::next(&mut *events).await.unwrap().unwrap()
            },
            async |(bus, _), _| publish(bus).await,
            async |followed, item| {
                check_followed(followed, usize::from(item.is_some())).await;
            },
        )
        .await;
    }

    emitting_waits_for_nobody_when_dropped drops "bus/src/emit.rs emit" {
        dropped_at_each_poll(
            handled,
            async |handled| {
                let deadline = Duration::from_secs(60);
                handled.bus.emit(key(), vec![draft("a")], deadline).await.unwrap()
            },
            async |handled, _| handled.leave.add_permits(1),
            async |handled, emitted| {
                assert!(emitted.is_none_or(|emitted| emitted.handled == 1));
                handled.check_called().await;
            },
        )
        .await;
    }

    handler_that_is_taken_off_is_off_in_any_case drops "bus/src/handlers.rs off" {
        dropped_at_each_poll(
            async || {
                let handled = handled().await;
                publish(&handled.bus).await;
                handled
            },
            async |handled| handled.bus.off(handled.id).await,
            async |handled, _| handled.leave.add_permits(1),
            async |handled, off| {
                handled.leave.add_permits(10);
                let again = handled.bus.off(handled.id).await;
                assert!(!(again && off.is_some()), "it was taken off");
                soon("the end of the handler", async {
                    while handled.bus.stats().subscriptions.contains_key(&handled.id) {
                        tokio::task::yield_now().await;
                    }
                })
                .await;
                publish(&handled.bus).await;
            },
        )
        .await;
    }
}
