//! `reveille export` and `reveille import`: the events of a directory as lines, and back.

use std::collections::HashMap;
use std::io::BufRead;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use reveille_backend::{
    AppendError, AppendOptions, Backend, BackendError, Entry, Incarnation, ListOptions, LogHandle,
    OpenOptions, ReadLimit, StoredLog,
};
use reveille_core::{IdSource, SystemIds};
use reveille_types::{
    Epoch, Invalid, Place, Position, Seq, SessionKey, Tenant, UnplacedEvent, decode_event_at,
};
use serde::Deserialize;

use super::backend::BackendArgs;
use super::output::{line, note};
use super::{CommandError, Outcome};

/// What is read or appended at once.
const PAGE: ReadLimit = ReadLimit {
    events: 256,
    bytes: 1024 * 1024,
};

/// Write the events of an archive, one a line, to standard output
#[derive(Debug, Args)]
pub(super) struct Export {
    #[command(flatten)]
    place: Stored,
}

/// Append events from standard input, one a line, to new sessions of an archive
#[derive(Debug, Args)]
pub(super) struct Import {
    #[command(flatten)]
    place: Stored,
}

/// Whose events, and where.
#[derive(Debug, Args)]
struct Stored {
    #[command(flatten)]
    backend: BackendArgs,
    /// Whose sessions
    #[arg(long, default_value = "default")]
    tenant: Tenant,
}

/// Why events were not transferred.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransferError {
    #[error("line {line}")]
    Line {
        line: usize,
        #[source]
        source: LineError,
    },
    #[error("standard input cannot be read")]
    Input(#[source] std::io::Error),
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(
        "the backend keeps nothing: name one with --backend archive:DIR, redis://HOST or nats://HOST"
    )]
    KeepsNothing,
}

/// Why a line was not imported.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    #[error("names no session")]
    NoSession(#[source] serde_json::Error),
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error("session {0} is there already")]
    Exists(String),
}

impl Export {
    /// Session after session, in the order of their logs.
    pub(super) async fn run(&self) -> Result<Outcome, CommandError> {
        let backend = self.place.open().await?;
        let mut options = ListOptions::first(256);
        loop {
            let page = backend.list(&self.place.tenant, options.clone()).await;
            let page = page.map_err(TransferError::from)?;
            for key in &page.keys {
                export(&*backend, key).await?;
            }
            options.after = page.keys.last().cloned();
            if !page.more {
                return Ok(Outcome::Done);
            }
        }
    }
}

async fn export(backend: &dyn Backend, key: &SessionKey) -> Result<(), CommandError> {
    let (log, _) = open(backend, key, Incarnation::Current).await?;
    let mut from = Position::START;
    loop {
        let page = log.read(from, PAGE).await.map_err(TransferError::from)?;
        let Some(last) = page.events.last() else {
            return Ok(());
        };
        from = last.position().next();
        for event in &page.events {
            let text = std::str::from_utf8(event.json()).unwrap_or_default();
            line(text)?;
        }
    }
}

/// A session that is being imported: its log, and what has not been appended yet.
struct Importing {
    log: Arc<dyn StoredLog>,
    entries: Vec<Entry>,
}

impl Import {
    /// Every event into the session that it names, which must not be there.
    pub(super) async fn run(&self) -> Result<Outcome, CommandError> {
        let backend = self.place.open().await?;
        let mut sessions: HashMap<SessionKey, Importing> = HashMap::new();
        let mut count = 0_usize;
        for (at, text) in std::io::stdin().lock().lines().enumerate() {
            let text = text.map_err(TransferError::Input)?;
            let failed = |source: LineError| TransferError::Line {
                line: at + 1,
                source,
            };
            let key = session_of(&text, &self.place.tenant).map_err(failed)?;
            let event = event_of(&text, &key).map_err(|error| failed(error.into()))?;
            if !sessions.contains_key(&key) {
                let (log, created) = open(&*backend, &key, Incarnation::CurrentOrNew).await?;
                if !created {
                    return Err(failed(LineError::Exists(key.name())).into());
                }
                let entries = Vec::new();
                sessions.insert(key.clone(), Importing { log, entries });
            }
            let Some(session) = sessions.get_mut(&key) else {
                continue;
            };
            session.entries.push(Entry { event, key: None });
            count += 1;
            if session.entries.len() >= PAGE.events {
                session.flush().await?;
            }
        }
        for session in sessions.values_mut() {
            session.flush().await?;
        }
        note(&format!("{count} events in {} sessions", sessions.len()));
        Ok(Outcome::Done)
    }
}

impl Importing {
    async fn flush(&mut self) -> Result<(), TransferError> {
        let entries = std::mem::take(&mut self.entries);
        if !entries.is_empty() {
            let options = AppendOptions::at(Instant::now());
            self.log.append(entries, options).await?;
        }
        Ok(())
    }
}

impl Stored {
    async fn open(&self) -> Result<Arc<dyn Backend>, CommandError> {
        let stored = self.backend.stored().await?;
        Ok(stored.ok_or(TransferError::KeepsNothing)?)
    }
}

async fn open(
    backend: &dyn Backend,
    key: &SessionKey,
    incarnation: Incarnation,
) -> Result<(Arc<dyn StoredLog>, bool), TransferError> {
    let options = OpenOptions::new(incarnation, new_epoch());
    let opened = backend.open(key, options).await?;
    match opened.log {
        LogHandle::Stored(log) => Ok((log, opened.created)),
        LogHandle::Immediate(_) => Err(TransferError::KeepsNothing),
    }
}

fn new_epoch() -> Epoch {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = since.map_or(0, |since| since.as_millis());
    let [a, b, c, d, ..] = SystemIds.random_u64().to_le_bytes();
    let random = u32::from_le_bytes([a, b, c, d]);
    Epoch::from_parts(u64::try_from(millis).unwrap_or_default(), random)
}

/// The session that a line names.
fn session_of(text: &str, tenant: &Tenant) -> Result<SessionKey, LineError> {
    #[derive(Deserialize)]
    struct Names {
        reveillesession: String,
    }
    let names: Names = serde_json::from_str(text).map_err(LineError::NoSession)?;
    Ok(SessionKey::in_tenant(
        tenant.clone(),
        &names.reveillesession,
    )?)
}

fn event_of(text: &str, key: &SessionKey) -> Result<UnplacedEvent, Invalid> {
    // Its old place is not kept: the archive gives it a new one.
    let nowhere = Place {
        session: Arc::new(key.clone()),
        epoch: Epoch::from_parts(0, 0),
        position: Position::START,
        seq: Seq(0),
    };
    let event = decode_event_at(text, nowhere)?;
    Ok(UnplacedEvent::new(
        event.envelope().clone(),
        event.payload().clone(),
    ))
}
