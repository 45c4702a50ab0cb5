//! Batches: a JSON array of events.

use serde_json::value::RawValue;

use crate::draft::EventDraft;
use crate::event::Event;
use crate::invalid::Invalid;

/// The events as one JSON array, in their order.
#[must_use]
pub fn encode_batch<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<u8> {
    let mut out = vec![b'['];
    for event in events {
        if out.len() > 1 {
            out.push(b',');
        }
        out.extend_from_slice(event.json());
    }
    out.push(b']');
    out
}

/// Reads a JSON array of events, which may be empty, each with `decode`:
/// [`decode_structured`](super::decode_structured), or [`decode`](super::decode) for short forms, too.
///
/// # Errors
/// [`Invalid`] names the index and the attribute, as in `[3].type`, or `batch` when it is no array.
pub fn decode_batch(
    json: &str,
    decode: impl Fn(&str) -> Result<EventDraft, Invalid>,
) -> Result<Vec<EventDraft>, Invalid> {
    let events: Vec<&RawValue> = serde_json::from_str(json)
        .map_err(|_| Invalid::form("batch", "is not a JSON array of events"))?;
    events
        .iter()
        .enumerate()
        .map(|(index, event)| decode(event.get()).map_err(|e| e.within(&format!("[{index}]"))))
        .collect()
}
