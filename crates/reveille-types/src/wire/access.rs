//! The bodies of `/v1/tickets`, `/v1/connections` and `/v1/limits`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::pattern::Pattern;

/// Asks for a ticket to read one session.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TicketRequest {
    /// The session's name: `id`, or `namespace/id`.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(min_length = 1, required))]
    pub session: String,
    /// Kinds to read: any of these; all if none.
    #[serde(default, rename = "match", skip_serializing_if = "Vec::is_empty")]
    pub matching: Vec<Pattern>,
    /// How long streams can be begun with it; 5 minutes if none, at most 15.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
}

/// A ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TicketCreated {
    /// Give this as `?ticket=`. It is told here and never again.
    pub ticket: String,
    /// Until when streams can be begun with it.
    #[serde(with = "crate::time::millis")]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub expires_at: Timestamp,
}

/// A connection that goes on with a new credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConnectionRenewed {
    /// When the new credential ends; null if it does not.
    #[serde(with = "crate::time::optional_millis")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub expires_at: Option<Timestamp>,
}
