//! Session logs in NATS JetStream (nats-server 2.12.2 and later), for several processes at once.
//!
//! [`NatsBackend`] is a [`Backend`](reveille_backend::Backend) on one server or a cluster. Each event is
//! a message, whose payload is the event's JSON. A tenant has one stream, so a message's sequence is the
//! event's in the order of the tenant; a log has a subject of it, and one record, which holds its epoch.
//! An append compares the last message of the subject with the one that is known here, and is stored in
//! one step with all that it adds, so positions have no holes, whoever else appends. Appends that wait
//! for each other are stored together. One connection is held, and one reader of headers for each
//! stream that is used, whatever the number of logs and watches.
//!
//! # What it promises
//! | How the streams are kept | Level in receipts | Lost when a server is killed | Lost with the power |
//! |---|---|---|---|
//! | in memory | `volatile` | everything, when it is the only one | everything |
//! | in files of one server | `os` | nothing | what was not synced yet: up to two minutes, as the server is set by default |
//! | in files of three or more | `replicated` | nothing | nothing, unless a majority loses its power at once |
//!
//! The level is read from the streams. Whether a server syncs before it answers (`sync_interval: always`)
//! is not told to those who use it, so no level says so.
//!
//! An append whose answer is lost is looked for in the log, and tried again if it is not there: it is
//! [`OutcomeUnknown`](reveille_backend::AppendError::OutcomeUnknown) only if no server can be asked in
//! time. What the servers have lost is never papered over: a log that is gone is not found and gets a
//! new epoch, a log of which a part is gone is [`Corrupt`](reveille_backend::BackendError::Corrupt).
//! That nobody answers is not taken for that: only what a stream's leader says of it is believed.
//!
//! # In production
//! Three servers with `replicas=3`, each with its own disk. The streams belong to this crate: limits that
//! drop messages must not be set on them. An event can be at most as large as the server's `max_payload`.

mod backend;
mod core;
mod error;
mod fold;
mod link;
mod log;
mod message;
mod names;
mod options;
mod reader;
mod record;
mod store;
mod streams;
mod wake;
mod writer;

pub use backend::NatsBackend;
pub use error::ConnectError;
pub use options::{NatsOptions, Storage};
