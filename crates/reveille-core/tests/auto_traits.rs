//! What can be sent, shared and moved: a change in here is a change of the interface.

#![cfg(not(loom))]

use std::cell::Cell;

use reveille_core::{
    CancelToken, Cancelled, Completion, ManualClock, Poison, Signal, SignalAwaiter, SignalError,
    SignalProxy, SignalReceipt, SignalReply, SignalRequest, SignalSystem, WaitList, WakeBatch,
};

fn shareable<T: Send + Sync + Unpin>() {}

#[test]
fn everything_can_be_sent_shared_and_moved() {
    shareable::<SignalSystem<String>>();
    shareable::<Signal<String>>();
    shareable::<SignalAwaiter<String>>();
    shareable::<Completion<String>>();
    shareable::<SignalProxy<String>>();
    shareable::<SignalReceipt>();
    shareable::<SignalReply>();
    shareable::<SignalRequest<String>>();
    shareable::<Poison>();
    shareable::<SignalError>();
    shareable::<CancelToken>();
    shareable::<Cancelled>();
    shareable::<ManualClock>();
    shareable::<WakeBatch>();
    shareable::<WaitList<String>>();
}

#[test]
fn shutdown_can_be_sent() {
    fn sendable(_: impl Send) {}
    let system = SignalSystem::<Vec<u8>>::new();
    sendable(system.shutdown(std::future::ready(())));
}

#[test]
fn wait_list_of_unshareable_data_can_be_sent() {
    fn sendable<T: Send>() {}
    sendable::<WaitList<Cell<u8>>>();
}
