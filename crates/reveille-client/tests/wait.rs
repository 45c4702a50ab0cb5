//! Waits and takes over a server that goes away, forgets, or does not answer.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod scripted;

use std::time::{Duration, Instant};

use reveille_client::{TakeResult, WaitNote, WaitRequest, WaitResult};
use reveille_types::wire::TakeRequest;
use scripted::{Exchange, Scripted, cursor, event, later_cursor, nobody, problem, soon};

fn request(after: &str) -> WaitRequest {
    let mut request = WaitRequest::default();
    request.patterns = vec!["done".to_owned()];
    request.after = after.parse().unwrap();
    request
}

fn at(cursor: &str) -> String {
    format!("reveille-cursor: {cursor}")
}

fn matched(cursor: &str) -> String {
    let event = event("done", cursor);
    format!(r#"{{"outcome":"matched","events":[{event}],"cursor":"{cursor}"}}"#)
}

/// How a wait came out, and what was told on the way.
async fn waited(server: &Scripted, request: WaitRequest) -> (WaitResult, Vec<String>) {
    let session = server.client.session("s");
    let mut notes = Vec::new();
    let result = session.wait(&request, |note| {
        notes.push(match note {
            WaitNote::Away { error, .. } => error.code().to_owned(),
            WaitNote::LostPlace => "lost".to_owned(),
            WaitNote::Gap(_) => "gap".to_owned(),
        });
    });
    let result = soon(result).await.unwrap();
    (result, notes)
}

fn is_match(result: &WaitResult, at: &str) -> bool {
    matches!(result, WaitResult::Matched { cursor, .. } if cursor.to_string() == at)
}

#[tokio::test]
async fn from_now_on_is_one_place_for_the_whole_wait() {
    for all in [false, true] {
        let server = Scripted::start().await;
        let mut request = request("latest");
        request.all = all;
        let serving = async {
            let first = server.answers(204, &[&at(&cursor(5))], "").await;
            assert_eq!(first.parameter("after"), Some("latest"));
            assert_eq!(first.parameter("timeout"), Some("0ms"));
            drop(server.request().await);
            let third = server.answers(200, &[], &matched(&cursor(6))).await;
            assert_eq!(third.parameter("after"), Some(cursor(5).as_str()));
        };
        let ((result, notes), ()) = tokio::join!(waited(&server, request), serving);
        assert!(is_match(&result, &cursor(6)));
        assert_eq!(notes, ["connection_lost"]);
    }
}

#[tokio::test]
async fn a_place_that_the_server_forgot_is_told_and_the_wait_goes_on() {
    let server = Scripted::start().await;
    let serving = async {
        let body = problem(400, "unknown_cursor", None);
        let first = server.answers(400, &[], &body).await;
        assert_eq!(first.parameter("after"), Some(cursor(9).as_str()));
        let second = server.answers(200, &[], &matched(&later_cursor(1))).await;
        assert_eq!(second.parameter("after"), Some("earliest"));
    };
    let ((result, notes), ()) = tokio::join!(waited(&server, request(&cursor(9))), serving);
    assert!(is_match(&result, &later_cursor(1)));
    assert_eq!(notes, ["lost"]);
}

#[tokio::test]
async fn a_server_that_was_started_anew_between_two_answers_is_noticed() {
    let server = Scripted::start().await;
    let serving = async {
        server.answers(204, &[&at(&cursor(0))], "").await;
        let body = problem(400, "unknown_cursor", None);
        server.answers(400, &[], &body).await;
        server.answers(200, &[], &matched(&later_cursor(1))).await;
    };
    let ((_, notes), ()) = tokio::join!(waited(&server, request("earliest")), serving);
    assert_eq!(notes, ["lost"], "told once");
}

#[tokio::test]
async fn a_wait_goes_on_from_where_it_looked_and_for_all_from_its_beginning() {
    for (all, expected) in [(false, cursor(4)), (true, cursor(2))] {
        let server = Scripted::start().await;
        let mut request = request(&cursor(2));
        request.all = all;
        let serving = async {
            server.answers(204, &[&at(&cursor(4))], "").await;
            let body = problem(503, "draining", Some(10));
            let second = server.answers(503, &[], &body).await;
            assert_eq!(second.parameter("after"), Some(expected.as_str()));
            let third = server.answers(200, &[], &matched(&cursor(6))).await;
            assert_eq!(third.parameter("after"), Some(expected.as_str()));
        };
        let ((result, notes), ()) = tokio::join!(waited(&server, request), serving);
        assert!(is_match(&result, &cursor(6)));
        assert_eq!(notes, ["draining"]);
    }
}

#[tokio::test]
async fn a_wait_ends_in_time_when_the_server_does_not_answer() {
    let server = Scripted::start().await;
    let mut request = request("earliest");
    request.timeout = Some(Duration::from_millis(100));
    let began = Instant::now();
    let silent = async { server.request().await };
    let ((result, _), _open): (_, Exchange) = tokio::join!(waited(&server, request), silent);
    assert!(matches!(result, WaitResult::TimedOut { next: None }));
    assert!(began.elapsed() < Duration::from_secs(5));
}

/// Time is paused: it goes on whenever everybody waits for it.
#[tokio::test(start_paused = true)]
async fn a_wait_for_a_server_that_stays_away_ends_in_time() {
    let session = nobody().session("s");
    let mut request = request("earliest");
    request.timeout = Some(Duration::from_secs(60));
    let began = tokio::time::Instant::now();
    let mut tries = 0;
    let result = session.wait(&request, |_| tries += 1).await;
    assert!(matches!(result, Ok(WaitResult::TimedOut { next: None })));
    let took = began.elapsed().as_secs_f64();
    assert!((60.0..=61.5).contains(&took), "{took}");
    assert!(tries >= 12, "a pause is at most five seconds: {tries}");
}

#[tokio::test]
async fn a_time_out_does_not_wait_for_the_pause_that_the_server_asks_for() {
    let server = Scripted::start().await;
    let mut request = request("earliest");
    request.timeout = Some(Duration::from_millis(200));
    let body = problem(503, "draining", Some(3_600_000));
    let serving = server.answers(503, &[], &body);
    let ((result, notes), _) = tokio::join!(waited(&server, request), serving);
    assert!(matches!(result, WaitResult::TimedOut { .. }));
    assert_eq!(notes, ["draining"]);
}

#[tokio::test]
async fn a_place_beyond_the_end_is_the_callers_mistake() {
    let server = Scripted::start().await;
    let session = server.client.session("s");
    let request = request(&cursor(9));
    let body = problem(400, "cursor_ahead", None);
    let serving = server.answers(400, &[], &body);
    let (result, _) = tokio::join!(session.wait(&request, |_| ()), serving);
    assert_eq!(result.unwrap_err().code(), "cursor_ahead");
}

#[tokio::test]
async fn a_take_waits_in_parts_and_for_a_server_that_is_away() {
    let server = Scripted::start().await;
    let session = server.client.session("s");
    let mut notes = Vec::new();
    let taking = async {
        let request = TakeRequest::default();
        let taken = session.take_within(&request, None, |e| notes.push(e.code().to_owned()));
        soon(taken).await.unwrap()
    };
    let serving = async {
        let first = server.answers(204, &[&at(&cursor(0))], "").await;
        assert!(
            first.body.contains("\"timeout_ms\":25000"),
            "{}",
            first.body
        );
        server.answers(503, &[], "").await;
        let body = matched(&cursor(1)).replace("\"cursor\":", "\"leases\":[],\"cursor\":");
        server.answers(200, &[], &body).await;
    };
    let (taken, ()) = tokio::join!(taking, serving);
    let TakeResult::Answered(answer) = taken else {
        panic!("{taken:?}");
    };
    assert_eq!(answer.events.len(), 1);
    assert_eq!(notes, ["unexpected_status"]);
}
