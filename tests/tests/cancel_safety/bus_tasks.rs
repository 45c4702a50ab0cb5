//! What goes on beside a bus: wakes, archiving, and the bus of the whole program.

use std::sync::Arc;
use std::time::Duration;

use reveille_backend::ArchiveId;
use reveille_bus::{Archiving, Bus, BusOptions, EventBus, Wake, WakeCondition};
use reveille_memory::{MemoryArchive, MemoryBackend};
use reveille_queue::{Sessions, TailLimits};
use reveille_testkit::dropped_at_each_poll;
use reveille_types::sets::WakeStatus;
use reveille_types::{Epoch, Filter, Tenant};
use tokio::sync::Mutex;

use crate::queue::{draft, key};
use crate::yielding::Yielding;

fn sessions() -> Sessions {
    let builder = Sessions::builder(Yielding::default());
    builder.tail(TailLimits::default()).build()
}

async fn bus() -> Bus {
    let builder = Sessions::builder(MemoryBackend::new());
    let sessions = builder.tail(TailLimits::default()).build();
    Bus::open(sessions, Tenant::default_tenant()).await.unwrap()
}

async fn publish(bus: &Bus) {
    bus.publish(key(), vec![draft("a")]).await.unwrap();
}

async fn suspended() -> (Bus, Wake) {
    let bus = bus().await;
    let condition = WakeCondition::matching(Filter::matching("a").unwrap());
    let wake = bus
        .suspend_until(condition.timeout(Duration::from_secs(60)))
        .unwrap();
    (bus, wake)
}

async fn archived() -> (Bus, Mutex<Option<Archiving>>) {
    let bus = bus().await;
    let archiving = bus.archive_into(Arc::new(MemoryArchive::new(ArchiveId(Epoch::from_parts(
        1, 1,
    )))));
    publish(&bus).await;
    (bus, Mutex::new(Some(archiving)))
}

cases! {
    bus_with_options_is_opened_or_not drops "bus/src/bus.rs open_with" {
        dropped_at_each_poll(
            async || sessions(),
            async |sessions| {
                let options = BusOptions::default();
                Bus::open_with(sessions.clone(), Tenant::default_tenant(), options).await.unwrap()
            },
            async |_, _| (),
            async |sessions, _| {
                let bus = Bus::open(sessions.clone(), Tenant::default_tenant()).await.unwrap();
                publish(&bus).await;
                assert_eq!(bus.tail().info().retained, 1);
            },
        )
        .await;
    }

    bus_of_the_program_is_one drops "reveille/src/global.rs global_bus" {
        dropped_at_each_poll(
            async || (),
            async |()| reveille::global_bus().await.unwrap(),
            async |(), _| (),
            async |(), made| {
                let bus = reveille::global_bus().await.unwrap();
                assert!(made.is_none_or(|made| made.tail().epoch() == bus.tail().epoch()));
            },
        )
        .await;
    }

    outcome_of_a_wake_is_for_whoever_asks drops "bus/src/wakes.rs outcome" {
        dropped_at_each_poll(
            suspended,
            async |(_, wake)| wake.outcome().await.status(),
            async |(bus, _), _| publish(bus).await,
            async |(bus, wake), _| {
                publish(bus).await;
                assert_eq!(wake.outcome().await.status(), WakeStatus::Triggered);
            },
        )
        .await;
    }

    wake_is_cancelled_though_nobody_waits_for_it drops "bus/src/wakes.rs cancel" {
        dropped_at_each_poll(
            suspended,
            async |(_, wake)| wake.cancel().await,
            async |_, _| (),
            async |(bus, wake), cancelled| {
                // A future that was never polled has done nothing.
                publish(bus).await;
                let status = wake.outcome().await.status();
                assert!([WakeStatus::Cancelled, WakeStatus::Triggered].contains(&status));
                assert!(cancelled != Some(true) || status == WakeStatus::Cancelled);
            },
        )
        .await;
    }

    archiving_goes_on_when_nobody_waits_for_it drops "bus/src/archiving.rs caught_up" {
        dropped_at_each_poll(
            archived,
            async |(_, archiving)| archiving.lock().await.as_mut().unwrap().caught_up().await,
            async |_, _| (),
            async |(bus, archiving), _| {
                let mut archiving = archiving.lock().await;
                let archiving = archiving.as_mut().unwrap();
                assert!(archiving.caught_up().await);
                assert_eq!(archiving.archived_to(), bus.tail().info().latest);
            },
        )
        .await;
    }

    archiving_ends_though_nobody_waits_for_it drops "bus/src/archiving.rs stop" {
        dropped_at_each_poll(
            archived,
            async |(_, archiving)| {
                let archiving = archiving.lock().await.take().unwrap();
                archiving.stop().await;
            },
            async |_, _| (),
            // The bus goes on without it.
            async |(bus, _), _| {
                publish(bus).await;
                assert_eq!(bus.tail().info().retained, 2);
            },
        )
        .await;
    }
}
