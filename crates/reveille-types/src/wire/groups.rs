//! The bodies of `/v1/sessions/{session}/groups/{group}`.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::cursor::Cursor;

/// Where a group of takers stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GroupInfo {
    /// Its name.
    pub group: String,
    /// How far it has settled the events that are retained, without a hole.
    pub cursor: Cursor,
    /// Events that wait to be taken.
    pub pending: u64,
    /// Events on lease.
    pub leased: u64,
    /// Takers that wait.
    pub waiting: u64,
    /// Dead letters.
    pub dead: u64,
    /// Events that the group has lost to a bound, so far.
    pub lost: u64,
    /// Events that have become dead letters, so far.
    pub died: u64,
}

/// Moves a group on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct GroupSkip {
    /// Where it goes on: a cursor, `earliest` or `latest`. Moving back does nothing.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(min_length = 1, required))]
    pub to: String,
}

/// Where a group goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GroupMoved {
    /// How far it has settled without a hole.
    pub cursor: Cursor,
}

/// Events that were delivered as often as they may be and came back.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeadLetterList {
    /// The events, oldest first.
    pub letters: Vec<DeadLetterInfo>,
}

/// One of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeadLetterInfo {
    /// Names it when it is retried or discarded.
    pub position: u64,
    /// How often it has been delivered.
    pub deliveries: u32,
    /// The event.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub event: Box<RawValue>,
}

/// What to do with dead letters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct DeadLetterRequest {
    /// Positions of those to offer again.
    pub retry: Vec<u64>,
    /// Positions of those to let go of.
    pub discard: Vec<u64>,
}

/// What was done with dead letters. Those that were not there do not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DeadLetterAnswer {
    /// How many are offered again.
    pub retried: u64,
    /// How many were let go of.
    pub discarded: u64,
}
