//! What sessions may hold together: the largest pay, with a gap, and nobody else.

use std::time::Duration;

use reveille_memory::MemoryBackend;
use reveille_queue::{
    AppendOptions, PageOptions, QueueLimits, SessionLog, SessionOptions, Sessions,
    SubscribeOptions, TakeOptions,
};
use reveille_types::{EventDraft, Payload, Position, SessionKey, Start, Tenant};

use crate::support::{create, draft, drain, ms};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

fn limited(change: impl FnOnce(&mut QueueLimits)) -> Sessions {
    let mut limits = QueueLimits::default();
    change(&mut limits);
    Sessions::builder(MemoryBackend::new())
        .limits(limits)
        .build()
}

fn heavy(bytes: usize) -> EventDraft {
    draft("heavy").with_payload(Payload::json(&"x".repeat(bytes)).unwrap())
}

fn fill(log: &SessionLog, events: usize, bytes: usize) {
    for _ in 0..events {
        log.try_append([heavy(bytes)], AppendOptions::default())
            .unwrap();
    }
}

/// How many events are retained, and how many a reader from the beginning is told as missing.
fn kept_and_told(log: &SessionLog) -> (u64, u64) {
    let from = PageOptions::from(Start::At(Position::START), 1);
    let gap = log.page(&from).unwrap().gap;
    if let Some(gap) = &gap {
        assert_eq!(gap.resumes_at, log.oldest());
    }
    let told = gap.map_or(0, |gap| gap.missed.unwrap());
    (log.info().retained, told)
}

#[tokio::test]
async fn d001_23_all_sessions_stay_within_the_budget_and_tell_what_went() {
    let sessions = limited(|limits| limits.bytes = MIB);
    let mut highest = 0;
    for n in 0..100 {
        let log = create(&sessions, &format!("s{n}"), SessionOptions::default());
        fill(&log, 100, KIB);
        highest = highest.max(sessions.info().bytes);
    }
    assert!(highest <= MIB, "{highest} bytes were held");
    let mut dropped = 0;
    for n in 0..100 {
        let log = sessions
            .get(&crate::support::key(&format!("s{n}")))
            .unwrap();
        let (kept, told) = kept_and_told(&log);
        assert!(kept > 0, "no session is starved");
        assert_eq!(kept + told, 100);
        assert_eq!(log.info().dropped, told);
        dropped += told;
    }
    assert_eq!(sessions.info().dropped, dropped);
}

#[tokio::test]
async fn largest_session_of_the_tenant_pays_and_no_other_tenant() {
    let sessions = limited(|limits| limits.bytes_per_tenant = 64 * KIB);
    let other = Tenant::parse("other").unwrap();
    let foreign = sessions
        .create(
            SessionKey::in_tenant(other.clone(), "s").unwrap(),
            SessionOptions::default(),
        )
        .await
        .unwrap();
    fill(&foreign, 40, KIB);
    let small = create(&sessions, "small", SessionOptions::default());
    fill(&small, 4, KIB);
    let large = create(&sessions, "large", SessionOptions::default());
    let mut reader = large
        .subscribe(SubscribeOptions::from(Start::Latest))
        .unwrap();
    assert_eq!(drain(&mut reader), ["live"]);
    fill(&large, 200, KIB);
    assert_eq!(kept_and_told(&small), (4, 0));
    assert_eq!(kept_and_told(&foreign), (40, 0));
    let (kept, told) = kept_and_told(&large);
    assert_eq!(kept + told, 200);
    assert!(sessions.bytes_of(&Tenant::default_tenant()) <= 64 * KIB);
    assert!(sessions.bytes_of(&other) > 40 * KIB);
    let items = drain(&mut reader);
    assert_eq!(items[0], format!("gap [(0, {})] missed {told}", told - 1));
    assert_eq!(items.len() as u64, 1 + kept);
}

#[tokio::test]
async fn only_what_can_never_fit_is_refused() {
    let sessions = limited(|limits| limits.bytes_per_tenant = 64 * KIB);
    let log = create(&sessions, "s", SessionOptions::default());
    fill(&log, 100, KIB);
    let before = log.info();
    let batch = vec![heavy(KIB); 64];
    let refused = log.try_append(batch, AppendOptions::default());
    assert_eq!(refused.unwrap_err().code(), "store_full");
    assert_eq!(log.info(), before, "nothing was stored and nothing went");
    log.try_append(vec![heavy(KIB); 32], AppendOptions::default())
        .unwrap();
}

#[tokio::test]
async fn bytes_come_back_when_sessions_go() {
    let sessions = limited(|_| {});
    let (removed, dropped) = ("removed", "dropped");
    for name in [removed, dropped] {
        let log = create(&sessions, name, SessionOptions::default());
        fill(&log, 10, KIB);
        assert_eq!(log.info().bytes, sessions.info().bytes as u64);
        // Leased events that have left the window count as well.
        let lease = TakeOptions::new().lease(ms(1000)).max(5);
        log.take(lease.timeout(Duration::ZERO)).await.unwrap();
        sessions.remove(&crate::support::key(name)).await.unwrap();
        assert_eq!((log.info().bytes, sessions.info().bytes), (0, 0));
    }
    let info = sessions.info();
    assert_eq!((info.open, info.created, info.removed), (0, 2, 2));
}

#[tokio::test]
async fn leased_events_beyond_the_budget_are_let_go_of() {
    let sessions = limited(|limits| limits.bytes_per_tenant = 64 * KIB);
    let log = create(&sessions, "s", SessionOptions::default());
    for _ in 0..20 {
        fill(&log, 20, KIB);
        let lease = TakeOptions::new().lease(ms(1000)).max(100);
        log.take(lease.timeout(Duration::ZERO)).await.unwrap();
        assert!(sessions.info().bytes <= 64 * KIB);
    }
}

#[test]
fn sessions_cut_each_other_from_many_threads_without_a_deadlock() {
    let sessions = limited(|limits| {
        limits.bytes_per_tenant = 64 * KIB;
        limits.bytes = 96 * KIB;
    });
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let sessions = &sessions;
            scope.spawn(move || {
                let tenant = Tenant::parse(format!("t{}", thread % 2)).unwrap();
                let key = SessionKey::in_tenant(tenant, &format!("s{thread}")).unwrap();
                let created = sessions.create(key, SessionOptions::default());
                let log = futures_util::FutureExt::now_or_never(created).unwrap();
                fill(&log.unwrap(), 500, KIB);
            });
        }
    });
    let info = sessions.info();
    assert!(info.bytes <= 96 * KIB);
    assert!(info.dropped >= 4 * 500 - 96);
}
