//! What a node counts.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::link::LinkState;

/// How much a node does now, and has done since it joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignalNodeStats {
    /// Whether it has a connection to the broker.
    pub is_connected: bool,
    /// Whether a later process has taken its place, so that it reaches nobody and nobody it.
    pub is_fenced: bool,
    /// How many signals of others are waited for.
    pub waits: usize,
    /// How many requests of this node are without an answer.
    pub requests: usize,
    /// How many waits of others are served.
    pub served: usize,
    /// How many answers are kept for requests that may come again.
    pub answers: usize,
    /// How often an owner was lost while somebody waited for it.
    pub owners_lost: u64,
    /// How many messages came.
    pub received: u64,
    /// How many of them could not be read.
    pub malformed: u64,
    /// How many of them were meant for, or came from, a process that was replaced.
    pub stale: u64,
    /// How many requests came after their deadline and had no effect.
    pub late: u64,
    /// How many requests were passed over for want of room for their answers.
    pub no_room: u64,
    /// How many messages were not sent, since the broker was not there or too slow. They are said again.
    pub unsent: u64,
    /// How often the connection was made anew.
    pub reconnects: u64,
}

/// The same, as it is counted.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) is_fenced: AtomicBool,
    pub(super) served: AtomicUsize,
    pub(super) answers: AtomicUsize,
    pub(super) owners_lost: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) malformed: AtomicU64,
    pub(super) stale: AtomicU64,
    pub(super) late: AtomicU64,
    pub(super) no_room: AtomicU64,
    pub(super) unsent: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self, link: LinkState, waits: usize, requests: usize) -> SignalNodeStats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SignalNodeStats {
            is_connected: link.is_connected,
            is_fenced: self.is_fenced.load(Ordering::Relaxed),
            waits,
            requests,
            served: self.served.load(Ordering::Relaxed),
            answers: self.answers.load(Ordering::Relaxed),
            owners_lost: count(&self.owners_lost),
            received: count(&self.received),
            malformed: count(&self.malformed),
            stale: count(&self.stale),
            late: count(&self.late),
            no_room: count(&self.no_room),
            unsent: count(&self.unsent),
            reconnects: link.connects.saturating_sub(1),
        }
    }
}

/// One more.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
