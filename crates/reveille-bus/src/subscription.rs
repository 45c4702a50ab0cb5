//! A subscriber: a cursor with a lag bound.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use futures_core::Stream;
use reveille_queue::{Tail, TailPage, TailWatch};
use reveille_types::{Cursor, Event, Filter, Gap, GapReason, PositionRanges, Seq};

use crate::bus::Order;
use crate::error::BusError;
use crate::options::{Predicate, SubscribeOptions};
use crate::registry::{Counters, SubscriptionId};

/// Most events that a subscriber fetches at once.
const FETCH_EVENTS: usize = 256;
/// Most bytes that a subscriber fetches at once, one event aside.
const FETCH_BYTES: usize = 256 * 1024;

/// An event and the cursor of a reader that has read up to and including it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusFrame {
    /// The event.
    pub event: Event,
    /// Where to go on after it.
    pub cursor: Cursor,
}

/// What a subscription yields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BusItem {
    /// Events are missing exactly here. The ranges are of sequence numbers.
    Gap(Gap),
    /// An event.
    Event(BusFrame),
    /// History is done, live begins. Comes once.
    CaughtUp(Cursor),
}

/// A subscriber of a bus. It holds at most a few events that it fetched at once, however slow its
/// reader is, and nothing while its reader works; dropping it releases everything at once.
#[derive(Debug)]
pub struct BusSubscription {
    id: SubscriptionId,
    order: Arc<Order>,
    watch: TailWatch,
    filter: Filter,
    predicate: Option<PredicateBox>,
    capacity: usize,
    /// Everything up to it has been fetched or told as missing.
    read_to: Seq,
    fetched: VecDeque<Event>,
    gap: Option<Gap>,
    cursor: Cursor,
    caught_up: bool,
    counters: Arc<Counters>,
}

struct PredicateBox(Predicate);

impl std::fmt::Debug for PredicateBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("predicate")
    }
}

impl BusSubscription {
    pub(crate) fn new(order: Arc<Order>, after: Seq, options: SubscribeOptions) -> Self {
        let counters = Arc::new(Counters::default());
        counters.read_to.store(after.0, Ordering::Relaxed);
        let cursor = order.cursor(after, &options.filter);
        Self {
            id: order
                .registry
                .add(options.filter.clone(), Arc::clone(&counters)),
            watch: order.tail.watch(options.filter.clone()),
            order,
            filter: options.filter,
            predicate: options.predicate.map(PredicateBox),
            capacity: options.capacity,
            read_to: after,
            fetched: VecDeque::new(),
            gap: None,
            cursor,
            caught_up: false,
            counters,
        }
    }

    /// Names the subscription in the bus's statistics.
    #[must_use]
    pub fn id(&self) -> SubscriptionId {
        self.id
    }

    /// Where to resume to get exactly what has not been handed out.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// The end of the order: a reader that resumes here gets what comes from now on.
    #[must_use]
    pub fn latest(&self) -> Cursor {
        let latest = self.order.tail.info().latest;
        self.order.cursor(latest, &self.filter)
    }

    /// The order that is read.
    #[must_use]
    pub fn tail(&self) -> &Tail {
        &self.order.tail
    }

    /// The next item. Never ends by itself: a bus has no end.
    ///
    /// # Errors
    /// None yet; a policy that fails its subscriber would.
    ///
    /// # Cancel safety
    /// A dropped future has taken no item.
    pub async fn next(&mut self) -> Option<Result<BusItem, BusError>> {
        std::future::poll_fn(|cx| self.poll_item(cx)).await
    }

    /// Polls for the next item, as [`next`](Self::next).
    pub fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<BusItem, BusError>>> {
        loop {
            if let Some(item) = self.fetched_item() {
                return Poll::Ready(Some(Ok(item)));
            }
            if self.caught_up {
                self.skip_what_is_too_much();
                if self.gap.is_some() {
                    continue;
                }
            }
            match self
                .watch
                .poll_read(cx, self.read_to, FETCH_EVENTS, FETCH_BYTES)
            {
                Poll::Ready(page) => self.take(page),
                Poll::Pending if self.caught_up => return Poll::Pending,
                Poll::Pending => {
                    self.caught_up = true;
                    self.cursor = self.order.cursor(self.read_to, &self.filter);
                    return Poll::Ready(Some(Ok(BusItem::CaughtUp(self.cursor))));
                }
            }
        }
    }

    /// Beyond its capacity the subscriber skips the oldest events that match, and is told which.
    fn skip_what_is_too_much(&mut self) {
        let beyond = self
            .order
            .tail
            .beyond(self.read_to, &self.filter, self.capacity);
        let Some(overflow) = beyond else {
            return;
        };
        let missed = overflow.skipped.count();
        Counters::add(&self.counters.skipped, missed);
        let requested = self.order.cursor(self.read_to, &self.filter);
        self.set_read_to(overflow.resumes_after);
        self.gap = Some(Gap {
            reason: GapReason::Overflow,
            ranges: overflow.skipped,
            missed: Some(missed),
            requested: Some(requested),
            resumes_at: self.order.cursor(self.read_to, &self.filter),
            // What was skipped is still retained where the skipping began.
            repair: Some(requested),
            overflow: None,
        });
    }

    fn take(&mut self, page: TailPage) {
        let before = self.read_to;
        self.set_read_to(page.read_to);
        self.fetched = page.events.into();
        if !page.missing.is_empty() {
            self.gap = Some(self.expired(before, page.missing));
        }
        if self.fetched.is_empty() {
            self.cursor = self.order.cursor(self.read_to, &self.filter);
        }
    }

    /// What retention has taken: exact for a reader of everything, unknown behind a filter.
    fn expired(&self, before: Seq, ranges: PositionRanges) -> Gap {
        Gap {
            reason: GapReason::Expired,
            missed: self.filter.is_all().then(|| ranges.count()),
            ranges,
            requested: Some(self.order.cursor(before, &self.filter)),
            resumes_at: self.order.cursor(self.read_to, &self.filter),
            repair: None,
            overflow: None,
        }
    }

    fn set_read_to(&mut self, seq: Seq) {
        self.read_to = seq;
        self.counters.read_to.store(seq.0, Ordering::Relaxed);
    }

    /// What can be handed out without looking at the tail.
    fn fetched_item(&mut self) -> Option<BusItem> {
        if let Some(gap) = self.gap.take() {
            self.cursor = gap.resumes_at;
            return Some(BusItem::Gap(gap));
        }
        loop {
            let event = self.fetched.pop_front()?;
            let at = match self.fetched.is_empty() {
                // Everything up to there has been looked through.
                true => self.read_to,
                false => event.place().seq,
            };
            self.cursor = self.order.cursor(at, &self.filter);
            if self.is_wanted(&event) {
                Counters::add(&self.counters.delivered, 1);
                return Some(BusItem::Event(BusFrame {
                    event,
                    cursor: self.cursor,
                }));
            }
        }
    }

    /// Asks the caller's own code, whose panic is its own affair.
    fn is_wanted(&self, event: &Event) -> bool {
        let Some(PredicateBox(predicate)) = &self.predicate else {
            return true;
        };
        catch_unwind(AssertUnwindSafe(|| predicate(event))).unwrap_or_else(|_| {
            Counters::add(&self.counters.errors, 1);
            false
        })
    }

    /// Counts a failure of whoever handles the events of this subscription.
    pub(crate) fn count_error(&self) {
        Counters::add(&self.counters.errors, 1);
    }
}

impl Stream for BusSubscription {
    type Item = Result<BusItem, BusError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_item(cx)
    }
}

impl Drop for BusSubscription {
    fn drop(&mut self) {
        self.order.registry.remove(self.id);
    }
}
