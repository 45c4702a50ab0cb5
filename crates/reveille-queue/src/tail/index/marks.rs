//! The filters under one anchor: dense, so that walking them is cheap, and left in one step.

/// A filter under an anchor.
#[derive(Debug)]
pub(super) struct Mark<T> {
    pub(super) value: T,
    /// The filter.
    pub(super) entry: usize,
    /// Which of the filter's places this is.
    pub(super) nth: usize,
    /// Whether an event that has the anchor matches, and finds the filter under no other one.
    pub(super) is_certain: bool,
}

/// Where a filter stands.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) list: usize,
    pub(super) at: usize,
}

/// The filters under one anchor.
#[derive(Debug)]
pub(super) struct Marks<T>(Vec<Mark<T>>);

impl<T> Default for Marks<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Marks<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn as_slice(&self) -> &[Mark<T>] {
        &self.0
    }

    /// Adds a mark, and gives where it stands.
    pub(super) fn push(&mut self, mark: Mark<T>) -> usize {
        self.0.push(mark);
        self.0.len() - 1
    }

    /// Takes out the mark that stands at `at`. If another one stands there now, gives its filter and
    /// which of the filter's places it is.
    pub(super) fn swap_remove(&mut self, at: usize) -> Option<(usize, usize)> {
        self.0.swap_remove(at);
        self.0.get(at).map(|moved| (moved.entry, moved.nth))
    }
}
