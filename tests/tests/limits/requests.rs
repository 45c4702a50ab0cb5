//! The bounds of one request.

use reqwest::Client;
use reveille_queue::QueueLimits;
use serde_json::{Value, json};

use crate::known::{EVENTS, config, known, refused};

fn nested(depth: usize) -> String {
    format!(
        r#"{{"type":"a","data":{}{}}}"#,
        "[".repeat(depth - 1),
        "]".repeat(depth - 1)
    )
}

fn object(members: usize) -> String {
    let members: Vec<String> = (0..members).map(|n| format!("\"{n}\":0")).collect();
    format!(r#"{{"type":"a","data":{{{}}}}}"#, members.join(","))
}

#[tokio::test]
async fn a_body_is_as_large_as_it_may_be() {
    let mut config = config();
    config.body_bytes = 1_000;
    let known = known(config, QueueLimits::default()).await;
    let sent = async |bytes: usize| {
        let around = json!({"type": "a", "data": ""}).to_string().len();
        let body = json!({"type": "a", "data": "x".repeat(bytes - around)});
        known.send(&known.ours, EVENTS, &body).await
    };
    assert_eq!(sent(999).await.status(), 201);
    assert_eq!(sent(1_000).await.status(), 201);
    let problem = refused(sent(1_001).await, 413, "body_too_large").await;
    assert_eq!(problem["limit"], 1_000);
}

#[tokio::test]
async fn an_event_and_a_batch_are_as_large_as_they_may_be() {
    let mut limits = QueueLimits::default();
    (limits.event_bytes, limits.batch_events) = (2_000, 3);
    limits.bytes_per_tenant = 10_000;
    let known = known(config(), limits).await;
    let batch = async |events: usize| {
        let body: Vec<Value> = (0..events).map(|_| json!({"type": "a"})).collect();
        known.send(&known.ours, EVENTS, &json!(body)).await
    };
    assert_eq!(batch(2).await.status(), 201);
    assert_eq!(batch(3).await.status(), 201);
    let problem = refused(batch(4).await, 413, "batch_too_large").await;
    assert_eq!(
        (&problem["limit"], &problem["actual"]),
        (&json!(3), &json!(4))
    );

    // The envelope counts, too: the answer says by how much it is over.
    let event = async |bytes: usize| {
        let body = json!({"type": "a", "id": "1", "source": "/s", "data": "x".repeat(bytes)});
        let sent = known.post(&known.ours, EVENTS, &body);
        sent.header("idempotency-key", bytes).send().await.unwrap()
    };
    let problem = refused(event(2_000).await, 413, "event_too_large").await;
    let over = problem["actual"].as_u64().unwrap() - 2_000;
    let most = 2_000 - usize::try_from(over).unwrap();
    assert_eq!(event(most - 1).await.status(), 201);
    assert_eq!(event(most).await.status(), 201);
    refused(event(most + 1).await, 413, "event_too_large").await;
}

#[tokio::test]
async fn a_url_and_headers_are_as_long_as_they_may_be() {
    let known = known(config(), QueueLimits::default()).await;
    for http2 in [false, true] {
        let client = Client::builder();
        let client = match http2 {
            true => client.http2_prior_knowledge(),
            false => client,
        };
        let client = client.build().unwrap();
        let url = async |bytes: usize| {
            let path = "/v1/limits?x=";
            let path = format!("{path}{}", "a".repeat(bytes - path.len()));
            let asked = client.get(known.server.at(&path));
            asked.bearer_auth(known.ours.expose()).send().await.unwrap()
        };
        // It is not known, but it is read.
        assert_eq!(url(8_191).await.status(), 400);
        assert_eq!(url(8_192).await.status(), 400);
        let problem = refused(url(8_193).await, 414, "url_too_long").await;
        assert_eq!(problem["limit"], 8_192);
        assert_eq!(problem["actual"], 8_193);

        let headers = async |bytes: usize| {
            let asked = client.get(known.server.at("/v1/limits"));
            let asked = asked.bearer_auth(known.ours.expose());
            asked.header("x-long", "a".repeat(bytes)).send().await
        };
        assert_eq!(headers(15_000).await.unwrap().status(), 200);
        let answer = headers(16_500).await.unwrap();
        assert_eq!(answer.status(), 431, "http2: {http2}");
        if !http2 {
            let problem = refused(answer, 431, "headers_too_large").await;
            assert_eq!(problem["limit"], 16_384);
        }
    }
}

#[tokio::test]
async fn json_is_as_deep_and_as_wide_as_it_may_be_and_says_nothing_twice() {
    let known = known(config(), QueueLimits::default()).await;
    let send = async |body: String| {
        let sent = Client::new().post(known.server.at(EVENTS));
        let sent = sent.bearer_auth(known.ours.expose());
        let sent = sent.header("content-type", "application/json").body(body);
        sent.send().await.unwrap()
    };
    assert_eq!(send(nested(63)).await.status(), 201);
    assert_eq!(send(nested(64)).await.status(), 201);
    let problem = refused(send(nested(65)).await, 422, "json_too_deep").await;
    assert_eq!(problem["limit"], 64);
    // What may be published alone may be so in a batch.
    assert_eq!(send(format!("[{}]", nested(64))).await.status(), 201);
    refused(
        send(format!("[{}]", nested(65))).await,
        422,
        "json_too_deep",
    )
    .await;
    refused(send(nested(100_000)).await, 422, "json_too_deep").await;

    assert_eq!(send(object(9_999)).await.status(), 201);
    assert_eq!(send(object(10_000)).await.status(), 201);
    let problem = refused(send(object(10_001)).await, 422, "json_too_many_members").await;
    assert_eq!(problem["limit"], 10_000);

    let twice = r#"{"type":"a","type":"b"}"#.to_owned();
    let problem = refused(send(twice).await, 422, "invalid_event").await;
    assert_eq!(problem["field"], "type");
    let put = Client::new().put(known.server.at("/v1/sessions/t"));
    let put = put.bearer_auth(known.ours.expose());
    let put = put.body(r#"{"max_events":1,"max_events":2}"#).send();
    let problem = refused(put.await.unwrap(), 422, "invalid_json").await;
    assert_eq!(problem["field"], "max_events");
    // Binary mode carries the same data.
    let binary = async |depth: usize| {
        let sent = Client::new().post(known.server.at(EVENTS));
        let mut sent = sent.bearer_auth(known.ours.expose());
        let attributes = [
            ("ce-specversion", "1.0"),
            ("ce-id", "1"),
            ("ce-source", "/s"),
            ("ce-type", "a"),
            ("content-type", "application/json"),
        ];
        for (name, value) in attributes {
            sent = sent.header(name, value);
        }
        sent = sent.header("idempotency-key", depth);
        let data = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        sent.body(data).send().await.unwrap()
    };
    assert_eq!(binary(63).await.status(), 201);
    refused(binary(64).await, 422, "json_too_deep").await;
}

#[tokio::test]
async fn a_body_that_is_compressed_is_not_read() {
    let known = known(config(), QueueLimits::default()).await;
    let send = async |encoding: &str| {
        let sent = known.post(&known.ours, EVENTS, &json!({"type": "a"}));
        let sent = sent.header("content-encoding", encoding);
        sent.send().await.unwrap()
    };
    assert_eq!(send("identity").await.status(), 201);
    for encoding in [
        "gzip",
        "br",
        "zstd",
        "deflate",
        "identity, gzip",
        "unheard-of",
    ] {
        let problem = refused(send(encoding).await, 415, "unsupported_encoding").await;
        assert_eq!(problem["field"], "content-encoding");
    }
}

#[tokio::test]
async fn so_many_matchers_of_such_a_length_are_compiled() {
    let known = known(config(), QueueLimits::default()).await;
    let ask = async |count: usize, bytes: usize| {
        let name = |n: usize| {
            let begin = format!("*.x{n}");
            let rest = ".a".repeat((bytes - begin.len()) / 2);
            format!(
                "match={begin}{rest}{}",
                "b".repeat((bytes - begin.len()) % 2)
            )
        };
        let names: Vec<String> = (0..count).map(name).collect();
        let path = format!("/v1/sessions/s/wait?timeout=1ms&{}", names.join("&"));
        known.get(&known.ours, &path).send().await.unwrap()
    };
    assert_eq!(ask(63, 8).await.status(), 204);
    assert_eq!(ask(64, 8).await.status(), 204);
    let problem = refused(ask(65, 8).await, 422, "invalid_parameter").await;
    assert_eq!(
        (&problem["limit"], &problem["actual"]),
        (&json!(64), &json!(65))
    );
    assert_eq!(ask(1, 128).await.status(), 204);
    assert_eq!(ask(1, 256).await.status(), 204);
    let problem = refused(ask(1, 257).await, 422, "invalid_parameter").await;
    assert_eq!(
        (&problem["limit"], &problem["actual"]),
        (&json!(256), &json!(257))
    );
    // All that may be asked for, in the body.
    let patterns: Vec<String> = (0..65).map(|n| format!("a{n}")).collect();
    let query = json!({"filter": {"match": patterns}});
    let asked = known.send(&known.ours, "/v1/events:query", &query).await;
    assert_eq!(asked.status(), 422);
}
