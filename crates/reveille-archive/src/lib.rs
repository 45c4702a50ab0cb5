//! The durable backend of one machine: session logs in a directory, over any number of restarts.
//!
//! [`ArchiveBackend`] keeps the logs of all tenants in one `SQLite` database. One thread writes: it takes
//! whatever has been asked for while the last commit was under way, and commits it together, so that
//! publishers who wait at the same time share one sync of the disk. Reads go past it, on connections of
//! their own. An append that was asked for goes on when its future is dropped; it takes effect as a
//! whole or not at all.
//!
//! What an acknowledged event survives is chosen when the archive is opened ([`ArchiveOptions`]): the
//! end of the process (`os`), or the power of the machine (`fsync`).
//!
//! Whatever is read is checked: every row has a checksum over its contents and its place, and positions
//! must follow each other. What is damaged is told by its place and never served; a tail that was not
//! written to its end is cut off, which [`ArchiveBackend::recovery`] tells.
//!
//! It is an [`Archive`](reveille_backend::Archive), too, of what buses have shown.
//!
//! [`EventLog`] stands apart from both: events as lines of JSON, one file per agent, for people and
//! their tools.
//!
//! A directory has one writer: a second one is refused. The archive never serves HTTP, keeps no events
//! in memory and knows nothing of sessions: that is what stands on it.
//!
//! The decision for the engine, with its figures, is in `docs/decisions/`.

mod options;

mod codec;
mod error;

mod directory;
mod store;
mod wal;

mod keys;
mod shared;
mod writer;

mod readers;

mod backend;
mod log;
mod maintenance;
mod order;
mod port;
mod watch;

mod event_log;

pub use backend::ArchiveBackend;
pub use error::{OpenError, StoreError};
pub use event_log::{EventLines, EventLog, EventLogError, EventLogOptions};
pub use options::{ArchiveDurability, ArchiveOptions, Retention};
pub use wal::Recovery;
#[cfg(fuzzing)]
pub use {codec::read_record, wal::read_wal};
