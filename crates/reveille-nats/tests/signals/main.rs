//! Signals across nodes, over a broker of each test's own.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

#[path = "../common/mod.rs"]
mod common;

mod bounds;
mod broker;
mod dropped;
mod hub;
mod nodes;
mod processes;
mod raw;
mod requests;
mod runs;
mod waits;
