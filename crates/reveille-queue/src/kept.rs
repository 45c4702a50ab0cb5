//! What a store keeps of how a session was created, so that it is the same session after a restart and
//! for other processes.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::options::SessionOptions;

/// The options, those left open included: they come from the sessions of whoever opens it.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    created_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lifetime_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_events: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_bytes: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_deliveries: Option<u32>,
}

/// The text to keep.
pub(crate) fn text(options: &SessionOptions, created: Timestamp) -> String {
    let kept = Kept {
        created_ms: created.as_millisecond(),
        ttl_ms: options.ttl.map(millis),
        lifetime_ms: options.lifetime.map(millis),
        max_events: options.max_events,
        max_bytes: options.max_bytes,
        max_deliveries: options.max_deliveries,
    };
    // Numbers always serialise.
    serde_json::to_string(&kept).unwrap_or_default()
}

/// The options and the time of the creation; `None` if that was not kept, or is no use.
pub(crate) fn parse(text: &str) -> Option<(SessionOptions, Timestamp)> {
    let kept: Kept = serde_json::from_str(text).ok()?;
    let created = Timestamp::from_millisecond(kept.created_ms).ok()?;
    let options = SessionOptions {
        ttl: kept.ttl_ms.map(duration),
        lifetime: kept.lifetime_ms.map(duration),
        max_events: kept.max_events,
        max_bytes: kept.max_bytes,
        max_deliveries: kept.max_deliveries,
    };
    options.check().ok()?;
    Some((options, created))
}

/// At least one, since zero is refused, and `u64::MAX` for what never comes.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis())
        .unwrap_or(u64::MAX)
        .max(1)
}

fn duration(millis: u64) -> Duration {
    match millis {
        u64::MAX => Duration::MAX,
        millis => Duration::from_millis(millis),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_come_back_as_they_were() {
        let created = Timestamp::from_millisecond(1_234).unwrap();
        let all = SessionOptions::default()
            .ttl(Duration::MAX)
            .lifetime(Duration::from_secs(3))
            .max_events(usize::MAX)
            .max_bytes(5)
            .max_deliveries(6);
        for options in [SessionOptions::default(), all] {
            assert_eq!(parse(&text(&options, created)), Some((options, created)));
        }
    }

    #[test]
    fn what_was_kept_by_others_is_no_use() {
        for text in ["", "{}", "[]", r#"{"created_ms":1,"ttl_ms":0}"#] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn no_time_becomes_none_at_all() {
        let options = SessionOptions::default().ttl(Duration::from_nanos(1));
        let kept = parse(&text(&options, Timestamp::UNIX_EPOCH));
        assert_eq!(kept.unwrap().0.ttl, Some(Duration::from_millis(1)));
    }
}
