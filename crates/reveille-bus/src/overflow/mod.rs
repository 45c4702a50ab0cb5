//! What a subscriber gives up when it lags beyond its bound: a pure state machine, without threads,
//! clocks or events.
//!
//! [`OverflowMachine::offer`] is told the place and rank of each event that matches;
//! [`OverflowMachine::next`] gives back, in order, the places to deliver and what is missing between
//! them. A subscriber that keeps up needs none: it reads the log. See `subscription.rs` for how the
//! two work together.
//!
//! In reading order: `rank` (how much an event matters), `bound` (capacity, reserve and policy), `loss`
//! (what is missing, and how that is told), `chain` (the lists in which a place stands), `machine` (who
//! stays and who goes).

mod bound;
mod chain;
mod loss;
mod machine;
mod rank;
#[cfg(test)]
mod tests;

pub use bound::LagBound;
pub use loss::{Folded, Loss};
pub use machine::{Offer, OverflowMachine, Turn, Verdict};
pub use rank::Rank;
