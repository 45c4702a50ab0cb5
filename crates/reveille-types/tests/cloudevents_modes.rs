//! Binary mode, batches and header values: what is read and written, and what is refused by name.

#![allow(
    clippy::unwrap_used,
    reason = "in a test an unwrap that fails is the failure"
)]

use std::hash::{Hash, Hasher};

use reveille_types::cloudevents::{
    BinaryEvent, decode_batch, decode_binary, decode_header, decode_structured, encode_batch,
    encode_binary, encode_header,
};
use reveille_types::{
    EventDraft, ExtensionValue, Fingerprint, Invalid, Label, Payload, decode_event,
};

mod common;
use common::place;

fn binary(content_type: Option<&str>, more: &[(&str, &str)], body: &[u8]) -> BinaryEvent {
    let required = [
        ("specversion", "1.0"),
        ("id", "1"),
        ("source", "/s"),
        ("type", "a.b"),
    ];
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    BinaryEvent {
        content_type: content_type.map(Into::into),
        attributes: required.iter().chain(more).map(owned).collect(),
        body: body.to_vec().into(),
    }
}

/// C-5.
#[test]
fn header_values_are_unquoted_then_decoded_once() {
    for (value, text) in [
        ("plain", "plain"),
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("%c3%a9", "é"),
        ("%2520", "%20"),
        ("\"quoted text\"", "quoted text"),
        (r#""a \"b\" \\ c""#, r#"a "b" \ c"#),
        ("\"%22\"", "\""),
        (r#""\%41""#, "A"),
        ("\"\"", ""),
        ("", ""),
        // Raw values of producers that encode nothing.
        ("100%", "100%"),
        ("%zz%4", "%zz%4"),
        ("%%41", "%A"),
        ("vendor=\"x\"", "vendor=\"x\""),
        ("\"a\" and \"b\"", "\"a\" and \"b\""),
        ("\"", "\""),
        (r#""open\""#, r#""open\""#),
        ("é", "é"),
    ] {
        assert_eq!(
            decode_header(value.as_bytes()).as_deref(),
            Ok(text),
            "{value}"
        );
    }
    for value in [
        &b"%C0%A0"[..],
        b"%FF",
        b"%ED%A0%80",
        b"\xE9",
        b"\"%C3\"",
        b"%E2%82",
    ] {
        assert!(decode_header(value).is_err(), "{value:?}");
    }
    assert_eq!(encode_header(" \"%~!\u{7f}é"), "%20%22%25~!%7F%C3%A9");
}

/// C-7.
#[test]
fn every_byte_survives_every_mode() {
    let bytes: Vec<u8> = (0..=255).collect();
    for content_type in [None, Some("application/octet-stream"), Some("image/png")] {
        let draft = decode_binary(binary(content_type, &[], &bytes)).unwrap();
        let event = place(draft, 0);
        assert_eq!(event.payload().content_type(), content_type);
        assert_eq!(event.payload().as_bytes().unwrap(), &bytes);
        let out = encode_binary(&event);
        assert_eq!(
            (out.content_type.as_deref(), &*out.body),
            (content_type, &*bytes)
        );
        let json = std::str::from_utf8(event.json()).unwrap();
        assert!(json.contains("\"data_base64\":\"AAECAw"), "{json}");
        assert_eq!(json.contains("datacontenttype"), content_type.is_some());
        assert_eq!(decode_event(json).unwrap().payload, *event.payload());
    }
}

#[test]
fn no_data_and_empty_data_differ() {
    let none = decode_binary(binary(None, &[], b"")).unwrap();
    assert_eq!(none.payload, Payload::none());
    let json = decode_binary(binary(Some("application/json"), &[], b"")).unwrap();
    assert_eq!(json.payload.as_bytes(), None);
    assert_eq!(json.payload.content_type(), Some("application/json"));
    let empty = decode_binary(binary(None, &[("reveilleempty", "true")], b"")).unwrap();
    assert_eq!(empty.payload, Payload::bytes(None, "").unwrap());
}

#[test]
fn extensions_are_strings_unless_their_types_are_told() {
    let of = |more: &[(&str, &str)]| decode_binary(binary(None, more, b"")).map(|d| d.extensions);
    let text = |text: &str| ExtensionValue::String(text.into());
    let plain = of(&[("sampled", "true"), ("attempt", "-2"), ("empty", "")]).unwrap();
    assert_eq!(plain["sampled"], text("true"));
    assert_eq!(plain["attempt"], text("-2"));
    assert_eq!(plain["empty"], text(""));
    let types = ("reveilletypes", "attempt=Integer,sampled=Boolean");
    let typed = of(&[("sampled", "true"), ("attempt", "-2"), types]).unwrap();
    assert_eq!(typed["sampled"], ExtensionValue::Boolean(true));
    assert_eq!(typed["attempt"], ExtensionValue::Integer(-2));
    assert_eq!(typed.len(), 2);
    for (value, name) in [("2147483648", "attempt"), ("x", "attempt")] {
        assert_eq!(of(&[("attempt", value), types]).unwrap_err().field(), name);
    }
}

/// C-1 and C-6 in binary mode.
#[test]
fn missing_and_illegal_attributes_are_refused_by_name() {
    for missing in ["specversion", "id", "source", "type"] {
        let mut event = binary(None, &[], b"");
        event.attributes.retain(|(name, _)| name != missing);
        let refused = decode_binary(event).unwrap_err();
        let field = missing.into();
        assert_eq!(refused, Invalid::Empty { field });
    }
    let long = "x".repeat(5000);
    for (name, value) in [
        ("subject", ""),
        ("subject", "a\u{0}"),
        ("time", "yesterday"),
        ("datacontenttype", "text/plain"),
        ("data", "1"),
        ("data_base64", "YQ=="),
        ("dataschema", "a b"),
        ("reveilleclass", "control"),
        ("reveillefinal", "true"),
        ("reveilletypes", "a"),
        ("reveilletypes", "a=String"),
        ("reveilleempty", "yes"),
        ("reveillenew", "x"),
        ("foo_bar", "x"),
        ("foo", "a\u{7f}"),
        ("foo", &long),
    ] {
        let refused = decode_binary(binary(None, &[(name, value)], b"")).unwrap_err();
        assert_eq!(refused.field(), name);
    }
    let refused = decode_binary(binary(None, &[("id", "2")], b"")).unwrap_err();
    assert_eq!(refused, Invalid::form("id", "stands twice"));
    let typed = [("subject", "true"), ("reveilletypes", "subject=Boolean")];
    let refused = decode_binary(binary(None, &typed, b"")).unwrap_err();
    assert_eq!(refused.field(), "subject");
    let refused = decode_binary(binary(None, &[("reveilleempty", "true")], b"x")).unwrap_err();
    assert_eq!(refused.field(), "reveilleempty");
    let refused = decode_binary(binary(Some("application/json"), &[], b"{")).unwrap_err();
    assert_eq!(refused.field(), "data");
}

#[test]
fn what_the_server_sets_is_ignored_in_binary_mode_too() {
    let given = [("reveilleseq", "1"), ("reveillecursor", "x")];
    let draft = decode_binary(binary(None, &given, b"")).unwrap();
    assert_eq!(draft, decode_binary(binary(None, &[], b"")).unwrap());
}

#[test]
fn batches_are_arrays_and_errors_name_the_index() {
    assert_eq!(encode_batch([]), b"[]");
    assert_eq!(decode_batch(" [ ] ", decode_event).unwrap(), []);
    let batch = decode_batch(r#"[{"type":"a"},{"type":"b"}]"#, decode_event).unwrap();
    assert_eq!(batch[1], EventDraft::parse("b").unwrap());
    let field = |json: &str| {
        decode_batch(json, decode_event)
            .unwrap_err()
            .field()
            .to_owned()
    };
    assert_eq!(field(r#"[{"type":"a"},{"type":""}]"#), "[1].type");
    assert_eq!(field(r#"[{"type":"a","foo":[]}]"#), "[0].foo");
    assert_eq!(field("[1]"), "[0].event");
    assert_eq!(field("{}"), "batch");
    assert_eq!(field("[1,"), "batch");
    let short = decode_batch(r#"[{"type":"a"}]"#, decode_structured).unwrap_err();
    assert_eq!(short.field(), "[0].specversion");
}

#[test]
fn the_digest_of_a_draft_leaves_its_trace_out() {
    let digest = |draft: &EventDraft| {
        let mut digest = Fingerprint::default();
        draft.hash(&mut digest);
        digest.finish()
    };
    let draft = EventDraft::parse("a").unwrap();
    let mut traced = draft.clone();
    traced.traceparent = Some(Label::parse("t").unwrap());
    traced.tracestate = Some("v=1".into());
    assert_eq!(digest(&traced), digest(&draft));
    let other = draft.clone().with_agent(Label::parse("t").unwrap());
    assert_ne!(digest(&other), digest(&draft));
}
