//! What can be set about a backend.

use std::time::Duration;

/// How to use a server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NatsOptions {
    /// What the names of all streams and subjects begin with, so that several stores may share a
    /// server. Letters, digits, `_` and `-` only.
    pub prefix: Box<str>,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long the server may take to answer. Then what an append has done is unknown.
    pub response_timeout: Duration,
    /// How often the connection is tried. One that misses two answers is made anew.
    pub ping_interval: Duration,
}

impl Default for NatsOptions {
    /// Names begin with `reveille`; connections take 2 s at most, answers 5 s; a ping each 2 s.
    fn default() -> Self {
        Self {
            prefix: "reveille".into(),
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(2),
        }
    }
}
