//! A stream over connections that break, fall silent or are refused.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod scripted;

use std::time::Duration;

use reveille_client::{ClientError, Follow, FollowOptions, Followed};
use scripted::{Scripted, cursor, event, gap, later_cursor, open, problem, soon};

fn follow(server: &Scripted, after: &str) -> Follow {
    let mut options = FollowOptions::default();
    options.after = after.parse().unwrap();
    server.client.session("s").follow(options)
}

async fn next(follow: &mut Follow) -> Followed {
    soon(follow.next()).await.unwrap().unwrap()
}

/// The kinds of the events up to the end of the connection.
async fn kinds(follow: &mut Follow) -> Vec<String> {
    let mut kinds = Vec::new();
    loop {
        match next(follow).await {
            Followed::Event(event) => kinds.push(event.kind),
            Followed::Disconnected { .. } => return kinds,
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_stream_goes_on_after_the_last_whole_event() {
    let server = Scripted::start().await;
    let mut stream = follow(&server, "earliest");
    let first = async {
        let (one, two) = (event("a", &cursor(1)), event("b", &cursor(2)));
        let mut exchange = server.streams(&[&open(&cursor(0), 0), &one]).await;
        exchange.send(&two[..two.len() / 2]).await;
        assert_eq!(exchange.parameter("after"), Some("earliest"));
    };
    let (told, ()) = tokio::join!(kinds(&mut stream), first);
    assert_eq!(told, ["a"]);
    assert_eq!(stream.after().to_string(), cursor(1));

    let second = async {
        let two = event("b", &cursor(2));
        let exchange = server.streams(&[&open(&cursor(1), 0), &two]).await;
        assert_eq!(exchange.parameter("after"), Some(cursor(1).as_str()));
    };
    let (told, ()) = tokio::join!(kinds(&mut stream), second);
    assert_eq!(told, ["b"]);
}

#[tokio::test]
async fn a_gap_is_told_even_when_the_connection_breaks_just_before_it() {
    let server = Scripted::start().await;
    let mut stream = follow(&server, &cursor(7));
    let first = async { drop(server.streams(&[&open(&later_cursor(0), 0)]).await) };
    let (told, ()) = tokio::join!(kinds(&mut stream), first);
    assert_eq!(told, [""; 0]);

    let second = async {
        let lines = [open(&later_cursor(0), 0), gap(&later_cursor(0))];
        let exchange = server.streams(&[&lines[0], &lines[1]]).await;
        assert_eq!(
            exchange.parameter("after"),
            Some(cursor(7).as_str()),
            "the gap has not been told yet"
        );
    };
    let told = async {
        assert!(matches!(next(&mut stream).await, Followed::Open(_)));
        let Followed::Gap(gap) = next(&mut stream).await else {
            panic!("no gap");
        };
        assert_eq!(gap.resumes_at.to_string(), later_cursor(0));
        assert_eq!(kinds(&mut stream).await, [""; 0]);
    };
    tokio::join!(told, second);
    assert_eq!(
        stream.after().to_string(),
        later_cursor(0),
        "no cursor of before is used again"
    );
}

#[tokio::test]
async fn from_now_on_is_one_place() {
    let server = Scripted::start().await;
    let mut stream = follow(&server, "latest");
    let first = async { drop(server.streams(&[&open(&cursor(5), 0)]).await) };
    let (told, ()) = tokio::join!(kinds(&mut stream), first);
    assert_eq!(told, [""; 0]);
    assert_eq!(stream.after().to_string(), cursor(5));
}

#[tokio::test]
async fn heartbeats_keep_a_connection_and_silence_ends_it() {
    let server = Scripted::start().await;
    let mut stream = follow(&server, "earliest");
    let serving = async {
        let mut exchange = server.streams(&[&open(&cursor(0), 200)]).await;
        let began = std::time::Instant::now();
        while began.elapsed() < Duration::from_millis(1_000) {
            tokio::time::sleep(Duration::from_millis(50)).await;
            exchange.send("\n").await;
        }
        exchange
            .send(&format!("{}\n", event("a", &cursor(1))))
            .await;
        exchange
    };
    let told = async {
        assert!(matches!(next(&mut stream).await, Followed::Open(_)));
        assert!(matches!(next(&mut stream).await, Followed::Event(_)));
        next(&mut stream).await
    };
    let (last, _open) = tokio::join!(told, serving);
    assert!(matches!(
        last,
        Followed::Disconnected {
            error: Some(ClientError::Silent),
            ..
        }
    ));
}

#[tokio::test]
async fn an_order_to_come_back_is_obeyed_however_often_the_poll_is_given_up() {
    let server = Scripted::start().await;
    let mut stream = follow(&server, "earliest");
    let first = async {
        let come_back = r#"{"reveille.reconnect":{"reason":"drain","retry_ms":200}}"#;
        server.streams(&[&open(&cursor(0), 0), come_back]).await
    };
    let told = async {
        assert!(matches!(next(&mut stream).await, Followed::Open(_)));
        next(&mut stream).await
    };
    let (told, _open) = tokio::join!(told, first);
    let Followed::Disconnected { error: None, retry } = told else {
        panic!("{told:?}");
    };
    assert_eq!(retry, Duration::from_millis(200));

    let second = async { server.streams(&[&open(&cursor(0), 0)]).await };
    let impatient = async {
        loop {
            let polled = tokio::time::timeout(Duration::from_millis(10), stream.next()).await;
            if let Ok(item) = polled {
                return item;
            }
        }
    };
    let (item, _open) = soon(async { tokio::join!(impatient, second) }).await;
    assert!(matches!(item, Some(Ok(Followed::Open(_)))));
}

#[tokio::test]
async fn a_proxy_without_a_server_behind_it_is_waited_for() {
    let server = Scripted::start().await;
    let mut stream = follow(&server, "earliest");
    let answering = server.answers(502, &["retry-after: 3"], "<h1>Bad gateway</h1>");
    let (told, _) = tokio::join!(next(&mut stream), answering);
    let Followed::Disconnected {
        error: Some(error),
        retry,
    } = told
    else {
        panic!("{told:?}");
    };
    assert_eq!(error.status(), Some(502));
    assert!(retry >= Duration::from_secs(3), "{retry:?}");
}

#[tokio::test]
async fn a_refusal_ends_the_stream() {
    let server = Scripted::start().await;
    for (status, code) in [(400, "unknown_parameter"), (429, "too_many_sessions")] {
        let mut stream = follow(&server, "earliest");
        let body = problem(status, code, Some(1));
        let (told, _) = tokio::join!(stream.next(), server.answers(status, &[], &body));
        assert_eq!(told.unwrap().unwrap_err().code(), code);
        assert!(stream.next().await.is_none());
    }
}

#[tokio::test]
async fn a_crowd_that_comes_back_is_not_turned_away_for_good() {
    let server = Scripted::start().await;
    let mut stream = follow(&server, "earliest");
    let first = async { drop(server.streams(&[&open(&cursor(0), 0)]).await) };
    tokio::join!(kinds(&mut stream), first);
    let body = problem(429, "too_many_streams", Some(1_500));
    let (told, _) = tokio::join!(next(&mut stream), server.answers(429, &[], &body));
    let Followed::Disconnected { retry, .. } = told else {
        panic!("{told:?}");
    };
    assert!(retry >= Duration::from_millis(1_500), "{retry:?}");
}

#[tokio::test]
async fn a_session_that_was_read_to_its_end_is_over() {
    let server = Scripted::start().await;
    let mut stream = follow(&server, &cursor(7));
    let (told, _) = tokio::join!(next(&mut stream), server.answers(204, &[], ""));
    let Followed::Ended {
        reason: None,
        cursor: Some(end),
    } = told
    else {
        panic!("{told:?}");
    };
    assert_eq!(end.to_string(), cursor(7));
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn a_line_that_is_no_frame_ends_the_stream() {
    let server = Scripted::start().await;
    let mut stream = follow(&server, "earliest");
    let serving = server.streams(&["<html>"]);
    let (told, _) = tokio::join!(stream.next(), serving);
    assert_eq!(told.unwrap().unwrap_err().code(), "unexpected_answer");
    assert!(stream.next().await.is_none());
}
