//! What a reader did not get: ranges of positions and the notice that carries them.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::cursor::Cursor;
use crate::invalid::Invalid;
use crate::place::Position;
use crate::sets::{OverflowPolicy, OverflowReason};

/// A set of event positions, kept as inclusive ranges that ascend and neither overlap nor touch.
///
/// ```
/// use reveille_types::PositionRanges;
///
/// let mut missing: PositionRanges = [(0, 2), (8, 9)].into_iter().collect();
/// missing.insert(3, 4);
/// assert_eq!(missing.as_slice(), [(0, 4), (8, 9)]);
/// assert_eq!(missing.count(), 7);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub struct PositionRanges(Vec<(u64, u64)>);

impl PositionRanges {
    /// The empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// All positions from `from` to just before `to`; empty when `to` is not behind `from`.
    #[must_use]
    pub fn half_open(from: Position, to: Position) -> Self {
        let mut ranges = Self::new();
        if from < to {
            ranges.insert(from.0, to.0 - 1);
        }
        ranges
    }

    /// Adds the positions `first` to `last`, both included. Does nothing when `last` is before
    /// `first`.
    pub fn insert(&mut self, first: u64, last: u64) {
        if last < first {
            return;
        }
        // The ranges from `start` to just before `end` overlap or touch the new one.
        let start = self.0.partition_point(|r| r.1.saturating_add(1) < first);
        let end = self.0.partition_point(|r| r.0 <= last.saturating_add(1));
        let (mut low, mut high) = (first, last);
        if start < end {
            low = low.min(self.0[start].0);
            high = high.max(self.0[end - 1].1);
        }
        self.0.splice(start..end, [(low, high)]);
    }

    /// Takes the positions `first` to `last`, both included, out of the set.
    pub fn remove(&mut self, first: u64, last: u64) {
        if last < first {
            return;
        }
        let start = self.0.partition_point(|r| r.1 < first);
        let end = self.0.partition_point(|r| r.0 <= last);
        if start >= end {
            return;
        }
        let (low, high) = (self.0[start].0, self.0[end - 1].1);
        let left = (low < first).then(|| (low, first - 1));
        let right = (high > last).then(|| (last + 1, high));
        self.0.splice(start..end, left.into_iter().chain(right));
    }

    /// Adds all positions of `other`.
    pub fn merge(&mut self, other: &Self) {
        for &(first, last) in &other.0 {
            self.insert(first, last);
        }
    }

    /// Takes all positions of `other` out of the set.
    pub fn subtract(&mut self, other: &Self) {
        for &(first, last) in &other.0 {
            self.remove(first, last);
        }
    }

    /// How many positions are in the set; saturates at the end of the 64-bit range.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().fold(0u64, |sum, (first, last)| {
            sum.saturating_add((last - first).saturating_add(1))
        })
    }

    /// Whether the position is in the set.
    #[must_use]
    pub fn contains(&self, position: u64) -> bool {
        let at = self.0.partition_point(|r| r.1 < position);
        self.0.get(at).is_some_and(|r| r.0 <= position)
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The inclusive ranges, ascending and disjoint.
    #[must_use]
    pub fn as_slice(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// The inclusive ranges, ascending and disjoint.
    pub fn iter(&self) -> impl Iterator<Item = RangeInclusive<u64>> {
        self.0.iter().map(|(first, last)| *first..=*last)
    }
}

impl FromIterator<(u64, u64)> for PositionRanges {
    fn from_iter<I: IntoIterator<Item = (u64, u64)>>(ranges: I) -> Self {
        let mut set = Self::new();
        for (first, last) in ranges {
            set.insert(first, last);
        }
        set
    }
}

impl TryFrom<Vec<(u64, u64)>> for PositionRanges {
    type Error = Invalid;

    /// Accepts ranges that ascend and are disjoint; those that touch become one.
    fn try_from(ranges: Vec<(u64, u64)>) -> Result<Self, Invalid> {
        let forward = ranges.iter().all(|(first, last)| first <= last);
        let ascending = ranges.windows(2).all(|pair| pair[0].1 < pair[1].0);
        if forward && ascending {
            Ok(ranges.into_iter().collect())
        } else {
            Err(Invalid::form("ranges", "are not ascending and disjoint"))
        }
    }
}

impl From<PositionRanges> for Vec<(u64, u64)> {
    fn from(ranges: PositionRanges) -> Self {
        ranges.0
    }
}

/// Why events are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// Retention dropped them before the reader came.
    Expired,
    /// The reader was slower than its own bound allows.
    Overflow,
    /// The cursor lay beyond the end of the log.
    Ahead,
    /// The cursor is malformed, foreign, of another epoch or of another filter: the same answer for
    /// all, so that nothing leaks.
    UnknownCursor,
}

/// What only a gap of the reason [`Overflow`](GapReason::Overflow) tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OverflowDetail {
    /// The policy that chose what to give up.
    pub policy: OverflowPolicy,
    /// Why these events were chosen.
    pub detail: OverflowReason,
    /// Whether no event that ends something is among those that are missing.
    pub terminal_preserved: bool,
}

/// What a reader did not get. Told exactly where the events are missing, before the next frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Gap {
    /// Why.
    pub reason: GapReason,
    /// The positions that are missing: inclusive, ascending and disjoint; the first event is 0.
    /// Empty when nobody can know them (a cursor of another epoch).
    pub ranges: PositionRanges,
    /// How many events are missing of those that the reader would have got: exact for unfiltered
    /// readers, null where nobody can know.
    pub missed: Option<u64>,
    /// Where the reader asked to go on, if its cursor could be read.
    pub requested: Option<Cursor>,
    /// Where the reader goes on.
    pub resumes_at: Cursor,
    /// Reading from here brings back what can be brought back; null when nothing can.
    pub repair: Option<Cursor>,
    /// How the subscriber's policy chose them; only if it did. Its fields stand beside the others.
    #[serde(flatten)]
    pub overflow: Option<OverflowDetail>,
}

impl Gap {
    /// The gap of a reader that stands at `at` while the log begins at `oldest`. None when nothing is
    /// missing, which includes a reader that stands exactly at `oldest`, and none for a bus cursor,
    /// which is no place in a session log.
    #[must_use]
    pub fn expired(at: Cursor, oldest: Position, filtered: bool) -> Option<Self> {
        let next = at.position()?;
        if next >= oldest {
            return None;
        }
        Some(Self {
            reason: GapReason::Expired,
            ranges: PositionRanges::half_open(next, oldest),
            missed: (!filtered).then(|| oldest.since(next)),
            requested: Some(at),
            resumes_at: Cursor::session(at.epoch(), oldest),
            repair: None,
            overflow: None,
        })
    }

    /// The gap of a reader whose cursor cannot be followed, and who goes on at `resumes_at` instead.
    #[must_use]
    pub fn unfollowable(reason: GapReason, requested: Option<Cursor>, resumes_at: Cursor) -> Self {
        Self {
            reason,
            ranges: PositionRanges::new(),
            missed: None,
            requested,
            resumes_at,
            repair: None,
            overflow: None,
        }
    }
}
