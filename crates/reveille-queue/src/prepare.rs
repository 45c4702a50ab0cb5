//! From drafts to entries: everything about a batch that needs no lock.

use std::hash::{Hash, Hasher};

use jiff::Timestamp;
use reveille_backend::{Entry, IdempotencyKey};
use reveille_core::IdSource;
use reveille_types::{
    DraftDefaults, EventDraft, Finality, Fingerprint, KindRegistry, SessionKey, Source,
};
use smallvec::SmallVec;

use crate::error::AppendError;
use crate::options::QueueLimits;

/// What preparing a batch needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Preparing<'a> {
    pub(crate) session: &'a SessionKey,
    /// The source of what names none.
    pub(crate) source: &'a Source,
    pub(crate) registry: &'a KindRegistry,
    pub(crate) ids: &'a dyn IdSource,
    pub(crate) limits: &'a QueueLimits,
    /// Most bytes of one event.
    pub(crate) event_bytes: usize,
    pub(crate) wall: Timestamp,
}

/// The entries of a batch. One needs no allocation.
pub(crate) type Entries = SmallVec<[Entry; 1]>;

/// Checks drafts and fills in what they left open.
pub(crate) fn prepare(
    drafts: impl IntoIterator<Item = EventDraft>,
    with: Preparing<'_>,
) -> Result<Entries, AppendError> {
    let most = with.limits.batch_events;
    let mut drafts = drafts.into_iter();
    let mut entries = Entries::new();
    let mut bytes = 0_usize;
    while let Some(draft) = drafts.next() {
        let index = entries.len();
        if index == most {
            return Err(AppendError::BatchTooLarge {
                limit: most,
                actual: index + 1 + drafts.count(),
            });
        }
        if let Some(last) = entries.last()
            && last.event.envelope().finality == Finality::Session
        {
            return Err(AppendError::AfterFinal { index: index - 1 });
        }
        let entry = prepare_one(index, draft, with)?;
        bytes = bytes.saturating_add(entry.event.weight());
        entries.push(entry);
    }
    if entries.is_empty() {
        return Err(AppendError::EmptyBatch);
    }
    let limit = with.limits.bytes_per_tenant.min(with.limits.bytes);
    if bytes > limit {
        return Err(AppendError::StoreFull {
            limit,
            actual: bytes,
        });
    }
    Ok(entries)
}

fn prepare_one(index: usize, draft: EventDraft, with: Preparing<'_>) -> Result<Entry, AppendError> {
    draft
        .check()
        .map_err(|source| AppendError::InvalidEvent { index, source })?;
    check_session(index, &draft, with.session)?;
    let entry = complete(draft, with);
    let actual = entry.event.weight();
    if actual > with.event_bytes {
        return Err(AppendError::EventTooLarge {
            index,
            limit: with.event_bytes,
            actual,
        });
    }
    Ok(entry)
}

fn check_session(
    index: usize,
    draft: &EventDraft,
    session: &SessionKey,
) -> Result<(), AppendError> {
    match &draft.session {
        Some(own) if own.tenant != session.tenant => Err(AppendError::TenantMismatch { index }),
        Some(own) if **own != *session => Err(AppendError::SessionMismatch {
            index,
            name: own.name(),
        }),
        _ => Ok(()),
    }
}

/// Fills in what a draft left open.
pub(crate) fn complete(draft: EventDraft, with: Preparing<'_>) -> Entry {
    let key = draft.idempotency_key.clone().map(|key| IdempotencyKey {
        key,
        fingerprint: fingerprint(&draft),
    });
    let id = match &draft.id {
        Some(id) => id.clone(),
        None => with.ids.uuid(with.wall).into(),
    };
    let event = draft.complete(DraftDefaults {
        id,
        time: with.wall,
        source: with.source,
        registry: with.registry,
    });
    Entry { event, key }
}

/// A digest of what a producer sent.
fn fingerprint(draft: &EventDraft) -> u64 {
    let mut digest = Fingerprint::default();
    draft.hash(&mut digest);
    digest.finish()
}
