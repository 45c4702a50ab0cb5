//! The machine: the scenarios of queues that lost count, and whatever else may be offered.

use std::collections::BTreeSet;

use proptest::prelude::*;
use reveille_types::sets::{OverflowPolicy, OverflowReason};

use super::*;

/// Events by letter: progress `d`, normal `m`, metering `u`, operation-final `t`, session-final `T`.
fn rank(letter: char) -> Rank {
    Rank::ALL["dmutT".find(letter).unwrap()]
}

fn bound(capacity: usize, reserve: usize, policy: OverflowPolicy) -> LagBound {
    LagBound::new(capacity, reserve, policy).unwrap()
}

/// The places from 1 on, each letter with the next one, and with its own key.
fn offered(bound: LagBound, letters: &str) -> OverflowMachine {
    let mut machine = OverflowMachine::new(bound);
    for (seq, letter) in (1..).zip(letters.chars()) {
        let (rank, key) = (rank(letter), seq);
        machine.offer(Offer { seq, rank, key });
    }
    machine
}

/// Everything that comes next: places that are delivered, and in brackets ranges that are missing;
/// with a star where they hold a summary, with an exclamation mark where a final one is among them.
fn told(machine: &mut OverflowMachine) -> String {
    let mut told = Vec::new();
    while let Some(turn) = machine.next() {
        told.push(match turn {
            Turn::Deliver(seq) => seq.to_string(),
            Turn::Missing(loss) => {
                let folded = loss.folded.map(|f| format!("*{}", f.count));
                let lost = (!loss.terminal_preserved).then_some("!");
                let (folded, lost) = (folded.unwrap_or_default(), lost.unwrap_or_default());
                format!("{:?}{folded}{lost}", loss.ranges.as_slice())
            }
            Turn::Fail => "fail".into(),
        });
    }
    told.join(" ")
}

fn run(capacity: usize, reserve: usize, policy: OverflowPolicy, letters: &str) -> String {
    told(&mut offered(bound(capacity, reserve, policy), letters))
}

use OverflowPolicy::{
    BackpressureCaller, DropNonTerminal, DropOldest, DropProgress, FailSubscriber, LatestOnly,
    SummarizeAndContinue,
};

#[test]
fn f003_11_drop_non_terminal_keeps_the_beginning_and_the_end() {
    assert_eq!(run(2, 1, DropNonTerminal, "dddT"), "1 [(2, 3)] 4");
    // Progress goes for what is no progress, the newest first.
    assert_eq!(run(4, 1, DropNonTerminal, "dddm"), "1 2 [(3, 3)] 4");
}

#[test]
fn f003_12_drop_progress_gives_the_places_of_progress_to_others() {
    assert_eq!(run(2, 1, DropProgress, "ddmT"), "[(1, 2)] 3 4");
    assert_eq!(run(3, 1, DropProgress, "ddmmm"), "[(1, 2)] 3 4 [(5, 5)]");
}

#[test]
fn f003_16_finals_go_last_the_oldest_first() {
    assert_eq!(run(3, 1, DropNonTerminal, "mmttt"), "[(1, 2)] 3 4 5");
    assert_eq!(run(2, 1, DropProgress, "ttt"), "[(1, 1)]! 2 3");
    assert_eq!(run(2, 1, DropOldest, "Ttt"), "1 [(2, 2)]! 3");
}

#[test]
fn d003_09_no_loss_is_told_over_by_another() {
    assert_eq!(run(2, 1, DropNonTerminal, "mmTm"), "1 [(2, 2)] 3 [(4, 4)]");
}

#[test]
fn d003_10_a_loss_is_told_though_what_followed_it_went_too() {
    for policy in [DropNonTerminal, DropProgress, DropOldest, LatestOnly] {
        assert_eq!(run(3, 1, policy, "dddmTTT"), "[(1, 4)] 5 6 7", "{policy}");
    }
}

#[test]
fn d003_11_ranges_ascend_whoever_goes_first() {
    assert_eq!(run(3, 1, DropProgress, "dddm"), "[(1, 1)] 2 [(3, 3)] 4");
}

#[test]
fn d003_12_a_subscriber_that_fails_claims_nothing_about_what_follows() {
    assert_eq!(run(2, 1, FailSubscriber, "mmmT"), "1 fail");
    assert_eq!(run(1, 0, FailSubscriber, "mm"), "1 fail");
    let mut machine = offered(bound(2, 1, FailSubscriber), "mm");
    let (rank, key) = (Rank::SessionFinal, 0);
    let late = machine.offer(Offer { seq: 3, rank, key });
    assert_eq!(late, Verdict::Failed);
    assert_eq!(told(&mut machine), "1 fail");
    assert!(machine.has_failed() && machine.is_empty());
}

#[test]
fn d003_13_progress_is_summarised_only_under_pressure_and_counted() {
    assert_eq!(run(64, 1, SummarizeAndContinue, "dmdT"), "1 2 3 4");
    assert_eq!(run(2, 1, SummarizeAndContinue, "dddddT"), "[(1, 5)]*5 6");
    assert_eq!(run(2, 1, SummarizeAndContinue, "ddmT"), "[(1, 2)]*2 3 4");
    // What is no progress is not summarised, and not counted as if it were.
    assert_eq!(run(2, 1, SummarizeAndContinue, "mdmdT"), "1 [(2, 4)]*2 5");
}

#[test]
fn d003_14_drop_oldest_keeps_the_newest() {
    assert_eq!(run(2, 1, DropOldest, "mmmmm"), "[(1, 3)] 4 5");
    assert_eq!(run(2, 1, DropOldest, "mmdd"), "1 2 [(3, 4)]");
}

#[test]
fn d003_15_backpressure_leaves_it_to_the_caller() {
    let mut machine = offered(bound(2, 1, BackpressureCaller), "m");
    let offer = Offer {
        seq: 2,
        rank: Rank::Normal,
        key: 0,
    };
    assert_eq!(machine.offer(offer), Verdict::Refused);
    assert_eq!(machine.next(), Some(Turn::Deliver(1)));
    assert_eq!(machine.offer(offer), Verdict::Kept);
    assert_eq!(machine.offer(offer), Verdict::Stale);
    assert_eq!(told(&mut machine), "2");
}

#[test]
fn d003_16_the_reserve_leaves_a_place_for_what_ends_nothing() {
    for (capacity, reserve) in [(2, 5), (1, 1), (0, 0)] {
        assert!(LagBound::new(capacity, reserve, DropProgress).is_err());
    }
    assert!(LagBound::new(1, 0, DropProgress).is_ok());
    assert_eq!(
        LagBound::clamped(2, 5, DropProgress),
        bound(2, 1, DropProgress)
    );
}

#[test]
fn d003_23_the_end_of_the_session_outlives_ends_of_operations() {
    let letters = format!("{}T", "t".repeat(50));
    assert_eq!(
        run(4, 1, DropNonTerminal, &letters),
        "[(1, 47)]! 48 49 50 51"
    );
    let letters = format!("T{}", "t".repeat(50));
    assert_eq!(run(4, 1, DropOldest, &letters), "1 [(2, 48)]! 49 50 51");
}

#[test]
fn d003_24_metering_outlives_progress() {
    let letters = format!("{}u", "d".repeat(100));
    assert_eq!(
        run(4, 1, DropProgress, &letters),
        "[(1, 1)] 2 3 [(4, 100)] 101"
    );
}

#[test]
fn latest_only_gives_up_what_has_been_superseded() {
    let mut machine = OverflowMachine::new(bound(3, 0, LatestOnly));
    for (seq, key) in (1..).zip([7, 8, 8, 9, 9, 9]) {
        let rank = Rank::Progress;
        machine.offer(Offer { seq, rank, key });
    }
    assert_eq!(told(&mut machine), "1 [(2, 2)] 3 [(4, 5)] 6");
}

#[test]
fn a_loss_says_why() {
    use OverflowReason::{
        PolicyDroppedNonTerminal, PolicyDroppedProgress, SubscriberLagged, SubscriberQueueFull,
    };
    let cases = [
        (DropNonTerminal, "mm", PolicyDroppedNonTerminal),
        (DropNonTerminal, "ttt", SubscriberQueueFull),
        (DropProgress, "dd", PolicyDroppedProgress),
        (DropProgress, "mm", SubscriberQueueFull),
        (SummarizeAndContinue, "dd", PolicyDroppedProgress),
        (SummarizeAndContinue, "mm", SubscriberQueueFull),
        (DropOldest, "mmm", SubscriberLagged),
        (LatestOnly, "mmm", SubscriberLagged),
    ];
    for (policy, letters, detail) in cases {
        let mut machine = offered(bound(2, 1, policy), letters);
        let loss = std::iter::from_fn(|| machine.next()).find_map(|turn| match turn {
            Turn::Missing(loss) => Some(loss),
            _ => None,
        });
        assert_eq!(loss.unwrap().detail, detail, "{policy} {letters}");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Offer { rank: Rank, key: u64, hole: u64 },
    Next,
}

fn step() -> impl Strategy<Value = Step> {
    let offer = (prop::sample::select(&Rank::ALL), 0..4_u64, 0..2_u64);
    prop_oneof![
        3 => offer.prop_map(|(rank, key, hole)| Step::Offer { rank, key, hole }),
        1 => Just(Step::Next),
    ]
}

/// What a reader was given, and what follows from it.
#[derive(Default)]
struct Reader {
    delivered: Vec<u64>,
    missing: Vec<u64>,
    told_to: u64,
    failed: bool,
}

impl Reader {
    fn read(&mut self, machine: &mut OverflowMachine, finals: &BTreeSet<u64>) -> bool {
        let behind = |reader: &mut Self, seq| {
            assert!(seq > reader.told_to, "in order, and once");
            reader.told_to = seq;
        };
        match machine.next() {
            None => return false,
            Some(Turn::Fail) => {
                assert!(!self.failed, "once");
                self.failed = true;
            }
            Some(Turn::Deliver(seq)) => {
                behind(self, seq);
                self.delivered.push(seq);
            }
            Some(Turn::Missing(loss)) => {
                let seqs: Vec<u64> = loss.ranges.iter().flatten().collect();
                assert_eq!(seqs.len() as u64, loss.count);
                assert!(loss.count > 0);
                let lost_final = seqs.iter().any(|seq| finals.contains(seq));
                assert_eq!(loss.terminal_preserved, !lost_final);
                seqs.iter().for_each(|seq| behind(self, *seq));
                self.missing.extend(seqs);
            }
        }
        true
    }
}

/// As many as are asked for, and so many otherwise.
fn cases(usual: u32) -> ProptestConfig {
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: if asked { default.cases } else { usual },
        ..default
    }
}

proptest! {
    #![proptest_config(cases(2_000))]

    /// Whatever is offered and whenever it is read.
    #[test]
    fn everything_is_delivered_or_told_as_missing_once_and_in_order(
        policy in prop::sample::select(OverflowPolicy::ALL),
        capacity in 1..8_usize,
        reserve in 0..8_usize,
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let bound = LagBound::clamped(capacity, reserve, policy);
        let mut machine = OverflowMachine::new(bound);
        let mut reader = Reader::default();
        let (mut seq, mut accounted, mut finals) = (0, Vec::new(), BTreeSet::new());
        let mut holes = 0;
        for step in steps {
            let Step::Offer { rank, key, hole } = step else {
                reader.read(&mut machine, &finals);
                continue;
            };
            seq += 1 + hole;
            holes += usize::from(hole > 0);
            let offer = Offer { seq, rank, key };
            if rank.is_final() {
                finals.insert(seq);
            }
            let mut before = machine.offers_kept();
            match machine.offer(offer) {
                Verdict::Kept | Verdict::Shed => accounted.push(seq),
                Verdict::Refused => prop_assert_eq!(policy, BackpressureCaller),
                Verdict::Failed => prop_assert_eq!(policy, FailSubscriber),
                Verdict::Stale => prop_assert!(false, "places ascend"),
            }
            let kept = machine.offers_kept();
            let open = kept.iter().filter(|offer| !offer.rank.is_final()).count();
            prop_assert!(kept.len() <= capacity && open <= bound.open_places());
            prop_assert_eq!(machine.kept(), kept.len());
            // What is missing between two kept places is one run, but for places never offered.
            prop_assert!(machine.nodes() <= 2 * kept.len() + 1 + holes);
            // Nothing went while something of lower rank stayed.
            before.push(offer);
            let gone = before.iter().filter(|offer| !kept.contains(offer));
            let highest = gone.map(|offer| offer.rank).max();
            let lossy = !matches!(policy, BackpressureCaller | FailSubscriber);
            if let (Some(highest), true) = (highest, lossy) {
                prop_assert!(kept.iter().all(|offer| offer.rank >= highest));
            }
        }
        while reader.read(&mut machine, &finals) {}
        prop_assert!(machine.is_empty());
        let mut all = [&reader.delivered[..], &reader.missing[..]].concat();
        all.sort_unstable();
        prop_assert_eq!(all, accounted);
        prop_assert_eq!(reader.failed, machine.has_failed());
        if !matches!(policy, BackpressureCaller | FailSubscriber) {
            return Ok(());
        }
        prop_assert!(reader.missing.is_empty(), "these policies lose nothing");
    }

    /// A reader that takes each event before the next one comes loses nothing, whatever its bound.
    #[test]
    fn who_keeps_up_loses_nothing(
        policy in prop::sample::select(OverflowPolicy::ALL),
        capacity in 1..4_usize,
        reserve in 0..4_usize,
        ranks in prop::collection::vec(prop::sample::select(&Rank::ALL), 0..40),
    ) {
        let mut machine = OverflowMachine::new(LagBound::clamped(capacity, reserve, policy));
        for (seq, rank) in (1..).zip(ranks) {
            let offer = Offer { seq, rank, key: 0 };
            prop_assert_eq!(machine.offer(offer), Verdict::Kept);
            prop_assert_eq!(machine.next(), Some(Turn::Deliver(seq)));
            prop_assert!(machine.is_empty());
        }
    }

    /// Against the definition: while there are too many of a key, the latest of it is what is kept.
    #[test]
    fn latest_only_keeps_the_latest_of_each_key(
        keys in prop::collection::vec(0..4_u64, 0..60),
        capacity in 4..8_usize,
    ) {
        let mut machine = OverflowMachine::new(bound(capacity, 0, LatestOnly));
        for (seq, key) in (1..).zip(&keys) {
            machine.offer(Offer { seq, rank: Rank::Normal, key: *key });
        }
        let kept = machine.offers_kept();
        for key in 0..4 {
            let latest = (1..).zip(&keys).filter(|(_, k)| **k == key).last();
            if let Some((seq, _)) = latest {
                prop_assert!(kept.iter().any(|offer| offer.seq == seq));
            }
        }
    }
}
