//! Payloads: JSON keeps its meaning on one line, everything else keeps its bytes.

#![allow(
    clippy::unwrap_used,
    reason = "in a test an unwrap that fails is the failure"
)]

use proptest::prelude::*;
use reveille_types::{Payload, limits};
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// Any JSON value, strings with line ends and quotes included.
fn values() -> impl Strategy<Value = Value> {
    let text = || "[ \"\\\\\n\u{85}\u{2028}\u{2029}a-c\t]{0,6}|.{0,6}";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|n| Value::from(f64::from(n) / 8.0)),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(text(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn is_one_line(text: &str) -> bool {
    !text.contains(['\r', '\n', '\u{85}', '\u{2028}', '\u{2029}'])
}

proptest! {
    #[test]
    fn compacting_keeps_the_meaning_on_one_line(value in values()) {
        let pretty = serde_json::to_string_pretty(&value).unwrap().replace('\n', "\r\n\t ");
        let payload = Payload::json_text(&pretty).unwrap();
        prop_assert_eq!(payload.parse::<Value>().unwrap(), value.clone());
        prop_assert!(is_one_line(payload.as_text().unwrap()));
        prop_assert_eq!(&payload, &Payload::json(&value).unwrap());
        let again = Payload::json_text(payload.as_text().unwrap()).unwrap();
        prop_assert_eq!(payload, again, "compact already");
    }

    #[test]
    fn numbers_keep_their_text(
        number in "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,40})?([eE][+-]?[0-9]{1,4})?",
    ) {
        let payload = Payload::json_text(&format!(" [ {number} , {number}\n]")).unwrap();
        prop_assert_eq!(payload.as_text().unwrap(), format!("[{number},{number}]"));
    }

    #[test]
    fn bytes_that_are_not_json_are_kept(
        bytes: Vec<u8>, content_type in prop::option::of("text/[a-z]{1,8}|image/png"),
    ) {
        let payload = Payload::bytes(content_type.as_deref(), bytes.clone()).unwrap();
        prop_assert_eq!(payload.as_bytes().unwrap(), &bytes);
        prop_assert_eq!(payload.content_type(), content_type.as_deref());
        prop_assert_eq!((payload.len(), payload.is_empty()), (bytes.len(), bytes.is_empty()));
        prop_assert!(!payload.is_json());
        prop_assert!(payload.parse::<Value>().is_err());
    }

    #[test]
    fn any_text_is_json_or_refused_as_data(text in "[\\[\\]{}\":,0-9a\\\\ ]{0,10}|.*") {
        match Payload::json_text(&text) {
            Ok(payload) => {
                prop_assert!(serde_json::from_str::<&RawValue>(payload.as_text().unwrap()).is_ok());
            }
            Err(refused) => prop_assert_eq!(refused.field(), "data"),
        }
    }
}

#[test]
fn white_space_within_strings_and_after_escaped_quotes_is_kept() {
    let payload = Payload::json_text("{ \"a \\\" b\" : \" c \\\\\" , \"d\" :\t1 }").unwrap();
    let text = payload.as_text().unwrap();
    assert_eq!(text, "{\"a \\\" b\":\" c \\\\\",\"d\":1}");
}

#[test]
fn members_keep_their_order_and_repetition() {
    let payload = Payload::json_text(r#"{"b": 1, "a": 2, "b": 3}"#).unwrap();
    assert_eq!(payload.as_text(), Some(r#"{"b":1,"a":2,"b":3}"#));
}

#[test]
fn line_ends_of_unicode_are_escaped_where_the_length_stays_the_same() {
    let payload = Payload::json_text("[   \"\u{2028}\"]").unwrap();
    assert_eq!(payload.as_text(), Some("[\"\\u2028\"]"));
}

#[test]
fn value_with_raw_json_in_it_is_one_line() {
    let raw = RawValue::from_string("{\n  \"a\": [1,\r\n 2]\n}".into()).unwrap();
    let payload = Payload::json(&[raw]).unwrap();
    assert_eq!(payload.as_text(), Some(r#"[{"a":[1,2]}]"#));
}

#[test]
fn null_is_a_payload_and_none_is_not() {
    let null = Payload::json(&Value::Null).unwrap();
    assert_eq!((null.as_text(), null.is_json()), (Some("null"), true));
    let none = Payload::none();
    assert_eq!((none.as_bytes(), none.is_json()), (None, false));
    assert_ne!(null, none);
}

#[test]
fn json_is_told_by_its_media_type() {
    for (content_type, json) in [
        ("application/json", true),
        ("Application/JSON", true),
        ("text/json", true),
        ("application/json; charset=utf-8", true),
        ("application/vnd.api+json", true),
        ("application/vnd.api+JSON;v=1", true),
        ("application/jsonl", false),
        ("application/x-json", false),
        ("json", false),
        ("text/plain", false),
        ("application/+json", true),
    ] {
        let payload = Payload::bytes(Some(content_type), "{}").unwrap();
        assert_eq!(payload.is_json(), json, "{content_type}");
        assert_eq!(Payload::bytes(Some(content_type), "{").is_err(), json);
    }
}

#[test]
fn broken_json_and_malformed_types_are_refused_by_name() {
    let refused = Payload::bytes(Some("application/json"), &b"\"\xFF\""[..]).unwrap_err();
    assert_eq!(refused.field(), "data");
    for text in ["", "1 2", "{\"a\":1,}", "nul", "[\"\n\"]", "\u{FEFF}1"] {
        assert_eq!(
            Payload::json_text(text).unwrap_err().field(),
            "data",
            "{text:?}"
        );
    }
    for content_type in ["", "text/plain\n", "text/plän"] {
        let refused = Payload::bytes(Some(content_type), "").unwrap_err();
        assert_eq!(refused.field(), "datacontenttype");
    }
    let long = "t".repeat(limits::CONTENT_TYPE_BYTES + 1);
    let refused = Payload::bytes(Some(&long), "").unwrap_err();
    assert_eq!(refused.sizes(), Some((256, 257)));
    for schema in ["", "urn:a b"] {
        let refused = Payload::none().with_schema(schema).unwrap_err();
        assert_eq!(refused.field(), "dataschema");
    }
}

#[test]
fn payload_is_read_as_the_type_that_it_was_made_of() {
    let payload = Payload::json(&json!({"percent": 40})).unwrap();
    #[derive(serde::Deserialize)]
    struct Progress {
        percent: u8,
    }
    assert_eq!(payload.parse::<Progress>().unwrap().percent, 40);
    assert_eq!(payload.parse::<Vec<u8>>().unwrap_err().field(), "data");
}
