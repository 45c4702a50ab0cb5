//! The bounds that every name and every event keeps, whatever the configuration.
//!
//! Configurable bounds (events per session, sessions per tenant, ...) belong to the layer that
//! enforces them; these here are part of the vocabulary, so that each process refuses the same text.

/// Longest tenant name, in bytes.
pub const TENANT_BYTES: usize = 128;
/// Longest namespace, in bytes.
pub const NAMESPACE_BYTES: usize = 64;
/// Longest session id, in bytes.
pub const SESSION_ID_BYTES: usize = 256;
/// Longest kind, in bytes.
pub const KIND_BYTES: usize = 128;
/// Longest pattern over kinds, in bytes.
pub const PATTERN_BYTES: usize = 256;
/// Most values of one field of a filter.
pub const FILTER_VALUES: usize = 64;
/// Longest producer-made event id, in bytes.
pub const EVENT_ID_BYTES: usize = 256;
/// Longest `source` and `subject`, in bytes.
pub const REFERENCE_BYTES: usize = 1024;
/// Longest agent, run, turn, correlation, cause, tag and the like, in bytes.
pub const LABEL_BYTES: usize = 256;
/// Most tags on one event.
pub const TAGS: usize = 64;
/// Most extension attributes on one event.
pub const EXTENSIONS: usize = 64;
/// Longest extension attribute name, in bytes.
pub const EXTENSION_NAME_BYTES: usize = 64;
/// Longest extension attribute value and `tracestate`, in bytes.
pub const EXTENSION_VALUE_BYTES: usize = 4096;
/// Longest content type and data schema, in bytes.
pub const CONTENT_TYPE_BYTES: usize = 256;
/// Longest idempotency key, in bytes.
pub const IDEMPOTENCY_KEY_BYTES: usize = 128;
/// Longest group name, in bytes.
pub const GROUP_BYTES: usize = 128;
/// Longest human reason given with a cancel or a close, in bytes.
pub const REASON_BYTES: usize = 1024;
/// Longest text form of a cursor, in bytes: what browsers send as `Last-Event-ID` across origins
/// without a preflight.
pub const CURSOR_BYTES: usize = 128;
