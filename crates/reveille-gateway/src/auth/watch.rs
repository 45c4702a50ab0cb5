//! Credentials with which something is open, and whether they have been taken back meanwhile.
//!
//! One task looks at all of them, a few times a second, and ends when there are none: what is open needs
//! no timer of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reveille_core::{CancelToken, Cancelled, SystemClock};

use super::identity::Identity;
use crate::gateway::Gateway;

/// How often it is asked whether credentials still count.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// The credentials that are watched.
#[derive(Debug, Default)]
pub(crate) struct Watches(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    next: u64,
    by_number: HashMap<u64, Arc<Watched>>,
    /// Whether the task runs.
    is_asking: bool,
}

#[derive(Debug)]
struct Watched {
    identity: Mutex<Arc<Identity>>,
    /// None where nobody could take anything back.
    revoked: Option<CancelToken>,
}

impl Watched {
    fn identity(&self) -> MutexGuard<'_, Arc<Identity>> {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A credential with which something is open, until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    gateway: Gateway,
    number: u64,
    watched: Arc<Watched>,
}

impl Watches {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks about each; whether there are any more to ask about.
    fn ask(&self, gateway: &Gateway) -> bool {
        let Some(authorizer) = gateway.authorizer() else {
            return false;
        };
        let all: Vec<Arc<Watched>> = self.held().by_number.values().cloned().collect();
        for watched in all {
            let identity = Arc::clone(&watched.identity());
            if !authorizer.is_valid(&identity)
                && let Some(revoked) = &watched.revoked
            {
                revoked.cancel(None);
            }
        }
        let mut held = self.held();
        held.is_asking = !held.by_number.is_empty();
        held.is_asking
    }
}

impl Watch {
    pub(crate) fn new(gateway: &Gateway, identity: Arc<Identity>) -> Self {
        let is_revocable = gateway.authorizer().is_some();
        let watched = Arc::new(Watched {
            identity: Mutex::new(identity),
            revoked: is_revocable.then(|| CancelToken::new(Arc::new(SystemClock))),
        });
        let mut number = 0;
        if is_revocable {
            let mut held = gateway.watches().held();
            held.next += 1;
            number = held.next;
            held.by_number.insert(number, Arc::clone(&watched));
            if !std::mem::replace(&mut held.is_asking, true) {
                tokio::spawn(keep_asking(gateway.clone()));
            }
        }
        Self {
            gateway: gateway.clone(),
            number,
            watched,
        }
    }

    /// With what it is open.
    pub(crate) fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.watched.identity())
    }

    /// It goes on with another credential.
    pub(crate) fn renew(&self, identity: Arc<Identity>) {
        *self.watched.identity() = identity;
    }

    /// Resolves when the credential is taken back; none where that cannot be.
    pub(crate) fn revoked(&self) -> Option<Cancelled> {
        self.watched.revoked.as_ref().map(CancelToken::cancelled)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.number > 0 {
            self.gateway.watches().held().by_number.remove(&self.number);
        }
    }
}

/// Holds the gateway no longer than something is open.
async fn keep_asking(gateway: Gateway) {
    loop {
        tokio::time::sleep(ASK_AGAIN).await;
        if !gateway.watches().ask(&gateway) {
            return;
        }
    }
}
