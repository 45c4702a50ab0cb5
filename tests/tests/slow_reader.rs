//! A reader of the bus that is too slow: in process, so that nothing but the reader decides when it
//! reads.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use axum::body::Body;
use futures_util::StreamExt;
use http::Request;
use reveille_gateway::{Gateway, GatewayConfig};
use reveille_memory::MemoryBackend;
use reveille_queue::{AppendOptions, SessionOptions, Sessions, TailLimits};
use reveille_types::{EventDraft, SessionKey, Tenant};
use tower::ServiceExt;

struct Reader(axum::body::BodyDataStream);

impl Reader {
    async fn open(gateway: &Gateway, after: Option<&str>) -> Self {
        let mut request = Request::get("/v1/events?after=latest")
            .header("host", "localhost")
            .header("accept", "text/event-stream");
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let request = request.body(Body::empty()).unwrap();
        let answer = gateway.router().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        Self(answer.into_body().into_data_stream())
    }

    /// Reads up to a frame that has this text, or to the end.
    async fn until(&mut self, text: &str) -> String {
        let mut read = String::new();
        while !read.contains(text)
            && let Some(chunk) = reveille_e2e::soon("more", self.0.next()).await
        {
            read += std::str::from_utf8(&chunk.unwrap()).unwrap();
        }
        read
    }
}

fn events(read: &str) -> usize {
    let frames = read.split("\n\n");
    let is_event = |frame: &&str| frame.contains("data: {\"specversion\"");
    frames.filter(is_event).count()
}

fn last_id(read: &str) -> &str {
    let mut ids = read.lines().filter_map(|line| line.strip_prefix("id: "));
    ids.next_back().unwrap()
}

#[tokio::test]
async fn slow_reader_is_sent_away_and_loses_nothing() {
    let sessions = Sessions::builder(MemoryBackend::new())
        .tail(TailLimits::default())
        .build();
    let gateway = Gateway::new(sessions.clone(), GatewayConfig::default());
    let mut slow = Reader::open(&gateway, None).await;
    slow.until("reveille.caught_up").await;

    let key = SessionKey::in_tenant(Tenant::default_tenant(), "s").unwrap();
    let (log, _) = sessions
        .get_or_create(key, SessionOptions::default())
        .await
        .unwrap();
    let batch = || vec![EventDraft::parse("step").unwrap(); 600];
    for _ in 0..2 {
        log.append(batch(), AppendOptions::default()).await.unwrap();
    }
    // What its bound has places for it gets; then it has to come back.
    let read = slow.until("no such text").await;
    assert_eq!(events(&read), 1_023);
    let end = read.split("event: ").last().unwrap();
    assert!(end.starts_with("reveille.reconnect\ndata: {\"reason\":\"slow_consumer\""));

    let mut resumed = Reader::open(&gateway, Some(last_id(&read))).await;
    let rest = resumed.until("reveille.caught_up").await;
    assert!(!rest.contains("reveille.gap"));
    assert_eq!(events(&rest), 1_200 - 1_023);
}
