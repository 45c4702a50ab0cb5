//! What happens to a session in a random history.

use proptest::prelude::*;
use reveille_types::Filter;

/// The last one is what a cancel appends.
pub(crate) const KINDS: [&str; 3] = ["a", "b", "task.status.cancel_requested"];
pub(crate) const GROUPS: usize = 2;
/// In milliseconds.
pub(crate) const TTL: u64 = 1000;

/// What a reader wants: everything, or one of the first two kinds.
pub(crate) type Want = Option<usize>;

pub(crate) fn wants(want: Want, kind: usize) -> bool {
    want.is_none_or(|want| want == kind)
}

pub(crate) fn filter(want: Want) -> Filter {
    want.map_or_else(Filter::all, |kind| Filter::matching(KINDS[kind]).unwrap())
}

#[derive(Debug, Clone)]
pub(crate) enum Op {
    Append(Vec<usize>),
    /// A taker; the first poll takes what is there.
    Take(Taking),
    PollTaker(usize),
    DropTaker(usize),
    Wait(Want, u64),
    Settle {
        lease: usize,
        ack: bool,
    },
    /// A group moves on.
    Skip(usize, u64),
    /// A group retries one of its dead letters.
    Retry(usize, usize),
    Subscribe(Want, u64),
    Read(usize),
    Advance(u64),
    Cancel(Option<u64>),
    Close,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Taking {
    pub(crate) group: usize,
    pub(crate) want: Want,
    pub(crate) max: usize,
    pub(crate) lease: Option<u64>,
}

pub(crate) fn ops() -> impl Strategy<Value = Vec<Op>> {
    let want = || prop_oneof![3 => Just(None), 2 => (0..2usize).prop_map(Some)];
    let lease = || prop::option::of(1..100u64);
    let taking =
        (0..GROUPS, want(), 1..4usize, lease()).prop_map(|(group, want, max, lease)| Taking {
            group,
            want,
            max,
            lease,
        });
    let op = prop_oneof![
        8 => prop::collection::vec(0..2usize, 1..4).prop_map(Op::Append),
        6 => taking.prop_map(Op::Take),
        4 => (0..4usize).prop_map(Op::PollTaker),
        2 => (0..4usize).prop_map(Op::DropTaker),
        2 => (want(), 0..24u64).prop_map(|(want, from)| Op::Wait(want, from)),
        1 => (0..GROUPS, 0..24u64).prop_map(|(group, to)| Op::Skip(group, to)),
        2 => (0..GROUPS, 0..2usize).prop_map(|(group, n)| Op::Retry(group, n)),
        4 => (0..8usize, any::<bool>()).prop_map(|(lease, ack)| Op::Settle { lease, ack }),
        2 => (want(), 0..24u64).prop_map(|(want, from)| Op::Subscribe(want, from)),
        5 => (0..4usize).prop_map(Op::Read),
        3 => (1..120u64).prop_map(Op::Advance),
        1 => Just(Op::Advance(TTL)),
        1 => prop::option::of(1..200u64).prop_map(Op::Cancel),
        1 => Just(Op::Close),
    ];
    prop::collection::vec(op, 1..80)
}
