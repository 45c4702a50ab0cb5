//! Which numbers have been seen, in little memory as long as few are missing.

use std::collections::VecDeque;

/// A set of numbers that come about in order.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// All numbers below 64 times this are in the set.
    full: u64,
    /// The bits of the numbers from there on.
    words: VecDeque<u64>,
}

impl Seen {
    /// Adds a number; whether it is new.
    pub(crate) fn add(&mut self, number: u64) -> bool {
        let Some(word) = (number / 64).checked_sub(self.full) else {
            return false;
        };
        let Ok(word) = usize::try_from(word) else {
            return false;
        };
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let bit = 1 << (number % 64);
        let new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        while self.words.front() == Some(&u64::MAX) {
            self.words.pop_front();
            self.full += 1;
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_is_new_once(numbers in prop::collection::vec(0_u64..500, 0..1_000)) {
            let (mut seen, mut model) = (Seen::default(), HashSet::new());
            for number in numbers {
                prop_assert_eq!(seen.add(number), model.insert(number));
            }
        }
    }

    #[test]
    fn without_holes_nothing_is_kept() {
        let mut seen = Seen::default();
        for number in (0..64_000_u64).map(|n| n ^ 1) {
            assert!(seen.add(number));
        }
        assert!(seen.words.is_empty());
    }
}
