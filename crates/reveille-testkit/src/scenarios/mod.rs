//! The claims, by theme. Each scenario takes a fresh backend, or what opens one, and panics where it
//! breaks its word.

mod capabilities;
mod conditions;
mod handles;
mod incarnations;
mod keys;
mod list;
mod order;
mod places;
mod raw;
mod read;
mod restart;
mod seal;
mod tenant_order;
mod trim;
mod wakes;
mod watch;

pub use capabilities::{
    batch_limit_is_what_the_capabilities_say, durability_is_what_the_capabilities_say,
    handles_have_the_shape_that_the_capabilities_say, health_is_good,
};
pub use conditions::{
    append_compares_the_expected_position, of_concurrent_appends_at_one_position_one_wins,
};
pub use handles::{
    handles_of_an_old_incarnation_find_nothing, of_concurrent_opens_one_creates,
    removed_log_begins_anew, second_handle_is_the_same_log,
};
pub use incarnations::{
    attributes_are_kept_with_their_incarnation, new_incarnation_has_a_new_epoch, tenants_are_walls,
};
pub use keys::{
    key_is_known_for_ten_minutes, key_of_an_old_incarnation_is_new,
    key_of_another_event_is_refused, keys_of_two_sessions_do_not_meet, repeated_key_is_stored_once,
};
pub use list::{
    list_goes_on_behind_what_was_removed, list_holds_what_is_stored,
    log_that_is_not_stored_is_not_found, removal_of_an_incarnation_spares_another,
    removed_log_is_gone,
};
pub use order::{
    concurrent_batches_stay_in_one_piece, every_reader_sees_the_same_order,
    positions_are_dense_in_the_order_of_appends, refused_batch_leaves_nothing,
};
pub use places::{
    concurrent_appends_of_many_handles_are_dense, dropped_append_is_whole_or_nothing,
    refused_batch_uses_up_no_place, sequence_ascends_over_all_logs_of_a_tenant,
};
pub use read::{every_field_comes_back_as_it_was, read_gives_pages_in_order};
pub use restart::{
    restart_does_not_bring_back_what_was_removed, restart_goes_on_where_it_ended,
    restart_keeps_what_was_acknowledged,
};
pub use seal::{
    first_seal_stays, last_batch_seals_with_what_it_stores, nothing_is_appended_behind_a_seal,
    nothing_is_appended_behind_the_last_batch, of_concurrent_seals_one_wins,
    sealed_log_refuses_appends_and_reads_on,
};
pub use tenant_order::{
    order_is_read_over_all_logs_of_a_tenant, order_of_a_tenant_has_one_epoch,
    restart_keeps_the_order_of_a_tenant,
};
pub use trim::{
    trim_beyond_the_end_leaves_the_end, trim_drops_what_is_below_and_nothing_else,
    trimmed_events_do_not_come_back,
};
pub use wakes::{
    ended_session_drains_and_then_ends, waiter_wakes_for_an_append,
    waiters_that_race_appends_are_woken,
};
pub use watch::{
    dropped_watch_leaves_nothing, every_watch_is_woken, idle_log_lets_a_watch_sleep,
    removal_wakes_a_watch, seal_wakes_a_watch, watch_is_armed_before_it_returns,
    watch_of_what_is_there_is_ready_at_once, watches_that_race_appends_are_woken,
};

use std::sync::Arc;

use reveille_backend::Backend;
use reveille_queue::{AppendOptions, PageOptions, SessionLog, SessionOptions, Sessions};
use reveille_types::{Event, EventDraft, Label, Receipt, Start};

use crate::stored::key;

fn sessions(backend: Arc<dyn Backend>) -> Sessions {
    Sessions::on(backend).build()
}

async fn create(sessions: &Sessions, name: &str) -> SessionLog {
    sessions
        .create(key(name), SessionOptions::default())
        .await
        .unwrap()
}

/// The session of [`log_on`].
const SESSION: &str = "conformance";

/// A session on this backend.
async fn log_on(backend: Arc<dyn Backend>) -> SessionLog {
    create(&sessions(backend), SESSION).await
}

/// The session of [`log_on`] for somebody else: of a store, as another process has it, so that only the
/// store tells one of the other.
async fn elsewhere(backend: Arc<dyn Backend>, log: &SessionLog) -> SessionLog {
    match backend.capabilities().immediate {
        true => log.clone(),
        false => sessions(backend).find(&key(SESSION)).await.unwrap(),
    }
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
