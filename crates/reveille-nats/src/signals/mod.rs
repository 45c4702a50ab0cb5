//! Signals across nodes: systems that reach each other's signals through a broker.
//!
//! # Messages
//!
//! Each node listens on `PREFIX.signals.v1.SYSTEM`, where `SYSTEM` is its system's id as 16 hexadecimal
//! digits. Every message is one JSON object: `{"v":1,"from":SYSTEM,"run":RUN,"clock":MS,"to":RUN,"body":
//! {NAME:{…}}}`. `run` is the life of the sender, greater for a later one; `clock` the milliseconds since
//! that began. A message with a `to` is for that run of the receiver alone; another one that is later
//! answers `here`. Unknown fields are passed over; what cannot be read is counted and passed over.
//!
//! | `body` | Fields | Answered with |
//! |---|---|---|
//! | `hello` | | `here` |
//! | `watch` | `handles`, `ttl_ms` | a `report` of those that have ended, which may be none; the rest when they do |
//! | `unwatch` | `handles` | |
//! | `report` | `ends`: `handle` and `end`, one of `triggered` (`value`), `done`, `failed`, `refused` | `unwatch` |
//! | `request` | `id`, `handle`, `by`, `ask`: one of `trigger` (`value`), `poison` (`reason`), `cancel` (`reason`), `status`, `look` (`question`), `act` (`question`) | `answer` |
//! | `answer` | `id`, `answer`: one of `done`, `status`, `said` (`answer`), `refused`, `late` | |
//! | `bye` | | |
//!
//! `failed` is `handle`, `causes` (`handle`, `kind`, `reason`) and `count`; `refused` is the `code` of a
//! [`SignalError`](reveille_core::SignalError) with its fields.
//!
//! # How it works
//!
//! A node that waits asks four times a lease (`watch`, for each signal once a lease at least, or `hello`),
//! and any answer renews the lease. An owner keeps what it was told for three leases, and the end of a
//! watched signal until it is fetched. So no message
//! must arrive: what is lost is said again.
//!
//! A request is repeated until it is answered or its deadline has come. `by` is that deadline on the
//! owner's clock, estimated from what the owner said last, so never later than in truth: an owner that
//! was stopped and goes on, or a broker that was, does not carry out what its sender has given up. The
//! owner keeps each answer until `by`, and refuses what is later, so nothing is carried out twice.
//!
//! Systems that join by a [`SignalHub`] listen on `PREFIX.signals.v1.s_SCOPE.SYSTEM` instead, and have a
//! desk. `look` and `act` are asked there and of the system, so the handle names that alone; `act` is a
//! request like others, `look` is answered anew each time. A desk alone says who may complete a signal,
//! so those other requests are refused. That nobody listens at a system is learnt from the broker, by a
//! `hello` that has a reply.
//!
//! Two processes with the same system id would give two answers. One that is to join asks whether the id
//! is taken; one that was cut off meanwhile and comes back learns of a later run, and is silent from then
//! on. Nodes hold to the latest run that they have heard of: what they waited for at the one before is
//! lost.

mod actor;
mod answers;
mod ends;
mod error;
mod hub;
mod link;
mod message;
mod node;
mod options;
mod outgoing;
mod owners;
mod parts;
mod router;
mod run;
mod serving;
#[cfg(test)]
mod simulation;
mod stats;

pub use error::JoinError;
pub use hub::SignalHub;
pub use node::SignalNode;
pub use options::SignalNodeOptions;
pub use stats::SignalNodeStats;
