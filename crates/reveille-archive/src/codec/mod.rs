//! Events as bytes: what stands in the body of a stored row.
//!
//! A body is one version byte, then for each event its length, its sequence number counted from the
//! row's `low`, and its record. Numbers are LEB128; texts and bytes have their length before them. The
//! position of an event is not in it: events of a row follow each other without holes.

mod read;
mod write;

pub(crate) use read::Decoder;
pub(crate) use write::{encode, push, start};

/// The version of the form that is written.
const VERSION: u8 = 1;

/// Which optional fields follow the fixed ones, in this order.
mod has {
    pub(super) const SUBJECT: u16 = 1;
    pub(super) const AGENT: u16 = 1 << 1;
    pub(super) const RUN: u16 = 1 << 2;
    pub(super) const TURN: u16 = 1 << 3;
    pub(super) const CORRELATION: u16 = 1 << 4;
    pub(super) const CAUSED_BY: u16 = 1 << 5;
    pub(super) const TRACEPARENT: u16 = 1 << 6;
    pub(super) const TRACESTATE: u16 = 1 << 7;
    pub(super) const TAGS: u16 = 1 << 8;
    pub(super) const KEY: u16 = 1 << 9;
    pub(super) const EXTENSIONS: u16 = 1 << 10;
    /// The content type is `application/json` and not written.
    pub(super) const JSON: u16 = 1 << 11;
    pub(super) const CONTENT_TYPE: u16 = 1 << 12;
    pub(super) const SCHEMA: u16 = 1 << 13;
    pub(super) const DATA: u16 = 1 << 14;
}

/// The content type that most payloads have.
const JSON: &str = "application/json";

/// What an extension attribute is.
mod extension {
    pub(super) const FALSE: u8 = 0;
    pub(super) const TRUE: u8 = 1;
    pub(super) const INTEGER: u8 = 2;
    pub(super) const STRING: u8 = 3;
}

/// The events of a stored body, for fuzz targets: nothing if it is damaged.
#[cfg(fuzzing)]
#[doc(hidden)]
pub fn read_record(
    body: &[u8],
    place: &reveille_types::Place,
) -> Option<Vec<reveille_types::Event>> {
    let mut found = Vec::new();
    let mut decoder = Decoder::new(std::sync::Arc::clone(&place.session), place.epoch);
    decoder
        .body(body, place.position, place.seq, place.position, |event| {
            found.push(event);
            true
        })
        .ok()?;
    Some(found)
}

#[cfg(test)]
mod tests;
