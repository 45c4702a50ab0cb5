//! The progress bar: one more reader of the event stream.

use indicatif::{ProgressBar, ProgressStyle};
use reveille_queue::{SessionLog, StreamItem, SubscribeOptions};
use reveille_types::{Event, Start};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Progress {
    current: u64,
    step: String,
}

#[derive(Debug, Deserialize)]
struct Failed {
    error_message: String,
}

/// Shows the progress of a run until its session ends, and gives the event that ended it. The bar is
/// drawn on standard error, if that is a terminal.
pub(super) async fn show(log: SessionLog, total: usize) -> Option<Event> {
    let bar = ProgressBar::new(total as u64);
    let style = "{bar:40} {pos}/{len} {wide_msg}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    let mut events = log
        .subscribe(SubscribeOptions::from(Start::Earliest))
        .ok()?;
    let mut last = None;
    while let Some(Ok(item)) = events.next().await {
        let StreamItem::Event(event) = item else {
            continue;
        };
        if let Ok(progress) = event.payload().parse::<Progress>() {
            bar.set_position(progress.current);
            bar.set_message(progress.step);
        } else if let Ok(failed) = event.payload().parse::<Failed>() {
            bar.println(failed.error_message);
        }
        last = Some(event);
    }
    bar.finish_and_clear();
    last
}
