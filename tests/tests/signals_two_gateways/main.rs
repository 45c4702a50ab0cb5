//! Signals of two gateways on one NATS are those of one.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod callers;
mod ends;
mod shared;
mod walls;
