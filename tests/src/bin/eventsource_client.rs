//! A client on the crate `eventsource-stream`: one line of JSON for each event, and where to go on after
//! a failure, as the other clients of the tests tell it.

#![expect(clippy::print_stdout, reason = "its test reads what it prints")]

use std::error::Error;
use std::time::Duration;

use eventsource_stream::Eventsource;
use futures_util::StreamExt;
use serde_json::json;

/// What a client knows between connections.
struct Place {
    last_event_id: String,
    retry: Duration,
}

/// Reads until the connection breaks, or the session ends: then it answers true.
async fn read(url: &str, place: &mut Place) -> Result<bool, Box<dyn Error>> {
    let mut request = reqwest::Client::new().get(url);
    if !place.last_event_id.is_empty() {
        request = request.header("Last-Event-ID", &place.last_event_id);
    }
    let answer = request.send().await?.error_for_status()?;
    let mut events = answer.bytes_stream().eventsource();
    while let Some(event) = events.next().await {
        let event = event?;
        let line = json!({"event": event.event, "id": event.id, "data": event.data});
        println!("{line}");
        place.last_event_id = event.id;
        place.retry = event.retry.unwrap_or(place.retry);
        if event.event == "reveille.end" {
            return Ok(true);
        }
    }
    Ok(false)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).ok_or("no URL is given")?;
    let mut place = Place {
        last_event_id: String::new(),
        retry: Duration::from_millis(100),
    };
    // A connection that breaks or is refused is what this is about.
    while !read(&url, &mut place).await.unwrap_or(false) {
        tokio::time::sleep(place.retry).await;
    }
    Ok(())
}
