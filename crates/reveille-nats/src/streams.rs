//! How streams are made, and what their settings promise.

use std::time::{SystemTime, UNIX_EPOCH};

use reveille_backend::BackendError;
use reveille_backend::types::{Durability, Tenant};
use serde_json::{Value, json};

use crate::error::unavailable;
use crate::options::Storage;
use crate::store::{Store, StreamInfo};

/// How a store is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    in_files: bool,
    replicas: usize,
    /// What is acknowledged may not have been written.
    is_async: bool,
}

impl From<StreamInfo> for Settings {
    fn from(info: StreamInfo) -> Self {
        Self {
            in_files: info.config.storage == "file",
            replicas: info.config.num_replicas.max(1),
            is_async: info.config.persist_mode.as_deref() == Some("async"),
        }
    }
}

/// What an acknowledged event survives. Whether files are synced before is a setting of the server that
/// it does not tell to an account, so no level says so.
pub(crate) fn durability(settings: &Settings) -> Durability {
    if !settings.in_files || settings.is_async {
        Durability::Volatile
    } else if settings.replicas >= 3 {
        Durability::Replicated
    } else {
        Durability::Os
    }
}

/// How many messages a server stores one after the other in the time that it takes to begin a batch: it
/// keeps what comes of a batch in files of its own, unless it is one of several or stores in memory.
pub(crate) fn few(settings: &Settings) -> usize {
    match settings.in_files && settings.replicas == 1 {
        true => 32,
        false => 1,
    }
}

/// Sees to it that the stream of records is there. When it was made, and how it is kept.
pub(crate) async fn of_records(store: &Store) -> Result<(String, Settings), BackendError> {
    let options = store.link.options();
    let storage = match options.storage {
        Storage::File => "file",
        Storage::Memory => "memory",
    };
    let name = store.names.records();
    let config = json!({
        "name": name,
        "subjects": [store.names.record_subjects()],
        "storage": storage,
        "num_replicas": options.replicas,
        "max_msgs_per_subject": 1,
        "discard": "old",
        "retention": "limits",
        "allow_direct": true,
        // Nothing that is sent here is sent twice: it compares.
        "duplicate_window": 100_000_000,
    });
    let info = store.ensure(&name, &config).await?;
    Ok((info.created.clone(), info.into()))
}

/// Sees to it that the stream of a tenant's events is there, and keeps what the records do. When it was
/// made.
pub(crate) async fn of_tenant(
    store: &Store,
    settings: &Settings,
    tenant: &Tenant,
) -> Result<String, BackendError> {
    let name = store.names.events(tenant);
    let max_bytes = store.link.options().max_bytes;
    let mut config = json!({
        "name": name,
        "subjects": [store.names.events_of(tenant)],
        "storage": if settings.in_files { "file" } else { "memory" },
        "num_replicas": settings.replicas,
        "max_bytes": max_bytes.map_or(json!(-1), Value::from),
        "discard": "new",
        "retention": "limits",
        "allow_direct": true,
        "allow_atomic": true,
        "duplicate_window": 100_000_000,
    });
    if !settings.in_files {
        // A stream that was forgotten has given its numbers to somebody already.
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(1, |now| now.as_micros());
        config["first_seq"] = u64::try_from(now).unwrap_or(1).into();
    }
    let info = store.ensure(&name, &config).await?;
    let created = info.created.clone();
    match durability(&info.into()).covers(durability(settings)) {
        true => Ok(created),
        false => Err(unavailable("the tenant's stream keeps less than the logs'")),
    }
}
