//! Stored logs below their sessions: what the tests of a backend of its own begin with.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use reveille_backend::{
    AppendOptions, Backend, BackendError, Entry, IdempotencyKey, Incarnation, LogHandle,
    OpenOptions, ReadLimit, StoredLog,
};
use reveille_types::{
    DraftDefaults, Epoch, Event, EventDraft, EventId, KindRegistry, Position, SessionKey, Source,
    Tenant,
};

/// More than any test stores.
pub const ALL: ReadLimit = ReadLimit {
    events: 1_000_000,
    bytes: usize::MAX,
};

/// The session of this name of the default tenant.
///
/// # Panics
/// If it is no name.
#[must_use]
pub fn key(name: &str) -> SessionKey {
    SessionKey::in_tenant(Tenant::default_tenant(), name).unwrap()
}

/// The epoch of this number.
#[must_use]
pub fn epoch(n: u32) -> Epoch {
    Epoch::from_parts(1_700_000_000_000, n)
}

/// Options of an append that comes now.
#[must_use]
pub fn now() -> AppendOptions {
    AppendOptions::at(Instant::now())
}

/// An event that is recognised by its id: its idempotency key, too.
///
/// # Panics
/// If it is no id.
#[must_use]
pub fn entry(id: &str) -> Entry {
    let session = key("s");
    let event = EventDraft::parse("a").unwrap().complete(DraftDefaults {
        id: EventId::parse(id).unwrap(),
        time: Timestamp::UNIX_EPOCH,
        source: &Source::of_session(&session),
        registry: &KindRegistry::empty(),
    });
    Entry {
        event,
        key: Some(IdempotencyKey {
            key: id.into(),
            fingerprint: 1,
        }),
    }
}

/// Opens this log of the default tenant. A new incarnation gets the epoch of this number.
///
/// # Errors
/// Those of the backend.
///
/// # Panics
/// If the backend does not store.
///
/// # Cancel safety
/// As the backend's `open`.
pub async fn try_log(
    backend: &dyn Backend,
    name: &str,
    incarnation: Incarnation,
    n: u32,
) -> Result<(Epoch, Arc<dyn StoredLog>), BackendError> {
    let options = OpenOptions::new(incarnation, epoch(n));
    let opened = backend.open(&key(name), options).await?;
    match opened.log {
        LogHandle::Stored(log) => Ok((opened.epoch, log)),
        LogHandle::Immediate(_) => panic!("a stored log"),
    }
}

/// This log of the default tenant, which is made if it is not stored.
///
/// # Panics
/// If there is none to be had.
///
/// # Cancel safety
/// As the backend's `open`.
pub async fn log(backend: &dyn Backend, name: &str) -> Arc<dyn StoredLog> {
    let opened = try_log(backend, name, Incarnation::CurrentOrNew, 1).await;
    opened.unwrap().1
}

/// Everything that the log holds.
///
/// # Panics
/// If it cannot be read.
///
/// # Cancel safety
/// Nothing is changed.
pub async fn contents(log: &dyn StoredLog) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    let mut from = Position::START;
    loop {
        let page = log.read(from, ALL).await.unwrap();
        let Some(last) = page.events.last() else {
            return events;
        };
        from = last.position().next();
        events.extend(page.events);
    }
}
