//! Rust client of Reveille's HTTP: publish, wait, take, and streams that reconnect by themselves.
//!
//! A [`Client`] speaks to one server, a [`Session`] is one of its sessions. [`Session::follow`] is a
//! stream that survives lost connections and restarted servers: it goes on exactly after the last
//! event, or says by a gap what it could not get. [`Session::wait`] rides out the same until its own
//! deadline. [`Session::publish`] repeats itself when the answer was lost, under one idempotency key,
//! so that nothing is stored twice. [`Signals`] are the one-shot completions of a server.
//!
//! It stands on `reveille-types` alone and knows nothing of how a server works inside. Only plain HTTP
//! is spoken; put a proxy that ends TLS in front of a server that is not on this machine.

mod client;
mod error;
mod session;
mod signal;

mod notify;
mod publish;
mod take;
mod wait;

mod connection;
mod follow;
mod lines;

mod after;
mod backoff;
mod deadline;

pub use after::After;
pub use client::{Client, ListRequest};
pub use error::ClientError;
#[cfg(fuzzing)]
pub use follow::read_stream;
pub use follow::{Follow, FollowOptions, Followed, ReceivedEvent};
pub use publish::PublishOptions;
pub use session::Session;
pub use signal::Signals;
pub use take::TakeResult;
pub use wait::{WaitNote, WaitRequest, WaitResult};
