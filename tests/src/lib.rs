//! What the end-to-end tests share: servers that they start and stop themselves, and readers that see
//! every byte.
//!
//! [`Program`] runs the `reveille` program as people do, [`Server`] the gateway in this process on a
//! real socket, with a configuration of the test's own. [`SseReader`] reads server-sent events as the
//! specification says, and keeps comments, so that a test can see heartbeats. Nothing here waits for a
//! time; all waits are for a condition and have a [deadline](PATIENCE) after which the test fails.

pub mod append_file;
mod broker;
mod cluster;
mod keys;
mod program;
mod relay;
mod server;
mod sse;
pub mod tokens;

use std::time::Duration;

pub use broker::Broker;
pub use cluster::NatsCluster;
pub use keys::{add_key, with_key};
pub use program::{Program, readme_script, reveille};
pub use relay::{Relay, Wire};
pub use server::{Server, publish};
pub use sse::{Block, SseReader};

/// How long a test waits for what must happen before it fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for `future`, and fails the test when it takes too long.
///
/// # Panics
/// When [`PATIENCE`] ends first.
///
/// # Cancel safety
/// As safe as `future`.
pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what} did not happen within {PATIENCE:?}"),
    }
}
