//! Filters that are too long for a URL, and streams that are compressed.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::io::Write;

use flate2::write::GzDecoder;
use futures_util::StreamExt;
use reqwest::{Client, Method, Response};
use reveille_e2e::{Server, SseReader, on_every_backend, publish, soon};
use serde_json::{Value, json};

/// Both ways to send a filter in a body, for one session and for all.
const WAYS: [(&str, &str); 4] = [
    ("POST", "/v1/sessions/s/events:query"),
    ("QUERY", "/v1/sessions/s/events"),
    ("POST", "/v1/events:query"),
    ("QUERY", "/v1/events"),
];

async fn query(server: &Server, way: (&str, &str), accept: &str, body: &Value) -> Response {
    let (method, path) = way;
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let asked = Client::new().request(method, server.at(path)).json(body);
    asked.header("accept", accept).send().await.unwrap()
}

fn kinds(page: &Value) -> Vec<&str> {
    let events = page["events"].as_array().unwrap();
    events.iter().map(|e| e["type"].as_str().unwrap()).collect()
}

async fn a_filter_in_a_body_reads_what_one_in_a_url_does(server: Server) {
    let batch: Vec<Value> = (0..100)
        .map(|n| json!({"type": format!("step.{n}"), "reveilleagent": format!("a{}", n % 2)}))
        .collect();
    publish(&server.url, "s", &json!(batch)).await;
    // Longer than a URL may be.
    let long = "x".repeat(110);
    let patterns: Vec<String> = (0..60).map(|n| format!("step.{n}.{long}")).collect();
    let wanted = ["step.7", "step.8"].map(str::to_owned);
    let patterns = [&patterns[..], &wanted].concat();
    let agents: Vec<String> = (1..60)
        .map(|n| format!("a{n}{}", &long[..(n - 1).min(99)]))
        .collect();
    let filter = json!({"match": patterns, "agent": agents});
    assert!(filter.to_string().len() > 8 * 1024);
    for way in WAYS {
        let page = query(&server, way, "application/json", &json!({"filter": filter})).await;
        assert_eq!(page.status(), 200, "{way:?}");
        let page: Value = page.json().await.unwrap();
        assert_eq!(kinds(&page), ["step.7"], "{way:?}");
        let first = json!({"limit": 2, "after": "earliest"});
        let first = query(&server, way, "application/json", &first).await;
        let first: Value = first.json().await.unwrap();
        assert_eq!(kinds(&first), ["step.0", "step.1"], "{way:?}");
        let rest = json!({"limit": 1, "after": first["cursor"]});
        let rest = query(&server, way, "application/json", &rest).await;
        assert_eq!(kinds(&rest.json().await.unwrap()), ["step.2"], "{way:?}");
        let stream = json!({"filter": filter, "after": "earliest"});
        let mut stream = SseReader::of(query(&server, way, "text/event-stream", &stream).await);
        assert!(stream.next().await.unwrap().is("reveille.open"));
        assert_eq!(stream.event().await.json()["type"], "step.7", "{way:?}");
        let none = json!({"filter": {"match": ["never"]}, "after": "latest", "wait_ms": 1});
        let none = query(&server, way, "application/json", &none).await;
        assert_eq!(none.status(), 204, "{way:?}");
        assert!(none.headers().contains_key("reveille-cursor"));
        for (wrong, status) in [
            (json!({"fliter": {}}), 422),
            (json!({"filter": {"match": ["a..b"]}}), 422),
            (json!({"after": "nonsense"}), 400),
        ] {
            let refused = query(&server, way, "application/json", &wrong).await;
            assert_eq!(refused.status(), status, "{way:?} {wrong}");
        }
    }
}

on_every_backend!(a_filter_in_a_body_reads_what_one_in_a_url_does);

#[tokio::test]
async fn other_methods_are_not_allowed_where_query_is() {
    let server = Server::start().await;
    for (method, path) in [
        ("PATCH", "/v1/events"),
        ("PATCH", "/v1/sessions/s/events"),
        ("QUERY", "/v1/sessions/s"),
        ("QUERY", "/v1/sessions"),
    ] {
        let answer = query(&server, (method, path), "application/json", &json!({})).await;
        assert_eq!(answer.status(), 405, "{method} {path}");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["code"], "method_not_allowed");
    }
}

/// The text of a compressed stream, as far as it has come.
struct Unzipped {
    chunks:
        std::pin::Pin<Box<dyn futures_util::Stream<Item = reqwest::Result<bytes::Bytes>> + Send>>,
    decoder: GzDecoder<Vec<u8>>,
}

impl Unzipped {
    fn of(answer: Response) -> Self {
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-encoding"], "gzip");
        let vary = answer.headers()["vary"].to_str().unwrap();
        assert!(vary.contains("Accept-Encoding"), "{vary}");
        Self {
            chunks: Box::pin(answer.bytes_stream()),
            decoder: GzDecoder::new(Vec::new()),
        }
    }

    /// Reads up to this text.
    async fn until(&mut self, text: &str) -> String {
        loop {
            let read = String::from_utf8(self.decoder.get_ref().clone()).unwrap();
            if read.contains(text) {
                self.decoder.get_mut().clear();
                return read;
            }
            let chunk = soon("more", self.chunks.next()).await;
            let chunk = chunk.unwrap_or_else(|| panic!("no {text} in {read}"));
            self.decoder.write_all(&chunk.unwrap()).unwrap();
            self.decoder.flush().unwrap();
        }
    }
}

#[tokio::test]
async fn each_frame_of_a_compressed_stream_can_be_read_when_it_comes() {
    let server = Server::start().await;
    for path in [
        "/v1/sessions/s/events?compress=1",
        "/v1/events?compress=1&session=s",
    ] {
        for accept in ["text/event-stream", "application/x-ndjson"] {
            let asked = Client::new().get(server.at(path)).header("accept", accept);
            let mut stream = Unzipped::of(asked.send().await.unwrap());
            let open = stream.until("reveille.caught_up").await;
            assert!(open.contains("reveille.open"), "{open}");
            for n in 0..20 {
                publish(&server.url, "s", &json!({"type": "step", "data": n})).await;
                let read = stream.until(&format!("\"data\":{n}")).await;
                assert_eq!(read.matches("\"type\":\"step\"").count(), 1, "{read}");
            }
        }
    }
    let asked = Client::new().get(server.at("/v1/sessions/s/events?compress=1&after=latest"));
    let mut stream = Unzipped::of(asked.send().await.unwrap());
    stream.until("reveille.caught_up").await;
    let close = Client::new().post(server.at("/v1/sessions/s/close"));
    close.send().await.unwrap();
    stream.until("reveille.end").await;
    // The end of the text is there, too: a decoder can tell that nothing was cut off.
    while let Some(chunk) = soon("the end", stream.chunks.next()).await {
        stream.decoder.write_all(&chunk.unwrap()).unwrap();
    }
    stream.decoder.finish().unwrap();
    server.stop().await;
}

#[tokio::test]
async fn compression_is_for_those_who_ask_and_can_read_it() {
    let server = Server::start().await;
    let ask = async |query: &str, accept: Option<&str>| {
        let asked = Client::new().get(server.at(&format!("/v1/sessions/s/events{query}")));
        let asked = match accept {
            Some(accept) => asked.header("accept-encoding", accept),
            None => asked,
        };
        asked.send().await.unwrap()
    };
    for (query, accept) in [
        ("", Some("gzip")),
        ("?compress=0", Some("gzip")),
        ("?compress=1", Some("identity")),
        ("?compress=1", Some("br, gzip;q=0")),
    ] {
        let answer = ask(query, accept).await;
        assert!(!answer.headers().contains_key("content-encoding"));
        let mut stream = SseReader::of(answer);
        assert!(stream.next().await.unwrap().is("reveille.open"), "{query}");
    }
    assert_eq!(ask("?compress=yes", None).await.status(), 400);
}
