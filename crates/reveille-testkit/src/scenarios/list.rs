//! What is stored is found and listed, within its tenant; what is not is not.

use std::sync::Arc;

use reveille_backend::{Backend, BackendError, Incarnation, ListOptions, OpenOptions};
use reveille_types::{SessionKey, Tenant};

use super::key;
use super::raw::{epoch, open};

/// Asking for the present incarnation of a log that is not stored is `NotFound`, and makes none.
///
/// # Panics
/// When it is found or made.
pub async fn log_that_is_not_stored_is_not_found(backend: Arc<dyn Backend>) {
    for n in 0..2 {
        let opened = open(&backend, "s", Incarnation::Current, n).await;
        assert!(matches!(opened, Err(BackendError::NotFound)), "{opened:?}");
    }
}

/// The list holds the logs that are stored, in pages; that of an immediate backend is empty.
///
/// # Panics
/// When it does not.
pub async fn list_holds_what_is_stored(backend: Arc<dyn Backend>) {
    let stores = !backend.capabilities().immediate;
    let names = ["run/b", "session/a", "session/b"];
    for name in names {
        let options = OpenOptions::new(Incarnation::CurrentOrNew, epoch(1));
        backend.open(&key(name), options).await.unwrap();
    }
    let mut listed = Vec::new();
    let mut options = ListOptions::first(2);
    loop {
        let tenant = Tenant::default_tenant();
        let page = backend.list(&tenant, options.clone()).await.unwrap();
        assert!(page.keys.len() <= 2, "what is listed on one page");
        listed.extend(page.keys);
        // Whoever lists the same again and again is told below.
        if listed.len() > names.len() {
            break;
        }
        if !page.more {
            break;
        }
        options.after = listed.last().cloned();
    }
    let expected = match stores {
        true => names.map(key).into(),
        false => Vec::new(),
    };
    assert_eq!(listed, expected, "what is listed");
}

/// A log that was removed is not found, and removing it again finds nothing.
///
/// # Panics
/// When it is still there.
pub async fn removed_log_is_gone(backend: Arc<dyn Backend>) {
    let stores = !backend.capabilities().immediate;
    let removed = backend.remove(&key("s")).await.unwrap();
    assert!(!removed, "what was removed was never there");
    open(&backend, "s", Incarnation::CurrentOrNew, 1)
        .await
        .unwrap();
    assert_eq!(backend.remove(&key("s")).await.unwrap(), stores);
    assert!(!backend.remove(&key("s")).await.unwrap());
    let opened = open(&backend, "s", Incarnation::Current, 2).await;
    assert!(matches!(opened, Err(BackendError::NotFound)), "{opened:?}");
}

/// An incarnation is removed as such: one that was replaced is not there, and the one in its place stays.
///
/// # Panics
/// When another incarnation is removed, or this one is not.
pub async fn removal_of_an_incarnation_spares_another(backend: Arc<dyn Backend>) {
    if backend.capabilities().immediate {
        let removed = backend.remove_incarnation(&key("s"), epoch(1)).await;
        assert!(!removed.unwrap(), "an immediate backend has none to remove");
        return;
    }
    let remove = async |n| backend.remove_incarnation(&key("s"), epoch(n)).await;
    let current = async |n| open(&backend, "s", Incarnation::Current, n).await;
    assert!(
        !remove(1).await.unwrap(),
        "what was removed was never there"
    );
    for (n, other) in [(1, 2), (2, 1)] {
        open(&backend, "s", Incarnation::New, n).await.unwrap();
        assert!(
            !remove(other).await.unwrap(),
            "another incarnation is removed"
        );
        assert_eq!(current(3).await.unwrap().epoch, epoch(n));
    }
    assert!(remove(2).await.unwrap(), "the incarnation is not removed");
    assert!(!remove(2).await.unwrap());
    let opened = current(3).await;
    assert!(matches!(opened, Err(BackendError::NotFound)), "{opened:?}");
}

/// A list goes on behind the last key it gave, though that was removed since, and never leaves its
/// tenant. An immediate backend lists nothing.
///
/// # Panics
/// When it leaves out or repeats a log, or lists another tenant's.
pub async fn list_goes_on_behind_what_was_removed(backend: Arc<dyn Backend>) {
    let stores = !backend.capabilities().immediate;
    let [before, tenant, behind] = ["a", "b", "c"].map(|t| Tenant::parse(t).unwrap());
    for tenant in [&before, &tenant, &behind] {
        for name in ["one", "two", "three", "four"] {
            let key = SessionKey::in_tenant(tenant.clone(), name).unwrap();
            let options = OpenOptions::new(Incarnation::CurrentOrNew, epoch(1));
            backend.open(&key, options).await.unwrap();
        }
    }
    let names = async |options: ListOptions| {
        let page = backend.list(&tenant, options).await.unwrap();
        let own = page.keys.iter().all(|key| key.tenant == tenant);
        assert!(own, "another tenant's log is listed");
        let names: Vec<_> = page.keys.iter().map(SessionKey::name).collect();
        (names, page.more)
    };
    let mut options = ListOptions::first(2);
    if !stores {
        assert_eq!(names(options).await, (vec![], false));
        return;
    }
    let first = names(options.clone()).await;
    assert_eq!(first, (vec!["four".to_owned(), "one".into()], true));
    let last = SessionKey::in_tenant(tenant.clone(), "one").unwrap();
    assert!(backend.remove(&last).await.unwrap());
    options.after = Some(last);
    let second = names(options.clone()).await;
    let rest = (vec!["three".to_owned(), "two".into()], false);
    assert_eq!(second, rest, "a list goes on elsewhere");
    options.after = SessionKey::in_tenant(tenant.clone(), "two").ok();
    assert_eq!(names(options).await, (vec![], false));
}
