//! What the tests share: servers of their own, and events for them.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod chaos;
pub(crate) mod cluster;
pub(crate) mod relay;
pub(crate) mod server;

use std::sync::Arc;
use std::time::Duration;

use reveille_backend::types::{
    DraftDefaults, Epoch, EventDraft, EventId, KindRegistry, SessionKey, Source, Tenant,
};
use reveille_backend::{
    Backend, Entry, IdempotencyKey, Incarnation, LogHandle, OpenOptions, StoredLog,
};
use reveille_nats::{NatsBackend, NatsOptions};

/// Short patience, as tests have it.
pub(crate) fn options() -> NatsOptions {
    let mut options = NatsOptions::default();
    options.connect_timeout = Duration::from_secs(1);
    options.response_timeout = Duration::from_secs(2);
    options.patience = Duration::from_secs(5);
    options.ping_interval = Duration::from_millis(500);
    options
}

pub(crate) async fn backend(url: &str) -> NatsBackend {
    NatsBackend::connect(url, options()).await.unwrap()
}

pub(crate) fn key(name: &str) -> SessionKey {
    SessionKey::in_tenant(Tenant::default_tenant(), name).unwrap()
}

pub(crate) async fn try_log(
    backend: &NatsBackend,
    name: &str,
    incarnation: Incarnation,
    n: u32,
) -> Result<(Epoch, Arc<dyn StoredLog>), reveille_backend::BackendError> {
    let epoch = Epoch::from_parts(1_700_000_000_000, n);
    let opened = backend
        .open(&key(name), OpenOptions::new(incarnation, epoch))
        .await?;
    match opened.log {
        LogHandle::Stored(log) => Ok((opened.epoch, log)),
        LogHandle::Immediate(_) => panic!("a stored log"),
    }
}

pub(crate) async fn log(backend: &NatsBackend, name: &str) -> Arc<dyn StoredLog> {
    try_log(backend, name, Incarnation::CurrentOrNew, 1)
        .await
        .unwrap()
        .1
}

/// An event that is recognised by its id.
pub(crate) fn entry(id: &str) -> Entry {
    let session = key("s");
    let event = EventDraft::parse("a").unwrap().complete(DraftDefaults {
        id: EventId::parse(id).unwrap(),
        time: jiff::Timestamp::UNIX_EPOCH,
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
