//! Reading, page by page, what the bus does not retain: from an archive, or from the store itself.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reveille_backend::{
    Archive, ArchiveCursor, ArchiveError, Archived, Backend, ReadLimit, ReplayFrom, ReplayQuery,
    Watermark,
};
use reveille_queue::Tail;
use reveille_types::{Epoch, Event, Filter, PositionRanges, Seq, Tenant};

/// Most events that are read from the store at once, and most bytes.
const STORE_PAGE: ReadLimit = ReadLimit {
    events: 256,
    bytes: 256 * 1024,
};

/// What a replay gives next.
pub(crate) enum Replayed {
    /// An event, in this order, and its place in the archive if it comes from one.
    Event(Event, Epoch, Option<ArchiveCursor>),
    /// Sequence numbers that are missing in this order.
    Missing(PositionRanges, Epoch),
    /// The end, and how far that is in the order of a bus.
    Done(Option<Watermark>),
}

/// Where a replay reads.
#[derive(Debug, Clone)]
pub(crate) enum From {
    Archive(Arc<dyn Archive>, ReplayFrom),
    /// What the tail has dropped, or has never shown.
    Store(Arc<dyn Backend>, Tail, Seq),
}

/// What is read at once, and where to go on.
struct Page {
    items: VecDeque<Replayed>,
    next: From,
    end: Option<Option<Watermark>>,
}

/// A reader of an archive or a store. It waits for at most one page.
pub(crate) struct Replay {
    tenant: Tenant,
    filter: Filter,
    from: From,
    fetch: Option<BoxFuture<'static, Result<Page, ArchiveError>>>,
    items: VecDeque<Replayed>,
    end: Option<Option<Watermark>>,
    /// How many pages were fetched, and may be.
    pages: usize,
    most_pages: usize,
}

impl Replay {
    pub(crate) fn new(tenant: Tenant, filter: Filter, from: From) -> Self {
        Self {
            tenant,
            filter,
            from,
            fetch: None,
            items: VecDeque::new(),
            end: None,
            pages: 0,
            most_pages: usize::MAX,
        }
    }

    /// Done after so many pages, if it reads a store: with how far that was.
    pub(crate) fn at_most(mut self, pages: usize) -> Self {
        self.most_pages = pages;
        self
    }

    /// How many pages were fetched.
    pub(crate) fn pages(&self) -> usize {
        self.pages
    }

    /// What comes next.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Replayed, ArchiveError>> {
        loop {
            if let Some(item) = self.items.pop_front() {
                return Poll::Ready(Ok(item));
            }
            if let Some(watermark) = self.end {
                return Poll::Ready(Ok(Replayed::Done(watermark)));
            }
            if self.pages >= self.most_pages
                && let From::Store(_, tail, after) = &self.from
            {
                let (epoch, seq) = (tail.epoch(), *after);
                return Poll::Ready(Ok(Replayed::Done(Some(Watermark { epoch, seq }))));
            }
            let fetch = self.fetch.get_or_insert_with(|| {
                let (from, tenant) = (self.from.clone(), self.tenant.clone());
                page(from, tenant, self.filter.clone()).boxed()
            });
            let page = ready!(fetch.poll_unpin(cx));
            self.fetch = None;
            let page = page?;
            self.from = page.next;
            self.items = page.items;
            self.end = page.end;
            self.pages += 1;
        }
    }
}

async fn page(from: From, tenant: Tenant, filter: Filter) -> Result<Page, ArchiveError> {
    match from {
        From::Archive(archive, from) => {
            let page = archive
                .replay(&ReplayQuery::new(tenant, filter, from))
                .await?;
            let item = |archived| match archived {
                Archived::Event {
                    event,
                    epoch,
                    cursor,
                } => Replayed::Event(event, epoch, Some(cursor)),
                Archived::Missing { epoch, ranges, .. } => Replayed::Missing(ranges, epoch),
            };
            Ok(Page {
                items: page.items.into_iter().map(item).collect(),
                next: From::Archive(archive, ReplayFrom::After(page.next)),
                end: page.end,
            })
        }
        From::Store(store, tail, after) => {
            let epoch = tail.epoch();
            // Everything up to there is in the store; what follows is the tail's.
            let until = tail.info().oldest.max(after);
            let page = store.read_order(&tenant, after, STORE_PAGE).await?;
            let through = page.through.min(until);
            let (mut items, mut missing) = (VecDeque::new(), PositionRanges::new());
            let mut next = after.next();
            for event in page.events {
                let seq = event.place().seq;
                if seq > through {
                    break;
                }
                if next < seq {
                    missing.insert(next.0, seq.0 - 1);
                }
                next = seq.next();
                if filter.matches(&event) {
                    tell(&mut missing, epoch, &mut items);
                    items.push_back(Replayed::Event(event, epoch, None));
                }
            }
            if next <= through {
                missing.insert(next.0, through.0);
            }
            tell(&mut missing, epoch, &mut items);
            let watermark = Watermark {
                epoch,
                seq: through,
            };
            // A store that gets no further is not asked again.
            let is_end = through == until || through <= after;
            Ok(Page {
                items,
                next: From::Store(store, tail, through),
                end: is_end.then_some(Some(watermark)),
            })
        }
    }
}

fn tell(missing: &mut PositionRanges, epoch: Epoch, items: &mut VecDeque<Replayed>) {
    if !missing.is_empty() {
        items.push_back(Replayed::Missing(std::mem::take(missing), epoch));
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}
