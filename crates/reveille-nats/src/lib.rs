//! Session logs in NATS JetStream, for several processes at once.

mod error;
mod options;

pub use error::ConnectError;
pub use options::NatsOptions;
