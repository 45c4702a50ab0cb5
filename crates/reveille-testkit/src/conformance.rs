//! One test for each claim.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use reveille_backend::Backend;

/// Makes one `#[test]` for each claim of the kit, in a module of this name. The factory is an
/// `async fn() -> Arc<dyn Backend>` that answers with a fresh, empty backend. The tests bring their
/// own runtime.
#[macro_export]
macro_rules! backend_conformance {
    ($module:ident, $factory:expr) => {
        $crate::backend_conformance! { @list tests ($module, $factory) }
    };
    (@list $what:ident $arguments:tt) => {
        $crate::backend_conformance! { @$what $arguments
            positions_are_dense_in_the_order_of_appends
            concurrent_batches_stay_in_one_piece
            refused_batch_leaves_nothing
            every_reader_sees_the_same_order
            concurrent_appends_of_many_handles_are_dense
            sequence_ascends_over_all_logs_of_a_tenant
            order_of_a_tenant_has_one_epoch
            order_is_read_over_all_logs_of_a_tenant
            refused_batch_uses_up_no_place
            dropped_append_is_whole_or_nothing
            repeated_key_is_stored_once
            key_of_another_event_is_refused
            keys_of_two_sessions_do_not_meet
            key_is_known_for_ten_minutes
            key_of_an_old_incarnation_is_new
            append_compares_the_expected_position
            of_concurrent_appends_at_one_position_one_wins
            read_gives_pages_in_order
            every_field_comes_back_as_it_was
            waiter_wakes_for_an_append
            waiters_that_race_appends_are_woken
            watch_is_armed_before_it_returns
            watch_of_what_is_there_is_ready_at_once
            every_watch_is_woken
            watches_that_race_appends_are_woken
            seal_wakes_a_watch
            removal_wakes_a_watch
            idle_log_lets_a_watch_sleep
            dropped_watch_leaves_nothing
            ended_session_drains_and_then_ends
            first_seal_stays
            of_concurrent_seals_one_wins
            sealed_log_refuses_appends_and_reads_on
            nothing_is_appended_behind_a_seal
            last_batch_seals_with_what_it_stores
            nothing_is_appended_behind_the_last_batch
            trim_drops_what_is_below_and_nothing_else
            trim_beyond_the_end_leaves_the_end
            trimmed_events_do_not_come_back
            new_incarnation_has_a_new_epoch
            attributes_are_kept_with_their_incarnation
            removed_log_begins_anew
            handles_of_an_old_incarnation_find_nothing
            of_concurrent_opens_one_creates
            second_handle_is_the_same_log
            tenants_are_walls
            list_holds_what_is_stored
            list_goes_on_behind_what_was_removed
            log_that_is_not_stored_is_not_found
            removed_log_is_gone
            removal_of_an_incarnation_spares_another
            handles_have_the_shape_that_the_capabilities_say
            durability_is_what_the_capabilities_say
            batch_limit_is_what_the_capabilities_say
            health_is_good
        }
    };
    (@tests ($module:ident, $factory:expr) $($claim:ident)*) => {
        mod $module {
            #[allow(unused_imports, reason = "the factory may be a closure that needs nothing")]
            use super::*;

            $(
                #[test]
                fn $claim() {
                    $crate::run(async { $crate::scenarios::$claim(($factory)().await).await });
                }
            )*
        }
    };
    (@table () $($claim:ident)*) => {
        &[$(Claim {
            name: stringify!($claim),
            scenario: |backend| Box::pin($crate::scenarios::$claim(backend)),
        }),*]
    };
}

/// Makes one `#[test]` for each claim about restarts, in a module of this name. The factory is a
/// function that makes a fresh, empty store and answers with what opens it, an
/// `async Fn() -> Arc<dyn Backend>` that is called again after all handles are dropped.
///
/// ```
/// use std::sync::Arc;
///
/// use reveille_backend::Backend;
/// use reveille_memory::MemoryBackend;
///
/// fn memory() -> impl AsyncFn() -> Arc<dyn Backend> {
///     async || Arc::new(MemoryBackend::new()) as Arc<dyn Backend>
/// }
///
/// reveille_testkit::restart_conformance!(memory_is_gone_after_a_restart, memory);
/// ```
#[macro_export]
macro_rules! restart_conformance {
    ($module:ident, $factory:expr) => {
        $crate::restart_conformance! { @tests $module, $factory,
            restart_keeps_what_was_acknowledged
            restart_goes_on_where_it_ended
            restart_does_not_bring_back_what_was_removed
            restart_keeps_the_order_of_a_tenant
        }
    };
    (@tests $module:ident, $factory:expr, $($claim:ident)*) => {
        mod $module {
            #[allow(unused_imports, reason = "the factory may be a closure that needs nothing")]
            use super::*;

            $(
                #[test]
                fn $claim() {
                    $crate::run(async { $crate::scenarios::$claim(($factory)()).await });
                }
            )*
        }
    };
}

/// How long a scenario waits for what must come: far longer than it takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// After so many times its patience, a scenario has come to a standstill.
const STANDSTILL: u32 = 9;

type Scenario = fn(Arc<dyn Backend>) -> Pin<Box<dyn Future<Output = ()>>>;

/// One claim of the kit, for programs that do more with claims than to make tests of them.
#[derive(Clone, Copy)]
pub struct Claim {
    name: &'static str,
    scenario: Scenario,
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Claim").field(&self.name).finish()
    }
}

impl Claim {
    /// All claims, in the order of [`backend_conformance!`](crate::backend_conformance).
    #[must_use]
    pub fn all() -> &'static [Self] {
        const CLAIMS: &[Claim] = backend_conformance!(@list table ());
        CLAIMS
    }

    /// What is claimed: the name of the scenario and of the test.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Checks the claim on a fresh backend, on a runtime of its own. A wake-up counts as lost after
    /// `patience`.
    ///
    /// # Panics
    /// When the backend breaks its word.
    pub fn check<B>(&self, patience: Duration, factory: impl FnOnce() -> B)
    where
        B: Future<Output = Arc<dyn Backend>>,
    {
        run_within(patience, async {
            (self.scenario)(factory().await).await;
        });
    }
}

/// Runs a scenario on a runtime of its own.
///
/// # Panics
/// When the scenario does, or when it comes to a standstill.
pub fn run(scenario: impl Future<Output = ()>) {
    run_within(PATIENCE, scenario);
}

thread_local! {
    /// The patience of the scenario that this thread works for: each run has its own threads.
    static OF_THIS_RUN: Cell<Duration> = const { Cell::new(PATIENCE) };
}

/// How long the running scenario waits for what must come.
pub(crate) fn patience() -> Duration {
    OF_THIS_RUN.get()
}

fn run_within(patience: Duration, scenario: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .on_thread_start(move || OF_THIS_RUN.set(patience))
        .enable_all()
        .build()
        .unwrap();
    OF_THIS_RUN.set(patience);
    let ended =
        runtime.block_on(async { tokio::time::timeout(patience * STANDSTILL, scenario).await });
    // What the scenario left waiting for ever is not waited for.
    runtime.shutdown_background();
    assert!(ended.is_ok(), "the scenario came to a standstill");
}
