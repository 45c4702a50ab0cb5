//! From drafts to entries: everything about a batch that needs no lock.

use std::hash::{Hash, Hasher};

use jiff::Timestamp;
use reveille_backend::{Entry, IdempotencyKey};
use reveille_core::IdSource;
use reveille_types::{
    DraftDefaults, EventDraft, EventId, Finality, Fingerprint, KindRegistry, SessionKey, Source,
    weight,
};
use uuid::fmt::Hyphenated;

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

/// Checks drafts and fills in what they left open.
pub(crate) fn prepare(
    drafts: Vec<EventDraft>,
    with: Preparing<'_>,
) -> Result<Vec<Entry>, AppendError> {
    if drafts.is_empty() {
        return Err(AppendError::EmptyBatch);
    }
    if drafts.len() > with.limits.batch_events {
        return Err(AppendError::BatchTooLarge {
            limit: with.limits.batch_events,
            actual: drafts.len(),
        });
    }
    let last = drafts.len() - 1;
    let mut bytes = 0_usize;
    let mut entries = Vec::with_capacity(drafts.len());
    for (index, draft) in drafts.into_iter().enumerate() {
        draft
            .check()
            .map_err(|source| AppendError::InvalidEvent { index, source })?;
        check_session(index, &draft, with.session)?;
        let entry = complete(draft, with)?;
        let actual = weight(&entry.envelope, &entry.payload);
        if actual > with.event_bytes {
            return Err(AppendError::EventTooLarge {
                index,
                limit: with.event_bytes,
                actual,
            });
        }
        bytes = bytes.saturating_add(actual);
        if index < last && entry.envelope.finality == Finality::Session {
            return Err(AppendError::AfterFinal { index });
        }
        entries.push(entry);
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
pub(crate) fn complete(draft: EventDraft, with: Preparing<'_>) -> Result<Entry, AppendError> {
    let key = draft.idempotency_key.clone().map(|key| IdempotencyKey {
        key,
        fingerprint: fingerprint(&draft),
    });
    let id = match &draft.id {
        Some(id) => id.clone(),
        None => {
            let mut text = [0; Hyphenated::LENGTH];
            let text = with.ids.uuid().hyphenated().encode_lower(&mut text);
            EventId::parse(text).map_err(|source| AppendError::InvalidEvent { index: 0, source })?
        }
    };
    let (envelope, payload) = draft.complete(DraftDefaults {
        id,
        time: with.wall,
        source: with.source,
        registry: with.registry,
    });
    Ok(Entry {
        envelope,
        payload,
        key,
    })
}

/// A digest of what a producer sent.
fn fingerprint(draft: &EventDraft) -> u64 {
    let mut digest = Fingerprint::default();
    draft.hash(&mut digest);
    digest.finish()
}
