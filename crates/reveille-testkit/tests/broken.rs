//! The kit rejects every broken backend, each by the scenario that is about its flaw.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use reveille_backend::Backend;
use reveille_memory::MemoryBackend;
use reveille_testkit::{Broken, Flaw, run, scenarios};

fn passes<S: Future<Output = ()>>(
    backend: impl Backend,
    scenario: impl Fn(Arc<dyn Backend>) -> S,
) -> bool {
    let backend: Arc<dyn Backend> = Arc::new(backend);
    let run = AssertUnwindSafe(|| run(async || backend, scenario));
    catch_unwind(run).is_ok()
}

fn rejected_by<S: Future<Output = ()>>(flaw: Flaw, scenario: impl Fn(Arc<dyn Backend>) -> S) {
    assert!(passes(MemoryBackend::new(), &scenario));
    assert!(
        !passes(Broken::new(flaw), &scenario),
        "{flaw:?} went through"
    );
}

#[test]
fn holes_are_rejected() {
    let scenario = scenarios::positions_are_dense_in_the_order_of_appends;
    rejected_by(Flaw::LeavesHoles, scenario);
}

#[test]
fn reversed_batches_are_rejected() {
    let scenario = scenarios::positions_are_dense_in_the_order_of_appends;
    rejected_by(Flaw::ReversesBatches, scenario);
}

#[test]
fn half_batches_are_rejected() {
    rejected_by(
        Flaw::KeepsHalfABatch,
        scenarios::refused_batch_leaves_nothing,
    );
}

#[test]
fn kept_epoch_is_rejected() {
    rejected_by(
        Flaw::KeepsTheEpoch,
        scenarios::new_incarnation_has_a_new_epoch,
    );
}

#[test]
fn forgotten_keys_are_rejected() {
    rejected_by(Flaw::ForgetsKeys, scenarios::repeated_key_is_stored_once);
}

#[test]
fn keys_without_meaning_are_rejected() {
    let scenario = scenarios::key_of_another_event_is_refused;
    rejected_by(Flaw::IgnoresWhatAKeyStandsFor, scenario);
}

#[test]
fn ignored_position_is_rejected() {
    let flaw = Flaw::IgnoresTheExpectedPosition;
    rejected_by(flaw, scenarios::append_compares_the_expected_position);
    rejected_by(
        flaw,
        scenarios::of_concurrent_appends_at_one_position_one_wins,
    );
}

#[test]
fn comparison_of_a_repeated_append_is_rejected() {
    let scenario = scenarios::append_compares_the_expected_position;
    rejected_by(Flaw::ComparesRepeatedAppends, scenario);
}

#[test]
fn empty_promises_are_rejected() {
    let scenario = scenarios::durability_is_what_the_capabilities_say;
    rejected_by(Flaw::PromisesEverything, scenario);
}

#[test]
fn ghosts_are_rejected() {
    let unknown = scenarios::log_that_is_not_stored_is_not_found;
    rejected_by(Flaw::FindsWhatIsNotThere, unknown);
    rejected_by(Flaw::FindsWhatIsNotThere, scenarios::removed_log_is_gone);
    rejected_by(Flaw::ListsGhosts, scenarios::list_holds_what_is_stored);
    rejected_by(Flaw::ListsGhosts, scenarios::tenants_are_walls);
    rejected_by(Flaw::RemovesGhosts, scenarios::removed_log_is_gone);
}

#[test]
fn bad_health_is_rejected() {
    rejected_by(Flaw::IsUnwell, scenarios::health_is_good);
}
