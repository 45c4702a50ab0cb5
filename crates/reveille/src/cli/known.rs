//! Who is known, as the file says: read again when it changes, so that keys come and go without a
//! restart.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use reveille_gateway::{AuthError, Authorizer, Identity, Secret, StaticAuthorizer};

use super::settings::{SettingsError, auth_of};

/// How often the file is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Who is known, as the file says. A file that cannot be read leaves them as they are.
#[derive(Debug)]
pub(super) struct KnownInFile {
    path: PathBuf,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    known: Arc<StaticAuthorizer>,
    seen: Option<(SystemTime, u64)>,
    looked_at: Instant,
}

impl KnownInFile {
    pub(super) fn new(path: PathBuf) -> Result<Self, SettingsError> {
        let seen = seen(&path);
        let known = Arc::new(StaticAuthorizer::new(auth_of(&path)?)?);
        let current = Mutex::new(Current {
            known,
            seen,
            looked_at: Instant::now(),
        });
        Ok(Self { path, current })
    }

    fn known(&self) -> Arc<StaticAuthorizer> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.looked_at.elapsed() >= LOOK_AGAIN {
            current.looked_at = Instant::now();
            let seen = seen(&self.path);
            if seen != current.seen {
                current.seen = seen;
                if let Err(error) = self.read(&mut current) {
                    tracing::warn!(%error, "those who were known before stay so");
                }
            }
        }
        Arc::clone(&current.known)
    }

    /// Reads the file now. Whoever is known stays so if that does not work.
    pub(super) fn reload(&self) -> Result<(), SettingsError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.seen = seen(&self.path);
        self.read(&mut current)
    }

    fn read(&self, current: &mut Current) -> Result<(), SettingsError> {
        let known = current.known.replaced_by(auth_of(&self.path)?)?;
        current.known = Arc::new(known);
        Ok(())
    }
}

/// What tells one state of a file from another.
fn seen(path: &Path) -> Option<(SystemTime, u64)> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

#[async_trait::async_trait]
impl Authorizer for KnownInFile {
    async fn authenticate(&self, token: &Secret) -> Result<Identity, AuthError> {
        self.known().authenticate(token).await
    }

    fn is_valid(&self, identity: &Identity) -> bool {
        self.known().is_valid(identity)
    }

    fn issuers(&self) -> Vec<String> {
        self.known().issuers()
    }
}
