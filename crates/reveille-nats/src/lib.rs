//! Session logs in NATS JetStream (nats-server 2.12.2 and later), and signals across nodes, for several
//! processes at once.
//!
//! [`NatsBackend`] is a [`Backend`](reveille_backend::Backend) on one server or a cluster. Each event is
//! a message, whose payload is the event's JSON. A tenant has one stream, so a message's sequence is the
//! event's in the order of the tenant; a log has a subject of it, and one record, which holds its epoch.
//! An append compares the last message of the subject with the one that is known here, and is stored in
//! one step with all that it adds, so positions have no holes, whoever else appends. Appends that wait
//! for each other are stored together. One connection is held, and one reader of headers for each
//! stream that is watched, whatever the number of logs and watches.
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
//!
//! # Signals across nodes
//! [`SignalNode`] joins a [`SignalSystem`](reveille_core::SignalSystem) to others on the same servers: it
//! takes their handles wherever it takes its own, and serves theirs. It needs no JetStream.
//!
//! - An owner alone decides how a signal ends, and everybody is told its word: the true causes, whoever
//!   asks and whenever; [`OutcomeForgotten`](reveille_core::SignalError::OutcomeForgotten) where it has
//!   forgotten, never success.
//! - A request has its effect once, however often it is sent, and none after its deadline by the owner's
//!   clock. One that is not answered until then is
//!   [`OwnerLost`](reveille_core::SignalError::OwnerLost): whether it had an effect before is not known.
//! - An owner that is silent for a lease is given up:
//!   [`OwnerLost`](reveille_core::PoisonKind::OwnerLost), within two leases of its death. That is of the
//!   wait, not of the signal, and is not remembered: an owner that was only stopped goes on, and whoever
//!   asks again is told by it.
//! - Of two processes with one system id the later one counts; the former is silent once it learns of it.
//! - Whatever the broker loses is said again. A wait outlives a broker that is away for up to
//!   [`broker_patience`](SignalNodeOptions::broker_patience).
//! - Whoever has a handle can complete a signal of which nobody holds the right
//!   ([`Signal`](reveille_core::Signal)), as within a process. Whoever may publish on the subjects can
//!   speak for any node: the broker's permissions for `PREFIX.signals.v1.>` are the wall.

mod access;
mod answers;
mod backend;
mod core;
mod error;
mod fold;
mod link;
mod log;
mod message;
mod names;
mod options;
mod order;
mod reader;
mod record;
mod signals;
mod store;
mod streams;
mod writer;

pub use backend::NatsBackend;
pub use error::ConnectError;
pub use options::{NatsOptions, Storage};
pub use signals::{JoinError, SignalHub, SignalNode, SignalNodeOptions, SignalNodeStats};
