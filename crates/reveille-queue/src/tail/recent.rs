//! The page that was read last, for others that ask for the same.

use std::sync::Arc;

use reveille_types::{Filter, Seq};

use super::TailPage;
use super::ring::Ring;

/// What a reader asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) after: Seq,
    pub(super) filter: &'a Filter,
    pub(super) limit: usize,
    pub(super) bytes: usize,
}

/// A page, and what it answers. It keeps at most what one reader would have fetched, whatever the ring
/// drops since.
#[derive(Debug)]
pub(super) struct Recent {
    after: Seq,
    filter: Filter,
    limit: usize,
    bytes: usize,
    /// The end of the ring when the page was read.
    latest: Seq,
    page: Arc<TailPage>,
}

impl Recent {
    pub(super) fn new(question: Question<'_>, page: Arc<TailPage>, ring: &Ring) -> Self {
        Self {
            after: question.after,
            filter: question.filter.clone(),
            limit: question.limit,
            bytes: question.bytes,
            latest: ring.latest(),
            page,
        }
    }

    /// The page, if reading the ring now would give no more.
    pub(super) fn answer(&self, question: Question<'_>, ring: &Ring) -> Option<Arc<TailPage>> {
        let is_whole = self.page.read_to < self.latest || self.latest == ring.latest();
        let is_same = (self.after, self.limit, self.bytes)
            == (question.after, question.limit, question.bytes);
        (is_same && is_whole && self.filter == *question.filter).then(|| Arc::clone(&self.page))
    }
}
