//! Frames and notices of a subscription as JSON, against the files in `golden/`.
//!
//! The names are a contract. What differs from run to run stands there as a word.

#![allow(
    clippy::unwrap_used,
    reason = "in a test an unwrap that fails is the failure"
)]

mod common;

use std::sync::Arc;

use common::{bus_with, draft, key};
use reveille_backend::{Archive, ArchiveId};
use reveille_bus::{BusItem, BusStart, EventBus, SubscribeOptions};
use reveille_memory::MemoryArchive;
use reveille_queue::TailLimits;
use reveille_types::sets::{OverflowPolicy, PayloadAccess};
use reveille_types::{Epoch, EventDraft, EventId, Payload, Privacy};

fn event(kind: &str, id: &str) -> EventDraft {
    let mut draft = draft(kind);
    draft.id = Some(EventId::parse(id).unwrap());
    draft.time = Some("2026-01-02T03:04:05Z".parse().unwrap());
    draft.payload = Payload::json(&serde_json::json!({"redacted_summary": "s", "n": 1})).unwrap();
    draft
}

/// As in the file, but for the epochs of this run.
fn check(name: &str, want: &str, item: &BusItem, epochs: &[Epoch]) {
    let mut json = serde_json::to_string(item).unwrap();
    for epoch in epochs {
        json = json.replace(epoch.as_str(), "EPOCH");
    }
    assert_eq!(json, want.trim_end(), "golden/{name}");
}

#[tokio::test]
async fn f003_28_frames_and_notices_keep_their_form() {
    let limits = TailLimits {
        events: 4,
        bytes: usize::MAX,
    };
    let bus = bus_with(limits).await;
    let progress = |id| event("agent.heartbeat", id);
    let mut live = bus
        .subscribe(
            SubscribeOptions::default()
                .capacity(2)
                .policy(OverflowPolicy::SummarizeAndContinue)
                .access(PayloadAccess::FullPayloadIfPolicyAllows),
        )
        .unwrap();
    let caught_up = live.next().await.unwrap().unwrap();
    let mut secret = event("task.completed", "e4");
    secret.privacy = Some(Privacy::Secret);
    let batch = vec![progress("e1"), progress("e2"), progress("e3"), secret];
    let published = bus.publish(key("s"), batch).await.unwrap();
    let epochs = [bus.tail().epoch(), published.receipt.cursor.epoch()];
    let summary = live.next().await.unwrap().unwrap();
    let denied = live.next().await.unwrap().unwrap();

    let archive = Arc::new(MemoryArchive::new(ArchiveId(Epoch::from_parts(1, 1))));
    let mut archiving = bus.archive_into(archive.clone());
    assert!(archiving.caught_up().await);
    let archive: Arc<dyn Archive> = archive;
    let options = SubscribeOptions::default()
        .from(BusStart::Earliest)
        .archive(archive);
    let archived = bus
        .subscribe(options)
        .unwrap()
        .next()
        .await
        .unwrap()
        .unwrap();

    let mut slow = bus.subscribe(SubscribeOptions::default().from(BusStart::After(
        bus.cursor(reveille_types::Seq(1), &reveille_types::Filter::all()),
    )));
    let batch = (5..9).map(|n| event("a", &format!("e{n}"))).collect();
    bus.publish(key("s"), batch).await.unwrap();
    let gap = slow.as_mut().unwrap().next().await.unwrap().unwrap();

    let check = |name: &str, want: &str, item: &BusItem| check(name, want, item, &epochs);
    check(
        "caught_up.json",
        include_str!("golden/caught_up.json"),
        &caught_up,
    );
    check(
        "summary.json",
        include_str!("golden/summary.json"),
        &summary,
    );
    check("denied.json", include_str!("golden/denied.json"), &denied);
    check(
        "archived.json",
        include_str!("golden/archived.json"),
        &archived,
    );
    check("gap.json", include_str!("golden/gap.json"), &gap);
}
