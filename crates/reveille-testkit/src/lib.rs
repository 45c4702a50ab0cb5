//! Proves that a backend keeps the contract of [`reveille_backend`].
//!
//! [`backend_conformance!`] expands to one `#[test]` a claim. Each runs a scenario: a plain function
//! that takes the backend and panics where it breaks its word. What a backend does not support is
//! asserted, not skipped: the scenarios ask its [capabilities](reveille_backend::Capabilities) and
//! expect the answer that follows from them. [`restart_conformance!`] does the same for what is there
//! when a store is opened again.
//!
//! ```
//! use std::sync::Arc;
//!
//! use reveille_backend::Backend;
//! use reveille_memory::MemoryBackend;
//!
//! async fn memory() -> Arc<dyn Backend> {
//!     Arc::new(MemoryBackend::new())
//! }
//!
//! reveille_testkit::backend_conformance!(memory_keeps_the_contract, memory);
//! ```
//!
//! The kit is itself proven: [`Broken`] is a backend with one [`Flaw`] of choice, and for each claim
//! there is a flaw that it rejects.
//!
//! For tests of what stands on a backend there is [`MemoryStore`], which stores in this process, and
//! [`Faulty`], which makes any backend fail as planned.
//!
//! For a backend on servers or files of its own, [`chaos`] breaks those while producers append and a reader
//! watches, and [`stored`] has what tests begin with.
//!
//! And for any future, of a backend or not, [`dropped_at_each_poll`] shows what is left when it is dropped at
//! any point.
//!
//! [`program`] finds the servers that tests start.
//!
//! [`watch_for_panics`] finds the panics that stay in their tasks.
//!
//! The scenarios write into sessions of their own names and expect to find none of them, so that each
//! needs a backend to itself. This crate is for tests: it panics, and which claims it makes is no
//! stable API.

#![expect(
    clippy::unwrap_used,
    reason = "a scenario rejects a backend by panicking"
)]

mod conformance;

pub mod scenarios;

pub mod chaos;
pub mod stored;

mod memory_store;

mod broken;
mod faulty;

mod cancel_safety;
mod panics;

mod port;
mod program;

pub use broken::{Broken, Flaw};
pub use cancel_safety::{dropped_at_each_poll, on_each_runtime};
pub use conformance::{Claim, run};
pub use faulty::{Fault, Faults, Faulty, Gate, Operation};
pub use memory_store::MemoryStore;
pub use panics::{panics, watch_for_panics};
pub use port::free_port;
pub use program::program;
