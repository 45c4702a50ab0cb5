//! The HTTP server as a library: any language publishes, waits, streams, resumes and cancels.
//!
//! [`Gateway`] is the sessions and signals of a process seen through HTTP; [`Gateway::router`] is an
//! axum router that can be mounted anywhere, and [`serve`] an accept loop with the time-outs that a
//! server needs, which ends all streams in an orderly way. The wire contract is in the repository's
//! `docs/wire.md`.
//!
//! Cursors are opaque text here: this crate moves them and never makes one up. Storage, waiting and
//! consumption are the queue's business. Without authentication, which is not there yet, a gateway
//! serves loopback addresses only and turns away requests whose `Host` or `Origin` is another.

mod config;
mod gateway;
mod server;

mod address;
mod body;
mod params;
mod problem;

mod bus_events;
mod consume;
mod guard;
mod manage;
mod modes;
mod publish;
mod read;
mod signals;
mod task_paths;
mod wait;

mod feed;
mod frames;
mod stream;

pub use config::{GatewayConfig, SignalLimits};
pub use gateway::Gateway;
pub use server::{ServeError, bind, serve};
