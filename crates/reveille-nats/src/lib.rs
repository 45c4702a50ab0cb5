//! Session logs in NATS JetStream, for several processes at once.

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
