//! Completing the signals of other nodes.

use std::time::Duration;

use reveille_core::{PoisonKind, SignalError, SignalRequest, SignalStatus};

use crate::common::server::Server;
use crate::nodes::{end, loose, node_with, options, soon, two, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f18_answers_are_those_of_the_owner() {
    let server = Server::start();
    let (owner, here) = two::<u32>(&server).await;
    let (poisoned, triggered, held) = (
        loose(&owner),
        loose(&owner),
        owner.system().create().unwrap(),
    );
    owner.system().poison(poisoned, "first").unwrap();
    owner.system().trigger(triggered, 1).unwrap();
    let ask = async |handle, request| soon(here.system().request(handle, request)).await;
    let already = Err(SignalError::AlreadyPoisoned {
        reason: "first".into(),
    });
    assert_eq!(ask(poisoned, SignalRequest::Trigger(2)).await, already);
    let again = SignalRequest::Poison("again".into());
    assert_eq!(ask(poisoned, again.clone()).await, Ok(()));
    assert_eq!(
        ask(triggered, again.clone()).await,
        Err(SignalError::AlreadyTriggered)
    );
    // Its right is somebody's there, who alone completes it.
    for request in [
        SignalRequest::Trigger(3),
        again,
        SignalRequest::Cancel("x".into()),
    ] {
        let refused = ask(held.handle(), request).await;
        assert_eq!(refused, Err(SignalError::NotPermitted));
    }
    held.trigger(4).unwrap();

    let cancelled = loose(&owner);
    let cancel = SignalRequest::Cancel("not needed".into());
    assert_eq!(ask(cancelled, cancel).await, Ok(()));
    let poison = end(&owner, cancelled).await.unwrap_err();
    assert_eq!(
        (poison.kind(), poison.reason()),
        (PoisonKind::Cancelled, "not needed")
    );
    let never = cancelled.with_generation(9);
    assert_eq!(
        ask(never, SignalRequest::Trigger(1)).await,
        Err(SignalError::UnknownSignal)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d015_request_is_sent_and_answered_though_the_signal_is_awaited() {
    let server = Server::start();
    let (owner, here) = two::<u32>(&server).await;
    let handle = loose(&owner);
    let awaiter = here.system().awaiter(handle).unwrap();
    let receipt = here.system().request(handle, SignalRequest::Trigger(9));
    let answered = tokio::time::timeout(Duration::from_secs(1), receipt).await;
    assert_eq!(answered, Ok(Ok(())));
    assert_eq!(owner.system().poll(handle), Ok(SignalStatus::Triggered));
    assert_eq!(soon(awaiter).await, Ok(9));

    let contended = loose(&owner);
    let receipts: Vec<_> = (0..50)
        .map(|n| here.system().request(contended, SignalRequest::Trigger(n)))
        .collect();
    let mut won = Vec::new();
    for (n, receipt) in (0..).zip(receipts) {
        match soon(receipt).await {
            Ok(()) => won.push(n),
            Err(error) => assert_eq!(error, SignalError::AlreadyTriggered),
        }
    }
    assert_eq!(won.len(), 1, "{won:?}");
    assert_eq!(end(&here, contended).await, Ok(won[0]));
    until(|| here.stats().requests == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d020_failures_nobody_waits_for_are_counted_and_receipts_tell_them() {
    let server = Server::start();
    let (owner, here) = two::<u32>(&server).await;
    let handle = loose(&owner);
    owner.system().poison(handle, "first").unwrap();
    drop(here.system().request(handle, SignalRequest::Trigger(1)));
    until(|| here.system().stats().requests_failed == 1).await;
    let receipt = here.system().request(handle, SignalRequest::Trigger(1));
    let already = SignalError::AlreadyPoisoned {
        reason: "first".into(),
    };
    assert_eq!(soon(receipt).await, Err(already));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d020_nobody_there_is_told_at_the_deadline() {
    let server = Server::start();
    let mut short = options();
    short.request_deadline = Duration::from_millis(200);
    let here = node_with::<u32>(&server, 2, short).await;
    let handle = reveille_core::SignalHandle::from_raw((77 << 64) | 1);
    let begin = tokio::time::Instant::now();
    let receipt = here.system().request(handle, SignalRequest::Trigger(1));
    assert_eq!(
        soon(receipt).await,
        Err(SignalError::OwnerLost { owner: 77 })
    );
    let status = soon(here.status(handle)).await;
    assert_eq!(status, Err(SignalError::OwnerLost { owner: 77 }));
    assert!(begin.elapsed() >= Duration::from_millis(400));
    assert_eq!(here.stats().requests, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d021_no_handle_makes_an_operation_panic() {
    let server = Server::start();
    let mut short = options();
    short.request_deadline = Duration::from_millis(100);
    let (owner, here) = (
        node_with::<u32>(&server, 1, short.clone()).await,
        node_with::<u32>(&server, 2, short).await,
    );
    let raws: Vec<u128> = (0..40_u128)
        .flat_map(|n| {
            let odd = n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
            // Of nobody, of the other node, of this one, of system 0.
            let low = odd & u128::from(u64::MAX);
            [odd, (1 << 64) | low, (2 << 64) | low, low]
        })
        .collect();
    for raw in raws {
        let handle = reveille_core::SignalHandle::from_raw(raw);
        let system = here.system();
        drop(system.awaiter(handle));
        let _ = (system.merge(&[handle]), system.explain(handle));
        let _ = (system.trigger(handle, 1), system.poison(handle, "x"));
        drop(system.request(handle, SignalRequest::Trigger(1)));
        let _ = system.poll(handle);
    }
    let never = loose(&owner).with_generation(7);
    let status = soon(here.status(never)).await;
    assert_eq!(status, Err(SignalError::UnknownSignal));
    until(|| here.stats().requests == 0).await;
}
