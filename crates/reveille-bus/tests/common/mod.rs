//! A bus in memory, and how the scenarios read it.

#![allow(dead_code, reason = "not every test file uses all of it")]
#![allow(unreachable_pub, reason = "it is shared by including it")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use reveille_bus::{Bus, BusFrame, BusItem, BusSubscription, EventBus};
use reveille_memory::MemoryBackend;
use reveille_queue::{Sessions, TailLimits};
use reveille_types::{
    Class, Cursor, EventDraft, EventId, ExtensionValue, Finality, Label, Payload, Privacy,
    SessionKey, Source, Tenant,
};

pub const LIMITS: TailLimits = TailLimits {
    events: 10_000,
    bytes: usize::MAX,
};

pub async fn bus_with(limits: TailLimits) -> Bus {
    let sessions = Sessions::builder(MemoryBackend::new()).tail(limits).build();
    Bus::open(sessions, Tenant::default_tenant()).await.unwrap()
}

pub async fn bus() -> Bus {
    bus_with(LIMITS).await
}

pub fn key(name: &str) -> SessionKey {
    SessionKey::in_tenant(Tenant::default_tenant(), name).unwrap()
}

pub fn draft(kind: &str) -> EventDraft {
    EventDraft::parse(kind).unwrap()
}

pub async fn publish(bus: &Bus, session: &str, kind: &str) -> Cursor {
    let published = bus.publish(key(session), vec![draft(kind)]).await;
    published.unwrap().cursor
}

/// The next event, past a note that history is done.
pub async fn event(events: &mut BusSubscription) -> BusFrame {
    loop {
        match events.next().await.unwrap().unwrap() {
            BusItem::Event(frame) => return frame,
            BusItem::CaughtUp(_) => {}
            item => panic!("{item:?}"),
        }
    }
}

/// Everything up to the place where history is done.
pub async fn history(events: &mut BusSubscription) -> Vec<BusItem> {
    let mut items = Vec::new();
    loop {
        match events.next().await.unwrap().unwrap() {
            BusItem::CaughtUp(_) => return items,
            item => items.push(item),
        }
    }
}

pub fn seqs(items: &[BusItem]) -> Vec<u64> {
    let seq = |item: &BusItem| match item {
        BusItem::Event(frame) => Some(frame.event.place().seq.0),
        _ => None,
    };
    items.iter().filter_map(seq).collect()
}

pub fn label(text: &str) -> Label {
    Label::parse(text).unwrap()
}

/// An event that says everything.
pub fn everything() -> EventDraft {
    let mut all = draft("tool.completed");
    all.id = Some(EventId::parse("e-1").unwrap());
    all.source = Some(Source::parse("urn:agents").unwrap());
    all.time = Some("2026-01-02T03:04:05Z".parse().unwrap());
    all.class = Some(Class::Metering);
    all.finality = Some(Finality::Operation);
    all.subject = Some("file-9".into());
    all.agent = Some(label("a1"));
    all.run = Some(label("r1"));
    all.turn = Some(label("t1"));
    all.correlation = Some(label("c1"));
    all.caused_by = Some(label("e-0"));
    all.traceparent = Some(label(
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ));
    all.privacy = Some(Privacy::Internal);
    all.tags = vec![label("x"), label("y")];
    let attempt = ExtensionValue::Integer(3);
    all.extensions.insert("attempt".into(), attempt);
    all.payload = Payload::json(&serde_json::json!({"n": 1})).unwrap();
    all
}
