//! The JSON bodies that gateway and client exchange, as plain data.
//!
//! One definition for both sides, so that they cannot drift apart. Times are RFC 3339 in UTC with
//! milliseconds, durations integers whose names end in `_ms`.

use std::fmt;

use jiff::Timestamp;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::cursor::Cursor;
use crate::filter::FilterSpec;
use crate::gap::Gap;
use crate::kind::EndReason;
use crate::pattern::Pattern;

mod access;
mod groups;
#[cfg(feature = "protobuf")]
mod notify;
mod signals;

pub use access::{ConnectionRenewed, TicketCreated, TicketRequest};
pub use groups::{
    DeadLetterAnswer, DeadLetterInfo, DeadLetterList, DeadLetterRequest, GroupInfo, GroupMoved,
    GroupSkip,
};
#[cfg(feature = "protobuf")]
pub use notify::{NotifiedEvent, NotifyError, NotifyRequest};
pub use signals::{
    MergeRequest, PoisonCause, PoisonInfo, PoisonRequest, SignalCancelRequest, SignalCreated,
    SignalInfo, SignalMergeMode, SignalMerged, SignalPending, SignalRenewRequest, SignalRenewed,
    SignalRequest, SignalState, SignalWhy, TriggerRequest,
};

/// Names of the control frames: the event name in SSE, the only member of a control line in NDJSON.
pub mod frame {
    /// Always first; data [`Open`](super::Open).
    pub const OPEN: &str = "reveille.open";
    /// Exactly where events are missing; data [`Gap`](crate::Gap).
    pub const GAP: &str = "reveille.gap";
    /// History is done, live begins; data [`At`](super::At).
    pub const CAUGHT_UP: &str = "reveille.caught_up";
    /// How far a filtered stream has looked; data [`At`](super::At).
    pub const BOOKMARK: &str = "reveille.bookmark";
    /// The server ends the connection, the stream goes on; data [`Reconnect`](super::Reconnect).
    pub const RECONNECT: &str = "reveille.reconnect";
    /// The session is over; data [`End`](super::End).
    pub const END: &str = "reveille.end";
}

/// The media type of errors (RFC 9457).
pub const PROBLEM_JSON: &str = "application/problem+json";
/// The media type of one event in structured mode.
pub const CLOUDEVENT_JSON: &str = "application/cloudevents+json";
/// The media type of a batch of events.
pub const CLOUDEVENT_BATCH_JSON: &str = "application/cloudevents-batch+json";
/// The media type of newline-delimited JSON streams.
pub const NDJSON: &str = "application/x-ndjson";
/// The media type of server-sent events.
pub const EVENT_STREAM: &str = "text/event-stream";
/// The header that carries a cursor in answers.
pub const CURSOR_HEADER: &str = "reveille-cursor";
/// The header that carries the oldest readable cursor in answers.
pub const OLDEST_HEADER: &str = "reveille-oldest";
/// The header that carries the cursor of the end of the log in answers.
pub const LATEST_HEADER: &str = "reveille-latest";
/// The header that makes a publish conditional on the end of the log.
pub const EXPECTED_CURSOR_HEADER: &str = "reveille-expected-cursor";

/// Whether a session takes events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// It takes events.
    Open,
    /// It is over, and readable until its retention ends.
    Ended,
}

/// First frame of a stream.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Open {
    /// Names this connection in logs.
    pub connection: String,
    /// The session's name within its tenant; null for a stream of all sessions.
    pub session: Option<String>,
    /// Where the stream begins.
    pub cursor: Cursor,
    /// The oldest place that can be read.
    pub oldest: Cursor,
    /// The end of the log.
    pub latest: Cursor,
    /// Whether the stream follows a cursor that the client gave.
    pub resumed: bool,
    /// Whether the session takes events.
    pub state: SessionState,
    /// Silence after which a heartbeat comes; 0 means never.
    pub heartbeat_ms: u64,
    /// When the session expires if nothing happens in it.
    #[serde(default, with = "crate::time::optional_millis")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub expires_at: Option<Timestamp>,
}

/// A place in the log, and nothing else.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct At {
    /// The place.
    pub cursor: Cursor,
}

/// Why the server ends a connection whose stream goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReconnectReason {
    /// The server is being stopped.
    Drain,
    /// The connection has reached its age.
    MaxAge,
    /// The credentials expire.
    TokenExpired,
    /// The client reads too slowly.
    SlowConsumer,
    /// The server has too much to do.
    Overloaded,
    /// The store behind the server is away.
    BackendLost,
}

/// The server ends this connection; come back with the last cursor.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reconnect {
    /// Why.
    pub reason: ReconnectReason,
    /// After how long.
    pub retry_ms: u64,
}

/// The session is over. Nothing follows.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct End {
    /// Why.
    pub reason: EndReason,
    /// The end of the log.
    pub cursor: Cursor,
}

/// A page of events.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EventPage {
    /// The events, oldest first.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<Object>))]
    pub events: Vec<Box<RawValue>>,
    /// Where the next page begins.
    pub cursor: Cursor,
    /// Whether the page reaches the end of the log.
    pub caught_up: bool,
    /// Whether the session is over and the page reaches its end.
    pub ended: bool,
    /// Why the session is over, once the page reaches its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<EndReason>,
    /// What is missing before the first event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
}

/// How a wait or take came out. A time-out is the status 204 and has no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum WaitOutcomeKind {
    /// The events are here.
    Matched,
    /// The session is over without a match.
    Ended,
}

impl WaitOutcomeKind {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Matched => "matched",
            Self::Ended => "ended",
        }
    }
}

/// Asks for events of all sessions of the tenant.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct EventQuery {
    /// Which events; all if none.
    #[serde(
        deserialize_with = "filter_of_object",
        skip_serializing_if = "Option::is_none"
    )]
    pub filter: Option<FilterSpec>,
    /// Whether kinds that are not known are refused.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    /// Where to begin: a cursor, `earliest` or `latest`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Most events on a page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// How long to wait for an event if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
}

/// Reads a filter that is an object. Derived code would take an array for one, member by member.
fn filter_of_object<'de, D: Deserializer<'de>>(from: D) -> Result<Option<FilterSpec>, D::Error> {
    struct Object(FilterSpec);

    struct Members;

    impl<'de> Visitor<'de> for Members {
        type Value = Object;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object, A::Error> {
            FilterSpec::deserialize(MapAccessDeserializer::new(map)).map(Object)
        }
    }

    impl<'de> Deserialize<'de> for Object {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            from.deserialize_map(Members)
        }
    }

    let filter = Option::<Object>::deserialize(from)?;
    Ok(filter.map(|Object(filter)| filter))
}

/// What a wait found.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WaitAnswer {
    /// How it came out.
    pub outcome: WaitOutcomeKind,
    /// The events, in log order.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<Object>))]
    pub events: Vec<Box<RawValue>>,
    /// Why the session is over, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<EndReason>,
    /// Where to go on.
    pub cursor: Cursor,
    /// What is missing before the first event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
}

/// What to take.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TakeRequest {
    /// The group that consumes; `default` if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Kinds to take: any of these; all if none.
    #[serde(default, rename = "match", skip_serializing_if = "Vec::is_empty")]
    pub matching: Vec<Pattern>,
    /// Whether kinds that are not known are refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    /// How long the events stay with this taker before they are offered again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1))]
    pub lease_ms: Option<u64>,
    /// How long to wait for an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Most events to take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 1000))]
    pub max: Option<u32>,
}

/// The right to settle one taken event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LeaseInfo {
    /// Names the lease in `ack` and `nack`.
    pub lease: String,
    /// How often the event has been delivered to this group, this time included.
    pub delivery: u32,
    /// When the event is offered again unless acknowledged.
    #[serde(with = "crate::time::millis")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub expires_at: Timestamp,
}

/// What a take got.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TakeAnswer {
    /// How it came out.
    pub outcome: WaitOutcomeKind,
    /// The events, in log order.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<Object>))]
    pub events: Vec<Box<RawValue>>,
    /// One lease an event, in the same order.
    pub leases: Vec<LeaseInfo>,
    /// Why the session is over, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<EndReason>,
    /// How far the group has been looked through.
    pub cursor: Cursor,
    /// What the group lost before the first event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
}

/// Settles taken events.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SettleRequest {
    /// The group that took them; `default` if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The leases.
    pub leases: Vec<String>,
}

/// How many leases were settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SettleAnswer {
    /// How many.
    pub settled: u32,
}

/// Asks for a cancel.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CancelRequest {
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How long the producer may take before the session is sealed as cancelled; without it the
    /// producer has the last word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_ms: Option<u64>,
}

/// A cancel that has been asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CancelInfo {
    /// Why, for people.
    pub reason: Option<String>,
    /// When.
    #[serde(with = "crate::time::millis")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub time: Timestamp,
}

/// The answer to a cancel: the first one wins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CancelAnswer {
    /// The session's name within its tenant.
    pub session: String,
    /// Whether an earlier cancel had been asked for.
    pub already_cancelled: bool,
    /// The cancel that counts.
    pub cancel: CancelInfo,
}

/// Asks to seal a session.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CloseRequest {
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How to create a session.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateRequest {
    /// Idle time to live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1))]
    pub ttl_ms: Option<u64>,
    /// Time after its creation at which it expires, whatever happens in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1))]
    pub lifetime_ms: Option<u64>,
    /// How often an event is delivered to a group on lease before it becomes a dead letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1))]
    pub max_deliveries: Option<u32>,
    /// Most events to retain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1))]
    pub max_events: Option<u64>,
    /// Most bytes to retain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1))]
    pub max_bytes: Option<u64>,
    /// Start a new incarnation if the session is over.
    #[serde(default)]
    pub recreate: bool,
}

/// What is known of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionInfo {
    /// The session's name within its tenant.
    pub session: String,
    /// Its namespace.
    pub namespace: String,
    /// Its id.
    pub id: String,
    /// Whether it takes events.
    pub state: SessionState,
    /// Why it is over.
    pub reason: Option<EndReason>,
    /// What whoever closed it said.
    pub message: Option<String>,
    /// The oldest place that can be read.
    pub oldest: Cursor,
    /// The end of the log.
    pub latest: Cursor,
    /// How many events are retained.
    pub retained: u64,
    /// How many bytes they cost.
    pub bytes: u64,
    /// How many events retention has dropped.
    pub dropped: u64,
    /// How many subscriptions are open.
    pub subscribers: u64,
    /// How many events the subscription that is furthest behind has before it.
    #[serde(default)]
    pub lag: u64,
    /// How many waits, takes and subscriptions are waiting right now.
    pub waiters: u64,
    /// The cancel that was asked for.
    pub cancel: Option<CancelInfo>,
    /// When the session was created.
    #[serde(with = "crate::time::millis")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub created_at: Timestamp,
    /// When something last happened in it.
    #[serde(with = "crate::time::millis")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub last_activity_at: Timestamp,
    /// When it ended.
    #[serde(default, with = "crate::time::optional_millis")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub ended_at: Option<Timestamp>,
    /// When it expires if nothing happens, or vanishes if it has ended.
    #[serde(default, with = "crate::time::optional_millis")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub expires_at: Option<Timestamp>,
    /// Its idle time to live; null means that it does not expire.
    pub ttl_ms: Option<u64>,
    /// Its absolute lifetime; null means that it has none.
    #[serde(default)]
    pub lifetime_ms: Option<u64>,
    /// Most events to retain.
    pub max_events: u64,
    /// Most bytes to retain.
    pub max_bytes: u64,
    /// How often an event is delivered on lease; null means without end.
    #[serde(default)]
    pub max_deliveries: Option<u32>,
}

/// A page of sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionList {
    /// The sessions, by namespace and id.
    pub sessions: Vec<SessionInfo>,
    /// Give this as `page` for what follows; null at the end.
    pub next_page: Option<String>,
}

/// An error (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// A stable URI of the sort of error.
    #[serde(rename = "type")]
    pub kind: String,
    /// One sentence for the sort of error.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// Stable name of the error.
    pub code: String,
    /// What went wrong this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The field that was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The most that is allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// What was given instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actual: Option<u64>,
    /// The end of the log, for a cursor ahead of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<Cursor>,
    /// After how long to try again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Finds the request in the server's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}
