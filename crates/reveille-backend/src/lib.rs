//! What a storage backend and an archive implement, and nothing that stores.
//!
//! A [`Backend`] orders and keeps the events of session logs. It hands out one handle a log, in one of
//! two shapes ([`LogHandle`]):
//!
//! * [`StoredLog`]: asynchronous, for everything that does I/O. What third parties write.
//! * [`ImmediateLog`]: synchronous, for backends that can commit without waiting. The session calls
//!   it inside its own critical section, so that an append in process takes one lock and boxes no
//!   future. The session's own window is then the log: such a backend stores nothing, and every open
//!   is a new incarnation.
//!
//! [`Wakes`] helps a backend that hears of changes to wake its watches.
//!
//! An [`Archive`] keeps what a bus has shown, in the order of the bus, beyond what is retained.
//!
//! Readers, waiters, groups, time-outs and retention of what is in memory are not a backend's business:
//! the session applies what the backend committed. This crate knows no runtime, no clock and no HTTP,
//! and changes slowly, because other people's crates compile against it.
//!
//! Cancel safety: the futures of a [`Backend`] and a [`StoredLog`] may be dropped at any point. A
//! dropped `append` may or may not have taken effect, never in part; the same idempotency key settles
//! it.
//!
//! The vocabulary ([`types`]) is handed on, so that a backend needs no other crate of Reveille.

mod append;
mod archive;
mod error;
mod log;
mod store;
mod wakes;

pub use reveille_types as types;

pub use append::{AppendOptions, Entry, IdempotencyKey, Slot, Slots};
pub use archive::{
    Archive, ArchiveBatch, ArchiveCursor, ArchiveError, ArchiveId, ArchivePage, Archived,
    ReplayFrom, ReplayQuery, Watermark,
};
pub use error::{AppendError, BackendError};
pub use log::{ImmediateLog, LogHandle, LogInfo, LogPage, ReadLimit, Seal, StoredLog, Watch};
pub use store::{
    ATTRIBUTES_BYTES, Backend, Capabilities, Incarnation, ListOptions, OpenOptions, Opened,
    OrderPage, StoredPage,
};
pub use wakes::{Armed, Wakes};
