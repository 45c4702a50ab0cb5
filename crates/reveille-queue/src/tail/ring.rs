//! The newest events in the order of their sequence numbers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use reveille_types::{Epoch, Event, Filter, PositionRanges, Seq, SessionKey};

use super::TailPage;
use crate::state::Litter;

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

/// Most entries that are looked at under one lock.
const SCAN: usize = 1_024;

/// Most places for events that are made before any is found.
const RESERVED: usize = 64;

/// The n-th entry has the sequence number `oldest + 1 + n`. What lies between the last entry and the
/// first of `early` has not come yet.
#[derive(Debug)]
pub(super) struct Ring {
    limits: TailLimits,
    begin: Seq,
    oldest: Seq,
    /// `None` stands for an event that was forgotten, or was not waited for any longer.
    shown: VecDeque<Option<Event>>,
    /// Above the watermark: an event with a lower number is still to come.
    early: BTreeMap<Seq, Event>,
    bytes: usize,
    early_bytes: usize,
}

impl Ring {
    /// An empty ring for what follows `seq`.
    pub(super) fn after(seq: Seq, limits: TailLimits) -> Self {
        Self {
            limits,
            begin: seq,
            oldest: seq,
            shown: VecDeque::new(),
            early: BTreeMap::new(),
            bytes: 0,
            early_bytes: 0,
        }
    }

    pub(super) fn limits(&self) -> TailLimits {
        self.limits
    }

    /// What the ring was begun behind.
    pub(super) fn begin(&self) -> Seq {
        self.begin
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

    /// Adds an event, and tells `show` each event that is shown by it. What is dropped for it goes to
    /// `litter`.
    pub(super) fn push(&mut self, event: Event, litter: &mut Litter, mut show: impl FnMut(&Event)) {
        let seq = event.place().seq;
        if seq <= self.latest() {
            litter.push(event);
            return;
        }
        self.early_bytes += event.weight();
        if let Some(same) = self.early.insert(seq, event) {
            self.early_bytes -= same.weight();
            litter.push(same);
        }
        self.show_early(&mut show);
        // What waits is bounded, too: then the hole is not waited for any more.
        while self.early.len() > self.limits.events || self.early_bytes > self.limits.bytes {
            self.pass(litter, &mut show);
        }
        self.evict(litter);
    }

    /// The watermark, if something waits for what follows it.
    pub(super) fn hole(&self) -> Option<Seq> {
        (!self.early.is_empty()).then(|| self.latest())
    }

    /// Does not wait any more for what lies between the watermark and the first event that waits: it is
    /// missing from here on.
    pub(super) fn pass(&mut self, litter: &mut Litter, mut show: impl FnMut(&Event)) {
        let Some((first, _)) = self.early.first_key_value() else {
            return;
        };
        self.miss(Seq(first.0 - 1), litter);
        self.show_early(&mut show);
        self.evict(litter);
    }

    /// Does not wait any more for anything up to `seq`.
    pub(super) fn pass_to(&mut self, seq: Seq, litter: &mut Litter, mut show: impl FnMut(&Event)) {
        while let Some((first, _)) = self.early.first_key_value()
            && *first <= seq
        {
            self.pass(litter, &mut show);
        }
        if self.latest() < seq {
            self.miss(seq, litter);
            self.show_early(&mut show);
            self.evict(litter);
        }
    }

    /// What lies between the watermark and `last`, inclusive, is missing.
    fn miss(&mut self, last: Seq, litter: &mut Litter) {
        match usize::try_from(last.0 - self.latest().0) {
            Ok(hole) if hole <= self.limits.events => {
                self.shown.extend(std::iter::repeat_n(None, hole));
            }
            // Larger than all that is retained.
            _ => {
                litter.extend(self.shown.drain(..).flatten());
                (self.oldest, self.bytes) = (last, 0);
            }
        }
    }

    /// Shows what has no hole before it.
    fn show_early(&mut self, show: &mut impl FnMut(&Event)) {
        while let Some(event) = self.early.remove(&self.latest().next()) {
            show(&event);
            self.early_bytes -= event.weight();
            self.bytes += event.weight();
            self.shown.push_back(Some(event));
        }
    }

    /// Drops the oldest until the bounds hold.
    fn evict(&mut self, litter: &mut Litter) {
        while self.shown.len() > 1
            && (self.shown.len() > self.limits.events || self.bytes > self.limits.bytes)
        {
            if let Some(event) = self.shown.pop_front() {
                self.oldest = self.oldest.next();
                self.bytes -= event.as_ref().map_or(0, Event::weight);
                litter.extend(event);
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

    /// As [`Tail::read`](super::Tail::read), as far as one lock may go.
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
        let behind = index(self.latest().next(), after);
        page.events.reserve_exact(limit.min(behind).min(RESERVED));
        for (seq, event) in self.entries(after).take(SCAN) {
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

    /// Adds up to `limit` of the last events before `before` that match, newest first, as far as one
    /// lock may go. Answers where to go on; `None` at the beginning.
    pub(super) fn last(
        &self,
        before: Seq,
        filter: &Filter,
        limit: usize,
        events: &mut Vec<Event>,
    ) -> Option<Seq> {
        let end = index(before, self.oldest).min(self.shown.len());
        let start = end.saturating_sub(SCAN);
        let newest_first = self.shown.range(start..end).rev().flatten();
        let matching = newest_first.filter(|event| filter.matches(event));
        events.extend(matching.take(limit - events.len()).cloned());
        (start > 0 && events.len() < limit).then(|| self.oldest.plus(start).next())
    }

    /// How many events after `after` match, as far as one lock may go, and where to go on; `None` at
    /// the end.
    pub(super) fn count(&self, after: Seq, filter: &Filter) -> (usize, Option<Seq>) {
        let (mut count, mut read_to) = (0, after.max(self.oldest));
        for (seq, event) in self.entries(after).take(SCAN) {
            read_to = seq;
            count += usize::from(event.is_some_and(|event| filter.matches(event)));
        }
        (count, (read_to < self.latest()).then_some(read_to))
    }

    /// The incarnations of the events after `after`, as far as one lock may go, and where to go on;
    /// `None` at the end.
    pub(super) fn places(&self, after: Seq) -> (Vec<(Arc<SessionKey>, Epoch)>, Option<Seq>) {
        let (mut places, mut read_to) = (Vec::new(), after.max(self.oldest));
        for (seq, event) in self.entries(after).take(SCAN) {
            read_to = seq;
            if let Some(event) = event {
                let place = (Arc::clone(event.session()), event.place().epoch);
                if places.last() != Some(&place) {
                    places.push(place);
                }
            }
        }
        (places, (read_to < self.latest()).then_some(read_to))
    }

    pub(super) fn get(&self, seq: Seq) -> Option<Event> {
        let (_, event) = self.entries(Seq(seq.0.checked_sub(1)?)).next()?;
        event.filter(|event| event.place().seq == seq).cloned()
    }
}

/// Where in the ring an event is.
fn index(seq: Seq, oldest: Seq) -> usize {
    let n = seq.0.saturating_sub(oldest.0).saturating_sub(1);
    usize::try_from(n).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use reveille_types::{
        DraftDefaults, EventDraft, EventId, KindRegistry, Place, Position, Source, Tenant,
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
        let event = EventDraft::parse(kind).unwrap().complete(DraftDefaults {
            id: EventId::parse(seq.to_string()).unwrap(),
            time: jiff::Timestamp::UNIX_EPOCH,
            source: &Source::of_session(&session),
            registry: &KindRegistry::empty(),
        });
        let place = Place {
            session: Arc::new(session),
            epoch: Epoch::from_parts(1, 1),
            position: Position(seq - 1),
            seq: Seq(seq),
        };
        event.at(place)
    }

    #[test]
    fn what_was_looked_through_is_not_waited_for() {
        let mut ring = Ring::after(Seq(0), TailLimits::default());
        let (mut litter, mut shown) = (Litter::new(), Vec::new());
        let mut show = |event: &Event| shown.push(event.place().seq.0);
        for seq in [3, 5, 8, 9] {
            ring.push(event(seq), &mut litter, &mut show);
        }
        ring.pass_to(Seq(6), &mut litter, &mut show);
        assert_eq!(ring.latest(), Seq(6));
        // It comes again, or too late.
        for seq in [3, 6] {
            ring.push(event(seq), &mut litter, &mut show);
        }
        ring.pass_to(Seq(7), &mut litter, &mut show);
        assert_eq!(ring.latest(), Seq(9), "what follows had come");
        ring.pass_to(Seq(8), &mut litter, &mut show);
        assert_eq!(ring.latest(), Seq(9), "nothing goes back");
        assert_eq!(shown, [3, 5, 8, 9]);
        let read = ring.read(Seq(3), &Filter::all(), 9, usize::MAX);
        assert_eq!(read.missing.as_slice(), [(4, 4)]);
    }

    #[test]
    fn a_hole_beyond_what_is_retained_leaves_nothing_before_it() {
        let limits = TailLimits {
            events: 4,
            bytes: usize::MAX,
        };
        let mut ring = Ring::after(Seq(0), limits);
        let mut litter = Litter::new();
        ring.push(event(1), &mut litter, |_| {});
        let far = Seq(u64::MAX / 2);
        ring.pass_to(far, &mut litter, |_| {});
        assert_eq!((ring.oldest(), ring.latest(), ring.len()), (far, far, 0));
        assert_eq!(ring.bytes(), 0);
    }

    proptest! {
        /// Whatever the order in which events come: they are shown in the order of their numbers,
        /// each once, and only when all lower ones are there.
        #[test]
        fn events_are_shown_in_order_and_only_below_the_first_hole(
            order in Just((1..=40_u64).collect::<Vec<_>>()).prop_shuffle(),
            limit in 40..50_usize,
        ) {
            let limits = TailLimits { events: limit, bytes: usize::MAX };
            let mut ring = Ring::after(Seq(0), limits);
            let mut shown = Vec::new();
            for (n, seq) in order.iter().enumerate() {
                ring.push(event(*seq), &mut Litter::new(), |event| shown.push(event.place().seq.0));
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
            (1..=count).for_each(|seq| ring.push(event(seq), &mut Litter::new(), |_| {}));
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

        /// Some events never come: whoever is not waited for any more is missing, what comes later than
        /// that is not shown, and each number is shown or missing once.
        #[test]
        fn holes_that_are_passed_are_missing_and_stay_so(
            order in Just((1..=40_u64).collect::<Vec<_>>()).prop_shuffle(),
            come in 1..40_usize,
            passes in 1..40_usize,
        ) {
            let mut ring = Ring::after(Seq(0), TailLimits { events: 100, bytes: usize::MAX });
            let mut shown = Vec::new();
            for (n, seq) in order[..come].iter().enumerate() {
                ring.push(event(*seq), &mut Litter::new(), |event| shown.push(event.place().seq.0));
                while (n % passes == 0 || n + 1 == come) && ring.hole().is_some() {
                    let before = ring.hole();
                    ring.pass(&mut Litter::new(), |event| shown.push(event.place().seq.0));
                    prop_assert!(ring.hole().is_none() || ring.hole() > before);
                }
            }
            prop_assert!(shown.is_sorted());
            let (mut at, mut read, mut missing) = (Seq(0), Vec::new(), PositionRanges::new());
            while at < ring.latest() {
                let page = ring.read(at, &Filter::all(), 7, usize::MAX);
                read.extend(page.events.iter().map(|event| event.place().seq.0));
                missing.merge(&page.missing);
                at = page.read_to;
            }
            prop_assert_eq!(&read, &shown);
            let gone = (1..=ring.latest().0).filter(|seq| !shown.contains(seq));
            prop_assert_eq!(missing, gone.map(|seq| (seq, seq)).collect::<PositionRanges>());
            prop_assert_eq!((ring.early.len(), ring.early_bytes), (0, 0));
        }

        /// What waits for a hole is bounded like the rest.
        #[test]
        fn no_more_waits_for_a_hole_than_may_be_retained(limit in 1..20_usize, hole in 1..60_u64) {
            let mut ring = Ring::after(Seq(0), TailLimits { events: limit, bytes: usize::MAX });
            for seq in hole + 1..hole + 60 {
                ring.push(event(seq), &mut Litter::new(), |_| {});
                prop_assert!(ring.early.len() <= limit && ring.len() <= limit);
            }
            prop_assert_eq!(ring.latest(), Seq(hole + 59));
        }

        /// Each number gives its own event, or none.
        #[test]
        fn an_event_is_found_by_its_number(count in 0..60_u64, retained in 1..60_usize) {
            let limits = TailLimits { events: retained, bytes: usize::MAX };
            let mut ring = Ring::after(Seq(0), limits);
            (1..=count).for_each(|seq| ring.push(event(seq), &mut Litter::new(), |_| {}));
            for seq in 0..=count + 1 {
                let found = ring.get(Seq(seq)).map(|event| event.place().seq.0);
                let retained = seq > ring.oldest().0 && seq <= count;
                prop_assert_eq!(found, retained.then_some(seq));
            }
        }
    }
}
