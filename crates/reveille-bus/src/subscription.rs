//! A subscriber: a cursor with a lag bound. One that keeps up reads the log itself; see `lag.rs` for
//! one that does not.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use reveille_backend::{Archive, ArchiveCursor, ReplayFrom, Watermark};
use reveille_queue::{Tail, TailPage, TailWatch};
use reveille_types::sets::PayloadAccess;
use reveille_types::{
    Cursor, Epoch, Event, Filter, Gap, GapReason, OverflowDetail, PositionRanges, Seq, Tenant,
};

use crate::bus::Order;
use crate::error::BusError;
use crate::frame::{BusFrame, BusItem, BusSummary};
use crate::lag::{Found, Lag};
use crate::options::{BusStart, Predicate, SubscribeOptions};
use crate::overflow::{LagBound, Loss};
use crate::privacy::{self, Shown, Subscriber};
use crate::registry::{Counters, SubscriptionId};
use crate::replay::{From, Replay, Replayed};

/// Most events that a subscriber fetches at once.
const FETCH_EVENTS: usize = 256;
/// Most bytes that a subscriber fetches at once, one event aside.
const FETCH_BYTES: usize = 256 * 1024;

/// A subscriber of a bus. It holds at most a few events that it fetched at once, however slow its
/// reader is, and nothing while its reader works; dropping it releases everything at once.
#[derive(Debug)]
pub struct BusSubscription {
    id: SubscriptionId,
    order: Arc<Order>,
    watch: TailWatch,
    tenant: Tenant,
    name: Option<Arc<str>>,
    access: PayloadAccess,
    filter: Filter,
    predicate: Option<PredicateBox>,
    bound: LagBound,
    /// Only while the subscriber reads the archive.
    replay: Option<Box<Replay>>,
    archive: Option<Arc<dyn Archive>>,
    /// Elsewhere was asked for what follows this, and had nothing.
    asked_at: Option<Seq>,
    /// Only while the subscriber is beyond its bound.
    lag: Option<Box<Lag>>,
    /// Everything up to it has been fetched or told as missing.
    read_to: Seq,
    fetched: Fetched,
    /// Found, and handed out by the poll that found it.
    found: Option<Result<BusItem, BusError>>,
    cursor: Cursor,
    /// A place in the order that is live.
    live: Cursor,
    caught_up: bool,
    failed: bool,
    counters: Arc<Counters>,
}

/// What was fetched and not handed out yet. The page is shared with others that read the same.
#[derive(Debug, Default)]
struct Fetched {
    page: Option<Arc<TailPage>>,
    /// How many of its events were handed out.
    handed_out: usize,
}

impl Fetched {
    /// The next event, and where its reader stands then.
    #[inline]
    fn next(&mut self) -> Option<(Event, Seq)> {
        let page = self.page.as_ref()?;
        let event = page.events.get(self.handed_out)?;
        self.handed_out += 1;
        let at = match self.handed_out == page.events.len() {
            // Everything up to there has been looked through.
            true => page.read_to,
            false => event.place().seq,
        };
        Some((event.clone(), at))
    }
}

struct PredicateBox(Predicate);

impl std::fmt::Debug for PredicateBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("predicate")
    }
}

impl BusSubscription {
    pub(crate) fn new(
        order: Arc<Order>,
        tenant: Tenant,
        (after, replay): (Seq, Option<ReplayFrom>),
        bound: LagBound,
        options: SubscribeOptions,
    ) -> Self {
        let counters = Arc::new(Counters::default());
        counters.read_to.store(after.0, Ordering::Relaxed);
        let cursor = match options.start {
            BusStart::After(cursor) => cursor,
            _ => order.cursor(after, &options.filter),
        };
        let live = order.cursor(after, &options.filter);
        let mut subscription = Self {
            id: order
                .registry
                .add(options.filter.clone(), Arc::clone(&counters)),
            watch: order.tail.watch(options.filter.clone()),
            order,
            tenant,
            name: options.name,
            access: options.access,
            filter: options.filter,
            predicate: options.predicate.map(PredicateBox),
            bound,
            replay: None,
            archive: options.archive,
            asked_at: None,
            lag: None,
            read_to: after,
            fetched: Fetched::default(),
            found: None,
            cursor,
            live,
            caught_up: false,
            failed: false,
            counters,
        };
        if let Some(from) = replay {
            subscription.begin_replay(from);
        }
        subscription
    }

    fn begin_replay(&mut self, from: ReplayFrom) {
        if let Some(archive) = &self.archive {
            self.replay_from(From::Archive(Arc::clone(archive), from));
        }
    }

    fn replay_from(&mut self, from: From) {
        let replay = Replay::new(self.tenant.clone(), self.filter.clone(), from);
        self.replay = Some(Box::new(replay));
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

    /// The next item. Never ends by itself, since a bus has no end, but after an error.
    ///
    /// # Errors
    /// [`BusError::Overflow`] when the subscriber lags beyond its bound and its policy is to fail then.
    ///
    /// # Cancel safety
    /// A dropped future has taken no item.
    #[inline]
    #[expect(
        clippy::should_implement_trait,
        reason = "the standard trait is not asynchronous"
    )]
    pub fn next(&mut self) -> impl Future<Output = Option<Result<BusItem, BusError>>> + Send {
        std::future::poll_fn(|cx| self.poll_item(cx))
    }

    /// Polls for the next item, as [`next`](Self::next).
    #[inline]
    pub fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<BusItem, BusError>>> {
        loop {
            // What comes most often is made where it is wanted, not handed through.
            if let Some((event, at)) = self.fetched.next() {
                self.move_to(self.cursor_at(at));
                match self.frame(event, None) {
                    Some(frame) => return Poll::Ready(Some(Ok(BusItem::Event(frame)))),
                    None => continue,
                }
            }
            ready!(self.poll_find(cx));
            if self.fetched.page.is_none() {
                return Poll::Ready(self.found.take());
            }
        }
    }

    /// Fetches events, or finds what is to be handed out before there are any: nothing at the end.
    fn poll_find(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.fetched = Fetched::default();
        self.found = loop {
            if self.failed {
                break None;
            }
            if self.replay.is_some() {
                match ready!(self.poll_replay(cx)) {
                    Some(item) => break Some(item),
                    None => continue,
                }
            }
            // What there was before the subscriber came is not bounded by how it keeps up.
            if self.caught_up
                && let Some(found) = self.beyond_bound()
            {
                match self.found_item(found) {
                    Some(item) => break Some(item),
                    None => continue,
                }
            }
            match self
                .watch
                .poll_read(cx, self.read_to, FETCH_EVENTS, FETCH_BYTES)
            {
                Poll::Ready(page) if self.asks_elsewhere(&page) => {}
                Poll::Ready(page) if page.events.is_empty() => {
                    if let Some(gap) = self.pass(&page) {
                        break Some(Ok(BusItem::Gap(Box::new(gap))));
                    }
                }
                Poll::Ready(page) => {
                    self.read_to = page.read_to;
                    self.fetched.page = Some(page);
                    break None;
                }
                Poll::Pending if self.caught_up => return Poll::Pending,
                Poll::Pending => {
                    self.caught_up = true;
                    self.move_to(self.cursor_at(self.read_to));
                    break Some(Ok(BusItem::CaughtUp(self.cursor)));
                }
            }
        };
        Poll::Ready(())
    }

    /// What the archive gives; `None` when it is to be looked further.
    fn poll_replay(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<BusItem, BusError>>> {
        let Some(replay) = &mut self.replay else {
            return Poll::Ready(None);
        };
        let replayed = match ready!(replay.poll(cx)) {
            Ok(replayed) => replayed,
            // It is not to be had elsewhere, or not yet: what is missing is told by the bus.
            Err(_) if self.asked_at.is_some() => {
                self.replay = None;
                return Poll::Ready(None);
            }
            Err(error) => {
                self.failed = true;
                return Poll::Ready(Some(Err(error.into())));
            }
        };
        Poll::Ready(match replayed {
            Replayed::Event(event, epoch, archived) => {
                self.moved_in_archive(epoch, event.place().seq);
                self.hand_out(event, archived).map(Ok)
            }
            Replayed::Missing(ranges, epoch) => {
                let requested = self.cursor;
                if let Some((_, last)) = ranges.as_slice().last() {
                    self.moved_in_archive(epoch, Seq(*last));
                }
                Some(Ok(BusItem::Gap(Box::new(self.gone(ranges, requested)))))
            }
            Replayed::Done(watermark) => {
                self.replay = None;
                self.go_live(watermark)
                    .map(|gap| Ok(BusItem::Gap(Box::new(gap))))
            }
        })
    }

    fn moved_in_archive(&mut self, epoch: Epoch, seq: Seq) {
        self.move_to(self.order.cursor_in(epoch, seq, &self.filter));
        if epoch == self.order.tail.epoch() {
            self.read_to = seq.max(self.read_to);
        }
    }

    /// Goes on behind what is archived. What lies between the orders of two incarnations is a gap.
    fn go_live(&mut self, watermark: Option<Watermark>) -> Option<Gap> {
        let tail = &self.order.tail;
        let begin = tail.info().begin;
        let requested = self.cursor;
        let mut between = PositionRanges::new();
        match watermark {
            Some(mark) if mark.epoch == tail.epoch() => self.read_to = mark.seq.max(self.read_to),
            Some(mark) if mark.seq < begin => {
                between.insert(mark.seq.0 + 1, begin.0);
            }
            _ => {}
        }
        self.move_to(self.cursor_at(self.read_to));
        (!between.is_empty()).then(|| self.gone(between, requested))
    }

    /// Whether what is missing is looked for elsewhere first, once for each place: in the archive, or,
    /// as long as the subscriber has not caught up, in the store.
    fn asks_elsewhere(&mut self, page: &TailPage) -> bool {
        let after = self.read_to;
        if page.missing.is_empty() || self.asked_at == Some(after) {
            return false;
        }
        let tail = &self.order.tail;
        let epoch = tail.epoch();
        let from = match (&self.archive, &self.order.store) {
            (Some(archive), _) => {
                let after = ReplayFrom::AfterSeq(Watermark { epoch, seq: after });
                From::Archive(Arc::clone(archive), after)
            }
            (None, Some(store)) if !self.caught_up => {
                From::Store(Arc::clone(store), tail.clone(), after)
            }
            _ => return false,
        };
        self.asked_at = Some(after);
        self.replay_from(from);
        true
    }

    #[inline]
    fn cursor_at(&self, seq: Seq) -> Cursor {
        self.live.at(seq.0)
    }

    /// What comes next for a subscriber that is beyond its bound, or has been and is not back in the
    /// log yet.
    fn beyond_bound(&mut self) -> Option<Found> {
        let tail = &self.order.tail;
        if self.lag.is_none() {
            let behind = tail.info().latest.0.saturating_sub(self.read_to.0);
            if behind <= self.bound.capacity() as u64 {
                return None;
            }
        }
        let lag = self
            .lag
            .get_or_insert_with(|| Box::new(Lag::new(self.bound, self.read_to)));
        lag.scan(tail, &self.filter);
        let found = lag.next(tail);
        if found.is_none() {
            self.back_in_log();
        }
        found
    }

    /// The machine is empty: everything up to where it was told of has been looked through.
    fn back_in_log(&mut self) {
        if let Some(lag) = self.lag.take() {
            self.read_to = lag.scanned_to();
            self.move_to(self.cursor_at(self.read_to));
        }
    }

    /// Moves behind `seq`, and behind what does not match after it if nothing else is left to tell.
    fn move_behind(&mut self, seq: u64) {
        self.read_to = Seq(seq);
        self.move_to(self.cursor_at(self.read_to));
        if self.lag.as_ref().is_some_and(|lag| lag.is_done()) {
            self.back_in_log();
        }
    }

    /// `None` for an event that the predicate does not want.
    fn found_item(&mut self, found: Found) -> Option<Result<BusItem, BusError>> {
        match found {
            Found::Event(event) => {
                self.move_behind(event.place().seq.0);
                self.hand_out(event, None).map(Ok)
            }
            Found::Missing(loss) => Some(Ok(self.tell_loss(&loss))),
            Found::Gone(ranges) => {
                let before = self.cursor;
                let missed = ranges.count();
                Counters::add(&self.counters.skipped, missed);
                self.move_behind(last_of(&ranges));
                Some(Ok(BusItem::Gap(Box::new(Gap {
                    reason: GapReason::Expired,
                    ranges,
                    missed: Some(missed),
                    requested: Some(before),
                    resumes_at: self.cursor,
                    repair: None,
                    overflow: None,
                }))))
            }
            Found::Failed => {
                self.failed = true;
                self.lag = None;
                let resume = self.cursor;
                Some(Err(BusError::Overflow { resume }))
            }
        }
    }

    fn tell_loss(&mut self, loss: &Loss) -> BusItem {
        Counters::add(&self.counters.skipped, loss.count);
        let before = self.read_to;
        let requested = self.cursor;
        let last = last_of(&loss.ranges);
        let oldest = self.order.tail.info().oldest;
        self.move_behind(last);
        let gap = Gap {
            reason: GapReason::Overflow,
            ranges: loss.ranges.clone(),
            missed: Some(loss.count),
            requested: Some(requested),
            resumes_at: self.cursor,
            // What retention has taken since cannot be had any more; all that is left lies after it.
            repair: (Seq(last) > oldest).then(|| self.cursor_at(before.max(oldest))),
            overflow: Some(OverflowDetail {
                policy: self.bound.policy(),
                detail: loss.detail,
                terminal_preserved: loss.terminal_preserved,
            }),
        };
        match loss.folded {
            None => BusItem::Gap(Box::new(gap)),
            Some(folded) => BusItem::Summary(Box::new(BusSummary {
                gap,
                folded: folded.count,
                last: self
                    .order
                    .tail
                    .get(Seq(folded.last))
                    .map(|event| self.show(event).0),
            })),
        }
    }

    /// Goes on behind a page without events. What retention has taken is exact for a reader of
    /// everything, unknown behind a filter.
    fn pass(&mut self, page: &TailPage) -> Option<Gap> {
        let requested = self.cursor_at(self.read_to);
        self.read_to = page.read_to;
        self.move_to(self.cursor_at(self.read_to));
        (!page.missing.is_empty()).then(|| self.gone(page.missing.clone(), requested))
    }

    fn gone(&self, ranges: PositionRanges, requested: Cursor) -> Gap {
        let is_known = self.filter.is_all() && !ranges.is_empty();
        Gap {
            reason: GapReason::Expired,
            missed: is_known.then(|| ranges.count()),
            ranges,
            requested: Some(requested),
            resumes_at: self.cursor,
            repair: None,
            overflow: None,
        }
    }

    #[inline]
    fn move_to(&mut self, cursor: Cursor) {
        self.cursor = cursor;
        if cursor.epoch() == self.live.epoch() {
            self.counters
                .read_to
                .store(cursor.place(), Ordering::Relaxed);
        }
    }

    /// The event with the cursor that stands behind it, if the predicate wants it.
    fn hand_out(&self, event: Event, archived: Option<ArchiveCursor>) -> Option<BusItem> {
        self.frame(event, archived).map(BusItem::Event)
    }

    #[inline]
    fn frame(&self, event: Event, archived: Option<ArchiveCursor>) -> Option<BusFrame> {
        // Nobody's code sees more of it than the subscriber may.
        let (event, shown) = self.show(event);
        if !self.is_wanted(&event) {
            return None;
        }
        Counters::add(&self.counters.delivered, 1);
        Some(BusFrame {
            event,
            cursor: self.cursor,
            archived: archived.map(Box::new),
            shown,
        })
    }

    /// The event as the subscriber may see it.
    #[inline]
    fn show(&self, event: Event) -> (Event, Shown) {
        let subscriber = Subscriber {
            tenant: &self.tenant,
            id: Some(self.id),
            name: self.name.as_deref(),
            asked: self.access,
        };
        let (event, shown, is_sound) = privacy::shown(&*self.order.policy, &subscriber, event);
        if !is_sound {
            Counters::add(&self.counters.errors, 1);
        }
        (event, shown)
    }

    /// Asks the caller's own code, whose panic is its own affair.
    #[inline]
    fn is_wanted(&self, event: &Event) -> bool {
        let Some(PredicateBox(predicate)) = &self.predicate else {
            return true;
        };
        catch_unwind(AssertUnwindSafe(|| predicate(event))).unwrap_or_else(|_| {
            Counters::add(&self.counters.errors, 1);
            false
        })
    }

    /// Where what becomes of its events is counted.
    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }
}

/// The last of ranges of which there is at least one.
fn last_of(ranges: &PositionRanges) -> u64 {
    ranges.as_slice().last().map_or(0, |range| range.1)
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
