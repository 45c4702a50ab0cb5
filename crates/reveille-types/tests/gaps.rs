//! The algebra of missing positions, against a plain set of numbers.

#![allow(
    clippy::unwrap_used,
    reason = "in a test an unwrap that fails is the failure"
)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use reveille_types::{Position, PositionRanges};

#[derive(Debug, Clone)]
enum Step {
    Insert(u64, u64),
    Remove(u64, u64),
    Merge(Vec<(u64, u64)>),
    Subtract(Vec<(u64, u64)>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let range = || (0..48u64, 0..48u64);
    let ranges = || prop::collection::vec(range(), 0..4);
    let step = prop_oneof![
        range().prop_map(|(a, b)| Step::Insert(a, b)),
        range().prop_map(|(a, b)| Step::Remove(a, b)),
        ranges().prop_map(Step::Merge),
        ranges().prop_map(Step::Subtract),
    ];
    prop::collection::vec(step, 0..24)
}

fn numbers(ranges: &[(u64, u64)], base: u64) -> impl Iterator<Item = u64> {
    ranges.iter().flat_map(move |(a, b)| base + a..=base + b)
}

fn set(ranges: &[(u64, u64)], base: u64) -> PositionRanges {
    ranges.iter().map(|(a, b)| (base + a, base + b)).collect()
}

/// Ascending, disjoint, and with at least one position between two ranges.
fn is_canonical(ranges: &[(u64, u64)]) -> bool {
    ranges.iter().all(|(first, last)| first <= last)
        && ranges
            .windows(2)
            .all(|w| w[1].0 > w[0].1 && w[1].0 - w[0].1 > 1)
}

proptest! {
    #[test]
    fn ranges_behave_as_a_set_of_numbers(
        steps in steps(), base in prop_oneof![Just(0), Just(u64::MAX - 47)],
    ) {
        let mut ranges = PositionRanges::new();
        let mut model = BTreeSet::new();
        for step in steps {
            match step {
                Step::Insert(a, b) => {
                    ranges.insert(base + a, base + b);
                    model.extend(base + a..=base + b);
                }
                Step::Remove(a, b) => {
                    ranges.remove(base + a, base + b);
                    model.retain(|n| !(base + a..=base + b).contains(n));
                }
                Step::Merge(other) => {
                    ranges.merge(&set(&other, base));
                    model.extend(numbers(&other, base));
                }
                Step::Subtract(other) => {
                    ranges.subtract(&set(&other, base));
                    for n in numbers(&other, base) {
                        model.remove(&n);
                    }
                }
            }
            prop_assert!(is_canonical(ranges.as_slice()), "{:?}", ranges);
            prop_assert_eq!(ranges.count(), model.len() as u64);
            prop_assert_eq!(ranges.is_empty(), model.is_empty());
            prop_assert!(ranges.iter().flatten().eq(model.iter().copied()));
            for n in 0..48 {
                prop_assert_eq!(ranges.contains(base + n), model.contains(&(base + n)));
            }
        }
        let json = serde_json::to_string(&ranges).unwrap();
        prop_assert_eq!(serde_json::from_str::<PositionRanges>(&json).unwrap(), ranges);
    }

    #[test]
    fn ranges_from_json_are_ascending_and_disjoint_or_refused(
        given in prop::collection::vec((0..30u64, 0..30u64), 0..5),
    ) {
        let json = serde_json::to_string(&given).unwrap();
        let sound = given.iter().all(|(a, b)| a <= b) && given.windows(2).all(|w| w[0].1 < w[1].0);
        match serde_json::from_str::<PositionRanges>(&json) {
            Ok(ranges) => {
                prop_assert!(sound);
                prop_assert!(is_canonical(ranges.as_slice()));
                prop_assert!(ranges.iter().flatten().eq(numbers(&given, 0)));
            }
            Err(_) => prop_assert!(!sound),
        }
    }
}

#[test]
fn whole_range_of_positions_neither_overflows_nor_splits_wrongly() {
    let mut all: PositionRanges = [(0, u64::MAX)].into_iter().collect();
    assert_eq!(all.count(), u64::MAX, "saturated");
    all.insert(u64::MAX, u64::MAX);
    all.remove(0, 0);
    all.remove(u64::MAX, u64::MAX);
    assert_eq!(all.as_slice(), [(1, u64::MAX - 1)]);
    all.insert(u64::MAX, u64::MAX);
    assert_eq!(all.as_slice(), [(1, u64::MAX)]);
}

#[test]
fn backward_range_changes_nothing() {
    let mut ranges: PositionRanges = [(3, 5)].into_iter().collect();
    ranges.insert(9, 8);
    ranges.remove(5, 3);
    assert_eq!(ranges.as_slice(), [(3, 5)]);
}

#[test]
fn half_open_range_leaves_out_its_end() {
    let half_open = |from, to| PositionRanges::half_open(Position(from), Position(to));
    assert_eq!(half_open(3, 6).as_slice(), [(3, 5)]);
    assert!(half_open(3, 3).is_empty());
    assert!(half_open(4, 3).is_empty());
}

#[test]
fn touching_ranges_become_one_and_ranges_apart_do_not() {
    let join = |a, b| [a, b].into_iter().collect::<PositionRanges>();
    assert_eq!(join((0, 2), (3, 4)).as_slice(), [(0, 4)]);
    assert_eq!(join((3, 4), (0, 2)).as_slice(), [(0, 4)]);
    assert_eq!(join((0, 2), (4, 4)).as_slice(), [(0, 2), (4, 4)]);
}

#[test]
fn json_that_is_no_list_of_ranges_is_refused() {
    for json in [
        "null",
        "[[1]]",
        "[[1,2,3]]",
        "[[-1,2]]",
        "[[\"1\",\"2\"]]",
        "[[5,3]]",
    ] {
        assert!(
            serde_json::from_str::<PositionRanges>(json).is_err(),
            "{json}"
        );
    }
}
