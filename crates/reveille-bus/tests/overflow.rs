//! The scenarios of queues that gave up the wrong events, or lost count of them.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use futures_util::FutureExt;
use proptest::prelude::*;
use reveille_bus::{
    Bus, BusError, BusItem, BusStart, BusSubscription, EventBus, LagBound, SubscribeOptions,
};
use reveille_queue::TailLimits;
use reveille_types::sets::OverflowPolicy;
use reveille_types::{Class, Cursor, EventDraft, Filter, Finality, Gap, GapReason};

mod common;
use common::{LIMITS, bus, bus_with, draft, history, key};

/// An event by letter: progress `d`, normal `m`, metering `u`, operation-final `t`, session-final `T`.
fn lettered(letter: char) -> EventDraft {
    let mut event = draft("step");
    event.class = Some(match letter {
        'd' => Class::Progress,
        'u' => Class::Metering,
        _ => Class::Normal,
    });
    event.finality = Some(match letter {
        't' => Finality::Operation,
        'T' => Finality::Session,
        _ => Finality::None,
    });
    event
}

/// Publishes one event a letter. A session that has ended is left alone.
async fn publish(bus: &Bus, letters: &str) {
    for letter in letters.chars() {
        let session = format!("s{}", bus.tail().info().latest.0);
        bus.publish(key(&session), vec![lettered(letter)])
            .await
            .unwrap();
    }
}

fn options(capacity: usize, reserve: usize, policy: OverflowPolicy) -> SubscribeOptions {
    let bound = LagBound::new(capacity, reserve, policy).unwrap();
    SubscribeOptions::default().bounded(bound)
}

/// A subscription that has caught up, and sees nothing of what is published then until it is read.
async fn standing(bus: &Bus, options: SubscribeOptions) -> BusSubscription {
    let mut events = bus.subscribe(options).unwrap();
    assert_eq!(history(&mut events).await, []);
    events
}

/// What is there to read now.
fn ready(events: &mut BusSubscription) -> Vec<Result<BusItem, BusError>> {
    let next = || events.next().now_or_never().flatten();
    std::iter::from_fn(next).collect()
}

/// As text: sequence numbers, and in brackets ranges that are missing; with a star where they hold a
/// summary, with an exclamation mark where a final event is among them, `expired` where retention took
/// them.
fn told(items: &[Result<BusItem, BusError>]) -> String {
    let gap = |gap: &Gap| {
        let told = match gap.overflow {
            None => "expired",
            Some(overflow) if overflow.terminal_preserved => "",
            Some(_) => "!",
        };
        format!("{:?}{told}", gap.ranges.as_slice())
    };
    let told = |item: &Result<BusItem, BusError>| match item {
        Ok(BusItem::Event(frame)) => frame.event.place().seq.0.to_string(),
        Ok(BusItem::Gap(missing)) => gap(missing),
        Ok(BusItem::Summary(summary)) => format!("{}*{}", gap(&summary.gap), summary.folded),
        Ok(BusItem::CaughtUp(_)) => "caught up".into(),
        Err(error) => error.code().into(),
    };
    items.iter().map(told).collect::<Vec<_>>().join(" ")
}

async fn run(options: SubscribeOptions, letters: &str) -> String {
    let bus = bus().await;
    let mut events = standing(&bus, options).await;
    publish(&bus, letters).await;
    told(&ready(&mut events))
}

use OverflowPolicy::{
    BackpressureCaller, DropNonTerminal, DropOldest, DropProgress, FailSubscriber, LatestOnly,
    SummarizeAndContinue,
};

#[tokio::test]
async fn f003_11_by_default_the_beginning_and_the_end_are_kept() {
    let defaults = SubscribeOptions::default();
    assert_eq!(
        (defaults.capacity, defaults.reserve, defaults.policy),
        (1_024, 1, DropNonTerminal)
    );
    let small = defaults.capacity(2);
    assert_eq!(run(small, "dddT").await, "1 [(2, 3)] 4");
}

#[tokio::test]
async fn d003_08_a_reader_within_its_capacity_reads_the_log() {
    // The reserve is for those who are beyond their capacity.
    assert_eq!(run(options(3, 2, DropProgress), "ddd").await, "1 2 3");
}

#[tokio::test]
async fn d003_09_every_loss_is_told_where_it_is() {
    let told = run(options(2, 1, DropNonTerminal), "mmTm").await;
    assert_eq!(told, "1 [(2, 2)] 3 [(4, 4)]");
}

#[tokio::test]
async fn d003_10_and_d003_11_losses_are_counted_exactly_and_ascend() {
    let bus = bus().await;
    let mut events = standing(&bus, options(3, 1, DropProgress)).await;
    publish(&bus, "dddm").await;
    let items = ready(&mut events);
    assert_eq!(told(&items), "[(1, 1)] 2 [(3, 3)] 4");
    publish(&bus, "dddmTTT").await;
    assert_eq!(told(&ready(&mut events)), "[(5, 8)] 9 10 11");
    let stats = bus.stats().subscriptions[&events.id()];
    assert_eq!((stats.delivered, stats.skipped, stats.lag), (5, 6, 0));
}

#[tokio::test]
async fn d003_12_failing_is_a_typed_end_from_which_to_resume() {
    let bus = bus().await;
    let mut events = standing(&bus, options(2, 1, FailSubscriber)).await;
    publish(&bus, "mmmT").await;
    let items = ready(&mut events);
    assert_eq!(told(&items), "1 slow_consumer");
    let Err(BusError::Overflow { resume }) = items[1] else {
        panic!("{items:?}");
    };
    assert!(events.next().await.is_none(), "the end is the end");
    let options = options(2, 1, FailSubscriber).from(BusStart::After(resume));
    let mut resumed = bus.subscribe(options).unwrap();
    assert_eq!(told(&ready(&mut resumed)), "2 3 4 caught up");
}

#[tokio::test]
async fn d003_13_a_summary_says_how_much_it_stands_for() {
    let summarising = |capacity| options(capacity, 1, SummarizeAndContinue);
    assert_eq!(run(summarising(64), "dmdT").await, "1 2 3 4");

    let bus = bus().await;
    let mut events = standing(&bus, summarising(2)).await;
    publish(&bus, "dddddT").await;
    let items = ready(&mut events);
    assert_eq!(told(&items), "[(1, 5)]*5 6");
    let Ok(BusItem::Summary(summary)) = &items[0] else {
        panic!("{items:?}");
    };
    assert_eq!((summary.folded, summary.gap.missed), (5, Some(5)));
    assert_eq!(summary.last.as_ref().unwrap().place().seq.0, 5);
}

fn overflow(items: &[Result<BusItem, BusError>]) -> &Gap {
    let gap = |item| match item {
        &Ok(BusItem::Gap(ref gap)) if gap.reason == GapReason::Overflow => Some(gap),
        _ => None,
    };
    items.iter().find_map(gap).unwrap()
}

fn after(cursor: Option<Cursor>) -> SubscribeOptions {
    SubscribeOptions::default().from(BusStart::After(cursor.unwrap()))
}

#[tokio::test]
async fn d003_15_repair_brings_back_exactly_what_is_still_there() {
    let limits = TailLimits {
        events: 6,
        ..LIMITS
    };
    let bus = bus_with(limits).await;
    let mut events = standing(&bus, options(3, 1, DropProgress)).await;
    publish(&bus, "mmdddd").await;
    // The machine decides now; then retention goes on.
    let first = events.next().await.unwrap().unwrap();
    assert_eq!(told(&[Ok(first)]), "1");
    publish(&bus, "mmm").await;
    let items = ready(&mut events);
    // What was kept and what was given up is told apart from what retention took.
    assert_eq!(told(&items), "[(2, 2)]expired [(3, 6)] 7 [(8, 9)]");
    let gap = overflow(&items);
    assert_eq!(gap.missed, Some(4));
    // Of 3 to 6, the number 3 is gone for good.
    let mut repaired = bus.subscribe(after(gap.repair)).unwrap();
    assert_eq!(told(&ready(&mut repaired)), "4 5 6 7 8 9 caught up");
}

#[tokio::test]
async fn d003_15_what_cannot_be_repaired_says_so() {
    let limits = TailLimits {
        events: 4,
        ..LIMITS
    };
    let bus = bus_with(limits).await;
    let mut events = standing(&bus, options(2, 1, DropProgress)).await;
    publish(&bus, "mddt").await;
    assert_eq!(told(&[Ok(events.next().await.unwrap().unwrap())]), "1");
    publish(&bus, "mmmmm").await;
    let items = ready(&mut events);
    assert_eq!(
        told(&items),
        "[(2, 3)] [(4, 4)]expired [(5, 5)]expired 6 [(7, 9)]"
    );
    assert_eq!(overflow(&items).repair, None);
}

#[tokio::test]
async fn d003_16_a_bound_without_a_place_for_ordinary_events_is_refused() {
    let bus = bus().await;
    let bounded = |capacity, reserve| {
        let options = SubscribeOptions::default();
        bus.subscribe(options.capacity(capacity).reserve(reserve))
    };
    for (capacity, reserve) in [(2, 5), (1, 1)] {
        let refused = bounded(capacity, reserve).unwrap_err();
        assert_eq!(refused.code(), "invalid_option");
    }
    assert!(bounded(1, 0).is_ok());
    let clamped = LagBound::clamped(2, 5, DropProgress);
    assert!(
        bus.subscribe(SubscribeOptions::default().bounded(clamped))
            .is_ok()
    );
}

/// 003-F10: events that end nothing may have all places but the reserve, final ones all.
#[tokio::test]
async fn f003_10_the_reserve_is_for_final_events_alone() {
    let told = run(options(4, 2, DropNonTerminal), "mmmmmTT").await;
    assert_eq!(told, "1 2 [(3, 5)] 6 7");
    let told = run(options(4, 2, DropNonTerminal), "mTTTTT").await;
    assert_eq!(told, "[(1, 2)]! 3 4 5 6", "of final events the oldest goes");
}

#[tokio::test]
async fn f003_13_progress_is_folded_in_front_of_what_is_none() {
    let summarising = || options(2, 1, SummarizeAndContinue);
    assert_eq!(run(summarising(), "dddT").await, "[(1, 3)]*3 4");
    assert_eq!(
        run(summarising(), "ddmdT").await,
        "[(1, 2)]*2 3 [(4, 4)]*1 5"
    );
}

#[tokio::test]
async fn f003_14_who_is_to_fail_ends_at_the_first_overflow_and_nobody_else_does() {
    let bus = bus().await;
    let mut failing = standing(&bus, options(1, 0, FailSubscriber)).await;
    let mut other = standing(&bus, options(2, 0, DropOldest)).await;
    publish(&bus, "mm").await;
    let items = ready(&mut failing);
    let Some(Err(BusError::Overflow { resume })) = items.last() else {
        panic!("{items:?}");
    };
    assert_eq!(resume.place(), failing.cursor().place());
    assert!(failing.next().await.is_none());
    assert_eq!(told(&ready(&mut other)), "1 2");
    publish(&bus, "m").await;
    assert_eq!(told(&ready(&mut other)), "3");
    assert!(failing.next().await.is_none());
}

/// 003-F17: what is missing, between which cursors, by which policy, for which reason, whether a final
/// event is among it, and from where to repair it.
#[tokio::test]
async fn f003_17_a_notice_says_what_is_missing_and_why() {
    for (policy, letters, reason, preserved, missing) in [
        (
            DropNonTerminal,
            "mmmm",
            "policy_dropped_non_terminal",
            true,
            (2, 4),
        ),
        (
            DropProgress,
            "dmdd",
            "policy_dropped_progress",
            true,
            (1, 1),
        ),
        (DropOldest, "mmmm", "subscriber_lagged", true, (1, 2)),
        (LatestOnly, "mmmm", "subscriber_lagged", true, (1, 2)),
        (
            DropNonTerminal,
            "TTTT",
            "subscriber_queue_full",
            false,
            (1, 2),
        ),
    ] {
        let bus = bus().await;
        let mut events = standing(&bus, options(2, 1, policy)).await;
        publish(&bus, letters).await;
        let items = ready(&mut events);
        let gap = overflow(&items);
        let detail = gap.overflow.unwrap();
        assert_eq!(detail.policy, policy);
        assert_eq!(detail.detail.as_str(), reason, "{policy}");
        assert_eq!(detail.terminal_preserved, preserved, "{policy}");
        assert_eq!(gap.reason, GapReason::Overflow);
        assert_eq!(gap.ranges.as_slice()[0], missing, "{policy}");
        assert_eq!(gap.missed, Some(gap.ranges.count()));
        let before = missing.0 - 1;
        assert_eq!(gap.requested.unwrap().place(), before);
        assert_eq!(gap.repair.unwrap().place(), before);
        let last = gap.ranges.as_slice().last().unwrap().1;
        assert_eq!(gap.resumes_at.place(), last);
    }
}

#[tokio::test]
async fn f003_15_no_live_subscription_holds_up_its_publishers() {
    let bus = bus().await;
    let refused = bus
        .subscribe(options(4, 1, BackpressureCaller))
        .unwrap_err();
    assert_eq!(refused.code(), "invalid_overflow_policy");
    let BusError::InvalidOverflowPolicy { policy } = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(policy, BackpressureCaller);
}

#[tokio::test]
async fn d003_23_the_end_of_the_session_is_delivered() {
    let letters = format!("{}T", "t".repeat(50));
    let told = run(options(4, 1, DropNonTerminal), &letters).await;
    assert_eq!(told, "[(1, 47)]! 48 49 50 51");
}

#[tokio::test]
async fn d003_24_metering_is_not_dropped_as_progress() {
    let letters = format!("{}u", "d".repeat(100));
    let told = run(options(4, 1, DropProgress), &letters).await;
    assert_eq!(told, "[(1, 1)] 2 3 [(4, 100)] 101");
}

#[tokio::test]
async fn latest_only_keeps_the_latest_of_each_kind_in_each_session() {
    let bus = bus().await;
    let mut events = standing(&bus, options(3, 1, LatestOnly)).await;
    for (session, kind) in [
        ("a", "one"),
        ("b", "one"),
        ("b", "two"),
        ("b", "one"),
        ("b", "two"),
        ("b", "two"),
    ] {
        bus.publish(key(session), vec![draft(kind)]).await.unwrap();
    }
    assert_eq!(told(&ready(&mut events)), "1 [(2, 3)] 4 [(5, 5)] 6");
}

/// The names are a contract.
#[tokio::test]
async fn f003_28_the_notice_as_it_stands_on_the_wire() {
    let bus = bus().await;
    let mut events = standing(&bus, options(2, 1, DropOldest)).await;
    publish(&bus, "mTTT").await;
    let items = ready(&mut events);
    let json = serde_json::to_string(overflow(&items)).unwrap();
    let epoch = bus.tail().epoch().to_string();
    assert_eq!(
        json.replace(&epoch, "EPOCH"),
        "{\"reason\":\"overflow\",\"ranges\":[[1,2]],\"missed\":2,\
         \"requested\":\"EPOCH.00000000000000000000.all\",\
         \"resumes_at\":\"EPOCH.00000000000000000002.all\",\
         \"repair\":\"EPOCH.00000000000000000000.all\",\
         \"policy\":\"drop_oldest\",\"detail\":\"subscriber_lagged\",\"terminal_preserved\":false}"
    );
}

#[derive(Debug, Clone)]
enum Step {
    Publish { letter: char, wanted: bool },
    Read(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let letter = prop::sample::select(vec!['d', 'm', 'u', 't', 'T']);
    prop_oneof![
        4 => (letter, any::<bool>()).prop_map(|(letter, wanted)| Step::Publish { letter, wanted }),
        1 => (0..4_usize).prop_map(Step::Read),
    ]
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
    #![proptest_config(cases(1_000))]

    /// Whatever is published, whatever the policy, whenever it is read, and whatever retention takes:
    /// each event that matches is delivered or told as missing, once, in order; and a reader that
    /// resumes at any cursor on the way gets what follows it.
    #[test]
    fn delivered_and_told_as_missing_is_what_matches(
        policy in prop::sample::select(
            OverflowPolicy::ALL.iter().copied().filter(|p| *p != BackpressureCaller).collect::<Vec<_>>()
        ),
        capacity in 1..6_usize,
        reserve in 0..6_usize,
        retained in 1..60_usize,
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let limits = TailLimits { events: retained, ..LIMITS };
        let bus = bus_with(limits).now_or_never().unwrap();
        let bound = LagBound::clamped(capacity, reserve, policy);
        let wanted = SubscribeOptions::matching(Filter::matching("wanted").unwrap());
        let mut events = bus.subscribe(wanted.bounded(bound)).unwrap();
        prop_assert_eq!(told(&ready(&mut events)), "caught up");
        let (mut matching, mut items) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Publish { letter, wanted } => {
                    let mut event = draft(if wanted { "wanted" } else { "other" });
                    (event.class, event.finality) = (lettered(letter).class, lettered(letter).finality);
                    let seq = bus.tail().info().latest.0 + 1;
                    let session = key(&format!("s{seq}"));
                    bus.publish(session, vec![event]).now_or_never().unwrap().unwrap();
                    matching.extend(wanted.then_some(seq));
                }
                Step::Read(count) => {
                    for _ in 0..count {
                        items.extend(events.next().now_or_never().flatten());
                        let at = events.cursor().place();
                        let behind = items.last().map_or(0, last);
                        prop_assert!(at >= behind, "the cursor stands behind what was told");
                    }
                }
            }
        }
        items.extend(ready(&mut events));
        let (mut delivered, mut missing, mut told_to) = (Vec::new(), Vec::new(), 0);
        for item in &items {
            let (seqs, of) = match item {
                Ok(BusItem::Event(frame)) => (vec![frame.event.place().seq.0], &mut delivered),
                Ok(BusItem::Gap(gap)) => (gap.ranges.iter().flatten().collect(), &mut missing),
                Ok(BusItem::Summary(summary)) => {
                    (summary.gap.ranges.iter().flatten().collect(), &mut missing)
                }
                Err(BusError::Overflow { resume }) => {
                    prop_assert_eq!(policy, FailSubscriber);
                    matching.retain(|seq| *seq <= resume.place());
                    continue;
                }
                other => panic!("{other:?}"),
            };
            prop_assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(seqs.first().is_some_and(|first| *first > told_to));
            told_to = *seqs.last().unwrap();
            // Retention also tells of what did not match.
            of.extend(seqs.into_iter().filter(|seq| matching.contains(seq)));
        }
        let counts = bus.stats().subscriptions[&events.id()];
        prop_assert_eq!(counts.delivered, delivered.len() as u64);
        let mut all = [delivered, missing].concat();
        all.sort_unstable();
        prop_assert_eq!(all, matching);
    }
}

fn last(item: &Result<BusItem, BusError>) -> u64 {
    match item {
        Ok(BusItem::Event(frame)) => frame.event.place().seq.0,
        Ok(BusItem::Gap(gap)) => gap.resumes_at.place(),
        Ok(BusItem::Summary(summary)) => summary.gap.resumes_at.place(),
        _ => 0,
    }
}
