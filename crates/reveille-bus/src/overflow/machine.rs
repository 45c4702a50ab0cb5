//! Who stays and who goes.

use std::collections::HashMap;

use reveille_types::sets::OverflowPolicy;

use super::bound::LagBound;
use super::chain::{List, Nodes, ORDER, PEERS};
use super::loss::{Loss, Run, tell};
use super::rank::Rank;

/// An event that matches, as the machine sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Its place. Places ascend; they need not be dense.
    pub seq: u64,
    /// How much it matters.
    pub rank: Rank,
    /// Under `latest_only`: an event supersedes earlier ones of the same key and rank.
    pub key: u64,
}

/// What became of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It has a place.
    Kept,
    /// It or others that had a place were given up.
    Shed,
    /// It has no place now and is not accounted for: offer it again after [`OverflowMachine::next`].
    Refused,
    /// The subscriber has failed at this offer or before; nothing is claimed about it.
    Failed,
    /// Its place is not behind that of the last offer: not accounted for.
    Stale,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// Deliver the event at this place.
    Deliver(u64),
    /// Tell that these are missing here.
    Missing(Loss),
    /// The subscriber has failed: nothing follows. Comes once.
    Fail,
}

/// Decides what a subscriber that lags gets, and accounts for the rest: of the offers that were
/// neither refused nor stale nor behind a failure, each is delivered or told as missing, once, in
/// order.
///
/// It keeps at most as many places as the bound's capacity, and of what is missing its ranges. Each
/// call takes constant time, amortised, but for the lookup of ranges when a loss is told.
///
/// ```
/// use reveille_bus::{LagBound, Offer, OverflowMachine, Rank, Turn, Verdict};
/// use reveille_types::sets::OverflowPolicy;
///
/// let bound = LagBound::new(2, 1, OverflowPolicy::DropNonTerminal)?;
/// let mut machine = OverflowMachine::new(bound);
/// let offer = |seq, rank| Offer { seq, rank, key: 0 };
/// assert_eq!(machine.offer(offer(1, Rank::Normal)), Verdict::Kept);
/// assert_eq!(machine.offer(offer(2, Rank::Normal)), Verdict::Shed);
/// assert_eq!(machine.offer(offer(3, Rank::SessionFinal)), Verdict::Kept);
///
/// assert_eq!(machine.next(), Some(Turn::Deliver(1)));
/// let Some(Turn::Missing(loss)) = machine.next() else { unreachable!() };
/// assert_eq!((loss.count, loss.ranges.as_slice()), (1, &[(2, 2)][..]));
/// assert_eq!(machine.next(), Some(Turn::Deliver(3)));
/// assert_eq!(machine.next(), None);
/// # Ok::<(), reveille_types::Invalid>(())
/// ```
#[derive(Debug)]
pub struct OverflowMachine {
    bound: LagBound,
    nodes: Nodes<Node>,
    /// All nodes, by ascending place.
    order: List,
    /// The places that are kept, by rank, each by ascending place; [`SUPERSEDED`] ones apart.
    peers: [[List; 2]; Rank::ALL.len()],
    /// How many places of each rank are kept.
    kept: [usize; Rank::ALL.len()],
    /// Under `latest_only`: the latest kept place of each key and rank.
    latest: HashMap<(u64, Rank), usize>,
    last_offer: Option<u64>,
    failure: Failure,
}

/// In `peers`: places for whose key there is no newer one.
const CURRENT: usize = 0;
/// In `peers`: places for whose key there is a newer one.
const SUPERSEDED: usize = 1;

#[derive(Debug)]
enum Node {
    Kept {
        offer: Offer,
        /// `CURRENT` or `SUPERSEDED`.
        standing: usize,
    },
    Lost(Run),
}

#[derive(Debug, PartialEq, Eq)]
enum Failure {
    None,
    Untold,
    Told,
}

impl OverflowMachine {
    /// A machine to which nothing was offered yet. Allocates nothing before the first offer.
    #[must_use]
    pub fn new(bound: LagBound) -> Self {
        Self {
            bound,
            nodes: Nodes::new(),
            order: List::default(),
            peers: Default::default(),
            kept: Default::default(),
            latest: HashMap::new(),
            last_offer: None,
            failure: Failure::None,
        }
    }

    /// How many places are kept that were not delivered yet.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.kept.iter().sum()
    }

    /// Whether nothing comes next.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.head.is_none() && self.failure != Failure::Untold
    }

    /// Whether the subscriber has failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failure != Failure::None
    }

    /// Takes note of an event that matches.
    pub fn offer(&mut self, offer: Offer) -> Verdict {
        if self.has_failed() {
            return Verdict::Failed;
        }
        if self.last_offer.is_some_and(|last| offer.seq <= last) {
            return Verdict::Stale;
        }
        if self.has_place(offer.rank) && !self.continues_summary(offer.rank) {
            self.last_offer = Some(offer.seq);
            self.keep(offer);
            return Verdict::Kept;
        }
        match self.bound.policy() {
            OverflowPolicy::BackpressureCaller => return Verdict::Refused,
            OverflowPolicy::FailSubscriber => {
                self.failure = Failure::Untold;
                return Verdict::Failed;
            }
            _ => {}
        }
        self.last_offer = Some(offer.seq);
        self.make_place(offer);
        Verdict::Shed
    }

    /// What comes next; `None` when everything that was offered is accounted for.
    #[expect(
        clippy::should_implement_trait,
        reason = "the end is only for now: offers make it go on"
    )]
    pub fn next(&mut self) -> Option<Turn> {
        let Some(first) = self.order.head else {
            let fails = self.failure == Failure::Untold;
            return fails.then(|| {
                self.failure = Failure::Told;
                Turn::Fail
            });
        };
        if let Node::Kept { offer, .. } = *self.nodes.get(first) {
            self.leave_peers(first);
            self.take_out(first);
            return Some(Turn::Deliver(offer.seq));
        }
        let policy = self.bound.policy();
        let runs = std::iter::from_fn(|| {
            let Node::Lost(run) = *self.nodes.get(self.order.head?) else {
                return None;
            };
            self.take_out(self.order.head?);
            Some(run)
        });
        Some(Turn::Missing(tell(policy, runs)))
    }

    /// The offers that are kept.
    #[cfg(test)]
    pub(super) fn offers_kept(&self) -> Vec<Offer> {
        std::iter::successors(self.order.head, |at| self.nodes.next(*at, ORDER))
            .filter_map(|at| match self.nodes.get(at) {
                Node::Kept { offer, .. } => Some(*offer),
                Node::Lost(_) => None,
            })
            .collect()
    }

    /// How many nodes there are, kept or missing.
    #[cfg(test)]
    pub(super) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is a free place for an event of this rank.
    fn has_place(&self, rank: Rank) -> bool {
        let kept = self.kept();
        let finals = self.kept[Rank::OperationFinal as usize..]
            .iter()
            .sum::<usize>();
        kept < self.bound.capacity()
            && (rank.is_final() || kept - finals < self.bound.open_places())
    }

    /// Whether it is progress that comes right behind progress which was folded: one summary holds
    /// both.
    fn continues_summary(&self, rank: Rank) -> bool {
        let behind = self.order.tail.map(|tail| self.nodes.get(tail));
        rank == Rank::Progress
            && self.bound.policy() == OverflowPolicy::SummarizeAndContinue
            && matches!(behind, Some(Node::Lost(run)) if run.progress.is_some())
    }

    /// Gives up what must go for this offer, which may be itself.
    fn make_place(&mut self, offer: Offer) {
        let rank = offer.rank;
        let lowest = Rank::ALL
            .into_iter()
            .find(|rank| self.kept[*rank as usize] > 0)
            .map_or(rank, |kept| kept.min(rank));
        let is_lowest = rank == lowest;
        let policy = self.bound.policy();
        if policy == OverflowPolicy::SummarizeAndContinue && lowest == Rank::Progress {
            while let Some(progress) = self.oldest(lowest) {
                self.evict(progress);
            }
            return match is_lowest {
                true => self.lose(offer),
                false => self.keep(offer),
            };
        }
        let keeps_newest = match policy {
            OverflowPolicy::DropOldest | OverflowPolicy::LatestOnly => true,
            _ => rank.is_final(),
        };
        if is_lowest && !keeps_newest {
            return self.lose(offer);
        }
        self.supersede(offer);
        let victim = match policy {
            OverflowPolicy::DropNonTerminal if !rank.is_final() => {
                self.peers[lowest as usize][CURRENT].tail
            }
            _ => self.oldest(lowest),
        };
        match victim {
            Some(victim) => {
                self.evict(victim);
                self.keep(offer);
            }
            // Nothing of its own rank is kept, and only what matters more.
            None => self.lose(offer),
        }
    }

    /// The oldest place of a rank; if there are superseded ones, the one that was superseded first.
    fn oldest(&self, rank: Rank) -> Option<usize> {
        let [current, superseded] = &self.peers[rank as usize];
        superseded.head.or(current.head)
    }

    fn keep(&mut self, offer: Offer) {
        self.supersede(offer);
        let rank = offer.rank as usize;
        let standing = CURRENT;
        let at = self.nodes.insert(Node::Kept { offer, standing });
        self.nodes.link(&mut self.order, ORDER, at);
        self.nodes.link(&mut self.peers[rank][standing], PEERS, at);
        self.kept[rank] += 1;
        if self.bound.policy() == OverflowPolicy::LatestOnly {
            self.latest.insert((offer.key, offer.rank), at);
        }
    }

    /// Marks the place that is superseded by this offer.
    fn supersede(&mut self, offer: Offer) {
        if let Some(at) = self.latest.remove(&(offer.key, offer.rank)) {
            let [current, superseded] = &mut self.peers[offer.rank as usize];
            self.nodes.unlink(current, PEERS, at);
            self.nodes.link(superseded, PEERS, at);
            if let Node::Kept { standing, .. } = self.nodes.get_mut(at) {
                *standing = SUPERSEDED;
            }
        }
    }

    /// Gives up an event that never had a place.
    fn lose(&mut self, offer: Offer) {
        let run = Run::one(offer.seq, offer.rank);
        if let Some(tail) = self.order.tail
            && let Node::Lost(before) = self.nodes.get_mut(tail)
            && before.join(&run)
        {
            return;
        }
        let at = self.nodes.insert(Node::Lost(run));
        self.nodes.link(&mut self.order, ORDER, at);
    }

    /// Gives up a place that is kept.
    fn evict(&mut self, at: usize) {
        let Node::Kept { offer, .. } = *self.nodes.get(at) else {
            return;
        };
        self.leave_peers(at);
        *self.nodes.get_mut(at) = Node::Lost(Run::one(offer.seq, offer.rank));
        if let Some(next) = self.nodes.next(at, ORDER) {
            self.join(at, next);
        }
        if let Some(prev) = self.nodes.prev(at, ORDER) {
            self.join(prev, at);
        }
    }

    /// Makes two neighbours one, if both are missing and no place lies between them.
    fn join(&mut self, at: usize, next: usize) {
        let Node::Lost(behind) = *self.nodes.get(next) else {
            return;
        };
        if let Node::Lost(run) = self.nodes.get_mut(at)
            && run.join(&behind)
        {
            self.take_out(next);
        }
    }

    /// Takes a kept place out of the lists of its rank.
    fn leave_peers(&mut self, at: usize) {
        let Node::Kept { offer, standing } = *self.nodes.get(at) else {
            return;
        };
        let rank = offer.rank as usize;
        self.nodes
            .unlink(&mut self.peers[rank][standing], PEERS, at);
        self.kept[rank] -= 1;
        // A superseded place is not the one that the map knows.
        if standing == CURRENT {
            self.latest.remove(&(offer.key, offer.rank));
        }
    }

    fn take_out(&mut self, at: usize) {
        self.nodes.unlink(&mut self.order, ORDER, at);
        self.nodes.remove(at);
    }
}
