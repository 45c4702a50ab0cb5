//! Long logs are looked through in pieces, and nothing between two pieces is missed.

use std::sync::Arc;
use std::time::Duration;

use reveille_memory::MemoryBackend;
use reveille_queue::{
    PageOptions, SessionLog, SessionOptions, Sessions, SubscribeOptions, TailLimits, TakeOptions,
    TakeOutcome, WaitOptions, WaitOutcome,
};
use reveille_types::{Position, Seq, Start, Tenant};
use tokio_test::{assert_pending, assert_ready, task};

use crate::support::{append, create, drain, log, matched, matching, taken};

/// More than is looked at under one lock, several times.
const MANY: u64 = 5_000;

/// Plain events, and among them some that are rare.
fn fill(log: &SessionLog, rare: &[u64]) {
    for position in 0..MANY {
        let kind = if rare.contains(&position) {
            "rare"
        } else {
            "plain"
        };
        append(log, &[kind]);
    }
}

#[tokio::test]
async fn rare_events_are_found_however_far_apart() {
    let log = log();
    let rare = [0, 1023, 1024, 1025, 4000, 4999];
    fill(&log, &rare);
    let page = PageOptions::from(Start::Earliest, 100).matching(matching("rare"));
    let found = log.page(&page).unwrap();
    let positions: Vec<u64> = found.events.iter().map(|e| e.position().0).collect();
    assert_eq!(positions, rare);
    assert!(found.caught_up);
    let mut page = page;
    page.limit = 2;
    let found = log.page(&page).unwrap();
    assert_eq!(found.cursor.position(), Some(Position(1024)));
    assert!(!found.caught_up);
    assert_eq!(log.count(&matching("rare")), 6);
    assert_eq!(log.count(&matching("plain")), 4994);

    let all = SubscribeOptions::from(Start::Earliest).matching(matching("rare"));
    let mut reader = log.subscribe(all).unwrap();
    let items = drain(&mut reader);
    assert_eq!(items, ["0", "1023", "1024", "1025", "4000", "4999", "live"]);
    assert_eq!(reader.cursor().position(), Some(Position(MANY)));
    append(&log, &["plain", "rare"]);
    assert_eq!(drain(&mut reader), ["5001"]);
}

#[tokio::test]
async fn wait_looks_through_all_of_a_long_log_even_if_it_may_not_wait() {
    let log = log();
    fill(&log, &[4999]);
    let now = |filter| WaitOptions::any(filter).timeout(Duration::ZERO);
    let outcome = log.wait(now(matching("rare"))).await.unwrap();
    assert_eq!(matched(&outcome), [4999]);
    let WaitOutcome::TimedOut { next, .. } = log.wait(now(matching("none"))).await.unwrap() else {
        panic!("there is none");
    };
    assert_eq!(next.position(), Some(Position(MANY)));
    let mut waiting = task::spawn(log.wait(WaitOptions::any(matching("none"))));
    assert_pending!(waiting.poll());
    append(&log, &["none"]);
    assert!(waiting.is_woken());
    assert_eq!(matched(&assert_ready!(waiting.poll()).unwrap()), [MANY]);
}

#[tokio::test]
async fn take_looks_through_all_of_a_long_log() {
    let log = log();
    fill(&log, &[1023, 1024, 4999]);
    let rare = || TakeOptions::new().matching(matching("rare"));
    for expected in [1023, 1024, 4999] {
        let outcome = log.take(rare().timeout(Duration::ZERO)).await.unwrap();
        assert_eq!(taken(&outcome), [expected]);
    }
    let mut waiting = task::spawn(log.take(rare()));
    assert_pending!(waiting.poll());
    append(&log, &["rare"]);
    assert_eq!(taken(&assert_ready!(waiting.poll()).unwrap()), [MANY]);
    let all = TakeOptions::new().max(10_000).timeout(Duration::ZERO);
    assert_eq!(taken(&log.take(all).await.unwrap()).len(), 4997);
}

#[test]
fn event_given_back_while_a_taker_looks_is_not_missed() {
    let log = log();
    fill(&log, &[0, 1]);
    let group = TakeOptions::new().group;
    std::thread::scope(|scope| {
        let (log, group) = (&log, &group);
        // Three want one of two events for a moment each: whoever finds neither waits for one.
        for _ in 0..3 {
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread();
                let runtime = { runtime }.enable_all().build().unwrap();
                let rare = TakeOptions::new().matching(matching("rare"));
                for _ in 0..200 {
                    let leased = rare.clone().lease(Duration::from_secs(60));
                    let outcome = runtime.block_on(log.take(leased)).unwrap();
                    let TakeOutcome::Taken { taken, .. } = outcome else {
                        panic!("the session is open");
                    };
                    let id = taken[0].lease.as_ref().unwrap().id;
                    runtime.block_on(log.nack(group, id)).unwrap();
                }
            });
        }
    });
    assert_eq!(log.group_info(&group).unwrap().pending, MANY);
}

#[tokio::test]
async fn order_of_a_tenant_is_looked_through_in_pieces() {
    let sessions = Sessions::builder(MemoryBackend::new())
        .tail(TailLimits::default())
        .build();
    let log = create(&sessions, "s", SessionOptions::default());
    let rare = [10, 1100, 4999];
    fill(&log, &rare);
    let tail = sessions.tail(&Tenant::default_tenant()).unwrap();
    let filter = matching("rare");
    let positions = |events: &[reveille_types::Event]| -> Vec<u64> {
        events.iter().map(|e| e.position().0).collect()
    };
    assert_eq!(positions(&tail.last(&filter, 2)), [1100, 4999]);
    assert_eq!(positions(&tail.last(&filter, 9)), rare);
    assert_eq!(tail.count(&filter), 3);
    let (mut at, mut found) = (Seq(0), Vec::new());
    while at < tail.info().latest {
        let page = tail.read(at, &filter, 10, usize::MAX);
        found.extend(positions(&page.events));
        at = page.read_to;
    }
    assert_eq!(found, rare);

    let mut watch = tail.watch(matching("none"));
    let mut reader = task::spawn(());
    // What does not match is passed over in one poll, and told as progress.
    let page = reader.enter(|cx, _| watch.poll_read(cx, Seq(0), 10, usize::MAX));
    assert_eq!(assert_ready!(page).read_to, Seq(MANY));
    let page = reader.enter(|cx, _| watch.poll_read(cx, Seq(MANY), 10, usize::MAX));
    assert_pending!(page);
    append(&log, &["none"]);
    assert!(reader.is_woken());
}

/// One page for all readers of the same at one place, as long as reading anew would give no more.
#[tokio::test]
async fn readers_of_the_same_share_a_page_until_there_is_more() {
    let sessions = Sessions::builder(MemoryBackend::new())
        .tail(TailLimits::default())
        .build();
    let log = create(&sessions, "s", SessionOptions::default());
    let tail = sessions.tail(&Tenant::default_tenant()).unwrap();
    let mut reader = task::spawn(());
    let mut read = |kind: &str, after: u64, limit: usize| {
        let mut watch = tail.watch(matching(kind));
        let page = reader.enter(|cx, _| watch.poll_read(cx, Seq(after), limit, usize::MAX));
        assert_ready!(page)
    };
    append(&log, &["rare", "other"]);
    let first = read("rare", 0, 10);
    assert!(Arc::ptr_eq(&first, &read("rare", 0, 10)));
    // Another filter, another place, another bound.
    assert_eq!(read("other", 0, 10).events[0].kind().as_str(), "other");
    assert_eq!(read("rare", 1, 10).events.len(), 0);
    assert_eq!(read("rare", 0, 10), first);
    append(&log, &["rare"]);
    assert_eq!(read("rare", 0, 10).events.len(), 2);
    let full = read("rare", 0, 1);
    append(&log, &["rare"]);
    assert!(
        Arc::ptr_eq(&full, &read("rare", 0, 1)),
        "there is no room for more"
    );
    sessions.remove(log.key()).await.unwrap();
    let gone = read("rare", 0, 1);
    assert_eq!((gone.events.len(), gone.missing.count()), (0, 4));
}
