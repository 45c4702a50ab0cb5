//! Session logs in NATS JetStream, for several processes at once.

mod error;
mod options;
mod signals;

pub use error::ConnectError;
pub use options::NatsOptions;
pub use signals::{JoinError, SignalNode, SignalNodeOptions, SignalNodeStats};
