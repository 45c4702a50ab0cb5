//! The claims, by theme. Each scenario takes a fresh backend and panics where it breaks its word.

mod capabilities;
mod conditions;
mod incarnations;
mod keys;
mod order;
mod wakes;

pub use capabilities::{
    batch_limit_is_what_the_capabilities_say, durability_is_what_the_capabilities_say,
    handles_have_the_shape_that_the_capabilities_say, health_is_good, list_holds_what_is_stored,
    log_that_is_not_stored_is_not_found, removed_log_is_gone,
};
pub use conditions::{
    append_compares_the_expected_position, of_concurrent_appends_at_one_position_one_wins,
};
pub use incarnations::{new_incarnation_has_a_new_epoch, tenants_are_walls};
pub use keys::{
    key_of_another_event_is_refused, keys_of_two_sessions_do_not_meet, repeated_key_is_stored_once,
};
pub use order::{
    concurrent_batches_stay_in_one_piece, every_reader_sees_the_same_order,
    positions_are_dense_in_the_order_of_appends, refused_batch_leaves_nothing,
};
pub use wakes::{
    ended_session_drains_and_then_ends, waiter_wakes_for_an_append,
    waiters_that_race_appends_are_woken,
};

use std::sync::Arc;
use std::time::Duration;

use reveille_backend::Backend;
use reveille_queue::{AppendOptions, PageOptions, SessionLog, SessionOptions, Sessions};
use reveille_types::{Event, EventDraft, Label, Receipt, SessionKey, Start, Tenant};

/// How long a scenario waits for what must come: far longer than it takes on a busy machine.
const LONG: Duration = Duration::from_secs(20);

fn sessions(backend: Arc<dyn Backend>) -> Sessions {
    Sessions::on(backend).build()
}

fn key(name: &str) -> SessionKey {
    SessionKey::in_tenant(Tenant::default_tenant(), name).unwrap()
}

async fn create(sessions: &Sessions, name: &str) -> SessionLog {
    sessions
        .create(key(name), SessionOptions::default())
        .await
        .unwrap()
}

/// A session on this backend.
async fn log_on(backend: Arc<dyn Backend>) -> SessionLog {
    create(&sessions(backend), "conformance").await
}

fn draft(kind: &str) -> EventDraft {
    EventDraft::parse(kind).unwrap()
}

/// A draft that names its producer.
fn by(producer: &str) -> EventDraft {
    let mut draft = draft("a");
    draft.agent = Some(Label::parse(producer).unwrap());
    draft
}

fn keyed(kind: &str, key: &str) -> EventDraft {
    let mut draft = draft(kind);
    draft.idempotency_key = Some(key.into());
    draft
}

async fn append(log: &SessionLog, drafts: Vec<EventDraft>) -> Receipt {
    log.append(drafts, AppendOptions::default()).await.unwrap()
}

fn positions(receipt: &Receipt) -> Vec<u64> {
    let results = receipt.results.iter();
    results.map(|placed| placed.position.0).collect()
}

/// All events that the log retains.
fn everything(log: &SessionLog) -> Vec<Event> {
    let (mut events, mut start) = (Vec::new(), Start::Earliest);
    loop {
        let page = log.page(&PageOptions::from(start, 1000)).unwrap();
        events.extend(page.events);
        start = Start::After(page.cursor);
        if page.caught_up {
            return events;
        }
    }
}
