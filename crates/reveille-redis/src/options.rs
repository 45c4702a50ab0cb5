//! What can be set about a backend.

use std::time::Duration;

use reveille_types::Durability;

/// How to use a server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RedisOptions {
    /// What the names of all keys and channels begin with, so that several stores may share a server.
    /// Letters, digits, `_`, `-`, `.` and `:` only.
    pub prefix: Box<str>,
    /// How long a connection may take to be made, greeting included.
    pub connect_timeout: Duration,
    /// How long the server may take to answer. Then the connection is given up, and what an append
    /// has done is unknown. As long is waited for a server that has started and writes its file anew;
    /// then what is to be stored is refused.
    pub response_timeout: Duration,
    /// How often the connection that listens for wake-ups is tried. A server that does not answer
    /// within `response_timeout` is asked anew on another connection.
    pub ping_interval: Duration,
    /// What acknowledged events must survive; nothing said, what the server's settings promise. What they do
    /// not promise is a [`ConnectError::Durability`](crate::ConnectError::Durability).
    ///
    /// [`Replicated`](Durability::Replicated) waits for each append until [`replicas`](Self::replicas) have it
    /// (`WAIT`), and needs a server that writes a file; [`ReplicatedFsync`](Durability::ReplicatedFsync) until
    /// they and the server have synced it (`WAITAOF`: Redis 7.2, Valkey). An append that too few have in time is
    /// [`OutcomeUnknown`](reveille_backend::AppendError::OutcomeUnknown), and further ones are refused until
    /// they have it.
    pub durability: Option<Durability>,
    /// How many replicas are waited for, if they are; 1 at least.
    pub replicas: u32,
}

impl Default for RedisOptions {
    /// Keys begin with `reveille`; connections take 2 s at most, answers 5 s; a ping each 2 s;
    /// the server's settings promise enough, and one replica would be.
    fn default() -> Self {
        Self {
            prefix: "reveille".into(),
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(2),
            durability: None,
            replicas: 1,
        }
    }
}
