//! What is between a gateway and its store breaks: nothing that was acknowledged is lost, nothing is there
//! twice, each producer's events stay in their order, and readers see just that.
//!
//! `REVEILLE_ROUNDS` breaks it more often.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
#![expect(
    clippy::print_stderr,
    reason = "figures, for whoever runs it at length"
)]

mod cluster;
mod producers;
mod wires;
