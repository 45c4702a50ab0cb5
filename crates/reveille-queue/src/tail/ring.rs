//! The newest events in the order of their sequence numbers.

use std::collections::{BTreeMap, VecDeque};

use reveille_types::{Epoch, Event, Filter, PositionRanges, Seq, SessionKey};

use super::{Overflow, TailPage};

/// How much a tail retains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TailLimits {
    /// Most events.
    pub events: usize,
    /// Most bytes.
    pub bytes: usize,
}

impl Default for TailLimits {
    fn default() -> Self {
        Self {
            events: 100_000,
            bytes: 256 * 1024 * 1024,
        }
    }
}

/// The n-th entry has the sequence number `oldest + 1 + n`. What lies between the last entry and the
/// first of `early` has not come yet.
#[derive(Debug)]
pub(super) struct Ring {
    limits: TailLimits,
    oldest: Seq,
    /// `None` stands for an event that was forgotten.
    shown: VecDeque<Option<Event>>,
    /// Above the watermark: an event with a lower number is still to come.
    early: BTreeMap<Seq, Event>,
    bytes: usize,
}

impl Ring {
    /// An empty ring for what follows `seq`.
    pub(super) fn after(seq: Seq, limits: TailLimits) -> Self {
        Self {
            limits,
            oldest: seq,
            shown: VecDeque::new(),
            early: BTreeMap::new(),
            bytes: 0,
        }
    }

    pub(super) fn oldest(&self) -> Seq {
        self.oldest
    }

    /// The watermark.
    pub(super) fn latest(&self) -> Seq {
        self.oldest.plus(self.shown.len())
    }

    pub(super) fn len(&self) -> usize {
        self.shown.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds an event, and tells `show` each event that is shown by it.
    pub(super) fn push(&mut self, event: Event, mut show: impl FnMut(&Event)) {
        let seq = event.place().seq;
        if seq <= self.latest() {
            return;
        }
        self.early.insert(seq, event);
        while let Some(event) = self.early.remove(&self.latest().next()) {
            show(&event);
            self.bytes += event.weight();
            self.shown.push_back(Some(event));
        }
        while self.shown.len() > 1
            && (self.shown.len() > self.limits.events || self.bytes > self.limits.bytes)
        {
            if let Some(event) = self.shown.pop_front() {
                self.oldest = self.oldest.next();
                self.bytes -= event.map_or(0, |e| e.weight());
            }
        }
    }

    /// Takes out the events of a session; the caller drops them.
    pub(super) fn forget(&mut self, session: &SessionKey, epoch: Epoch) -> Vec<Event> {
        let mut forgotten = Vec::new();
        for slot in &mut self.shown {
            let of_session =
                |event: &mut Event| event.place().epoch == epoch && **event.session() == *session;
            if let Some(event) = slot.take_if(of_session) {
                self.bytes -= event.weight();
                forgotten.push(event);
            }
        }
        forgotten
    }

    /// The entries after `after`, with their sequence numbers.
    fn entries(&self, after: Seq) -> impl Iterator<Item = (Seq, Option<&Event>)> {
        let skip = after.0.saturating_sub(self.oldest.0);
        let skip = usize::try_from(skip)
            .unwrap_or(usize::MAX)
            .min(self.shown.len());
        let first = self.oldest.plus(skip).next();
        self.shown
            .range(skip..)
            .enumerate()
            .map(move |(n, event)| (first.plus(n), event.as_ref()))
    }

    pub(super) fn read(&self, after: Seq, filter: &Filter, limit: usize, bytes: usize) -> TailPage {
        let mut page = TailPage {
            events: Vec::new(),
            missing: PositionRanges::new(),
            read_to: after.max(self.oldest),
        };
        if after < self.oldest {
            page.missing.insert(after.0 + 1, self.oldest.0);
            // What is missing is told before what follows.
            return page;
        }
        let mut weight = 0;
        for (seq, event) in self.entries(after) {
            match event {
                None if page.events.is_empty() => page.missing.insert(seq.0, seq.0),
                None => break,
                Some(_) if !page.missing.is_empty() => break,
                Some(event) if filter.matches(event) => {
                    weight += event.weight();
                    let full = page.events.len() == limit || weight > bytes;
                    if full && !page.events.is_empty() {
                        break;
                    }
                    page.events.push(event.clone());
                }
                Some(_) => {}
            }
            page.read_to = seq;
        }
        page
    }

    pub(super) fn last(&self, filter: &Filter, limit: usize) -> Vec<Event> {
        let newest_first = self.shown.iter().rev().flatten();
        let mut events: Vec<Event> = newest_first
            .filter(|event| filter.matches(event))
            .take(limit)
            .cloned()
            .collect();
        events.reverse();
        events
    }

    pub(super) fn count(&self, filter: &Filter) -> usize {
        let events = self.shown.iter().flatten();
        events.filter(|event| filter.matches(event)).count()
    }

    /// What a reader that stands at `after` must skip so that at most `keep` matching events are left.
    pub(super) fn beyond(&self, after: Seq, filter: &Filter, keep: usize) -> Option<Overflow> {
        // What retention has taken is told first. And with no more entries than may be kept there is
        // nothing to skip, and nothing to look at.
        if after < self.oldest || self.latest().0.saturating_sub(after.0) <= keep as u64 {
            return None;
        }
        let matching: Vec<Seq> = self
            .entries(after)
            .filter(|(_, event)| event.is_some_and(|event| filter.matches(event)))
            .map(|(seq, _)| seq)
            .collect();
        let skip = matching.len().checked_sub(keep).filter(|skip| *skip > 0)?;
        Some(Overflow {
            skipped: matching[..skip].iter().map(|seq| (seq.0, seq.0)).collect(),
            resumes_after: matching[skip - 1],
        })
    }
}
