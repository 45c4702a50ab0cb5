//! What can be set about a backend.

use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use crate::access::Files;

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
    /// The credentials of a user, as `nsc` writes them: a JWT and the seed of its key. They go before what
    /// the URL says. Like the files below they are read each time that a connection is made.
    pub credentials: Option<PathBuf>,
    /// The certificates of the authorities that a server's certificate may be of, in PEM, instead of those
    /// that the system trusts. With it, TLS is spoken or nothing.
    pub ca: Option<PathBuf>,
    /// The certificate that is shown to a server, in PEM, with those that lead to its authority; with
    /// [`key`](Self::key) only. With it, TLS is spoken or nothing.
    pub cert: Option<PathBuf>,
    /// The certificate's private key, in PEM.
    pub key: Option<PathBuf>,
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
    /// Takes the settings behind the `?` of a URL: what is before it. Otherwise the name of the one that
    /// does not exist or cannot be so.
    pub(crate) fn take_query<'a>(&mut self, url: &'a str) -> Result<&'a str, Box<str>> {
        let Some((servers, query)) = url.split_once('?') else {
            return Ok(url);
        };
        for setting in query.split('&') {
            let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
            self.take(name, value).ok_or(name)?;
        }
        Ok(servers)
    }

    fn take(&mut self, name: &str, value: &str) -> Option<()> {
        match name {
            "prefix" => self.prefix = value.into(),
            "replicas" => {
                self.replicas = value.parse().ok().filter(|n| (1..=5).contains(n))?;
            }
            "storage" => {
                self.storage = match value {
                    "file" => Storage::File,
                    "memory" => Storage::Memory,
                    _ => return None,
                }
            }
            "max_bytes" => self.max_bytes = Some(value.parse().ok()?),
            "credentials" => self.credentials = Some(path(value)?),
            "ca" => self.ca = Some(path(value)?),
            "cert" => self.cert = Some(path(value)?),
            "key" => self.key = Some(path(value)?),
            _ => return None,
        }
        Some(())
    }

    pub(crate) fn files(&self) -> Files {
        Files {
            credentials: self.credentials.clone(),
            ca: self.ca.clone(),
            cert: self.cert.clone(),
            key: self.key.clone(),
        }
    }
}

fn path(value: &str) -> Option<PathBuf> {
    let path = percent_decode_str(value).decode_utf8().ok()?;
    (!path.is_empty()).then(|| PathBuf::from(&*path))
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
            ca: None,
            cert: None,
            key: None,
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
        let url = "nats://a:1,nats://b:1?replicas=3&storage=memory&prefix=p&max_bytes=9&credentials=/a%20b/u.creds&ca=/a&cert=/c&key=/k";
        assert_eq!(options.take_query(url), Ok("nats://a:1,nats://b:1"));
        assert_eq!((options.replicas, options.storage), (3, Storage::Memory));
        assert_eq!((&*options.prefix, options.max_bytes), ("p", Some(9)));
        let files = [
            options.credentials.take(),
            options.ca.take(),
            options.cert.take(),
            options.key.take(),
        ];
        let expected = ["/a b/u.creds", "/a", "/c", "/k"];
        assert_eq!(files, expected.map(|path| Some(PathBuf::from(path))));
        for wrong in [
            "replicas=0",
            "replicas=9",
            "storage=disk",
            "max_bytes=-1",
            "credentials=",
            "ca=",
            "cert=%ff",
            "key",
            "x=y",
            "replicas",
            "",
        ] {
            let url = format!("nats://a?{wrong}");
            let name = wrong.split('=').next().unwrap_or_default();
            assert_eq!(options.take_query(&url), Err(name.into()), "{wrong}");
        }
    }
}
