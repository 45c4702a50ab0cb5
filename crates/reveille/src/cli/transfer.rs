//! `reveille export` and `reveille import`: sessions as lines, and back.
//!
//! An event is a line of `CloudEvents` JSON. What a session has beside its events stands in control lines,
//! named as on streams: one before its events, and one behind them if it is over.

use std::collections::HashMap;
use std::io::BufRead;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use reveille_backend::{
    AppendError, AppendOptions, Backend, BackendError, Entry, Incarnation, ListOptions, LogHandle,
    OpenOptions, ReadLimit, Seal, StoredLog,
};
use reveille_core::{IdSource, SystemIds};
use reveille_types::{
    EndReason, Epoch, Invalid, Place, Position, Seq, SessionKey, Tenant, UnplacedEvent,
    decode_event_at, json_line,
};
use serde::{Deserialize, Serialize};

use super::backend::BackendArgs;
use super::output::{line, note};
use super::{CommandError, Outcome};

/// What is read or appended at once.
const PAGE: ReadLimit = ReadLimit {
    events: 256,
    bytes: 1024 * 1024,
};

/// Write sessions with their events, one a line, to standard output
#[derive(Debug, Args)]
pub(super) struct Export {
    #[command(flatten)]
    place: Stored,
}

/// Make new sessions of what standard input has, one event a line
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
    #[error("is no line that an export has")]
    Malformed(#[source] serde_json::Error),
    #[error("names no session")]
    NoSession(#[source] serde_json::Error),
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error("session {0} is there already")]
    Exists(String),
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error(transparent)]
    Append(#[from] AppendError),
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
    let stored = open(backend, key, Incarnation::Current, "").await;
    let stored = stored.map_err(TransferError::from)?;
    line(&json_line(&Line::Session {
        session: key.name(),
        attributes: stored.attributes,
    }))?;
    let mut from = Position::START;
    loop {
        let page = stored.log.read(from, PAGE).await;
        let page = page.map_err(TransferError::from)?;
        let Some(last) = page.events.last() else {
            break;
        };
        from = last.position().next();
        for event in &page.events {
            let text = std::str::from_utf8(event.json()).unwrap_or_default();
            line(text)?;
        }
    }
    if let Some(Seal { reason, message }) = stored.seal {
        line(&json_line(&Line::End {
            session: key.name(),
            reason,
            message,
        }))?;
    }
    Ok(())
}

/// A line that is no event.
#[derive(Debug, Serialize, Deserialize)]
enum Line {
    #[serde(rename = "reveille.session")]
    Session {
        session: String,
        /// What the store keeps of how it was made.
        #[serde(default)]
        attributes: Box<str>,
    },
    #[serde(rename = "reveille.end")]
    End {
        session: String,
        reason: EndReason,
        #[serde(default)]
        message: Option<Box<str>>,
    },
}

impl Line {
    /// The line, if it is one of these.
    fn read(text: &str) -> Result<Option<Self>, LineError> {
        match text.trim_start().starts_with("{\"reveille.") {
            true => Ok(Some(
                serde_json::from_str(text).map_err(LineError::Malformed)?,
            )),
            false => Ok(None),
        }
    }
}

/// Sessions that are being imported.
struct Importing {
    backend: Arc<dyn Backend>,
    tenant: Tenant,
    sessions: HashMap<SessionKey, Session>,
    events: usize,
}

/// One of them: its log, and what has not been appended yet.
struct Session {
    log: Arc<dyn StoredLog>,
    entries: Vec<Entry>,
}

impl Import {
    /// Every event into the session that it names, which must not be there.
    pub(super) async fn run(&self) -> Result<Outcome, CommandError> {
        let mut importing = Importing {
            backend: self.place.open().await?,
            tenant: self.place.tenant.clone(),
            sessions: HashMap::new(),
            events: 0,
        };
        for (at, text) in std::io::stdin().lock().lines().enumerate() {
            let text = text.map_err(TransferError::Input)?;
            let read = importing.line(&text).await;
            read.map_err(|source| TransferError::Line {
                line: at + 1,
                source,
            })?;
        }
        for session in importing.sessions.values_mut() {
            session.flush().await.map_err(TransferError::from)?;
        }
        let (events, sessions) = (importing.events, importing.sessions.len());
        note(&format!("{events} events in {sessions} sessions"));
        Ok(Outcome::Done)
    }
}

impl Importing {
    async fn line(&mut self, text: &str) -> Result<(), LineError> {
        match Line::read(text)? {
            None => self.event(text).await,
            Some(Line::Session {
                session,
                attributes,
            }) => {
                let key = self.key(&session)?;
                self.create(&key, &attributes).await
            }
            Some(Line::End {
                session,
                reason,
                message,
            }) => {
                let session = self.session(&session).await?;
                session.flush().await?;
                session.log.seal(Seal { reason, message }).await?;
                Ok(())
            }
        }
    }

    async fn event(&mut self, text: &str) -> Result<(), LineError> {
        let names: Names = serde_json::from_str(text).map_err(LineError::NoSession)?;
        let key = self.key(&names.reveillesession)?;
        let event = event_of(text, &key)?;
        let session = self.session(&names.reveillesession).await?;
        session.entries.push(Entry { event, key: None });
        if session.entries.len() >= PAGE.events {
            session.flush().await?;
        }
        self.events += 1;
        Ok(())
    }

    fn key(&self, name: &str) -> Result<SessionKey, LineError> {
        Ok(SessionKey::in_tenant(self.tenant.clone(), name)?)
    }

    /// The session, made now if no line has said how.
    async fn session(&mut self, name: &str) -> Result<&mut Session, LineError> {
        let key = self.key(name)?;
        if !self.sessions.contains_key(&key) {
            self.create(&key, "").await?;
        }
        let session = self.sessions.get_mut(&key);
        session.ok_or_else(|| LineError::Exists(key.name()))
    }

    async fn create(&mut self, key: &SessionKey, attributes: &str) -> Result<(), LineError> {
        let stored = open(&*self.backend, key, Incarnation::CurrentOrNew, attributes).await?;
        if !stored.created {
            return Err(LineError::Exists(key.name()));
        }
        let session = Session {
            log: stored.log,
            entries: Vec::new(),
        };
        self.sessions.insert(key.clone(), session);
        Ok(())
    }
}

impl Session {
    async fn flush(&mut self) -> Result<(), AppendError> {
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

/// A log that was opened.
struct OpenedLog {
    log: Arc<dyn StoredLog>,
    created: bool,
    attributes: Box<str>,
    seal: Option<Seal>,
}

async fn open(
    backend: &dyn Backend,
    key: &SessionKey,
    incarnation: Incarnation,
    attributes: &str,
) -> Result<OpenedLog, BackendError> {
    let options = OpenOptions::new(incarnation, new_epoch()).attributes(attributes);
    let opened = backend.open(key, options).await?;
    match opened.log {
        LogHandle::Stored(log) => Ok(OpenedLog {
            log,
            created: opened.created,
            attributes: opened.attributes,
            seal: opened.seal,
        }),
        LogHandle::Immediate(_) => Err(BackendError::NotSupported {
            backend: backend.capabilities().name,
            operation: "open a stored log",
        }),
    }
}

fn new_epoch() -> Epoch {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = since.map_or(0, |since| since.as_millis());
    let [a, b, c, d, ..] = SystemIds.random_u64().to_le_bytes();
    let random = u32::from_le_bytes([a, b, c, d]);
    Epoch::from_parts(u64::try_from(millis).unwrap_or_default(), random)
}

/// What a line of an event must have.
#[derive(Deserialize)]
struct Names {
    reveillesession: String,
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
