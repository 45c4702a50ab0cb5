//! Frames as bytes: the encoders of server-sent events and NDJSON.
//!
//! Rules that real clients need (`docs/wire.md`, 4.3): a heartbeat is a comment line without a blank
//! line; control frames are named and carry data, events are unnamed; no frame without data; data is
//! one line of JSON; no comment carries data. Specification:
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html>.

use bytes::{BufMut, Bytes, BytesMut};
use reveille_types::wire::{self, Open, frame};
use reveille_types::{Cursor, Event, Gap, json_line};
use serde::Serialize;

use crate::task_paths::flat;

/// What stands in the `event:` field of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// Nothing, so that `onmessage` sees all events and nothing else.
    None,
    /// The kind.
    Type,
}

/// How a stream is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Server-sent events.
    Sse(Names),
    /// One JSON text a line: an event, or a control line with one member named like its frame.
    Ndjson,
    /// The server-sent events of the task paths: flat events, frames `connected`, `gap` and `end`.
    Task,
}

/// A frame of a stream.
#[derive(Debug)]
pub(crate) enum Frame<'a> {
    Open(&'a Open, std::time::Duration),
    Gap(&'a Gap),
    /// An event, and the cursor after it on what is read.
    Event(&'a Event, Cursor),
    CaughtUp(Cursor),
    Bookmark(Cursor),
    Reconnect(wire::Reconnect),
    End(wire::End),
    Heartbeat,
}

impl Dialect {
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Sse(_) | Self::Task => "text/event-stream; charset=utf-8",
            Self::Ndjson => "application/x-ndjson; charset=utf-8",
        }
    }

    /// Appends a whole frame to `out`.
    pub(crate) fn encode(self, out: &mut BytesMut, written: &Frame<'_>) {
        match self {
            Self::Sse(names) => sse(out, written, names),
            Self::Ndjson => ndjson(out, written),
            Self::Task => task(out, written),
        }
    }
}

/// Frames of events that were made lately, because each is the same for all readers of a session.
#[derive(Debug)]
pub(crate) struct FrameCache(Box<[Option<Cached>]>);

#[derive(Debug)]
struct Cached {
    cursor: Cursor,
    dialect: Dialect,
    frame: Box<[u8]>,
}

/// How many frames are kept, and the largest of them.
const CACHED_FRAMES: usize = 256;
const CACHED_BYTES: usize = 4 * 1024;

impl FrameCache {
    pub(crate) fn new() -> Self {
        Self((0..CACHED_FRAMES).map(|_| None).collect())
    }

    /// Appends the frame of an event that is read on its own session.
    pub(crate) fn encode(
        &mut self,
        dialect: Dialect,
        out: &mut BytesMut,
        event: &Frame<'_>,
        cursor: Cursor,
    ) {
        // The cursor names the event, because no two logs have one epoch.
        let place = usize::try_from(cursor.place() % CACHED_FRAMES as u64).unwrap_or_default();
        let cached = &mut self.0[place];
        if let Some(cached) = cached
            && cached.cursor == cursor
            && cached.dialect == dialect
        {
            return out.put_slice(&cached.frame);
        }
        let before = out.len();
        dialect.encode(out, event);
        if out.len() - before <= CACHED_BYTES {
            *cached = Some(Cached {
                cursor,
                dialect,
                frame: out[before..].into(),
            });
        }
    }
}

/// One block of server-sent events. Neither name nor id can hold a line end: names are constants or
/// kinds, ids are cursors.
fn block(
    out: &mut BytesMut,
    id: Option<Cursor>,
    name: Option<&str>,
    retry: Option<std::time::Duration>,
    data: &[u8],
) {
    if let Some(id) = id {
        out.put_slice(b"id: ");
        out.put_slice(id.to_string().as_bytes());
        out.put_u8(b'\n');
    }
    if let Some(name) = name {
        out.put_slice(b"event: ");
        out.put_slice(name.as_bytes());
        out.put_u8(b'\n');
    }
    if let Some(retry) = retry {
        out.put_slice(format!("retry: {}\n", retry.as_millis()).as_bytes());
    }
    out.put_slice(b"data: ");
    out.put_slice(data);
    out.put_slice(b"\n\n");
}

/// The event as one line, with the cursor that its reader can go on with. On its own session that is
/// the text that is made once for all readers.
pub(crate) fn json_of(event: &Event, cursor: Cursor) -> Bytes {
    match cursor == event.cursor() {
        true => event.json().clone(),
        false => event.json_at(cursor),
    }
}

fn sse(out: &mut BytesMut, written: &Frame<'_>, names: Names) {
    let control = |out: &mut BytesMut, id, name, data: String| {
        block(out, id, Some(name), None, data.as_bytes());
    };
    match written {
        Frame::Event(event, cursor) => {
            let name = (names == Names::Type).then(|| event.kind().as_str());
            block(out, Some(*cursor), name, None, &json_of(event, *cursor));
        }
        Frame::Open(open, retry) => {
            let data = json_line(open);
            block(
                out,
                Some(open.cursor),
                Some(frame::OPEN),
                Some(*retry),
                data.as_bytes(),
            );
        }
        Frame::Gap(gap) => control(out, Some(gap.resumes_at), frame::GAP, json_line(gap)),
        Frame::CaughtUp(cursor) => {
            let data = json_line(&wire::At { cursor: *cursor });
            control(out, Some(*cursor), frame::CAUGHT_UP, data);
        }
        Frame::Bookmark(cursor) => {
            let data = json_line(&wire::At { cursor: *cursor });
            control(out, Some(*cursor), frame::BOOKMARK, data);
        }
        Frame::Reconnect(reconnect) => control(out, None, frame::RECONNECT, json_line(reconnect)),
        Frame::End(end) => control(out, Some(end.cursor), frame::END, json_line(end)),
        Frame::Heartbeat => out.put_slice(b":\n"),
    }
}

fn ndjson(out: &mut BytesMut, written: &Frame<'_>) {
    fn control(out: &mut BytesMut, name: &str, data: &impl Serialize) {
        out.put_slice(format!("{{\"{name}\":{}}}\n", json_line(data)).as_bytes());
    }
    match written {
        Frame::Event(event, cursor) => {
            out.put_slice(&json_of(event, *cursor));
            out.put_u8(b'\n');
        }
        Frame::Open(open, _) => control(out, frame::OPEN, open),
        Frame::Gap(gap) => control(out, frame::GAP, gap),
        Frame::CaughtUp(cursor) => {
            control(out, frame::CAUGHT_UP, &wire::At { cursor: *cursor });
        }
        Frame::Bookmark(cursor) => {
            control(out, frame::BOOKMARK, &wire::At { cursor: *cursor });
        }
        Frame::Reconnect(reconnect) => control(out, frame::RECONNECT, reconnect),
        Frame::End(end) => control(out, frame::END, end),
        Frame::Heartbeat => out.put_u8(b'\n'),
    }
}

/// A frame of the task paths: the same data with a `type`.
#[derive(Serialize)]
struct Typed<'a, T> {
    #[serde(rename = "type")]
    name: &'static str,
    #[serde(flatten)]
    data: &'a T,
}

#[derive(Serialize)]
struct Connected<'a> {
    task_id: &'a str,
    namespace: &'a str,
    offset: u64,
    latest: u64,
    epoch: String,
    timestamp: jiff::Timestamp,
}

fn task(out: &mut BytesMut, written: &Frame<'_>) {
    let offset = |cursor: &Cursor| cursor.position().unwrap_or_default().0;
    match written {
        Frame::Event(event, cursor) => {
            let data = flat(event);
            block(out, Some(*cursor), None, None, data.as_bytes());
        }
        Frame::Open(open, retry) => {
            // The name of a task's session is `namespace/id`.
            let name = open.session.as_deref().unwrap_or_default();
            let (namespace, task_id) = name.split_once('/').unwrap_or_default();
            let connected = Connected {
                task_id,
                namespace,
                offset: offset(&open.cursor),
                latest: offset(&open.latest),
                epoch: open.cursor.epoch().to_string(),
                timestamp: jiff::Timestamp::now(),
            };
            let data = json_line(&Typed {
                name: "connected",
                data: &connected,
            });
            block(out, Some(open.cursor), None, Some(*retry), data.as_bytes());
        }
        Frame::Gap(gap) => {
            let data = json_line(&Typed {
                name: "gap",
                data: gap,
            });
            block(
                out,
                Some(gap.resumes_at),
                Some("gap"),
                None,
                data.as_bytes(),
            );
        }
        Frame::End(end) => {
            let data = serde_json::json!({
                "type": "end",
                "reason": end.reason,
                "offset": offset(&end.cursor),
            });
            let data = json_line(&data);
            block(out, Some(end.cursor), Some("end"), None, data.as_bytes());
        }
        // These readers know neither: history and live are one to them.
        Frame::CaughtUp(_) | Frame::Bookmark(_) => {}
        Frame::Reconnect(_) | Frame::Heartbeat => sse(out, written, Names::None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(dialect: Dialect, written: &Frame<'_>) -> String {
        let mut out = BytesMut::new();
        dialect.encode(&mut out, written);
        String::from_utf8(out.to_vec()).unwrap()
    }

    fn cursor() -> Cursor {
        let epoch = reveille_types::Epoch::from_parts(1_700_000_000_000, 7);
        Cursor::session(epoch, reveille_types::Position(3))
    }

    #[test]
    fn a_heartbeat_is_no_event_to_any_client() {
        let sse = Dialect::Sse(Names::None);
        assert_eq!(encoded(sse, &Frame::Heartbeat), ":\n");
        assert_eq!(encoded(Dialect::Ndjson, &Frame::Heartbeat), "\n");
    }

    #[test]
    fn control_frames_are_named_and_carry_one_line_of_data() {
        let text = encoded(Dialect::Sse(Names::None), &Frame::CaughtUp(cursor()));
        let id = cursor();
        assert_eq!(
            text,
            format!("id: {id}\nevent: reveille.caught_up\ndata: {{\"cursor\":\"{id}\"}}\n\n")
        );
        let text = encoded(Dialect::Ndjson, &Frame::CaughtUp(cursor()));
        assert_eq!(
            text,
            format!("{{\"reveille.caught_up\":{{\"cursor\":\"{id}\"}}}}\n")
        );
    }

    #[test]
    fn a_reconnect_leaves_the_id_as_it_is() {
        let reconnect = wire::Reconnect {
            reason: wire::ReconnectReason::Drain,
            retry_ms: 7,
        };
        assert_eq!(
            encoded(Dialect::Sse(Names::None), &Frame::Reconnect(reconnect)),
            "event: reveille.reconnect\ndata: {\"reason\":\"drain\",\"retry_ms\":7}\n\n"
        );
    }
}
