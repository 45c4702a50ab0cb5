//! The kit rejects every broken backend, by the claim that is about its flaw and for its reason.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use reveille_backend::Backend;
use reveille_memory::MemoryBackend;
use reveille_testkit::{Broken, Claim, Flaw, MemoryStore, run, scenarios};

/// How long a wake-up of a broken backend may take: it is lost or comes at once.
const HASTY: Duration = Duration::from_millis(500);
/// How long a wake-up of a sound backend may take.
const PATIENT: Duration = Duration::from_secs(20);

/// The flaw, the claim that it breaks, and a part of what the claim says then.
type Row = (Flaw, &'static str, &'static str);

/// On a backend that stores.
#[rustfmt::skip]
const STORED: &[Row] = &[
    (Flaw::LeavesHoles, "positions_are_dense_in_the_order_of_appends", "positions"),
    (Flaw::ReversesBatches, "positions_are_dense_in_the_order_of_appends", "positions"),
    (Flaw::SplitsBatches, "concurrent_batches_stay_in_one_piece", "batch is torn apart"),
    (Flaw::KeepsHalfABatch, "refused_batch_leaves_nothing", "leaves something"),
    (Flaw::ReversesBatches, "every_reader_sees_the_same_order", "another order"),
    (Flaw::NumbersFromAStaleEnd, "concurrent_appends_of_many_handles_are_dense", "not dense"),
    (Flaw::NumbersEachLogAlone, "sequence_ascends_over_all_logs_of_a_tenant", "comes after"),
    (Flaw::BeginsTheOrderAnew, "order_of_a_tenant_has_one_epoch", "begun anew"),
    (Flaw::OneOrderForAll, "order_of_a_tenant_has_one_epoch", "two tenants"),
    (Flaw::PromisesTheOrder, "order_is_read_over_all_logs_of_a_tenant", "answered with Ok"),
    (Flaw::ReadsOneLogAfterTheOther, "order_is_read_over_all_logs_of_a_tenant", "the order"),
    (Flaw::SkipsInTheOrder, "order_is_read_over_all_logs_of_a_tenant", "the order"),
    (Flaw::KeepsHalfABatch, "refused_batch_uses_up_no_place", "leaves something"),
    (Flaw::SplitsBatches, "dropped_append_is_whole_or_nothing", "of a dropped append"),
    (Flaw::ForgetsKeys, "repeated_key_is_stored_once", "stored again"),
    (Flaw::IgnoresWhatAKeyStandsFor, "key_of_another_event_is_refused", "of another event"),
    (Flaw::MixesUpKeys, "keys_of_two_sessions_do_not_meet", "IdempotencyConflict"),
    (Flaw::ForgetsKeysEarly, "key_is_known_for_ten_minutes", "the key after 300 s"),
    (Flaw::MixesUpKeys, "key_of_an_old_incarnation_is_new", "in the way"),
    (Flaw::IgnoresTheExpectedPosition, "append_compares_the_expected_position", "ends at 1, not"),
    (Flaw::ComparesRepeatedAppends, "append_compares_the_expected_position", "PositionConflict"),
    (Flaw::IgnoresTheExpectedPosition, "of_concurrent_appends_at_one_position_one_wins", "round 0"),
    (Flaw::IgnoresReadLimits, "read_gives_pages_in_order", "at most 1 events holds 10"),
    (Flaw::LosesAField, "every_field_comes_back_as_it_was", "not what it was"),
    (Flaw::NeverWakes, "waiter_wakes_for_an_append", "is not woken"),
    (Flaw::StopsWaking, "waiters_that_race_appends_are_woken", "wake-up was lost"),
    (Flaw::ArmsAtTheFirstPoll, "watch_is_armed_before_it_returns", "armed is missed"),
    (Flaw::SleepsOnWhatIsThere, "watch_of_what_is_there_is_ready_at_once", "what is there"),
    (Flaw::WakesOneOfMany, "every_watch_is_woken", "one of many"),
    (Flaw::StopsWaking, "watches_that_race_appends_are_woken", "missed the append"),
    (Flaw::SleepsThroughASeal, "seal_wakes_a_watch", "through the seal"),
    (Flaw::SleepsThroughRemoval, "removal_wakes_a_watch", "its log is gone"),
    (Flaw::NeverSleeps, "idle_log_lets_a_watch_sleep", "no watch sleeps"),
    (Flaw::KeepsDroppedWatches, "dropped_watch_leaves_nothing", "are kept"),
    (Flaw::SleepsThroughASeal, "ended_session_drains_and_then_ends", "not told the end"),
    (Flaw::LastSealStays, "first_seal_stays", "does not stay"),
    (Flaw::EverySealWins, "of_concurrent_seals_one_wins", "one of several seals wins"),
    (Flaw::SealsNothing, "sealed_log_refuses_appends_and_reads_on", "answers an append with Ok"),
    (Flaw::SealsNothing, "nothing_is_appended_behind_a_seal", "go on behind the seal"),
    (Flaw::LeavesTheLastBatchOpen, "last_batch_seals_with_what_it_stores", "is not sealed"),
    (Flaw::SealsForNothing, "last_batch_seals_with_what_it_stores", "stored nothing has sealed"),
    (Flaw::SealsBehindTheLastBatch, "nothing_is_appended_behind_the_last_batch", "behind the last batch"),
    (Flaw::TrimsOneTooMany, "trim_drops_what_is_below_and_nothing_else", "what info tells"),
    (Flaw::RefusesToTrimBeyondTheEnd, "trim_beyond_the_end_leaves_the_end", "beyond the end"),
    (Flaw::TellsTheLastTrim, "trimmed_events_do_not_come_back", "come back"),
    (Flaw::KeepsTheEpoch, "new_incarnation_has_a_new_epoch", "the epoch is the old one"),
    (Flaw::LosesAttributes, "attributes_are_kept_with_their_incarnation", "are not kept"),
    (Flaw::TellsTheLastAttributes, "attributes_are_kept_with_their_incarnation", "of another open"),
    (Flaw::KeepsTheEpoch, "removed_log_begins_anew", "not the epoch it was given"),
    (Flaw::OldHandlesWriteOn, "handles_of_an_old_incarnation_find_nothing", "is gone answers Ok"),
    (Flaw::CreatesTwice, "of_concurrent_opens_one_creates", "one of several opens"),
    (Flaw::OpensAnotherLog, "second_handle_is_the_same_log", "of another log"),
    (Flaw::TearsDownTheWalls, "tenants_are_walls", "in the way of another's"),
    (Flaw::ListsGhosts, "tenants_are_walls", "another tenant's"),
    (Flaw::ListsGhosts, "list_holds_what_is_stored", "what is listed"),
    (Flaw::ListsFromTheFirst, "list_holds_what_is_stored", "what is listed"),
    (Flaw::ListsFromTheFirst, "list_goes_on_behind_what_was_removed", "goes on elsewhere"),
    (Flaw::FindsWhatIsNotThere, "log_that_is_not_stored_is_not_found", "Ok(Opened"),
    (Flaw::FindsWhatIsNotThere, "removed_log_is_gone", "Ok(Opened"),
    (Flaw::RemovesGhosts, "removed_log_is_gone", "was never there"),
    (Flaw::RemovesNothing, "removed_log_is_gone", "was never there"),
    (
        Flaw::RemovesAnyIncarnation,
        "removal_of_an_incarnation_spares_another",
        "another incarnation is removed",
    ),
    (Flaw::DeniesItsShape, "handles_have_the_shape_that_the_capabilities_say", "the shape"),
    (Flaw::PromisesEverything, "durability_is_what_the_capabilities_say", "not offered"),
    (Flaw::IgnoresItsLimit, "batch_limit_is_what_the_capabilities_say", "over the limit"),
    (Flaw::IsUnwell, "health_is_good", "it is unwell"),
];

/// On a backend that commits without waiting.
#[rustfmt::skip]
const IMMEDIATE: &[Row] = &[
    // The session itself notices these two.
    (Flaw::LeavesHoles, "positions_are_dense_in_the_order_of_appends", "Corrupt"),
    (Flaw::ReversesBatches, "positions_are_dense_in_the_order_of_appends", "Corrupt"),
    (Flaw::LeavesHoles, "concurrent_appends_of_many_handles_are_dense", "not dense"),
    (Flaw::NumbersEachLogAlone, "sequence_ascends_over_all_logs_of_a_tenant", "comes after"),
    (Flaw::BeginsTheOrderAnew, "order_of_a_tenant_has_one_epoch", "begun anew"),
    (Flaw::PromisesTheOrder, "order_is_read_over_all_logs_of_a_tenant", "NotSupported"),
    (Flaw::KeepsHalfABatch, "refused_batch_uses_up_no_place", "for another reason"),
    (Flaw::ForgetsKeys, "repeated_key_is_stored_once", "stored again"),
    (Flaw::IgnoresWhatAKeyStandsFor, "key_of_another_event_is_refused", "of another event"),
    (Flaw::MixesUpKeys, "keys_of_two_sessions_do_not_meet", "IdempotencyConflict"),
    (Flaw::ForgetsKeysEarly, "key_is_known_for_ten_minutes", "the key after 300 s"),
    (Flaw::MixesUpKeys, "key_of_an_old_incarnation_is_new", "in the way"),
    (Flaw::IgnoresTheExpectedPosition, "append_compares_the_expected_position", "ends at 1, not"),
    (Flaw::ComparesRepeatedAppends, "append_compares_the_expected_position", "PositionConflict"),
    (Flaw::KeepsTheEpoch, "new_incarnation_has_a_new_epoch", "the epoch is the old one"),
    (Flaw::LosesAttributes, "attributes_are_kept_with_their_incarnation", "are not kept"),
    (Flaw::ListsGhosts, "list_holds_what_is_stored", "what is listed"),
    (Flaw::FindsWhatIsNotThere, "log_that_is_not_stored_is_not_found", "Ok(Opened"),
    (Flaw::FindsWhatIsNotThere, "read_gives_pages_in_order", "an immediate backend stores"),
    (Flaw::RemovesGhosts, "removed_log_is_gone", "was never there"),
    (Flaw::DeniesItsShape, "watch_is_armed_before_it_returns", "what the capabilities say"),
    (Flaw::PromisesEverything, "durability_is_what_the_capabilities_say", "not offered"),
    (Flaw::IsUnwell, "health_is_good", "it is unwell"),
];

fn claim(name: &str) -> &'static Claim {
    let named = |claim: &&Claim| claim.name() == name;
    match Claim::all().iter().find(named) {
        Some(claim) => claim,
        None => panic!("there is no claim {name}"),
    }
}

/// What a check that fails says.
fn verdict(check: impl FnOnce()) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(check)).map_err(|panic| match panic.downcast::<String>() {
        Ok(said) => *said,
        Err(panic) => panic
            .downcast_ref::<&str>()
            .map_or_else(String::new, |s| (*s).into()),
    })
}

/// What the claim says against the backend.
fn check(claim: &Claim, patience: Duration, backend: impl Backend) -> Result<(), String> {
    let backend: Arc<dyn Backend> = Arc::new(backend);
    verdict(|| claim.check(patience, async || backend))
}

/// The rows that do not hold.
fn wrong<B: Backend>(rows: &[Row], sound: fn() -> B) -> Vec<String> {
    let judge = |(flaw, name, part): &Row| {
        let claim = claim(name);
        match check(claim, HASTY, Broken::new(*flaw, sound())) {
            Err(said) if said.contains(part) => None,
            Err(said) => Some(format!("{flaw:?}: {name} says {said:?}, not {part:?}")),
            Ok(()) => Some(format!("{flaw:?}: {name} holds")),
        }
    };
    rows.iter().filter_map(judge).collect()
}

#[test]
fn every_flaw_of_a_store_is_found_for_its_reason() {
    assert_eq!(wrong(STORED, MemoryStore::new), [""; 0]);
}

#[test]
fn every_flaw_of_an_immediate_backend_is_found_for_its_reason() {
    assert_eq!(wrong(IMMEDIATE, MemoryBackend::new), [""; 0]);
}

#[test]
fn backends_without_a_flaw_keep_every_claim() {
    for claim in Claim::all() {
        assert_eq!(
            check(claim, PATIENT, MemoryStore::new()),
            Ok(()),
            "{claim:?}"
        );
        assert_eq!(
            check(claim, PATIENT, MemoryBackend::new()),
            Ok(()),
            "{claim:?}"
        );
    }
}

#[test]
fn every_claim_rejects_something_and_every_flaw_is_rejected() {
    let claims: HashSet<_> = STORED.iter().map(|(_, name, _)| *name).collect();
    let idle = Claim::all().iter().filter(|c| !claims.contains(c.name()));
    assert_eq!(Vec::from_iter(idle.map(Claim::name)), [""; 0]);
    let restarts = [
        Flaw::SurvivesOnPaper,
        Flaw::ForgetsKeysAtRestart,
        Flaw::ForgetsAttributesAtRestart,
        Flaw::ForgetsTheOrderAtRestart,
    ];
    let flaws = STORED.iter().map(|(flaw, ..)| *flaw).chain(restarts);
    let flaws: HashSet<_> = flaws.collect();
    let unseen = Flaw::ALL.iter().filter(|flaw| !flaws.contains(flaw));
    assert_eq!(Vec::from_iter(unseen), [&Flaw::IsUnwell; 0]);
}

/// What opens a store with this flaw: the same one each time, or a fresh one.
fn store(flaw: Flaw, kept: bool) -> impl AsyncFn() -> Arc<dyn Backend> {
    let store = MemoryStore::new();
    async move || {
        let sound = if kept {
            store.clone()
        } else {
            MemoryStore::new()
        };
        Arc::new(Broken::new(flaw, sound)) as Arc<dyn Backend>
    }
}

#[test]
fn every_flaw_of_a_restart_is_found_for_its_reason() {
    use scenarios::{
        restart_does_not_bring_back_what_was_removed as removed,
        restart_goes_on_where_it_ended as goes_on, restart_keeps_the_order_of_a_tenant as order,
        restart_keeps_what_was_acknowledged as keeps,
    };
    let says = |answer: Result<(), String>, part: &str| {
        let said = answer.expect_err("the flaw is not found");
        assert!(said.contains(part), "{said:?}, not {part:?}");
    };
    let gone = "gone after the restart";
    let paper = || store(Flaw::SurvivesOnPaper, false);
    says(verdict(|| run(keeps(paper()))), gone);
    says(verdict(|| run(goes_on(paper()))), gone);
    let forgetful = store(Flaw::ForgetsKeysAtRestart, true);
    says(verdict(|| run(goes_on(forgetful))), "key is forgotten");
    let forgetful = store(Flaw::ForgetsAttributesAtRestart, true);
    says(verdict(|| run(keeps(forgetful))), "changed its attributes");
    let forgetful = store(Flaw::ForgetsTheOrderAtRestart, true);
    says(verdict(|| run(order(forgetful))), "begun the order anew");
    says(verdict(|| run(order(paper()))), "begun the order anew");
    let keeping = store(Flaw::RemovesNothing, true);
    says(verdict(|| run(removed(keeping))), "comes back");
    // This one says that nothing survives.
    let surviving = store(Flaw::IsUnwell, true);
    says(verdict(|| run(keeps(surviving))), "but a log has");
    // And these survive as they say.
    let sound = || store(Flaw::SurvivesOnPaper, true);
    run(keeps(sound()));
    run(goes_on(sound()));
    run(removed(sound()));
    run(order(sound()));
}
