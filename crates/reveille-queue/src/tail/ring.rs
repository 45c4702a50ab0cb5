//! The newest events in the order of their sequence numbers.

use std::collections::{BTreeMap, VecDeque};

use reveille_types::{Epoch, Event, Filter, PositionRanges, Seq, SessionKey};

use super::TailPage;

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

    pub(super) fn get(&self, seq: Seq) -> Option<Event> {
        let (_, event) = self.entries(Seq(seq.0.checked_sub(1)?)).next()?;
        event.filter(|event| event.place().seq == seq).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use reveille_types::{
        DraftDefaults, EventDraft, EventId, KindRegistry, Place, Position, Tenant,
    };

    use super::*;

    /// Every third event is odd.
    fn event(seq: u64) -> Event {
        let session = SessionKey::in_tenant(Tenant::default_tenant(), "s").unwrap();
        let kind = if seq.is_multiple_of(3) {
            "odd"
        } else {
            "plain"
        };
        let (envelope, payload) = EventDraft::parse(kind).unwrap().complete(DraftDefaults {
            id: EventId::parse(seq.to_string()).unwrap(),
            time: jiff::Timestamp::UNIX_EPOCH,
            session: &session,
            registry: &KindRegistry::empty(),
        });
        let place = Place {
            session: Arc::new(session),
            epoch: Epoch::from_parts(1, 1),
            position: Position(seq - 1),
            seq: Seq(seq),
        };
        Event::new(envelope, payload, place)
    }

    proptest! {
        /// Whatever the order in which events come: they are shown in the order of their numbers,
        /// each once, and only when all lower ones are there.
        #[test]
        fn events_are_shown_in_order_and_only_below_the_first_hole(
            order in Just((1..=40_u64).collect::<Vec<_>>()).prop_shuffle(),
            limit in 1..50_usize,
        ) {
            let limits = TailLimits { events: limit, bytes: usize::MAX };
            let mut ring = Ring::after(Seq(0), limits);
            let mut shown = Vec::new();
            for (n, seq) in order.iter().enumerate() {
                ring.push(event(*seq), |event| shown.push(event.place().seq.0));
                let come = &order[..=n];
                let watermark = (1..).take_while(|seq| come.contains(seq)).last().unwrap_or(0);
                prop_assert_eq!(ring.latest(), Seq(watermark));
                prop_assert!(ring.len() <= limit.max(1));
            }
            prop_assert_eq!(shown, (1..=40).collect::<Vec<u64>>());
        }

        /// Read page by page from anywhere: what is read and what is told as missing is all there was.
        #[test]
        fn what_is_read_and_what_is_missing_is_everything(
            count in 0..60_u64,
            retained in 1..60_usize,
            after in 0..60_u64,
            page in 1..10_usize,
            only_odd in any::<bool>(),
        ) {
            let limits = TailLimits { events: retained, bytes: usize::MAX };
            let mut ring = Ring::after(Seq(0), limits);
            (1..=count).for_each(|seq| ring.push(event(seq), |_| {}));
            let after = after.min(count);
            let filter = match only_odd {
                true => Filter::matching("odd").unwrap(),
                false => Filter::all(),
            };
            let (mut at, mut read, mut missing) = (Seq(after), Vec::new(), PositionRanges::new());
            while at < ring.latest() {
                let page = ring.read(at, &filter, page, usize::MAX);
                prop_assert!(page.read_to > at, "each page goes on");
                prop_assert!(page.events.is_empty() || page.missing.is_empty());
                read.extend(page.events.iter().map(|event| event.place().seq.0));
                missing.merge(&page.missing);
                at = page.read_to;
            }
            let oldest = ring.oldest().0;
            let wanted = |seq: &u64| !only_odd || seq.is_multiple_of(3);
            let expected: Vec<u64> =
                (after.max(oldest) + 1..=count).filter(wanted).collect();
            prop_assert_eq!(read, expected);
            let gone: PositionRanges =
                (after < oldest).then_some((after + 1, oldest)).into_iter().collect();
            prop_assert_eq!(missing, gone);
        }

        /// Each number gives its own event, or none.
        #[test]
        fn an_event_is_found_by_its_number(count in 0..60_u64, retained in 1..60_usize) {
            let limits = TailLimits { events: retained, bytes: usize::MAX };
            let mut ring = Ring::after(Seq(0), limits);
            (1..=count).for_each(|seq| ring.push(event(seq), |_| {}));
            for seq in 0..=count + 1 {
                let found = ring.get(Seq(seq)).map(|event| event.place().seq.0);
                let retained = seq > ring.oldest().0 && seq <= count;
                prop_assert_eq!(found, retained.then_some(seq));
            }
        }
    }
}
