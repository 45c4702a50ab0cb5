//! Where sessions are kept: `--backend` and what goes with it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use reveille_archive::{ArchiveBackend, ArchiveDurability, ArchiveOptions, OpenError};
use reveille_memory::MemoryBackend;
use reveille_queue::{Sessions, SessionsBuilder};

/// A backend by its name on the command line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum BackendName {
    #[default]
    Memory,
    Archive(PathBuf),
}

impl FromStr for BackendName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            Some(("archive", dir)) if !dir.is_empty() => Ok(Self::Archive(dir.into())),
            _ => Err("expected memory or archive:DIR".to_owned()),
        }
    }
}

impl fmt::Display for BackendName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Archive(dir) => write!(f, "archive:{}", dir.display()),
        }
    }
}

/// What an acknowledged event survives
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Level {
    /// The end of the process
    Os,
    /// The power of the machine
    #[default]
    Fsync,
}

/// Where sessions are kept.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct BackendArgs {
    /// Where sessions are kept: memory, or archive:DIR for a directory
    #[arg(
        long,
        value_name = "BACKEND",
        env = "REVEILLE_BACKEND",
        default_value = "memory"
    )]
    pub(crate) backend: BackendName,
    /// What an acknowledged event survives in an archive
    #[arg(long, value_name = "LEVEL", default_value = "fsync")]
    pub(crate) durability: Level,
}

impl BackendArgs {
    /// The archive that is named, if one is.
    pub(crate) fn archive(&self) -> Result<Option<ArchiveBackend>, OpenError> {
        let BackendName::Archive(dir) = &self.backend else {
            return Ok(None);
        };
        let mut options = ArchiveOptions::default();
        options.durability = match self.durability {
            Level::Os => ArchiveDurability::Os,
            Level::Fsync => ArchiveDurability::Fsync,
        };
        ArchiveBackend::open(dir, options).map(Some)
    }

    /// Sessions on this backend.
    pub(crate) fn sessions(&self) -> Result<SessionsBuilder, OpenError> {
        Ok(match self.archive()? {
            Some(archive) => Sessions::builder(archive),
            None => Sessions::builder(MemoryBackend::new()),
        })
    }

    /// What becomes of sessions, in words.
    pub(crate) fn promise(&self) -> String {
        match (&self.backend, self.durability) {
            (BackendName::Memory, _) => {
                "sessions are kept in memory and gone when this process ends".to_owned()
            }
            (BackendName::Archive(dir), Level::Os) => format!(
                "sessions are kept in {} and survive this process, not a loss of power",
                dir.display()
            ),
            (BackendName::Archive(dir), Level::Fsync) => format!(
                "sessions are kept in {} and survive a loss of power",
                dir.display()
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
        for wrong in ["", "archive", "archive:", "memory:x", "nats://x"] {
            assert!(wrong.parse::<BackendName>().is_err(), "{wrong:?}");
        }
    }
}
