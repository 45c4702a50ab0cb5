//! All layers of Reveille in one place.
//!
//! Depend on the single crates if one layer is all you need; each stands alone. This crate re-exports
//! them under short names, and holds the `reveille` program: the server and the command line.
//!
//! It adds nothing of its own to the layers but one bus for the whole program: [`global_bus`].

mod global;

pub use global::{global_bus, reset_bus, set_bus};
pub use reveille_archive as archive;
pub use reveille_backend as backend;
pub use reveille_bus as bus;
pub use reveille_client as client;
pub use reveille_core as core;
pub use reveille_gateway as gateway;
pub use reveille_memory as memory;
pub use reveille_queue as queue;
pub use reveille_types as types;

/// The examples of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct Readme;
