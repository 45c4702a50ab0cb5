//! What texts and numbers in bodies look like, where the types that read them cannot say it.
//!
//! A schema here never says less than the server: what it allows by itself is not refused for its form.
//! Which kinds are known, and which cursors lead somewhere, no schema can say; a stream takes any text for
//! a cursor, and tells of a gap.

use reveille_types::limits;
use serde_json::{Value, json};

/// A pattern over kinds.
pub(super) const MATCH: &str = "^(\\*|[A-Za-z0-9]+(\\.[A-Za-z0-9]+)*(\\.\\*)?)$";
/// A cursor, or a word for one.
pub(super) const AFTER: &str = "^(earliest|latest|[0-9a-z]{16}\\.[0-9]{1,20}(\\.[0-9a-z]{1,16})?)$";
/// A handle of a signal.
pub(super) const HANDLE: &str = "^[0-9a-f]{32}$";
/// A name of a session, with its namespace or without.
const SESSION: &str = "^([a-z0-9_-]{1,64}/)?[A-Za-z0-9_~:@-]{1,100}$";
const KIND: &str = "^[A-Za-z0-9_:-]{1,40}(\\.[A-Za-z0-9_:-]{1,40}){0,2}$";
const LEASE: &str = "^[0-7][0-9a-hjkmnp-tv-z]{15}\\.[0-9]{1,18}\\.[0-9]{1,9}$";
/// A text that is anything: most of what a name may be.
const TEXT: &str = "^[ -~]{1,64}$";

/// Patterns of texts, by their places among the schemas.
const PATTERNS: &[(&str, &str)] = &[
    ("/Pattern", MATCH),
    ("/Event/properties/type", KIND),
    ("/GroupSkip/properties/to", AFTER),
    ("/MergeRequest/properties/inputs/items", HANDLE),
    ("/SettleRequest/properties/group", TEXT),
    ("/SettleRequest/properties/leases/items", LEASE),
    ("/SignalRequest/properties/name", TEXT),
    ("/TakeRequest/properties/group", TEXT),
    ("/TicketRequest/properties/session", SESSION),
];

/// Fields of a filter, and what their values look like.
const FILTER: &[(&str, &str)] = &[
    ("match", MATCH),
    ("namespace", "^[a-z0-9_-]{1,64}$"),
    ("session", "^[A-Za-z0-9_~:@-]{1,100}$"),
    ("path", "^[a-z0-9_-]{1,64}/([A-Za-z0-9_-]{1,64}|\\*\\*)$"),
];

/// Words where any text would be too much.
const WORDS: &[(&str, &[&str])] = &[
    ("/Class", &["normal", "progress", "metering", "control"]),
    ("/Finality", &["none", "operation", "session"]),
];

/// Says in a document what texts and numbers look like.
pub(super) fn say(document: &mut Value) {
    let Some(schemas) = document.pointer_mut("/components/schemas") else {
        return;
    };
    without_formats(schemas);
    let mut set = |place: &str, member: &str, value: Value| {
        if let Some(Value::Object(schema)) = schemas.pointer_mut(place) {
            schema.insert(member.to_owned(), value);
        }
    };
    for (place, pattern) in PATTERNS {
        set(place, "pattern", json!(pattern));
    }
    for (place, words) in WORDS {
        set(place, "enum", json!(words));
    }
    for (field, pattern) in FILTER {
        let place = format!("/FilterSpec/properties/{field}");
        if *field != "match" {
            set(&format!("{place}/items"), "pattern", json!(pattern));
        }
        set(&place, "minItems", json!(1));
        set(&place, "maxItems", json!(limits::FILTER_VALUES));
    }
    for field in ["class", "final", "privacy"] {
        set(
            &format!("/FilterSpec/properties/{field}"),
            "minItems",
            json!(1),
        );
    }
    for request in ["TakeRequest", "TicketRequest"] {
        let place = format!("/{request}/properties/match");
        set(&place, "maxItems", json!(limits::FILTER_VALUES));
    }
    set("/MergeRequest/properties/inputs", "minItems", json!(1));
    set("/EventQuery/properties/limit", "minimum", json!(1));
    set("/EventQuery/properties/limit", "maximum", json!(1_000));
    let names = json!({"type": "string", "pattern": "^(\\$or|[a-z0-9]{1,20})$"});
    set("/Attributes", "propertyNames", names);
    // Any JSON.
    set("/TriggerRequest/properties", "value", json!({}));
}

/// Numbers without a sign are bounded by their own limits, not by those of a format.
fn without_formats(value: &mut Value) {
    match value {
        Value::Object(members) => {
            if members.get("minimum").is_some() {
                members.remove("format");
            }
            members.values_mut().for_each(without_formats);
        }
        Value::Array(items) => items.iter_mut().for_each(without_formats),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_there() {
        let document = super::super::document_of(true);
        let schemas = &document["components"]["schemas"];
        for (place, pattern) in PATTERNS {
            let found = schemas.pointer(place).map(|schema| &schema["pattern"]);
            assert_eq!(found, Some(&json!(pattern)), "{place}");
        }
        for (place, words) in WORDS {
            assert_eq!(schemas.pointer(place).unwrap()["enum"], json!(words));
        }
        for (field, _) in FILTER {
            let field = &schemas["FilterSpec"]["properties"][field];
            assert_eq!(field["minItems"], 1, "{field}");
        }
    }
}
