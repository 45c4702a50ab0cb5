//! Where sessions are kept: `--backend` and what goes with it.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use reveille_archive::{ArchiveBackend, ArchiveDurability, ArchiveOptions, OpenError};
use reveille_memory::MemoryBackend;
use reveille_queue::{Sessions, TailLimits};
use reveille_types::Tenant;

use super::serve::StartError;

/// A backend by its name on the command line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum BackendName {
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

/// What an acknowledged event survives
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Level {
    /// The end of the process
    Os,
    /// The power of the machine
    #[default]
    Fsync,
}

/// Where sessions are kept.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct BackendArgs {
    /// Where sessions are kept: memory, or archive:DIR for a directory
    #[arg(
        long,
        value_name = "BACKEND",
        env = "REVEILLE_BACKEND",
        default_value = "memory"
    )]
    pub(super) backend: BackendName,
    /// What an acknowledged event survives in an archive
    #[arg(long, value_name = "LEVEL", default_value = "fsync")]
    pub(super) durability: Level,
}

impl BackendArgs {
    /// The archive that is named, if one is.
    pub(super) fn archive(&self) -> Result<Option<ArchiveBackend>, OpenError> {
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

    /// The sessions of this backend, those that are stored included.
    pub(super) async fn sessions(&self) -> Result<Sessions, StartError> {
        let sessions = match self.archive()? {
            Some(archive) => Sessions::builder(archive),
            None => Sessions::builder(MemoryBackend::new()),
        };
        let sessions = sessions.tail(TailLimits::default()).build();
        sessions.open_stored(&Tenant::default_tenant()).await?;
        Ok(sessions)
    }

    /// What becomes of sessions, in words.
    pub(super) fn promise(&self) -> String {
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
