//! Writes events.

use reveille_types::{Class, Envelope, ExtensionValue, Finality, Label, Privacy, UnplacedEvent};

use super::{JSON, VERSION, extension, has};

/// Begins a body.
pub(crate) fn start() -> Vec<u8> {
    vec![VERSION]
}

/// Adds the record of an event to a body.
pub(crate) fn push(body: &mut Vec<u8>, seq_from_low: u64, record: &[u8]) {
    number(body, record.len() as u64);
    number(body, seq_from_low);
    body.extend_from_slice(record);
}

/// The record of an event.
pub(crate) fn encode(event: &UnplacedEvent) -> Vec<u8> {
    let envelope = event.envelope();
    let payload = event.payload();
    let mut out = Vec::with_capacity(128 + payload.len());
    out.push(marks(envelope));
    let present_at = out.len();
    out.extend_from_slice(&[0; 2]);
    bytes(&mut out, envelope.id.as_str().as_bytes());
    bytes(&mut out, envelope.source.as_str().as_bytes());
    bytes(&mut out, envelope.kind.as_str().as_bytes());
    out.extend_from_slice(&envelope.time.as_millisecond().to_le_bytes());

    let mut present = 0;
    let mut text = |flag: u16, value: Option<&str>| {
        if let Some(value) = value {
            present |= flag;
            bytes(&mut out, value.as_bytes());
        }
    };
    text(has::SUBJECT, envelope.subject.as_deref());
    text(has::AGENT, label(&envelope.agent));
    text(has::RUN, label(&envelope.run));
    text(has::TURN, label(&envelope.turn));
    text(has::CORRELATION, label(&envelope.correlation));
    text(has::CAUSED_BY, label(&envelope.caused_by));
    text(has::TRACEPARENT, label(&envelope.traceparent));
    text(has::TRACESTATE, envelope.tracestate.as_deref());
    if !envelope.tags.is_empty() {
        present |= has::TAGS;
        number(&mut out, envelope.tags.len() as u64);
        for tag in &envelope.tags {
            bytes(&mut out, tag.as_str().as_bytes());
        }
    }
    if let Some(key) = &envelope.idempotency_key {
        present |= has::KEY;
        bytes(&mut out, key.as_bytes());
    }
    if !envelope.extensions.is_empty() {
        present |= has::EXTENSIONS;
        number(&mut out, envelope.extensions.len() as u64);
        for (name, value) in &envelope.extensions {
            bytes(&mut out, name.as_bytes());
            extension(&mut out, value);
        }
    }
    match payload.content_type() {
        Some(JSON) => present |= has::JSON,
        Some(other) => {
            present |= has::CONTENT_TYPE;
            bytes(&mut out, other.as_bytes());
        }
        None => {}
    }
    if let Some(schema) = payload.schema() {
        present |= has::SCHEMA;
        bytes(&mut out, schema.as_bytes());
    }
    if let Some(data) = payload.as_bytes() {
        present |= has::DATA;
        bytes(&mut out, data);
    }
    out[present_at..present_at + 2].copy_from_slice(&present.to_le_bytes());
    out
}

/// Class, finality and privacy in one byte.
fn marks(envelope: &Envelope) -> u8 {
    let class = match envelope.class {
        Class::Progress => 0,
        Class::Normal => 1,
        Class::Metering => 2,
        Class::Control => 3,
    };
    let finality = match envelope.finality {
        Finality::None => 0,
        Finality::Operation => 1,
        Finality::Session => 2,
    };
    let privacy = match envelope.privacy {
        None => 0,
        Some(Privacy::Public) => 1,
        Some(Privacy::Internal) => 2,
        Some(Privacy::ContentRefsOnly) => 3,
        Some(Privacy::Sensitive) => 4,
        Some(Privacy::Secret) => 5,
    };
    class | finality << 2 | privacy << 4
}

fn label(label: &Option<Label>) -> Option<&str> {
    label.as_ref().map(Label::as_str)
}

fn extension(out: &mut Vec<u8>, value: &ExtensionValue) {
    match value {
        ExtensionValue::Boolean(false) => out.push(extension::FALSE),
        ExtensionValue::Boolean(true) => out.push(extension::TRUE),
        ExtensionValue::Integer(value) => {
            out.push(extension::INTEGER);
            out.extend_from_slice(&value.to_le_bytes());
        }
        ExtensionValue::String(text) => {
            out.push(extension::STRING);
            bytes(out, text.as_bytes());
        }
    }
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}
