//! What texts and numbers in bodies look like, where the types that read them cannot say it.
//!
//! A schema here never says less than the server: what it allows by itself is not refused for its form.
//! Which kinds are known, and which cursors lead somewhere, no schema can say; a stream takes any text for
//! a cursor, and tells of a gap.

use reveille_types::limits;
use serde_json::{Value, json};

/// A segment of a kind in a pattern, which is not `_` alone.
macro_rules! segment {
    () => {
        "([A-Za-z0-9/:-][A-Za-z0-9_/:-]{0,127}|_[A-Za-z0-9_/:-]{1,127})"
    };
}
/// A pattern over kinds.
pub(super) const MATCH: &str = concat!(
    "^((",
    segment!(),
    "|\\*\\*?)\\.)*(",
    segment!(),
    "|\\*\\*?|>)$"
);
/// A cursor, or a word for one.
pub(super) const AFTER: &str = "^(earliest|latest|[0-9a-z]{16}\\.[0-9]{1,20}(\\.[0-9a-z]{1,16})?)$";
/// A handle of a signal.
pub(super) const HANDLE: &str = "^[0-9a-f]{32}$";
/// A session or everything below a place.
pub(super) const PATH: &str = "^([a-z0-9_-]{1,64}/(\\*\\*|(?!\\.{1,2}(/\\*\\*)?$)[A-Za-z0-9._~:@/-]{1,256}(/\\*\\*)?)|(?!\\.{1,2}$)[A-Za-z0-9._~:@-]{1,256})$";
/// A name of a group.
pub(super) const LABEL: &str = "^[^\\x00-\\x1f\\x7f-\\x9f]{1,256}$";
/// The same in a path, where two names mean something else.
pub(super) const PATH_LABEL: &str = "^(?!\\.{1,2}$)[^\\x00-\\x1f\\x7f-\\x9f]{1,256}$";
/// How long a stream may be silent, from 5s to 55s, or that heartbeats are frames.
pub(super) const HEARTBEAT: &str = "^(event|0*([1-4][0-9]|[5-9]|5[0-5])(s|[0-9]{3}ms))?$";
/// A name of a session, with its namespace or without.
const SESSION: &str = "^([a-z0-9_-]{1,64}/(?!\\.{1,2}$)[A-Za-z0-9._~:@/-]{1,256}|(?!\\.{1,2}$)[A-Za-z0-9._~:@-]{1,256})$";
const KIND: &str = "^[A-Za-z0-9_/:-]+(\\.[A-Za-z0-9_/:-]+)*$";
const LEASE: &str = "^[0-7][0-9a-hjkmnp-tv-z]{15}\\.[0-9]{1,18}\\.[0-9]{1,9}$";
const PLAIN: &str = "^[^\\x00-\\x1f\\x7f-\\x9f]+$";
const VISIBLE: &str = "^[!-~]+$";
/// Attributes that a filter can ask for: not those that say nothing to it.
const ATTRIBUTE: &str = "^(?!(specversion|time|data|datacontenttype|dataschema|reveille.*)$)[a-z0-9]{1,64}$|^reveille(session|agent|run|turn|tags|class|final|privacy)$";

/// Any characters for each `*`, of which no two stand together.
const WILDCARD: &str = r"^([^*\\]|\\[*\\]|\*(?!\*))*$";

/// Patterns of texts, by their places among the schemas.
const PATTERNS: &[(&str, &str)] = &[
    ("/Pattern", MATCH),
    ("/GroupSkip/properties/to", AFTER),
    ("/MergeRequest/properties/inputs/items", HANDLE),
    ("/SettleRequest/properties/group", LABEL),
    ("/SettleRequest/properties/leases/items", LEASE),
    ("/TakeRequest/properties/group", LABEL),
    ("/TicketRequest/properties/session", SESSION),
    ("/FilterSpec/properties/path/items", PATH),
];

/// The same of events, by member, and most characters of it.
const EVENT: &[(&str, &str, usize)] = &[
    ("type", KIND, limits::KIND_BYTES),
    ("id", PLAIN, limits::EVENT_ID_BYTES),
    ("source", VISIBLE, limits::REFERENCE_BYTES),
];

/// Fields of a filter that take texts.
const FILTER: &[&str] = &[
    "match",
    "namespace",
    "session",
    "path",
    "source",
    "subject",
    "agent",
    "run",
    "turn",
    "correlation",
    "caused_by",
    "tag",
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
    set("/Pattern", "maxLength", json!(limits::PATTERN_BYTES));
    for event in ["/Event", "/CloudEvent"] {
        for (member, pattern, longest) in EVENT {
            let place = format!("{event}/properties/{member}");
            set(&place, "pattern", json!(pattern));
            set(&place, "maxLength", json!(longest));
        }
        let names = json!({"type": "string", "pattern": "^[a-z0-9]{1,64}$"});
        set(event, "propertyNames", names);
        set(event, "additionalProperties", extension());
    }
    for field in FILTER {
        let place = format!("/FilterSpec/properties/{field}");
        if !["match", "path"].contains(field) {
            let items = format!("{place}/items");
            set(&items, "maxLength", json!(limits::REFERENCE_BYTES));
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
    let attributes = "/Attributes";
    let names = json!({"type": "string", "pattern": format!(r"^\$or$|{ATTRIBUTE}")});
    set(attributes, "propertyNames", names);
    set(attributes, "maxProperties", json!(limits::EXTENSIONS));
    let conditions = format!("{attributes}/additionalProperties");
    set(&conditions, "maxItems", json!(limits::FILTER_VALUES));
    set("", "Condition", condition());
    set("/MergeRequest", "required", json!(["inputs"]));
    // Any JSON.
    set("/TriggerRequest/properties", "value", json!({}));
}

/// A value of an attribute of the producer's own.
fn extension() -> Value {
    let text = json!({
        "type": "string",
        "pattern": "^[^\\x00-\\x1f\\x7f-\\x9f]*$",
        "maxLength": limits::EXTENSION_VALUE_BYTES,
    });
    let number = json!({"type": "integer", "minimum": i32::MIN, "maximum": i32::MAX});
    json!({"oneOf": [text, number, {"type": "boolean"}, {"type": "null"}]})
}

/// A condition on an attribute.
fn condition() -> Value {
    let longest = limits::EXTENSION_VALUE_BYTES;
    let text = json!({"type": "string", "maxLength": longest});
    let scalars = [text, json!({"type": "number"}), json!({"type": "boolean"})];
    let affix = json!({"type": "string", "minLength": 1, "maxLength": longest});
    let several = |item: Value| json!({"type": "array", "items": item, "minItems": 1, "maxItems": limits::FILTER_VALUES});
    let only = |name: &str, value: Value| {
        let properties = json!({name: value});
        json!({"type": "object", "properties": properties, "required": [name], "additionalProperties": false})
    };
    let either = |item: &Value| json!({"oneOf": [item, several(item.clone())]});
    let folded = json!({"type": "string", "maxLength": longest});
    let wildcard = json!({"type": "string", "pattern": WILDCARD, "maxLength": 256});
    let mut excluded = scalars.to_vec();
    excluded.extend([
        several(json!({"oneOf": scalars.clone()})),
        only("prefix", either(&affix)),
        only("suffix", either(&affix)),
        only("equals-ignore-case", either(&folded)),
        only("wildcard", either(&wildcard)),
    ]);
    let comparison = |words: &[&str]| json!({"type": "string", "enum": words});
    let number = json!({"type": "number"});
    let terms = |items: Vec<Value>| {
        let count = items.len();
        json!({"type": "array", "prefixItems": items, "items": false, "minItems": count, "maxItems": count})
    };
    let (above, below) = (comparison(&[">", ">="]), comparison(&["<", "<="]));
    let bound = comparison(&["=", ">", ">=", "<", "<="]);
    let numeric = json!({
        "description": "Bounds, with numbers between them",
        "oneOf": [
            terms(vec![bound, number.clone()]),
            terms(vec![above.clone(), number.clone(), below.clone(), number.clone()]),
            terms(vec![below, number.clone(), above, number]),
        ],
    });
    let mut any = scalars.to_vec();
    any.extend([
        only("prefix", affix.clone()),
        only("suffix", affix),
        only("equals-ignore-case", folded),
        only("wildcard", wildcard),
        only("anything-but", json!({"oneOf": excluded})),
        only("numeric", numeric),
        only("exists", json!({"type": "boolean"})),
    ]);
    json!({"description": "What an attribute must be like", "oneOf": any})
}

/// Numbers without a sign are bounded by their own limits, not by those of a format.
fn without_formats(value: &mut Value) {
    match value {
        Value::Object(members) => {
            if members.get("minimum").is_some_and(Value::is_number) {
                let narrow = members.remove("format") == Some(json!("int32"));
                let most = if narrow { u32::MAX.into() } else { u64::MAX };
                members.entry("maximum").or_insert(json!(most));
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
        for event in ["Event", "CloudEvent"] {
            for (member, pattern, longest) in EVENT {
                let member = &schemas[event]["properties"][member];
                assert_eq!(member["pattern"], *pattern);
                assert_eq!(member["maxLength"], *longest);
            }
        }
        for field in FILTER {
            let field = &schemas["FilterSpec"]["properties"][field];
            assert_eq!(field["minItems"], 1, "{field}");
        }
    }
}
