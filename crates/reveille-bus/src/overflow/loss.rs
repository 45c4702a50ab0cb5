//! What is missing, and how that is told.

use reveille_types::PositionRanges;
use reveille_types::sets::{OverflowPolicy, OverflowReason};

use super::rank::Rank;

/// What is missing between two places that are delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The places that are missing, behind all that was told before.
    pub ranges: PositionRanges,
    /// How many they are.
    pub count: u64,
    /// Why just they.
    pub detail: OverflowReason,
    /// Whether none of them is a final event.
    pub terminal_preserved: bool,
    /// The progress among them, if the policy is to summarise it.
    pub folded: Option<Folded>,
}

/// Progress that one summary stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Folded {
    /// How many events.
    pub count: u64,
    /// The place of the last of them.
    pub last: u64,
}

/// Missing places without a hole between them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) progress: Option<Folded>,
    pub(super) has_final: bool,
}

impl Run {
    pub(super) fn one(seq: u64, rank: Rank) -> Self {
        let folded = Folded {
            count: 1,
            last: seq,
        };
        Self {
            first: seq,
            last: seq,
            progress: (rank == Rank::Progress).then_some(folded),
            has_final: rank.is_final(),
        }
    }

    fn count(&self) -> u64 {
        self.last - self.first + 1
    }

    /// Takes in the run that begins right behind this one; `false` if `next` does not.
    pub(super) fn join(&mut self, next: &Self) -> bool {
        if self.last + 1 != next.first {
            return false;
        }
        self.last = next.last;
        self.progress = together(self.progress, next.progress);
        self.has_final |= next.has_final;
        true
    }
}

fn together(earlier: Option<Folded>, later: Option<Folded>) -> Option<Folded> {
    match (earlier, later) {
        (Some(earlier), Some(later)) => Some(Folded {
            count: earlier.count + later.count,
            last: later.last,
        }),
        (one, other) => one.or(other),
    }
}

/// Tells runs that follow one another as one loss.
pub(super) fn tell(policy: OverflowPolicy, runs: impl IntoIterator<Item = Run>) -> Loss {
    let mut ranges = PositionRanges::new();
    let (mut count, mut progress, mut has_final) = (0, None, false);
    for run in runs {
        ranges.insert(run.first, run.last);
        count += run.count();
        progress = together(progress, run.progress);
        has_final |= run.has_final;
    }
    let only_progress = progress.is_some_and(|progress| progress.count == count);
    let detail = match policy {
        OverflowPolicy::DropNonTerminal if !has_final => OverflowReason::PolicyDroppedNonTerminal,
        OverflowPolicy::DropProgress | OverflowPolicy::SummarizeAndContinue if only_progress => {
            OverflowReason::PolicyDroppedProgress
        }
        OverflowPolicy::DropOldest | OverflowPolicy::LatestOnly => OverflowReason::SubscriberLagged,
        _ => OverflowReason::SubscriberQueueFull,
    };
    let summarises = policy == OverflowPolicy::SummarizeAndContinue;
    Loss {
        ranges,
        count,
        detail,
        terminal_preserved: !has_final,
        folded: progress.filter(|_| summarises),
    }
}
