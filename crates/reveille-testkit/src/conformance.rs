//! One test for each claim.

use std::future::Future;
use std::sync::Arc;

use reveille_backend::Backend;

/// Makes one `#[test]` for each claim of the kit, in a module of this name. The factory is an
/// `async fn() -> Arc<dyn Backend>` that answers with a fresh, empty backend. The tests bring their
/// own runtime.
#[macro_export]
macro_rules! backend_conformance {
    ($module:ident, $factory:expr) => {
        $crate::backend_conformance!(@claims $module, $factory,
            positions_are_dense_in_the_order_of_appends
            concurrent_batches_stay_in_one_piece
            refused_batch_leaves_nothing
            every_reader_sees_the_same_order
            new_incarnation_has_a_new_epoch
            waiter_wakes_for_an_append
            waiters_that_race_appends_are_woken
            ended_session_drains_and_then_ends
            repeated_key_is_stored_once
            key_of_another_event_is_refused
            keys_of_two_sessions_do_not_meet
            append_compares_the_expected_position
            of_concurrent_appends_at_one_position_one_wins
            tenants_are_walls
            handles_have_the_shape_that_the_capabilities_say
            durability_is_what_the_capabilities_say
            batch_limit_is_what_the_capabilities_say
            log_that_is_not_stored_is_not_found
            list_holds_what_is_stored
            removed_log_is_gone
            health_is_good
        );
    };
    (@claims $module:ident, $factory:expr, $($claim:ident)*) => {
        mod $module {
            #[allow(unused_imports, reason = "the factory may be a closure that needs nothing")]
            use super::*;

            $(
                #[test]
                fn $claim() {
                    $crate::run($factory, $crate::scenarios::$claim);
                }
            )*
        }
    };
}

/// Runs a scenario on a fresh backend and a runtime of its own.
///
/// # Panics
/// When the backend breaks its word.
pub fn run<B, S>(factory: impl FnOnce() -> B, scenario: impl FnOnce(Arc<dyn Backend>) -> S)
where
    B: Future<Output = Arc<dyn Backend>>,
    S: Future<Output = ()>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { scenario(factory().await).await });
}
