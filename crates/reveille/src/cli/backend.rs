//! Where sessions are kept: `--backend` and what goes with it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use reveille_archive::{ArchiveBackend, ArchiveDurability, ArchiveOptions};
use reveille_backend::Backend;
use reveille_core::SignalNetwork;
use reveille_gateway::SignalValue;
use reveille_memory::MemoryBackend;
use reveille_nats::{NatsBackend, NatsOptions, SignalHub, SignalNodeOptions};
use reveille_queue::{Sessions, SessionsBuilder};
use reveille_redis::{RedisBackend, RedisOptions};
use reveille_types::Durability;

use super::serve::StartError;

/// How URLs of Redis begin: with and without TLS, and whatever names the servers.
const REDIS: &[&str] = &[
    "redis",
    "rediss",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
];

/// A backend by its name on the command line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum BackendName {
    #[default]
    Memory,
    Archive(PathBuf),
    /// A URL, or several with commas between, which may hold passwords.
    Nats(String),
    /// A URL, which may hold a password.
    Redis(String),
}

impl FromStr for BackendName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            Some(("archive", dir)) if !dir.is_empty() => Ok(Self::Archive(dir.into())),
            Some(("nats" | "tls", rest)) if rest.starts_with("//") => {
                Ok(Self::Nats(text.to_owned()))
            }
            Some((scheme, rest)) if REDIS.contains(&scheme) && rest.starts_with("//") => {
                Ok(Self::Redis(text.to_owned()))
            }
            _ => Err("expected memory, archive:DIR, redis://HOST or nats://HOST".to_owned()),
        }
    }
}

impl fmt::Display for BackendName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Archive(dir) => write!(f, "archive:{}", dir.display()),
            Self::Nats(urls) => {
                let shown: Vec<String> = urls.split(',').map(without_password).collect();
                f.write_str(&shown.join(","))
            }
            Self::Redis(url) => f.write_str(&without_password(url)),
        }
    }
}

/// The URL as it may be shown.
fn without_password(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://***@{host}"),
        _ => url.to_owned(),
    }
}

/// What an acknowledged event survives
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum Level {
    /// Nothing
    Volatile,
    /// The end of the process
    Os,
    /// A loss of power
    Fsync,
    /// The loss of a machine
    Replicated,
    /// A loss of power on all machines, or of one of them for good
    ReplicatedFsync,
}

impl From<Level> for Durability {
    fn from(level: Level) -> Self {
        match level {
            Level::Volatile => Self::Volatile,
            Level::Os => Self::Os,
            Level::Fsync => Self::Fsync,
            Level::Replicated => Self::Replicated,
            Level::ReplicatedFsync => Self::ReplicatedFsync,
        }
    }
}

/// Where sessions are kept.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct BackendArgs {
    /// Where sessions are kept: memory, archive:DIR for a directory, redis://HOST:PORT or nats://HOST:PORT
    #[arg(
        long,
        value_name = "BACKEND",
        env = "REVEILLE_BACKEND",
        default_value = "memory"
    )]
    pub(crate) backend: BackendName,
    /// What an acknowledged event must survive; a backend that promises less is refused. By default
    /// what the backend's settings promise, and fsync in an archive
    #[arg(long, value_name = "LEVEL")]
    pub(crate) durability: Option<Level>,
}

impl BackendArgs {
    /// The store that is named, if it is one.
    pub(crate) async fn stored(&self) -> Result<Option<Arc<dyn Backend>>, StartError> {
        let store: Arc<dyn Backend> = match &self.backend {
            BackendName::Memory => {
                self.satisfied_with(Durability::Volatile)?;
                return Ok(None);
            }
            BackendName::Archive(dir) => {
                self.satisfied_with(Durability::Fsync)?;
                let mut options = ArchiveOptions::default();
                options.durability = self.in_archive();
                Arc::new(ArchiveBackend::open(dir, options)?)
            }
            BackendName::Nats(url) => {
                let connecting = NatsBackend::connect(url, NatsOptions::default());
                Arc::new(connecting.await?)
            }
            BackendName::Redis(url) => {
                let mut options = RedisOptions::default();
                options.durability = self.durability.map(Durability::from);
                let connecting = RedisBackend::connect(url, options);
                Arc::new(connecting.await?)
            }
        };
        self.satisfied_with(store.capabilities().durability)?;
        Ok(Some(store))
    }

    /// Whether a backend that promises this promises enough.
    fn satisfied_with(&self, promised: Durability) -> Result<(), StartError> {
        match self.durability.map(Durability::from) {
            Some(asked) if !promised.covers(asked) => Err(StartError::Durability {
                asked,
                backend: self.backend.to_string(),
                promised,
            }),
            _ => Ok(()),
        }
    }

    /// The least level of an archive that is enough.
    fn in_archive(&self) -> ArchiveDurability {
        match self.durability {
            Some(Level::Volatile | Level::Os) => ArchiveDurability::Os,
            _ => ArchiveDurability::Fsync,
        }
    }

    /// What reaches the signals of other servers on this backend, where it carries them.
    pub(crate) async fn signals(
        &self,
    ) -> Result<Option<Arc<dyn SignalNetwork<SignalValue>>>, StartError> {
        Ok(match &self.backend {
            BackendName::Nats(url) => {
                let connecting = SignalHub::connect(url, SignalNodeOptions::default());
                Some(Arc::new(connecting.await?))
            }
            BackendName::Memory | BackendName::Archive(_) | BackendName::Redis(_) => None,
        })
    }

    /// Sessions on this backend.
    pub(crate) async fn sessions(&self) -> Result<SessionsBuilder, StartError> {
        Ok(match self.stored().await? {
            Some(store) => Sessions::on(store),
            None => Sessions::builder(MemoryBackend::new()),
        })
    }

    /// What becomes of sessions, in words.
    pub(crate) fn promise(&self) -> String {
        match (&self.backend, self.in_archive()) {
            (BackendName::Memory, _) => {
                "sessions are kept in memory and gone when this process ends".to_owned()
            }
            (BackendName::Archive(dir), ArchiveDurability::Os) => format!(
                "sessions are kept in {} and survive this process, not a loss of power",
                dir.display()
            ),
            (BackendName::Archive(dir), ArchiveDurability::Fsync) => format!(
                "sessions are kept in {} and survive a loss of power",
                dir.display()
            ),
            (BackendName::Nats(_) | BackendName::Redis(_), _) => format!(
                "sessions are kept in {} and survive what its settings promise",
                self.backend
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_have_names() {
        assert_eq!("memory".parse(), Ok(BackendName::Memory));
        let archive = BackendName::Archive("/var/a:b".into());
        assert_eq!("archive:/var/a:b".parse(), Ok(archive));
        let redis = BackendName::Redis("redis://u:secret@h:1/2".into());
        assert_eq!("redis://u:secret@h:1/2".parse(), Ok(redis.clone()));
        assert_eq!(redis.to_string(), "redis://***@h:1/2");
        for scheme in REDIS {
            let url = format!("{scheme}://h:1,i:2?ca=/etc/ca.pem");
            assert_eq!(url.parse(), Ok(BackendName::Redis(url)));
        }
        let nats = BackendName::Nats("nats://u:secret@h:1,nats://i:2".into());
        assert_eq!("nats://u:secret@h:1,nats://i:2".parse(), Ok(nats.clone()));
        assert_eq!(nats.to_string(), "nats://***@h:1,nats://i:2");
        for wrong in ["", "archive", "archive:", "memory:x", "nats:x", "redis:h"] {
            assert!(wrong.parse::<BackendName>().is_err(), "{wrong:?}");
        }
    }
}
