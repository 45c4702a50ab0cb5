//! The vocabulary of Reveille: what every other crate speaks, and nothing that runs.
//!
//! An [`Event`] is an immutable record of what happened: an [`Envelope`], a [`Payload`] and a
//! [`Place`] in a session log, which a [`SessionKey`] addresses. A producer hands in an
//! [`EventDraft`]; the log gives it a [`Position`]. A reader stands at a [`Cursor`], wants what its
//! [`Filter`] matches, and is told by a [`Gap`] what it did not get.
//!
//! What the known kinds carry is typed in [`data`]; closed sets of words are in [`sets`].
//!
//! This crate never waits, never looks at a clock, never does I/O and knows no HTTP: all in it is data
//! and pure functions, so that each process that speaks Reveille checks, prints and compares alike.
//! The JSON bodies that gateway and client exchange are in [`wire`], as plain data.

mod invalid;
pub mod limits;
mod name;

mod session;
mod short_text;

mod kind;
mod known_filter;
mod known_kinds;
mod registry;

mod draft;
mod event;
mod payload;

mod closed_set;
pub mod data;
pub mod sets;

pub mod cloudevents;
mod json;

mod cursor;
mod gap;
mod place;
mod receipt;
mod time;

mod content;
mod field;
mod filter;
mod fingerprint;
mod path;
mod pattern;
mod view;
mod visibility;

pub mod wire;

#[cfg(feature = "openapi")]
mod openapi;

pub use cloudevents::{decode as decode_event, decode_at as decode_event_at};
pub use content::{Attributes, Bound, Condition, Number, Range, Scalar};
pub use cursor::{Cursor, CursorError, Scope, Start};
pub use draft::{DraftDefaults, EventDraft, end_of_session};
pub use event::{
    Envelope, Event, EventId, ExtensionValue, Extensions, Label, Place, Privacy, Source,
    UnplacedEvent,
};
pub use field::FilterField;
pub use filter::{Filter, FilterSpec};
pub use fingerprint::Fingerprint;
pub use gap::{Gap, GapReason, OverflowDetail, PositionRanges};
pub use invalid::Invalid;
pub use json::{end_of_string, json_line};
pub use kind::{Class, EndReason, Finality, Kind};
pub use known_filter::UnknownKind;
pub use pattern::{Pattern, PatternPart};
pub use payload::Payload;
pub use place::{Epoch, Position, Seq};
pub use receipt::{Durability, Placed, Receipt};
pub use registry::{KindInfo, KindRegistry};
pub use session::{Namespace, SessionId, SessionKey, Tenant};
pub use time::rfc3339;
pub use view::RedactedPayload;
pub use visibility::{SessionPattern, Visibility, Visible};
