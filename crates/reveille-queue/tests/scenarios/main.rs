//! What a session log promises, scenario by scenario. Names in brackets are rows of the requirements.

#![cfg(not(loom))]
#![allow(
    clippy::unwrap_used,
    reason = "in a test an unwrap that fails is the failure"
)]

mod support;

mod append;
mod budget;
mod cancel;
mod cancel_safety;
mod features;
mod groups;
mod idempotency;
mod isolation;
mod leases;
mod lifecycle;
mod listing;
mod memory;
mod multi_wait;
mod paging;
mod reliability;
mod subscribe;
mod take;
mod threads;
mod wait;
mod wakes;
