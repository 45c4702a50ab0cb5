//! Publishing when answers are lost, refused, or not even asked for.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod scripted;

use reveille_client::PublishOptions;
use scripted::{Scripted, cursor, nobody, problem, soon};
use serde_json::{Value, json};

fn receipt() -> String {
    let cursor = cursor(1);
    format!(r#"{{"cursor":"{cursor}","durability":"volatile","results":[]}}"#)
}

#[tokio::test]
async fn a_publish_whose_answer_is_lost_is_repeated_under_the_same_key() {
    let server = Scripted::start().await;
    let session = server.client.session("s");
    let events = [json!({"type": "a"}), json!({"type": "b"})];
    let options = PublishOptions::default();
    let serving = async {
        let mut first = server.request().await;
        first
            .send("HTTP/1.1 201 X\r\ncontent-length: 999\r\n\r\n{\"cursor\"")
            .await;
        let key = first.header("idempotency-key").unwrap().to_owned();
        let body = first.body.clone();
        drop(first);
        let second = server
            .answers(503, &[], &problem(503, "draining", Some(1)))
            .await;
        assert_eq!(second.header("idempotency-key"), Some(key.as_str()));
        let third = server.answers(201, &[], &receipt()).await;
        assert_eq!(third.header("idempotency-key"), Some(key.as_str()));
        assert_eq!(third.body, body);
        assert_eq!(
            serde_json::from_str::<Value>(&body).unwrap(),
            json!([{"type": "a"}, {"type": "b"}])
        );
    };
    let (published, ()) = tokio::join!(session.publish(&events, &options), serving);
    assert_eq!(published.unwrap().cursor.to_string(), cursor(1));
}

#[tokio::test]
async fn events_with_source_and_id_need_no_key() {
    let server = Scripted::start().await;
    let session = server.client.session("s");
    let whole = json!({"type": "a", "source": "urn:x", "id": "1"});
    let receipt = receipt();
    for (events, has_key) in [
        (vec![whole.clone()], false),
        (vec![whole.clone(), json!({"type": "b"})], true),
    ] {
        let options = PublishOptions::default();
        let serving = server.answers(201, &[], &receipt);
        let (published, exchange) = tokio::join!(session.publish(&events, &options), serving);
        published.unwrap();
        assert_eq!(exchange.header("idempotency-key").is_some(), has_key);
    }
    let mut options = PublishOptions::default();
    options.idempotency_key = Some("mine".to_owned());
    let events = [whole];
    let serving = server.answers(201, &[], &receipt);
    let (published, exchange) = tokio::join!(session.publish(&events, &options), serving);
    published.unwrap();
    assert_eq!(exchange.header("idempotency-key"), Some("mine"));
}

#[tokio::test]
async fn a_refusal_is_not_repeated() {
    let server = Scripted::start().await;
    let session = server.client.session("s");
    let options = PublishOptions::default();
    let events = [json!({"type": "a"})];
    let body = problem(409, "session_ended", None);
    let serving = server.answers(409, &[], &body);
    let (published, _) = tokio::join!(session.publish(&events, &options), serving);
    assert_eq!(published.unwrap_err().code(), "session_ended");
}

#[tokio::test]
async fn a_key_that_no_header_can_carry_is_refused_at_once() {
    let server = Scripted::start().await;
    let mut options = PublishOptions::default();
    options.idempotency_key = Some("a\nb".to_owned());
    let began = std::time::Instant::now();
    let session = server.client.session("s");
    let published = soon(session.publish(&[json!({"type": "a"})], &options)).await;
    assert_eq!(published.unwrap_err().code(), "invalid_request");
    assert!(began.elapsed().as_secs() < 1, "it was not repeated");
}

/// Time is paused: it goes on whenever everybody waits for it.
#[tokio::test(start_paused = true)]
async fn a_publish_to_a_server_that_stays_away_is_given_up_after_ten_seconds() {
    let session = nobody().session("s");
    let began = tokio::time::Instant::now();
    let options = PublishOptions::default();
    let published = session.publish(&[json!({"type": "a"})], &options).await;
    assert!(published.unwrap_err().is_temporary());
    let took = began.elapsed().as_secs_f64();
    // The last pause is at most five seconds, and is not begun if it would end too late.
    assert!((5.0..=10.5).contains(&took), "{took}");
}
