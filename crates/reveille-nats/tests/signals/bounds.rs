//! What is too much, too large or of another kind.

use std::time::Duration;

use reveille_core::{PoisonKind, SignalError, SignalHandle, SignalRequest, SignalStatus};
use serde::{Deserialize, Serialize};

use crate::common::server::Server;
use crate::nodes::{end, loose, node, node_with, options, soon, two, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waits_beyond_the_bound_are_refused_and_room_is_given_back() {
    let server = Server::start();
    let mut few = options();
    few.max_waits = 2;
    let owner = node::<u32>(&server, 1).await;
    let here = node_with::<u32>(&server, 2, few).await;
    let handles = [loose(&owner), loose(&owner), loose(&owner)];
    let kept: Vec<_> = handles[..2]
        .iter()
        .map(|&handle| here.system().awaiter(handle).unwrap())
        .collect();
    let poison = end(&here, handles[2]).await.unwrap_err();
    assert_eq!(poison.kind(), PoisonKind::Refused);
    let limit = SignalError::Exhausted { limit: 2 };
    assert_eq!(poison.reason(), limit.to_string());

    for handle in handles {
        owner.system().trigger(handle, 1).unwrap();
    }
    for awaiter in kept {
        assert_eq!(soon(awaiter).await, Ok(1));
    }
    assert_eq!(end(&here, handles[2]).await, Ok(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waits_that_an_owner_has_no_room_for_are_refused() {
    let server = Server::start();
    let mut few = options();
    few.max_served = 1;
    let owner = node_with::<u32>(&server, 1, few).await;
    let (here, third) = (node::<u32>(&server, 2).await, node::<u32>(&server, 3).await);
    let (first, second) = (loose(&owner), loose(&owner));
    let awaiter = here.system().awaiter(first).unwrap();
    until(|| owner.stats().served == 1).await;
    for (node, handle) in [(&here, second), (&third, second), (&third, first)] {
        let poison = end(node, handle).await.unwrap_err();
        assert_eq!(poison.kind(), PoisonKind::Refused);
    }
    drop(awaiter);
    until(|| owner.stats().served == 0).await;
    owner.system().trigger(second, 5).unwrap();
    assert_eq!(end(&third, second).await, Ok(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_beyond_the_bound_are_refused() {
    let server = Server::start();
    let mut few = options();
    few.max_requests = 2;
    few.request_deadline = Duration::from_millis(300);
    let here = node_with::<u32>(&server, 2, few).await;
    let nobody = SignalHandle::from_raw((77 << 64) | 1);
    let ask = || here.system().request(nobody, SignalRequest::Trigger(1));
    let (first, second, third) = (ask(), ask(), ask());
    assert_eq!(soon(third).await, Err(SignalError::Exhausted { limit: 2 }));
    assert_eq!(
        here.status(nobody).await,
        Err(SignalError::Exhausted { limit: 2 })
    );
    assert_eq!(soon(first).await.unwrap_err().code(), "owner_lost");
    assert_eq!(soon(second).await.unwrap_err().code(), "owner_lost");
    until(|| here.stats().requests == 0).await;
    assert_eq!(soon(ask()).await.unwrap_err().code(), "owner_lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_too_large_for_the_broker_are_refused_and_large_ones_carried() {
    let server = Server::start();
    let (owner, here) = two::<String>(&server).await;
    let large = "x".repeat(1000 * 1000);
    let (triggered, too_large) = (loose(&owner), loose(&owner));
    let trigger = |handle, value: &str| {
        let request = SignalRequest::Trigger(value.to_owned());
        soon(here.system().request(handle, request))
    };
    assert_eq!(trigger(triggered, &large).await, Ok(()));
    assert_eq!(end(&here, triggered).await.as_ref(), Ok(&large));

    let larger = large.clone() + &large;
    let error = trigger(too_large, &larger).await.unwrap_err();
    assert_eq!(error.code(), "not_carried");
    assert_eq!(owner.system().poll(too_large), Ok(SignalStatus::Pending));
    owner.system().trigger(too_large, larger).unwrap();
    let poison = end(&here, too_large).await.unwrap_err();
    assert_eq!(poison.kind(), PoisonKind::Refused);
    assert!(poison.reason().contains("bytes"), "{poison}");
    // That it was triggered can be told.
    assert_eq!(here.status(too_large).await, Ok(SignalStatus::Triggered));

    // Many that are large together come in several messages.
    let handles: Vec<_> = (0..20).map(|_| loose(&owner)).collect();
    for &handle in &handles {
        owner.system().trigger(handle, "x".repeat(90_000)).unwrap();
    }
    let all = here.system().merge(&handles).unwrap();
    assert_eq!(soon(here.system().completion(all).unwrap()).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_of_another_type_are_refused_on_both_sides() {
    let server = Server::start();
    let owner = node::<u32>(&server, 1).await;
    let here = node::<String>(&server, 2).await;
    let handle = loose(&owner);
    let request = SignalRequest::Trigger("text".to_owned());
    let error = soon(here.system().request(handle, request)).await;
    assert_eq!(error.unwrap_err().code(), "not_carried");
    assert_eq!(owner.system().poll(handle), Ok(SignalStatus::Pending));
    owner.system().trigger(handle, 7).unwrap();
    let poison = end(&here, handle).await.unwrap_err();
    assert_eq!(poison.kind(), PoisonKind::Refused);
    assert!(poison.reason().contains("cannot be read"), "{poison}");
}

/// A value whose code is at fault.
#[derive(Debug, Clone)]
struct Faulty(u8);

impl Serialize for Faulty {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            0 => panic!("on purpose"),
            1 => Err(serde::ser::Error::custom("no words for it")),
            n => serializer.serialize_u8(n),
        }
    }
}

impl<'de> Deserialize<'de> for Faulty {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let n = u8::deserialize(deserializer)?;
        assert_ne!(n, 2, "on purpose");
        Ok(Self(n))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_in_the_code_of_values_stay_with_their_signals() {
    let server = Server::start();
    let (owner, here) = two::<Faulty>(&server).await;
    for n in 0..3 {
        let handle = loose(&owner);
        let request = SignalRequest::Trigger(Faulty(n));
        let error = soon(here.system().request(handle, request)).await;
        assert_eq!(error.unwrap_err().code(), "not_carried");
        owner.system().trigger(handle, Faulty(n)).unwrap();
        let poison = end(&here, handle).await.unwrap_err();
        assert_eq!(poison.kind(), PoisonKind::Refused);
    }
    let handle = loose(&owner);
    let request = SignalRequest::Trigger(Faulty(3));
    assert_eq!(soon(here.system().request(handle, request)).await, Ok(()));
    assert_eq!(end(&here, handle).await.unwrap().0, 3);
}
