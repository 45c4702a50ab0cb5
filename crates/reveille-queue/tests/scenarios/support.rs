//! What the scenarios share: a log, drafts, and short forms of outcomes.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use reveille_core::ManualClock;
use reveille_memory::MemoryBackend;
use reveille_queue::{
    AppendOptions, SessionLog, SessionOptions, Sessions, StreamItem, Subscription, TakeOptions,
    TakeOutcome, WaitOptions, WaitOutcome,
};
use reveille_types::{Event, EventDraft, Filter, Receipt, SessionKey, Tenant};

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Sessions in memory, on tokio's clock.
pub(crate) fn sessions() -> Sessions {
    Sessions::builder(MemoryBackend::new()).build()
}

/// Sessions in memory, on a clock that stands still.
pub(crate) fn on_manual_clock() -> (Sessions, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new());
    let sessions = Sessions::builder(MemoryBackend::new())
        .clock(clock.clone())
        .build();
    (sessions, clock)
}

pub(crate) fn key(name: &str) -> SessionKey {
    SessionKey::in_tenant(Tenant::default_tenant(), name).unwrap()
}

/// A new session of this name, without a runtime: memory never waits.
pub(crate) fn create(sessions: &Sessions, name: &str, options: SessionOptions) -> SessionLog {
    let created = sessions.create(key(name), options).now_or_never();
    created.unwrap().unwrap()
}

/// A session with defaults.
pub(crate) fn log() -> SessionLog {
    create(&sessions(), "s", SessionOptions::default())
}

/// A session that retains this many events.
pub(crate) fn log_of(events: usize) -> SessionLog {
    create(
        &sessions(),
        "s",
        SessionOptions::default().max_events(events),
    )
}

pub(crate) fn draft(kind: &str) -> EventDraft {
    EventDraft::parse(kind).unwrap()
}

pub(crate) fn append(log: &SessionLog, kinds: &[&str]) -> Receipt {
    let drafts: Vec<EventDraft> = kinds.iter().map(|kind| draft(kind)).collect();
    log.try_append(drafts, AppendOptions::default()).unwrap()
}

pub(crate) fn matching(pattern: &str) -> Filter {
    Filter::matching(pattern).unwrap()
}

pub(crate) fn position(event: &Event) -> u64 {
    event.position().0
}

/// Takes what is there now.
pub(crate) async fn take_now(log: &SessionLog) -> TakeOutcome {
    let options = TakeOptions::new().timeout(Duration::ZERO);
    log.take(options).await.unwrap()
}

/// Looks at what is there now.
pub(crate) async fn wait_now(log: &SessionLog) -> WaitOutcome {
    let options = WaitOptions::any(Filter::all()).timeout(Duration::ZERO);
    log.wait(options).await.unwrap()
}

/// The positions that were taken; none for another outcome.
pub(crate) fn taken(outcome: &TakeOutcome) -> Vec<u64> {
    match outcome {
        TakeOutcome::Taken { taken, .. } => taken.iter().map(|t| position(&t.event)).collect(),
        _ => Vec::new(),
    }
}

/// The positions that matched; none for another outcome.
pub(crate) fn matched(outcome: &WaitOutcome) -> Vec<u64> {
    match outcome {
        WaitOutcome::Matched { events, .. } => events.iter().map(position).collect(),
        _ => Vec::new(),
    }
}

/// Everything that a subscription has to say now, as short texts.
pub(crate) fn drain(subscription: &mut Subscription) -> Vec<String> {
    let mut items = Vec::new();
    while let Some(Some(item)) = subscription.next().now_or_never() {
        items.push(match item.unwrap() {
            StreamItem::Event(event) => position(&event).to_string(),
            StreamItem::Gap(gap) => match gap.missed {
                Some(missed) => format!("gap {:?} missed {missed}", gap.ranges.as_slice()),
                None => format!("gap {:?}", gap.ranges.as_slice()),
            },
            StreamItem::CaughtUp(_) => "live".to_owned(),
            StreamItem::Ended { reason, .. } => format!("end {}", reason.as_str()),
        });
    }
    items
}
