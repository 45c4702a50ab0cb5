//! What of payloads subscribers see.

#![allow(
    clippy::unwrap_used,
    reason = "in a test an unwrap that fails is the failure"
)]

mod common;

use common::{bus, draft, event, key};
use reveille_bus::{
    Bus, BusOptions, BusStart, EventBus, HistoryQuery, PayloadPolicy, Shown, SubscribeOptions,
    Subscriber,
};
use reveille_memory::MemoryBackend;
use reveille_queue::{Sessions, TailLimits};
use reveille_types::sets::PayloadAccess;
use reveille_types::{Event, EventDraft, EventId, Filter, Payload, Privacy, Tenant};
use serde_json::{Value, json};

use PayloadAccess::{EnvelopeOnly, FullPayloadIfPolicyAllows, PayloadRefs, RedactedSummary};

fn classified(privacy: Option<Privacy>) -> EventDraft {
    let mut draft = draft("tool.completed");
    draft.privacy = privacy;
    let content = json!({
        "redacted_summary": "one file was read",
        "payload_refs": ["blob:1"],
        "content": "the very content",
    });
    draft.payload = Payload::json(&content).unwrap();
    draft
}

async fn read(bus: &Bus, access: PayloadAccess) -> (Value, Shown) {
    let options = SubscribeOptions::default()
        .from(BusStart::Earliest)
        .access(access);
    let frame = event(&mut bus.subscribe(options).unwrap()).await;
    let payload = frame.event.payload().parse().unwrap_or(Value::Null);
    (payload, frame.shown)
}

async fn with(draft: EventDraft) -> Bus {
    let bus = bus().await;
    bus.publish(key("s"), vec![draft]).await.unwrap();
    bus
}

#[tokio::test]
async fn d003_06_the_same_event_is_shown_to_each_as_it_asked_and_may() {
    let summary = json!({"redacted_summary": "one file was read"});
    let refs = json!({"payload_refs": ["blob:1"]});
    let classes = [
        None,
        Some(Privacy::Public),
        Some(Privacy::Internal),
        Some(Privacy::ContentRefsOnly),
        Some(Privacy::Sensitive),
        Some(Privacy::Secret),
    ];
    for privacy in classes {
        let bus = with(classified(privacy)).await;
        let granted = |access| Shown {
            access,
            denied: false,
        };
        assert_eq!(
            read(&bus, EnvelopeOnly).await,
            (Value::Null, granted(EnvelopeOnly))
        );
        assert_eq!(
            read(&bus, RedactedSummary).await,
            (summary.clone(), granted(RedactedSummary))
        );
        assert_eq!(
            read(&bus, PayloadRefs).await,
            (refs.clone(), granted(PayloadRefs))
        );
        let (payload, shown) = read(&bus, FullPayloadIfPolicyAllows).await;
        if matches!(privacy, None | Some(Privacy::Public)) {
            assert_eq!(payload["content"], "the very content");
            assert_eq!(shown, granted(FullPayloadIfPolicyAllows));
        } else {
            assert_eq!(payload, summary, "{privacy:?}");
            assert_eq!(
                shown,
                Shown {
                    access: RedactedSummary,
                    denied: true
                },
                "{privacy:?}"
            );
        }
    }
}

#[tokio::test]
async fn d003_06_whoever_asks_for_nothing_sees_no_payload() {
    let bus = with(classified(None)).await;
    let mut events = bus
        .subscribe(
            SubscribeOptions::default()
                .from(BusStart::Earliest)
                .predicate(|event| {
                    // Nor does its predicate.
                    event.payload().is_empty()
                }),
        )
        .unwrap();
    let frame = event(&mut events).await;
    assert!(frame.event.payload().is_empty());
    assert_eq!(frame.event.envelope().kind.as_str(), "tool.completed");
    let history = |query| bus.history(&query)[0].payload().is_empty();
    assert!(history(HistoryQuery::matching(Filter::all())));
    assert!(!history(HistoryQuery::matching(Filter::all()).payloads()));
}

/// A payload without a summary has none, and nothing of it is made up.
#[tokio::test]
async fn f003_21_a_payload_without_summary_or_references_shows_nothing() {
    for payload in [
        Payload::json(&json!({"content": "c"})).unwrap(),
        Payload::json(&json!(["redacted_summary"])).unwrap(),
        Payload::json(&json!({"redacted_summary": 5})).unwrap(),
        Payload::bytes(Some("text/plain"), "redacted_summary").unwrap(),
    ] {
        let mut draft = draft("a");
        draft.payload = payload;
        let bus = with(draft).await;
        for access in [RedactedSummary, PayloadRefs] {
            assert_eq!(read(&bus, access).await.0, Value::Null);
        }
    }
}

#[derive(Debug)]
struct Named;

impl PayloadPolicy for Named {
    fn grant(&self, subscriber: &Subscriber<'_>, event: &Event) -> PayloadAccess {
        assert_ne!(event.kind().as_str(), "broken", "a policy may panic");
        match subscriber.name {
            Some("auditor") => FullPayloadIfPolicyAllows,
            _ => EnvelopeOnly,
        }
    }
}

#[tokio::test]
async fn f003_22_a_policy_of_ones_own_decides_and_its_panics_hide() {
    let sessions = Sessions::builder(MemoryBackend::new())
        .tail(TailLimits::default())
        .build();
    let bus = Bus::open_with(
        sessions,
        Tenant::default_tenant(),
        BusOptions::default().policy(Named),
    )
    .await
    .unwrap();
    let mut broken = classified(None);
    broken.kind = draft("broken").kind;
    let secret = classified(Some(Privacy::Secret));
    bus.publish(key("s"), vec![secret, broken]).await.unwrap();
    for (name, access, sees) in [
        ("auditor", FullPayloadIfPolicyAllows, true),
        // Nobody gets more than it asked for.
        ("auditor", EnvelopeOnly, false),
        ("other", FullPayloadIfPolicyAllows, false),
    ] {
        let options = SubscribeOptions::default()
            .from(BusStart::Earliest)
            .access(access);
        let mut events = bus.subscribe(options.named(name)).unwrap();
        let first = event(&mut events).await;
        assert_eq!(!first.event.payload().is_empty(), sees, "{name}");
        let second = event(&mut events).await;
        assert!(second.event.payload().is_empty());
        let asked = access != EnvelopeOnly;
        assert_eq!(second.shown.denied, asked);
        assert_eq!(
            bus.stats().subscriptions[&events.id()].errors,
            u64::from(asked)
        );
    }
}

#[tokio::test]
async fn f003_02_ids_and_content_of_what_is_private_are_not_printed() {
    for (privacy, printed) in [
        (None, true),
        (Some(Privacy::Public), true),
        (Some(Privacy::Internal), true),
        (Some(Privacy::Sensitive), false),
        (Some(Privacy::Secret), false),
    ] {
        let mut draft = classified(privacy);
        draft.id = Some(EventId::parse("id-17").unwrap());
        draft.subject = Some("subject-17".into());
        let text = format!("{draft:?}");
        assert!(!text.contains("very content"), "{text}");
        assert_eq!(text.contains("id-17"), printed, "{text}");
        let bus = with(draft).await;
        let mut events = bus
            .subscribe(
                SubscribeOptions::default()
                    .from(BusStart::Earliest)
                    .payloads(),
            )
            .unwrap();
        let frame = event(&mut events).await;
        let text = format!("{frame:?} {:?}", frame.event.envelope());
        assert!(!text.contains("very content"), "{text}");
        assert_eq!(text.contains("id-17"), printed, "{text}");
        assert_eq!(text.contains("subject-17"), printed, "{text}");
        assert_eq!(text.contains("EventId(redacted)"), !printed, "{text}");
    }
}
