//! Waiting for the signals of other nodes.

use std::sync::atomic::{AtomicUsize, Ordering};

use reveille_core::{MergeMode, PoisonKind, SignalError, SignalRequest, SignalStatus};

use crate::common::server::Server;
use crate::nodes::{end, loose, node, node_with, options, poison_of, soon, system, two, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f15_own_handles_do_not_travel_and_those_of_others_do() {
    let server = Server::start();
    let (a, b) = two::<u32>(&server).await;
    let before = a.stats().received;
    let own = loose(&a);
    a.system().trigger(own, 1).unwrap();
    assert_eq!(end(&a, own).await, Ok(1));
    assert_eq!(a.status(own).await, Ok(SignalStatus::Triggered));
    assert_eq!((a.stats().received, a.stats().waits), (before, 0));

    let awaiter = b.system().awaiter(own).unwrap();
    assert_eq!(soon(awaiter).await, Ok(1));
    assert!(a.stats().received > before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f16_nodes_have_ids_of_their_own() {
    let server = Server::start();
    let url = server.url();
    let join = async || {
        let signals = reveille_core::SignalSystem::<()>::builder();
        reveille_nats::SignalNode::join(&url, signals, options())
            .await
            .unwrap()
    };
    let (a, b) = (join().await, join().await);
    assert_ne!(a.system().system_id(), b.system().system_id());
    let taken = system::<()>(a.system().system_id().get());
    let error = reveille_nats::SignalNode::join(&url, taken, options()).await;
    assert_eq!(error.unwrap_err().code(), "system_id_taken");
    // The one that was there goes on.
    let handle = loose(&a);
    a.system().trigger(handle, ()).unwrap();
    assert_eq!(end(&b, handle).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f17_waiters_share_one_subscription_and_early_ends_are_answered_at_once() {
    let server = Server::start();
    let (owner, here) = two::<u32>(&server).await;
    let handle = loose(&owner);
    let awaiters: Vec<_> = (0..8)
        .map(|_| here.system().awaiter(handle).unwrap())
        .collect();
    until(|| owner.stats().served == 1).await;
    assert_eq!(here.stats().waits, 1);
    owner.system().trigger(handle, 42).unwrap();
    for awaiter in awaiters {
        assert_eq!(soon(awaiter).await, Ok(42));
    }

    let early = loose(&owner);
    owner.system().trigger(early, 43).unwrap();
    assert_eq!(end(&here, early).await, Ok(43));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f19_owner_forgets_who_was_told_and_who_waits_no_more() {
    let server = Server::start();
    let (owner, here) = two::<u32>(&server).await;
    let (told, unwanted) = (loose(&owner), loose(&owner));
    let awaiter = here.system().awaiter(told).unwrap();
    let dropped = here.system().awaiter(unwanted).unwrap();
    until(|| owner.stats().served == 2).await;
    owner.system().trigger(told, 1).unwrap();
    assert_eq!(soon(awaiter).await, Ok(1));
    until(|| owner.stats().served == 1).await;
    assert_eq!(here.stats().waits, 1);

    drop(dropped);
    until(|| owner.stats().served == 0 && here.stats().waits == 0).await;
    assert_eq!(
        owner.system().stats().waiters,
        0,
        "nobody waits for its own"
    );
    assert_eq!(here.system().stats().pending, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d016_true_causes_travel_whoever_asks_and_whenever() {
    let server = Server::start();
    let (owner, here) = two::<()>(&server).await;
    let (disk, net) = (loose(&owner), loose(&owner));
    let merged = owner.system().merge(&[disk, net]).unwrap();
    owner.system().poison(disk, "REAL").unwrap();
    owner.system().cancel(net, "stop").unwrap();
    let load = owner.system().create().unwrap().named("load");
    let dropped = load.handle();
    drop(load);
    let mut truth = Vec::new();
    for handle in [disk, net, merged, dropped] {
        let poison = poison_of(owner.system().poll(handle).unwrap());
        assert_eq!(end(&here, handle).await.unwrap_err(), poison);
        assert_eq!(poison_of(here.status(handle).await.unwrap()), poison);
        truth.push((handle, poison));
    }
    assert_eq!(truth[0].1.reason(), "REAL");
    assert_eq!(truth[2].1.causes().len(), 2);
    assert_eq!(truth[3].1.kind(), PoisonKind::Dropped);
    assert!(truth[3].1.reason().contains("load"));

    // From what is remembered, when there is nobody to ask.
    owner.leave().await;
    for (handle, poison) in truth {
        assert_eq!(end(&here, handle).await.unwrap_err(), poison);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d017_success_of_a_generation_says_nothing_of_another() {
    let server = Server::start();
    let (owner, here) = two::<u32>(&server).await;
    let old = loose(&owner);
    owner.system().poison(old, "broken").unwrap();
    let new = loose(&owner);
    assert_eq!(new, old.with_generation(2));
    owner.system().trigger(new, 1).unwrap();
    assert_eq!(end(&here, new).await, Ok(1));
    assert_eq!(here.system().poll(old), Ok(SignalStatus::Pending));
    assert_eq!(end(&here, old).await.unwrap_err().reason(), "broken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d017_what_the_owner_forgot_or_never_knew_is_never_success() {
    let server = Server::start();
    let url = server.url();
    let forgetful = system::<u32>(1).history(0);
    let owner = reveille_nats::SignalNode::join(&url, forgetful, options())
        .await
        .unwrap();
    let here = node::<u32>(&server, 2).await;
    let forgotten = loose(&owner);
    owner.system().trigger(forgotten, 1).unwrap();
    let never = forgotten.with_generation(100);
    for (handle, error) in [
        (forgotten, SignalError::OutcomeForgotten),
        (never, SignalError::UnknownSignal),
    ] {
        let poison = end(&here, handle).await.unwrap_err();
        assert_eq!(poison.kind(), PoisonKind::Refused);
        assert_eq!(poison.reason(), error.to_string());
        assert_eq!(here.status(handle).await, Err(error));
    }

    // Who waited when it ended is told, though the owner remembers nothing.
    let waited = loose(&owner);
    let awaiter = here.system().awaiter(waited).unwrap();
    until(|| owner.stats().served == 1).await;
    owner.system().trigger(waited, 7).unwrap();
    assert_eq!(soon(awaiter).await, Ok(7));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d019_merge_of_local_and_remote_completes_when_both_do() {
    let server = Server::start();
    let (there, here) = two::<u32>(&server).await;
    let third = node::<u32>(&server, 3).await;
    let (local, remote, far) = (loose(&here), loose(&there), loose(&third));
    let merged = here.system().merge(&[local, remote, far]).unwrap();
    let completion = here.system().completion(merged).unwrap();
    assert_eq!(here.status(remote).await, Ok(SignalStatus::Pending));
    here.system().trigger(local, 1).unwrap();
    there.system().trigger(remote, 2).unwrap();
    assert_eq!(here.status(remote).await, Ok(SignalStatus::Triggered));
    assert_eq!(here.system().poll(merged), Ok(SignalStatus::Pending));
    third.system().trigger(far, 3).unwrap();
    assert_eq!(soon(completion).await, Ok(()));

    // A merge of another node is an end without a value.
    let completion = third.system().completion(merged).unwrap();
    assert_eq!(soon(completion).await, Ok(()));
    let any = third
        .system()
        .merge_with(&[merged, far], MergeMode::AllSettled);
    let completion = third.system().completion(any.unwrap()).unwrap();
    assert_eq!(soon(completion).await, Ok(()));
    let derived = third.system().request(merged, SignalRequest::Trigger(1));
    assert_eq!(soon(derived).await, Err(SignalError::Derived));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d019_failures_of_remote_inputs_are_told_in_their_order() {
    let server = Server::start();
    let (there, here) = two::<()>(&server).await;
    let (a, local, b) = (loose(&there), loose(&here), loose(&there));
    let merged = here.system().merge(&[b, local, a]).unwrap();
    there.system().poison(a, "a").unwrap();
    here.system().poison(local, "local").unwrap();
    there.system().poison(b, "b").unwrap();
    let poison = end(&here, merged).await.unwrap_err();
    let reasons: Vec<_> = poison.causes().iter().map(|it| &*it.reason).collect();
    assert_eq!(reasons, ["b", "local", "a"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d022_farewell_tells_who_waits_what_there_is_to_tell() {
    let server = Server::start();
    // A lease that no test waits for.
    let mut long = options();
    long.lease = std::time::Duration::from_secs(200);
    let owner = node_with::<u32>(&server, 1, long.clone()).await;
    let here = node_with::<u32>(&server, 2, long).await;
    let (ended, pending) = (loose(&owner), loose(&owner));
    let (of_ended, of_pending) = (
        here.system().awaiter(ended).unwrap(),
        here.system().awaiter(pending).unwrap(),
    );
    until(|| owner.stats().served == 2).await;
    owner.system().trigger(ended, 1).unwrap();
    soon(owner.leave()).await;
    assert_eq!(soon(of_ended).await, Ok(1));
    let poison = soon(of_pending).await.unwrap_err();
    assert_eq!(
        (poison.handle(), poison.kind()),
        (pending, PoisonKind::OwnerLost)
    );
    until(|| here.stats().owners_lost == 1).await;

    // One that was shut down before says why.
    let owner = node::<u32>(&server, 3).await;
    let pending = loose(&owner);
    let awaiter = here.system().awaiter(pending).unwrap();
    until(|| owner.stats().served == 1).await;
    owner.system().force_shutdown("closing for the night");
    soon(owner.leave()).await;
    let poison = soon(awaiter).await.unwrap_err();
    assert_eq!(poison.kind(), PoisonKind::ShutDown);
    assert_eq!(poison.reason(), "closing for the night");
}

/// Awaits and completions of the same signals at the same time, from several threads, with awaiters
/// that come and go: none hangs, and each is told the truth.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn d023_no_waiter_is_lost_between_looking_and_forgetting() {
    const TASKS: usize = 4;
    const ROUNDS: u32 = 1500;
    static REACHED: AtomicUsize = AtomicUsize::new(0);
    let server = Server::start();
    let url = server.url();
    let owner = reveille_nats::SignalNode::join(&url, system(1).history(1 << 20), options())
        .await
        .unwrap();
    // Room for less than there is, so that forgetting goes on all the time.
    let signals = system::<u32>(2).max_foreign(2).history(1 << 20);
    let here = reveille_nats::SignalNode::join(&url, signals, options())
        .await
        .unwrap();
    let handles: Vec<_> = (0..ROUNDS).map(|_| loose(&owner)).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let (system, handles) = (here.system().clone(), handles.clone());
        tasks.spawn(async move {
            for (value, handle) in (0..).zip(handles) {
                REACHED.fetch_max(value as usize, Ordering::Relaxed);
                drop(system.awaiter(handle).unwrap());
                if task == 0 {
                    let merged = system.merge(&[handle]).unwrap();
                    assert_eq!(soon(system.completion(merged).unwrap()).await, Ok(()));
                } else {
                    assert_eq!(soon(system.awaiter(handle).unwrap()).await, Ok(value));
                }
            }
        });
    }
    let system = owner.system().clone();
    tasks.spawn(async move {
        for (value, handle) in (0..).zip(handles) {
            until_reached(&REACHED, value as usize).await;
            system.trigger(handle, value).unwrap();
        }
    });
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    until(|| owner.stats().served == 0 && here.stats().waits == 0).await;
}

async fn until_reached(reached: &AtomicUsize, value: usize) {
    while reached.load(Ordering::Relaxed) < value {
        tokio::task::yield_now().await;
    }
}
