//! What can be set about a backend.

use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;

/// Where a server keeps what it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Storage {
    /// In files.
    File,
    /// In memory: gone when the server ends.
    Memory,
}

/// How to use the servers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NatsOptions {
    /// What the names of all streams and subjects begin with, so that several stores may share a
    /// cluster. Letters, digits, `_` and `-` only.
    pub prefix: Box<str>,
    /// On how many servers a new store is kept. One that is there already stays as it is.
    pub replicas: usize,
    /// Where a new store is kept. One that is there already stays as it is.
    pub storage: Storage,
    /// Most bytes that a new tenant's stream may hold; unlimited if none. Appends beyond it are refused:
    /// nothing is dropped for them.
    pub max_bytes: Option<u64>,
    /// The credentials of a user, as `nsc` writes them: a JWT and the seed of its key. They are read when
    /// the connection is first made, and go before what the URL says.
    pub credentials: Option<PathBuf>,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long a server may take to answer. Then it is asked again, and what an append has done is
    /// looked up.
    pub response_timeout: Duration,
    /// How long an operation goes on trying when no server can answer it.
    pub patience: Duration,
    /// How often the connection is tried. One that misses two answers is made anew.
    pub ping_interval: Duration,
}

impl NatsOptions {
    /// Takes the settings behind the `?` of a URL: what is before it.
    pub(crate) fn take_query<'a>(&mut self, url: &'a str) -> Option<&'a str> {
        let Some((servers, query)) = url.split_once('?') else {
            return Some(url);
        };
        for setting in query.split('&') {
            match setting.split_once('=')? {
                ("prefix", prefix) => self.prefix = prefix.into(),
                ("replicas", replicas) => {
                    self.replicas = replicas.parse().ok().filter(|n| (1..=5).contains(n))?;
                }
                ("storage", "file") => self.storage = Storage::File,
                ("storage", "memory") => self.storage = Storage::Memory,
                ("credentials", path) if !path.is_empty() => {
                    let path = percent_decode_str(path).decode_utf8().ok()?;
                    self.credentials = Some(PathBuf::from(&*path));
                }
                ("max_bytes", bytes) => self.max_bytes = Some(bytes.parse().ok()?),
                _ => return None,
            }
        }
        Some(servers)
    }
}

impl Default for NatsOptions {
    /// Names begin with `reveille`; a new store is kept in files of one server, without a limit;
    /// connections take 2 s at most, answers 5 s, operations 15 s; a ping each 2 s.
    fn default() -> Self {
        Self {
            prefix: "reveille".into(),
            replicas: 1,
            storage: Storage::File,
            max_bytes: None,
            credentials: None,
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(5),
            patience: Duration::from_secs(15),
            ping_interval: Duration::from_secs(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_stand_behind_the_servers() {
        let mut options = NatsOptions::default();
        let url = "nats://a:1,nats://b:1?replicas=3&storage=memory&prefix=p&max_bytes=9&credentials=/a%20b/u.creds";
        assert_eq!(options.take_query(url), Some("nats://a:1,nats://b:1"));
        assert_eq!((options.replicas, options.storage), (3, Storage::Memory));
        assert_eq!((&*options.prefix, options.max_bytes), ("p", Some(9)));
        assert_eq!(options.credentials, Some("/a b/u.creds".into()));
        for wrong in [
            "replicas=0",
            "replicas=9",
            "storage=disk",
            "max_bytes=-1",
            "credentials=",
            "x=y",
            "replicas",
            "",
        ] {
            let url = format!("nats://a?{wrong}");
            assert_eq!(options.take_query(&url), None, "{wrong}");
        }
    }
}
