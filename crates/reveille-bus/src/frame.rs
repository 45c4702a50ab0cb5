//! What a subscription yields, and its form in JSON.

use reveille_backend::ArchiveCursor;
use reveille_types::{Cursor, Event, Gap};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::privacy::Shown;

/// An event and the cursor of a reader that has read up to and including it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusFrame {
    /// The event.
    pub event: Event,
    /// Where to go on after it.
    pub cursor: Cursor,
    /// Where to go on after it in the archive, if it came from there.
    pub archived: Option<Box<ArchiveCursor>>,
    /// How much of the payload is shown.
    pub shown: Shown,
}

/// What a subscription yields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BusItem {
    /// Events are missing exactly here. The ranges are of sequence numbers.
    Gap(Box<Gap>),
    /// As a gap, with progress among what is missing, of which the last event is given.
    Summary(Box<BusSummary>),
    /// An event.
    Event(BusFrame),
    /// History is done, live begins. Comes once.
    CaughtUp(Cursor),
}

/// Progress that was folded because the subscriber was too slow for all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusSummary {
    /// Everything that is missing here, folded or not.
    pub gap: Gap,
    /// How many of the missing events are progress.
    pub folded: u64,
    /// The last of these, if it is still retained.
    pub last: Option<Event>,
}

/// As it is shown: with the cursor of the bus in it.
fn raw(event: &Event, cursor: Cursor) -> Option<Box<RawValue>> {
    let json = String::from_utf8(event.json_at(cursor).into()).ok()?;
    RawValue::from_string(json).ok()
}

/// `event`, `cursor`, `archive_cursor` (null unless it came from there), `payload_access` and
/// `payload_denied`.
impl Serialize for BusFrame {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut frame = serializer.serialize_struct("BusFrame", 5)?;
        frame.serialize_field("event", &raw(&self.event, self.cursor))?;
        frame.serialize_field("cursor", &self.cursor)?;
        let archived = self.archived.as_ref().map(ToString::to_string);
        frame.serialize_field("archive_cursor", &archived)?;
        frame.serialize_field("payload_access", &self.shown.access)?;
        frame.serialize_field("payload_denied", &self.shown.denied)?;
        frame.end()
    }
}

/// The members of the gap, `folded`, and `last`: the event, or null.
impl Serialize for BusSummary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Summary<'a> {
            #[serde(flatten)]
            gap: &'a Gap,
            folded: u64,
            last: Option<Box<RawValue>>,
        }
        let last = self.last.as_ref();
        let summary = Summary {
            gap: &self.gap,
            folded: self.folded,
            last: last.and_then(|event| raw(event, self.gap.resumes_at)),
        };
        summary.serialize(serializer)
    }
}

/// An object with one member, `gap`, `summary`, `event` or `caught_up`.
impl Serialize for BusItem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut item = serializer.serialize_struct("BusItem", 1)?;
        match self {
            Self::Gap(gap) => item.serialize_field("gap", gap)?,
            Self::Summary(summary) => item.serialize_field("summary", summary)?,
            Self::Event(frame) => item.serialize_field("event", frame)?,
            Self::CaughtUp(cursor) => item.serialize_field("caught_up", cursor)?,
        }
        item.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::BusError;

    /// What is handed out for each event is moved through several calls: it stays small.
    #[test]
    fn an_item_is_not_larger_than_a_frame_has_to_be() {
        assert!(size_of::<BusFrame>() <= 128, "{}", size_of::<BusFrame>());
        let item = size_of::<Result<BusItem, BusError>>();
        assert!(item <= 136, "{item}");
    }
}
