//! How many events of each kind were shown.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use reveille_types::Kind;

/// Most kinds that are counted by name: kinds are open, and nothing here shrinks.
const NAMED: usize = 1_024;

/// Counts by kind.
#[derive(Debug, Default)]
pub(super) struct Counts {
    by_kind: HashMap<Kind, u64, RandomState>,
    other: u64,
}

impl Counts {
    pub(super) fn count(&mut self, kind: &Kind) {
        if let Some(count) = self.by_kind.get_mut(kind) {
            *count += 1;
        } else if self.by_kind.len() < NAMED {
            self.by_kind.insert(kind.clone(), 1);
        } else {
            self.other += 1;
        }
    }

    /// Each kind with its count, and the count of those that have no count of their own.
    pub(super) fn all(&self) -> (Vec<(Kind, u64)>, u64) {
        let named = self.by_kind.iter();
        let named = named.map(|(kind, count)| (kind.clone(), *count));
        (named.collect(), self.other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_beyond_the_bound_are_counted_together() {
        let mut counts = Counts::default();
        for n in 0..NAMED + 5 {
            counts.count(&Kind::parse(format!("k{n}")).unwrap());
        }
        counts.count(&Kind::parse("k0").unwrap());
        let (named, other) = counts.all();
        assert_eq!((named.len(), other), (NAMED, 5));
        assert_eq!(
            named.iter().map(|(_, count)| count).sum::<u64>(),
            NAMED as u64 + 1
        );
    }
}
