//! One bus for a whole program that wants no more than that.
//!
//! Most code should be handed the bus that it uses. A program whose parts do not know one another can
//! meet here instead.

use std::sync::{Mutex, MutexGuard, PoisonError};

use reveille_bus::{Bus, BusError};
use reveille_memory::MemoryBackend;
use reveille_queue::{Sessions, TailLimits};
use reveille_types::Tenant;

static BUS: Mutex<Option<Bus>> = Mutex::new(None);

fn global() -> MutexGuard<'static, Option<Bus>> {
    // Nothing that panics runs under the lock.
    BUS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The bus of the program, the same for whoever asks: one in memory, of the default tenant, unless
/// another one was [put in its place](set_bus). Its [sessions](Bus::sessions) are the program's, too.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use reveille::bus::EventBus;
/// use reveille::types::{EventDraft, SessionKey, Tenant};
///
/// let key = SessionKey::in_tenant(Tenant::default_tenant(), "nightly")?;
/// let draft = EventDraft::parse("build.failed")?;
/// reveille::global_bus().await?.publish(key, vec![draft]).await?;
/// assert_eq!(reveille::global_bus().await?.stats().published, 1);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`BusError`] when it cannot be opened.
///
/// # Cancel safety
/// A dropped future has made the bus or has not.
pub async fn global_bus() -> Result<Bus, BusError> {
    if let Some(bus) = &*global() {
        return Ok(bus.clone());
    }
    let sessions = Sessions::builder(MemoryBackend::new())
        .tail(TailLimits::default())
        .build();
    let bus = Bus::open(sessions, Tenant::default_tenant()).await?;
    // Somebody else may have been here meanwhile: then it is theirs.
    Ok(global().get_or_insert(bus).clone())
}

/// Makes this the bus of the program. Gives back the one before, which goes on for whoever has it.
pub fn set_bus(bus: Bus) -> Option<Bus> {
    global().replace(bus)
}

/// Makes the next who asks get a new bus. Gives back the one before.
pub fn reset_bus() -> Option<Bus> {
    global().take()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

    use reveille_bus::EventBus;
    use reveille_queue::SessionOptions;
    use reveille_types::{EventDraft, SessionKey};

    use super::*;

    /// Held by each test, since there is one bus for all.
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

    async fn publish() {
        let key = SessionKey::in_tenant(Tenant::default_tenant(), "s").unwrap();
        let bus = global_bus().await.unwrap();
        let draft = EventDraft::parse("a").unwrap();
        bus.publish(key, vec![draft]).await.unwrap();
    }

    #[tokio::test]
    async fn f004_13_there_is_one_bus_until_it_is_reset() {
        let _alone = ALONE.lock().await;
        publish().await;
        publish().await;
        assert_eq!(global_bus().await.unwrap().stats().published, 2);
        let old = reset_bus().unwrap();
        assert!(reset_bus().is_none());
        publish().await;
        assert_eq!(global_bus().await.unwrap().stats().published, 1);
        assert_eq!(old.stats().published, 2);
        set_bus(old);
        assert_eq!(global_bus().await.unwrap().stats().published, 2);
        reset_bus();
    }

    #[tokio::test]
    async fn f001_29_the_sessions_of_the_program_are_those_of_its_bus() {
        let _alone = ALONE.lock().await;
        let key = SessionKey::in_tenant(Tenant::default_tenant(), "mine").unwrap();
        let sessions = global_bus().await.unwrap().sessions().clone();
        let options = SessionOptions::default();
        let made = sessions.create(key.clone(), options).await.unwrap();
        let found = global_bus().await.unwrap().sessions().get(&key);
        assert_eq!(found.unwrap().epoch(), made.epoch());
        reset_bus();
        assert!(global_bus().await.unwrap().sessions().get(&key).is_err());
        reset_bus();
    }
}
