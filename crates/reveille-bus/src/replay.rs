//! Reading an archive, page by page.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reveille_backend::{
    Archive, ArchiveError, ArchivePage, Archived, ReplayFrom, ReplayQuery, Watermark,
};
use reveille_types::{Filter, Tenant};

type Fetch = BoxFuture<'static, Result<ArchivePage, ArchiveError>>;

/// What a replay gives next.
pub(crate) enum Replayed {
    Item(Archived),
    /// The end of the archive, and how far that is in the order of a bus.
    Done(Option<Watermark>),
}

/// A reader of an archive. It waits for at most one page.
pub(crate) struct Replay {
    archive: Arc<dyn Archive>,
    tenant: Tenant,
    filter: Filter,
    from: ReplayFrom,
    fetch: Option<Fetch>,
    items: VecDeque<Archived>,
    end: Option<Option<Watermark>>,
}

impl Replay {
    pub(crate) fn new(
        archive: Arc<dyn Archive>,
        tenant: Tenant,
        filter: Filter,
        from: ReplayFrom,
    ) -> Self {
        Self {
            archive,
            tenant,
            filter,
            from,
            fetch: None,
            items: VecDeque::new(),
            end: None,
        }
    }

    /// What comes next.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Replayed, ArchiveError>> {
        loop {
            if let Some(item) = self.items.pop_front() {
                return Poll::Ready(Ok(Replayed::Item(item)));
            }
            if let Some(watermark) = self.end {
                return Poll::Ready(Ok(Replayed::Done(watermark)));
            }
            let fetch = self.fetch.get_or_insert_with(|| {
                let archive = Arc::clone(&self.archive);
                let query = ReplayQuery::new(self.tenant.clone(), self.filter.clone(), self.from);
                async move { archive.replay(&query).await }.boxed()
            });
            let page = ready!(fetch.poll_unpin(cx));
            self.fetch = None;
            let page = page?;
            self.from = ReplayFrom::After(page.next);
            self.items = page.items.into();
            self.end = page.end;
        }
    }
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("archive", &self.archive)
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}
