//! What signals promise across systems, row by row: named after the defects that each promise
//! rules out.

#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "a failure in a helper fails the test")]

mod common;

use common::{loose, nodes, nodes_of, poison_of};
use reveille_core::{MergeMode, PoisonKind, SignalError, SignalRequest, SignalStatus};
use tokio_test::{assert_pending, assert_ready, assert_ready_err, assert_ready_ok, task};

#[test]
fn f11_own_handles_never_reach_the_router() {
    let (here, _, router) = nodes::<u32>();
    let handle = loose(&here);
    let mut awaiter = task::spawn(here.awaiter(handle).unwrap());
    let merged = here.merge(&[handle]).unwrap();
    let mut receipt = task::spawn(here.request(handle, SignalRequest::Trigger(7)));
    assert_eq!(
        assert_ready!(receipt.poll()),
        Ok(()),
        "it has had its effect"
    );
    assert_eq!(assert_ready_ok!(awaiter.poll()), 7);
    assert_eq!(here.poll(merged), Ok(SignalStatus::Triggered));
    let mut late = task::spawn(here.request(handle, SignalRequest::Cancel("late".into())));
    assert_eq!(
        assert_ready!(late.poll()),
        Err(SignalError::AlreadyTriggered)
    );
    assert_eq!(router.subscribed(), 0);
    assert!(router.requests.lock().is_empty());
}

#[test]
fn f11_at_once_operations_refuse_foreign_handles_with_a_router_too() {
    let (here, there, _router) = nodes::<u32>();
    let handle = loose(&there);
    let foreign = Err(SignalError::ForeignHandle {
        expected: 1,
        got: 2,
    });
    assert_eq!(here.trigger(handle, 1), foreign);
    assert_eq!(here.poison(handle, "x"), foreign);
    assert_eq!(here.cancel(handle, "x"), foreign);
    assert_eq!(here.apply(handle, SignalRequest::Trigger(1)), foreign);
    assert_eq!(there.poll(handle), Ok(SignalStatus::Pending));

    // Without a router, a request is answered alike.
    let handle = loose(&here);
    let mut receipt = task::spawn(there.request(handle, SignalRequest::Trigger(1)));
    let foreign = Err(SignalError::ForeignHandle {
        expected: 2,
        got: 1,
    });
    assert_eq!(assert_ready!(receipt.poll()), foreign);
}

#[test]
fn f17_waiters_of_a_signal_share_one_subscription() {
    let (here, there, router) = nodes::<u32>();
    let handle = loose(&there);
    let mut awaiters: Vec<_> = (0..8)
        .map(|_| task::spawn(here.awaiter(handle).unwrap()))
        .collect();
    let mut completion = task::spawn(here.completion(handle).unwrap());
    let merged = here.merge(&[handle]).unwrap();
    for awaiter in &mut awaiters {
        assert_pending!(awaiter.poll());
        assert_eq!(awaiter.handle(), handle);
    }
    assert_pending!(completion.poll());
    assert_eq!(completion.handle(), handle);
    router.deliver();
    there.trigger(handle, 42).unwrap();
    router.deliver();
    for awaiter in &mut awaiters {
        assert!(awaiter.is_woken());
        assert_eq!(assert_ready_ok!(awaiter.poll()), 42);
    }
    assert!(completion.is_woken());
    assert_ready_ok!(completion.poll());
    assert_eq!(here.poll(merged), Ok(SignalStatus::Triggered));
    assert_eq!(router.subscribed(), 1);
}

#[test]
fn f17_completion_before_the_subscription_arrives_is_answered() {
    let (here, there, router) = nodes::<u32>();
    let handle = loose(&there);
    let mut awaiter = task::spawn(here.awaiter(handle).unwrap());
    assert_pending!(awaiter.poll());
    there.trigger(handle, 5).unwrap();
    router.deliver();
    assert_eq!(assert_ready_ok!(awaiter.poll()), 5);
    assert_eq!(here.poll(handle), Ok(SignalStatus::Triggered));
}

#[test]
fn f18_second_answers_are_those_of_the_owner() {
    let (here, there, router) = nodes::<u32>();
    let (poisoned, triggered, held) = (loose(&there), loose(&there), there.create().unwrap());
    there.poison(poisoned, "first").unwrap();
    there.trigger(triggered, 1).unwrap();
    let ask = |handle, request| {
        let mut receipt = task::spawn(here.request(handle, request));
        assert_pending!(receipt.poll());
        router.deliver();
        assert!(receipt.is_woken());
        assert_ready!(receipt.poll())
    };
    let already = Err(SignalError::AlreadyPoisoned {
        reason: "first".into(),
    });
    assert_eq!(ask(poisoned, SignalRequest::Trigger(2)), already);
    assert_eq!(ask(poisoned, SignalRequest::Poison("again".into())), Ok(()));
    assert_eq!(ask(poisoned, SignalRequest::Cancel("late".into())), already);
    assert_eq!(
        ask(triggered, SignalRequest::Poison("late".into())),
        Err(SignalError::AlreadyTriggered)
    );
    assert_eq!(
        ask(held.handle(), SignalRequest::Trigger(3)),
        Err(SignalError::NotPermitted)
    );
    assert_eq!(here.stats().requests_failed, 4);
}

#[test]
fn d015_request_is_sent_though_the_signal_is_awaited() {
    let (here, there, router) = nodes::<u32>();
    let handle = loose(&there);
    let mut awaiter = task::spawn(here.awaiter(handle).unwrap());
    let mut receipt = task::spawn(here.request(handle, SignalRequest::Trigger(9)));
    assert_pending!(awaiter.poll());
    assert_pending!(receipt.poll());
    router.deliver();
    assert_ready_ok!(receipt.poll());
    assert_eq!(there.poll(handle), Ok(SignalStatus::Triggered));
    assert_eq!(assert_ready_ok!(awaiter.poll()), 9);
}

#[test]
fn d015_concurrent_requests_are_all_answered_in_any_order() {
    let (here, there, router) = nodes::<u32>();
    let handle = loose(&there);
    let mut first = task::spawn(here.request(handle, SignalRequest::Trigger(1)));
    let mut second = task::spawn(here.request(handle, SignalRequest::Trigger(2)));
    router.deliver_request(1);
    assert_ready_ok!(second.poll());
    assert_pending!(first.poll());
    router.deliver_request(0);
    assert_eq!(
        assert_ready_err!(first.poll()),
        SignalError::AlreadyTriggered
    );
    let mut awaiter = task::spawn(here.awaiter(handle).unwrap());
    router.deliver();
    assert_eq!(assert_ready_ok!(awaiter.poll()), 2);
}

#[test]
fn d016_true_causes_travel_whoever_asks_and_whenever() {
    let (here, there, router) = nodes::<u32>();
    let (disk, net) = (loose(&there), loose(&there));
    let merged = there.merge(&[disk, net]).unwrap();
    there.poison(disk, "REAL").unwrap();
    there.cancel(net, "stop").unwrap();
    for handle in [disk, net, merged] {
        let true_poison = poison_of(&there, handle);
        let mut late = task::spawn(here.completion(handle).unwrap());
        router.deliver();
        assert_eq!(assert_ready_err!(late.poll()), true_poison);
        // From what is remembered.
        assert_eq!(poison_of(&here, handle), true_poison);
        let mut again = task::spawn(here.awaiter(handle).unwrap());
        assert_eq!(assert_ready_err!(again.poll()), true_poison);
    }
    assert_eq!(poison_of(&here, disk).reason(), "REAL");
    assert!(matches!(here.poll(net), Ok(SignalStatus::Cancelled(_))));
    assert_eq!(router.subscribed(), 3);
}

#[test]
fn d017_success_of_one_generation_says_nothing_of_another() {
    let (here, there, router) = nodes::<u32>();
    let old = loose(&there);
    there.poison(old, "broken").unwrap();
    let new = loose(&there);
    assert_eq!(new, old.with_generation(2));
    let mut of_new = task::spawn(here.awaiter(new).unwrap());
    there.trigger(new, 1).unwrap();
    router.deliver();
    assert_ready_ok!(of_new.poll());

    assert_eq!(here.poll(old), Ok(SignalStatus::Pending), "not known here");
    let mut of_old = task::spawn(here.awaiter(old).unwrap());
    assert_pending!(of_old.poll());
    router.deliver();
    assert_eq!(assert_ready_err!(of_old.poll()).reason(), "broken");
}

#[test]
fn d017_what_the_owner_forgot_or_never_knew_is_refused_and_never_success() {
    let (here, there, router) = nodes_of::<u32>(0, 1024);
    let forgotten = loose(&there);
    there.trigger(forgotten, 1).unwrap();
    let never = forgotten.with_generation(100);
    for (round, (handle, why)) in [(forgotten, "forgotten"), (never, "unknown")]
        .into_iter()
        .cycle()
        .take(4)
        .enumerate()
    {
        let mut awaiter = task::spawn(here.awaiter(handle).unwrap());
        router.deliver();
        let poison = assert_ready_err!(awaiter.poll());
        assert_eq!(poison.kind(), PoisonKind::Refused);
        assert!(poison.reason().contains(why), "{poison}");
        assert_eq!(here.poll(handle), Ok(SignalStatus::Pending));
        assert_eq!(
            router.subscribed(),
            round + 1,
            "a refusal is not remembered"
        );
    }
    let mut receipt = task::spawn(here.request(never, SignalRequest::Trigger(1)));
    router.deliver();
    assert_eq!(
        assert_ready_err!(receipt.poll()),
        SignalError::UnknownSignal
    );
}

#[test]
fn d018_reports_in_reverse_order_reach_their_own_generation() {
    let (here, there, router) = nodes::<u32>();
    let old = loose(&there);
    let mut of_old = task::spawn(here.awaiter(old).unwrap());
    there.poison(old, "broken").unwrap();
    let new = loose(&there);
    assert_eq!(new, old.with_generation(2));
    let mut of_new = task::spawn(here.awaiter(new).unwrap());
    router.deliver_subscriptions();
    there.trigger(new, 8).unwrap();

    assert!(router.deliver_report(new));
    assert_pending!(of_old.poll());
    assert_eq!(assert_ready_ok!(of_new.poll()), 8);
    assert!(router.deliver_report(old));
    assert_eq!(assert_ready_err!(of_old.poll()).reason(), "broken");
    assert_eq!(assert_ready_ok!(of_new.poll()), 8);
}

#[test]
fn d019_merge_of_local_and_remote_completes_when_both_do() {
    let (here, there, router) = nodes::<u32>();
    let (local, remote) = (loose(&here), loose(&there));
    let merged = here.merge(&[local, remote, remote]).unwrap();
    let mut completion = task::spawn(here.completion(merged).unwrap());
    here.trigger(local, 1).unwrap();
    assert_pending!(completion.poll());
    assert_eq!(here.poll(remote), Ok(SignalStatus::Pending));
    there.trigger(remote, 2).unwrap();
    router.deliver();
    assert_ready_ok!(completion.poll());
    assert_eq!(here.poll(remote), Ok(SignalStatus::Triggered));
    // Now that it is known, it counts at once.
    let again = here.merge_with(&[remote], MergeMode::AnyOf).unwrap();
    assert_eq!(here.poll(again), Ok(SignalStatus::Triggered));
    assert_eq!(router.subscribed(), 1);
}

#[test]
fn d019_failed_remote_inputs_are_told_in_the_order_of_the_inputs() {
    let (here, there, router) = nodes::<()>();
    let (a, local, b) = (loose(&there), loose(&here), loose(&there));
    let merged = here.merge(&[b, local, a]).unwrap();
    router.deliver_subscriptions();
    there.poison(a, "a").unwrap();
    there.poison(b, "b").unwrap();
    assert!(router.deliver_report(a));
    here.poison(local, "local").unwrap();
    assert!(router.deliver_report(b));
    let poison = poison_of(&here, merged);
    let causes: Vec<_> = poison
        .causes()
        .iter()
        .map(|cause| (cause.handle, &*cause.reason))
        .collect();
    assert_eq!(causes, [(b, "b"), (local, "local"), (a, "a")]);
}

#[test]
fn d019_remote_merge_is_an_end_without_a_value() {
    let (here, there, router) = nodes::<u32>();
    let input = loose(&there);
    let remote = there.merge(&[input]).unwrap();
    let mut completion = task::spawn(here.completion(remote).unwrap());
    let merged = here.merge(&[remote]).unwrap();
    let mut early = task::spawn(here.awaiter(remote).unwrap());
    there.trigger(input, 1).unwrap();
    router.deliver();
    assert_ready_ok!(completion.poll());
    assert_eq!(here.poll(merged), Ok(SignalStatus::Triggered));
    assert_eq!(here.poll(remote), Ok(SignalStatus::Triggered));
    assert_eq!(assert_ready_err!(early.poll()).kind(), PoisonKind::Refused);
    // As the owner would say it, now that this is known.
    assert_eq!(here.awaiter(remote).map(drop), Err(SignalError::Derived));

    // Where the value is `()`, there is no difference.
    let (here, there, router) = nodes::<()>();
    let input = loose(&there);
    let remote = there.merge(&[input]).unwrap();
    let mut awaiter = task::spawn(here.awaiter(remote).unwrap());
    there.trigger(input, ()).unwrap();
    router.deliver();
    assert_ready_ok!(awaiter.poll());
}

#[test]
fn d019_refused_merge_subscribes_to_nothing() {
    let (here, there, router) = nodes::<u32>();
    let (remote, local) = (loose(&there), loose(&here));
    let unknown = local.with_generation(5);
    assert_eq!(
        here.merge(&[remote, unknown]),
        Err(SignalError::UnknownSignal)
    );
    assert_eq!(router.subscribed(), 0);
    assert_eq!(here.stats().pending, 1);
}

#[test]
fn d020_failures_of_requests_nobody_waits_for_are_counted() {
    let (here, there, router) = nodes::<u32>();
    let handle = loose(&there);
    there.poison(handle, "first").unwrap();
    drop(here.request(handle, SignalRequest::Trigger(1)));
    drop(here.request(handle, SignalRequest::Poison("again".into())));
    assert_eq!(here.stats().requests_failed, 0, "not answered yet");
    router.deliver();
    assert_eq!(here.stats().requests_failed, 1);

    let mut receipt = task::spawn(here.request(handle, SignalRequest::Trigger(1)));
    assert_pending!(receipt.poll());
    router.cut();
    assert!(receipt.is_woken());
    for _ in 0..2 {
        let lost = SignalError::OwnerLost { owner: 2 };
        assert_eq!(assert_ready_err!(receipt.poll()), lost);
    }
    assert_eq!(here.stats().requests_failed, 2);
}

#[test]
fn d020_receipts_end_with_their_system() {
    let (here, there, router) = nodes::<u32>();
    let handle = loose(&there);
    let mut receipt = task::spawn(here.request(handle, SignalRequest::Trigger(1)));
    let mut awaiter = task::spawn(here.awaiter(handle).unwrap());
    assert_pending!(receipt.poll());
    assert_pending!(awaiter.poll());
    drop(here);
    assert!(receipt.is_woken() && awaiter.is_woken());
    assert_eq!(assert_ready_err!(receipt.poll()).code(), "shut_down");
    assert_eq!(
        assert_ready_err!(awaiter.poll()).kind(),
        PoisonKind::SystemDropped
    );
    // What arrives later finds nobody.
    router.deliver();
    assert_eq!(there.poll(handle), Ok(SignalStatus::Triggered));
    assert_eq!(assert_ready_err!(receipt.poll()).code(), "shut_down");
}
