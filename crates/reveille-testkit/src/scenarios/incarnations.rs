//! Incarnations have their own epochs, and tenants their own sessions.

use std::sync::Arc;

use reveille_backend::{ATTRIBUTES_BYTES, Backend, Incarnation, OpenOptions};
use reveille_queue::{SessionOptions, WaitOptions};
use reveille_types::{Filter, SessionKey, Start, Tenant};

use super::raw::epoch;
use super::{append, create, draft, everything, key, sessions};

/// A session that is made anew has another epoch, is empty, and refuses the old one's cursors.
///
/// # Panics
/// When it does not.
pub async fn new_incarnation_has_a_new_epoch(backend: Arc<dyn Backend>) {
    let sessions = sessions(backend);
    let old = create(&sessions, "s").await;
    append(&old, vec![draft("a"); 3]).await;
    old.close(None).await.unwrap();
    let options = SessionOptions::default();
    let new = sessions.recreate(key("s"), options).await.unwrap();
    assert_ne!(new.epoch(), old.epoch(), "the epoch is the old one");
    assert!(everything(&new).is_empty());
    append(&new, vec![draft("b"); 3]).await;
    let stale = WaitOptions::any(Filter::all()).from(Start::After(old.latest()));
    let refused = new.wait(stale).await.unwrap_err();
    assert_eq!(refused.code(), "cursor_epoch_mismatch");
}

/// Two tenants with a session of the same name have two sessions: neither sees, changes or removes
/// anything of the other's.
///
/// # Panics
/// When they meet.
pub async fn tenants_are_walls(backend: Arc<dyn Backend>) {
    let sessions = sessions(Arc::clone(&backend));
    let [ours, theirs] = ["a", "b"]
        .map(|tenant| SessionKey::in_tenant(Tenant::parse(tenant).unwrap(), "s").unwrap());
    let options = SessionOptions::default();
    let our_log = sessions.create(ours.clone(), options).await.unwrap();
    append(&our_log, vec![super::keyed("a", "k")]).await;
    assert!(sessions.get(&theirs).is_err());

    let their_log = sessions.create(theirs.clone(), options).await;
    let their_log = their_log.expect("a tenant's session is in the way of another's");
    assert_ne!(their_log.epoch(), our_log.epoch());
    assert!(everything(&their_log).is_empty());
    // The same key with another body is no conflict there.
    let receipt = append(&their_log, vec![super::keyed("b", "k")]).await;
    assert!(!receipt.deduplicated());

    sessions.remove(&theirs).await.unwrap();
    assert_eq!(everything(&our_log).len(), 1);
    append(&our_log, vec![draft("c")]).await;
    let listed = backend
        .list(&theirs.tenant, reveille_backend::ListOptions::first(10))
        .await
        .unwrap();
    assert!(
        listed.keys.is_empty(),
        "what is removed, or another tenant's"
    );
}

/// What an incarnation was made with is told to whoever opens it, whatever they bring themselves; a new
/// incarnation has its own.
///
/// # Panics
/// When it is lost, changed or mixed up.
pub async fn attributes_are_kept_with_their_incarnation(backend: Arc<dyn Backend>) {
    let open = async |incarnation, n, attributes: &str| {
        let options = OpenOptions::new(incarnation, epoch(n)).attributes(attributes);
        let opened = backend.open(&key("s"), options).await.unwrap();
        opened.attributes
    };
    let long = format!("{{\"a\":\"\n\u{2014}\\\"{}", "x".repeat(ATTRIBUTES_BYTES));
    let long = &long[..ATTRIBUTES_BYTES];
    let told = open(Incarnation::CurrentOrNew, 1, long).await;
    assert_eq!(&*told, long, "attributes are not kept");
    if !backend.capabilities().immediate {
        for (incarnation, brought) in [
            (Incarnation::Current, "other"),
            (Incarnation::CurrentOrNew, ""),
        ] {
            let told = open(incarnation, 2, brought).await;
            assert_eq!(&*told, long, "the attributes are those of another open");
        }
    }
    let told = open(Incarnation::New, 3, "").await;
    assert_eq!(
        &*told, "",
        "a new incarnation has the attributes of the old"
    );
    let told = open(Incarnation::New, 4, "new").await;
    assert_eq!(&*told, "new", "attributes are not kept");
}
