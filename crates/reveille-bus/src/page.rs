//! A page of a bus: what follows a place, read at once and without a subscription.
//!
//! What the tail has dropped, or has never shown, is read from the store first, by the same reader as
//! a subscription's; so a cursor that was made before a restart loses nothing that is still stored.

use std::future::poll_fn;

use reveille_backend::{ArchiveError, BackendError, ReadLimit};
use reveille_queue::{SessionError, TailPage};
use reveille_types::sets::PayloadAccess;
use reveille_types::{Cursor, Event, Filter, Gap, GapReason, PositionRanges, Seq};

use crate::bus::Bus;
use crate::error::BusError;
use crate::frame::BusFrame;
use crate::options::BusStart;
use crate::replay::{From, Replay, Replayed};

/// Most pages of the store that one page looks through: 16 384 events, or 16 MiB.
const STORE_PAGES: usize = 64;

/// Which events to give, from where, and how many.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PageQuery {
    /// Which events.
    pub filter: Filter,
    /// Where to begin; not in an archive.
    pub start: BusStart,
    /// How much of payloads to show, if policy allows: nothing if nothing is said.
    pub access: PayloadAccess,
    /// Most events.
    pub events: usize,
    /// Most bytes, by [`Event::weight`], one event aside.
    pub bytes: usize,
}

impl PageQuery {
    /// The first 256 events that match from there on, as far as they are not more than 256 KiB.
    #[must_use]
    pub fn new(filter: Filter, start: BusStart) -> Self {
        Self {
            filter,
            start,
            access: PayloadAccess::EnvelopeOnly,
            events: 256,
            bytes: 256 * 1024,
        }
    }

    /// Showing payloads as a whole, if policy allows.
    #[must_use]
    pub fn payloads(mut self) -> Self {
        self.access = PayloadAccess::FullPayloadIfPolicyAllows;
        self
    }

    /// At most so many events and bytes.
    #[must_use]
    pub fn limit(mut self, events: usize, bytes: usize) -> Self {
        (self.events, self.bytes) = (events, bytes);
        self
    }
}

/// Events of a bus that follow a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusPage {
    /// What is missing before the first event.
    pub gap: Option<Gap>,
    /// Events that match, in order.
    pub events: Vec<BusFrame>,
    /// Where to go on: everything up to there has been looked through.
    pub cursor: Cursor,
    /// Whether that is the end of what the bus shows.
    pub caught_up: bool,
}

impl BusPage {
    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.gap.is_none()
    }
}

impl Bus {
    /// Reads what matches. Never waits for what is not published yet. What only the store has is looked
    /// through up to a bound, so that a page may be empty and not [caught up](BusPage::caught_up):
    /// reading goes on at its cursor.
    ///
    /// # Errors
    /// [`BusError::Cursor`] when the start cannot be followed, [`BusError::ArchiveRequired`] for one in
    /// an archive, [`BusError::Session`] when the store cannot be reached.
    ///
    /// # Cancel safety
    /// A dropped future changes nothing.
    pub async fn page(&self, query: &PageQuery) -> Result<BusPage, BusError> {
        let filter = &query.filter;
        let info = self.tail().info();
        let after = match query.start {
            BusStart::Latest => info.latest,
            BusStart::Earliest => info.oldest,
            BusStart::After(cursor) => {
                let epoch = self.tail().epoch();
                cursor.resolve_bus(epoch, filter.fingerprint(), info.oldest, info.reach)?
            }
            BusStart::Archived(_) => return Err(BusError::ArchiveRequired),
        };
        let limit = ReadLimit {
            events: query.events,
            bytes: query.bytes,
        };
        let mut page = Collected::after(after, limit);
        let mut asked_at = None;
        loop {
            match self.stored(page.read_to, filter) {
                // Once for each place: a store that gets no further is not asked again.
                Some(replay) if asked_at != Some(page.read_to) => {
                    asked_at = Some(page.read_to);
                    if !page.replay(replay).await? {
                        break;
                    }
                }
                _ => {
                    let read = self.retained(&page, filter);
                    // The tail may have dropped meanwhile what it had before.
                    let is_stored = self.stored(page.read_to, filter).is_some();
                    if read.missing.is_empty() || !is_stored || asked_at == Some(page.read_to) {
                        self.go_on(&mut page, read, filter);
                        break;
                    }
                }
            }
        }
        let cursor = |seq: Seq| self.cursor(seq, filter);
        let frame = |event: Event| {
            let at = cursor(event.place().seq);
            let (event, shown) = self.view(&event, query.access);
            BusFrame {
                event,
                cursor: at,
                archived: None,
                shown,
            }
        };
        let gap = (!page.missing.is_empty()).then(|| Gap {
            reason: GapReason::Expired,
            missed: filter.is_all().then(|| page.missing.count()),
            requested: Some(cursor(after)),
            resumes_at: cursor(page.resumes_at),
            ranges: page.missing,
            repair: None,
            overflow: None,
        });
        Ok(BusPage {
            gap,
            events: page.events.into_iter().map(frame).collect(),
            cursor: cursor(page.read_to),
            caught_up: page.read_to >= self.tail().info().latest,
        })
    }

    /// A reader of what follows `after` and the tail does not retain, if the store has the order.
    fn stored(&self, after: Seq, filter: &Filter) -> Option<Replay> {
        let (order, tenant) = (self.order(), self.tenant().clone());
        let store = order.store.as_ref()?;
        let is_below = after < order.tail.info().oldest;
        is_below.then(|| {
            let from = From::Store(store.clone(), order.tail.clone(), after);
            Replay::new(tenant, filter.clone(), from)
        })
    }

    /// What the tail retains of what follows.
    fn retained(&self, page: &Collected, filter: &Filter) -> TailPage {
        let ReadLimit { events, bytes } = page.limit;
        self.tail().read(page.read_to, filter, events, bytes)
    }

    /// Goes on with what the tail retains. What is missing there further on is told on the next page.
    fn go_on(&self, page: &mut Collected, mut read: TailPage, filter: &Filter) {
        if !read.missing.is_empty() {
            if !page.miss(&read.missing, read.read_to) {
                return;
            }
            read = self.retained(page, filter);
            if !read.missing.is_empty() {
                return;
            }
        }
        for event in read.events {
            if !page.add(event) {
                return;
            }
        }
        page.read_to = read.read_to;
    }
}

/// What a page has so far.
struct Collected {
    limit: ReadLimit,
    events: Vec<Event>,
    /// By [`Event::weight`].
    bytes: usize,
    /// Before the first event.
    missing: PositionRanges,
    /// Behind what is missing.
    resumes_at: Seq,
    read_to: Seq,
    /// Pages of the store that were looked through.
    pages: usize,
}

impl Collected {
    fn after(seq: Seq, limit: ReadLimit) -> Self {
        Self {
            limit,
            events: Vec::new(),
            bytes: 0,
            missing: PositionRanges::new(),
            resumes_at: seq,
            read_to: seq,
            pages: 0,
        }
    }

    /// Adds an event unless the page is full.
    fn add(&mut self, event: Event) -> bool {
        let bytes = self.bytes.saturating_add(event.weight());
        let is_full = self.events.len() >= self.limit.events || bytes > self.limit.bytes;
        if is_full && !self.events.is_empty() {
            return false;
        }
        self.bytes = bytes;
        self.read_to = event.place().seq;
        self.events.push(event);
        true
    }

    /// Notes what is missing, unless there are events before it: then it is told on the next page.
    fn miss(&mut self, ranges: &PositionRanges, through: Seq) -> bool {
        if !self.events.is_empty() {
            return false;
        }
        self.missing.merge(ranges);
        self.read_to = through.max(self.read_to);
        self.resumes_at = self.read_to;
        true
    }

    /// Adds what is read from the store. Whether the page goes on behind it.
    async fn replay(&mut self, replay: Replay) -> Result<bool, BusError> {
        let mut replay = replay.at_most(STORE_PAGES - self.pages);
        loop {
            let went_on = match poll_fn(|cx| replay.poll(cx)).await {
                Ok(Replayed::Event(event, ..)) => self.add(event),
                Ok(Replayed::Missing(ranges, _)) => {
                    let last = ranges.as_slice().last().map_or(self.read_to, |r| Seq(r.1));
                    self.miss(&ranges, last)
                }
                Ok(Replayed::Done(watermark)) => {
                    let through = watermark.map_or(self.read_to, |mark| mark.seq);
                    self.read_to = through.max(self.read_to);
                    self.pages += replay.pages();
                    return Ok(self.pages < STORE_PAGES);
                }
                // Asked again, it may say what is there.
                Err(ArchiveError::Backend(error @ BackendError::Unavailable { .. })) => {
                    return Err(SessionError::from(error).into());
                }
                // It is not to be had: what is missing is told by the tail.
                Err(_) => return Ok(true),
            };
            if !went_on {
                return Ok(false);
            }
        }
    }
}
