//! What the scenarios share that look at a log below its session.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use jiff::Timestamp;
use reveille_backend::{
    AppendError, AppendOptions, Backend, BackendError, Entry, IdempotencyKey, Incarnation,
    ListOptions, LogHandle, OpenOptions, Opened, Slot, Slots, StoredLog, Watch,
};
use reveille_types::{DraftDefaults, EventDraft, EventId, KindRegistry, Position, Source, Tenant};

use super::{draft, key};
use crate::conformance::patience;
pub(super) use crate::stored::{ALL, contents, epoch, now};

/// Opens this log of the default tenant; a new incarnation gets the epoch of this number.
pub(super) async fn open(
    backend: &Arc<dyn Backend>,
    name: &str,
    incarnation: Incarnation,
    n: u32,
) -> Result<Opened, BackendError> {
    let options = OpenOptions::new(incarnation, epoch(n));
    backend.open(&key(name), options).await
}

/// The handle of this log, which is made if it is not stored.
pub(super) async fn handle(backend: &Arc<dyn Backend>, name: &str) -> LogHandle {
    let opened = open(backend, name, Incarnation::CurrentOrNew, 1).await;
    opened.unwrap().log
}

/// The stored handle of this log, which is made if it is not stored. An immediate backend has none,
/// and then it is asserted that it keeps nothing that could be opened, listed or removed.
pub(super) async fn stored(backend: &Arc<dyn Backend>, name: &str) -> Option<Arc<dyn StoredLog>> {
    let immediate = backend.capabilities().immediate;
    match handle(backend, name).await {
        LogHandle::Stored(log) => {
            assert!(!immediate, "a handle is not what the capabilities say");
            Some(log)
        }
        LogHandle::Immediate(_) => {
            assert!(immediate, "a handle is not what the capabilities say");
            let again = open(backend, name, Incarnation::Current, 2).await;
            assert!(
                matches!(again, Err(BackendError::NotFound)),
                "an immediate backend stores: {again:?}"
            );
            let tenant = Tenant::default_tenant();
            let list = backend.list(&tenant, ListOptions::first(10)).await;
            assert_eq!(list.unwrap().keys, [], "an immediate backend lists");
            assert!(!backend.remove(&key(name)).await.unwrap());
            None
        }
    }
}

pub(super) fn expecting(position: u64) -> AppendOptions {
    let mut options = now();
    options.expected = Some(Position(position));
    options
}

/// An entry with an id of its own.
pub(super) fn entry(kind: &str) -> Entry {
    entry_of(draft(kind))
}

pub(super) fn entry_of(draft: EventDraft) -> Entry {
    static IDS: AtomicU64 = AtomicU64::new(0);
    let id = IDS.fetch_add(1, Ordering::Relaxed).to_string();
    let event = draft.complete(DraftDefaults {
        id: EventId::parse(id).unwrap(),
        time: Timestamp::UNIX_EPOCH,
        source: &Source::of_session(&key("s")),
        registry: &KindRegistry::default(),
    });
    Entry { event, key: None }
}

/// An entry that is recognised: another fingerprint is another event.
pub(super) fn keyed_entry(key: &str, fingerprint: u64) -> Entry {
    let mut draft = draft("a");
    draft.idempotency_key = Some(key.into());
    let mut entry = entry_of(draft);
    entry.key = Some(IdempotencyKey {
        key: key.into(),
        fingerprint,
    });
    entry
}

/// So many entries.
pub(super) fn entries(count: usize) -> Vec<Entry> {
    (0..count).map(|_| entry("a")).collect()
}

/// Appends to a log of either shape.
pub(super) async fn try_append(
    log: &mut LogHandle,
    entries: Vec<Entry>,
    options: AppendOptions,
) -> Result<Vec<Slot>, AppendError> {
    match log {
        LogHandle::Immediate(log) => log.try_append(&entries, &options).map(Slots::into_vec),
        LogHandle::Stored(log) => log.append(entries, options).await,
    }
}

/// The positions of slots.
pub(super) fn places(slots: &[Slot]) -> Vec<u64> {
    slots.iter().map(|slot| slot.position.0).collect()
}

/// Polls once.
pub(super) async fn poll_once<F>(mut future: Pin<&mut F>) -> Poll<F::Output>
where
    F: Future + ?Sized,
{
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// Waits until the watch resolves.
pub(super) async fn woken(watch: Watch, otherwise: &str) -> Result<(), BackendError> {
    let outcome = tokio::time::timeout(patience(), watch).await;
    outcome.unwrap_or_else(|_| panic!("{otherwise}"))
}
