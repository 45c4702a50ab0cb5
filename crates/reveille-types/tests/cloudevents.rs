//! `CloudEvents` in all modes, both ways: what is written, and that it comes back.

#![allow(
    clippy::unwrap_used,
    reason = "in a test an unwrap that fails is the failure"
)]

use jiff::Timestamp;
use proptest::prelude::*;
use reveille_types::cloudevents::{
    BinaryEvent, decode_batch, decode_binary, decode_header, decode_structured, encode_batch,
    encode_binary, encode_header,
};
use reveille_types::{
    Class, EventDraft, EventId, ExtensionValue, Extensions, Finality, Kind, Label, Payload,
    Privacy, Source, decode_event, rfc3339,
};
use serde_json::Value;

mod common;
use common::place;

/// Text without controls and noncharacters, line ends of Unicode and separators included.
fn plain() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z%,25C\"\\\\ \u{2028}\u{2029}é]{1,12}",
        "[^\\p{C}]{1,12}",
    ]
}

fn labels() -> impl Strategy<Value = Label> {
    plain().prop_map(|t| Label::parse(t).unwrap())
}

fn times() -> impl Strategy<Value = Timestamp> {
    let start = "0000-01-01T00:00:00Z".parse::<Timestamp>().unwrap();
    (start.as_millisecond()..=Timestamp::MAX.as_millisecond())
        .prop_map(|millis| Timestamp::from_millisecond(millis).unwrap())
}

fn extensions() -> impl Strategy<Value = Extensions> {
    let value = prop_oneof![
        any::<bool>().prop_map(ExtensionValue::Boolean),
        any::<i32>().prop_map(ExtensionValue::Integer),
        prop_oneof![
            plain(),
            Just(String::new()),
            Just("true".into()),
            Just("7".into())
        ]
        .prop_map(|t| ExtensionValue::String(t.into())),
    ];
    prop::collection::btree_map("x[a-z0-9]{0,10}|sequence".prop_map(Into::into), value, 0..5)
}

fn payloads() -> impl Strategy<Value = Payload> {
    let text = || "[ -~\\n\\r\\t\u{0}\u{85}\u{2028}\u{2029}é]{0,12}";
    let payload = prop_oneof![
        Just(Payload::none()),
        text().prop_map(|t| Payload::json(&[t]).unwrap()),
        (any::<f64>(), "[ \n]{0,3}").prop_map(|(n, gap)| {
            Payload::json_text(&format!("{{{gap}\"n\":{gap}{}}}", Value::from(n))).unwrap()
        }),
        Just(Payload::json(&()).unwrap()),
        text().prop_map(|t| Payload::bytes(Some("text/plain; charset=utf-8"), t).unwrap()),
        any::<Vec<u8>>().prop_map(|b| Payload::bytes(Some("application/cbor"), b).unwrap()),
        any::<Vec<u8>>().prop_map(|b| Payload::bytes(None, b).unwrap()),
    ];
    (payload, any::<bool>()).prop_map(|(payload, schema)| match schema {
        true => payload.with_schema("https://example.com/schema#1").unwrap(),
        false => payload,
    })
}

prop_compose! {
    /// Drafts in which everything that an event has is stated.
    fn drafts()(
        (id, source, time) in (
            plain().prop_map(|t| EventId::parse(t).unwrap()),
            "[!-~]{1,12}".prop_map(|t| Source::parse(t).unwrap()),
            times(),
        ),
        (class, finality) in (
            prop_oneof![Just(Class::Progress), Just(Class::Normal), Just(Class::Metering)],
            prop_oneof![Just(Finality::None), Just(Finality::Operation), Just(Finality::Session)],
        ),
        kind in "task\\.(status\\.completed|error|progress|x)|[A-Za-z0-9_/:-]{1,9}x",
        subject in prop::option::of(plain()),
        [agent, run, turn, correlation, caused_by, traceparent] in
            prop::array::uniform6(prop::option::of(labels())),
        tracestate in prop::option::of(plain()),
        privacy in prop::option::of(prop_oneof![
            Just(Privacy::Public),
            Just(Privacy::Internal),
            Just(Privacy::ContentRefsOnly),
            Just(Privacy::Sensitive),
            Just(Privacy::Secret),
        ]),
        tags in prop::collection::vec(labels(), 0..5),
        extensions in extensions(),
        payload in payloads(),
    ) -> EventDraft {
        EventDraft {
            id: Some(id),
            source: Some(source),
            time: Some(time),
            class: Some(class),
            finality: Some(finality),
            subject: subject.map(Into::into),
            agent, run, turn, correlation, caused_by, traceparent,
            tracestate: tracestate.map(Into::into),
            privacy, tags, extensions, payload,
            ..EventDraft::new(Kind::parse(kind).unwrap())
        }
    }
}

fn json_of(draft: EventDraft) -> String {
    String::from_utf8(place(draft, 41).json().to_vec()).unwrap()
}

/// The same after the way through headers.
fn through_headers(mut event: BinaryEvent) -> BinaryEvent {
    for (_, value) in &mut event.attributes {
        *value = decode_header(encode_header(value).as_bytes()).unwrap();
    }
    event
}

/// As many as are asked for, and so many otherwise.
fn cases(usual: u32) -> ProptestConfig {
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: if asked { default.cases } else { usual },
        ..default
    }
}

proptest! {
    #![proptest_config(cases(1024))]

    /// C-7 and C-9, as far as structured mode goes.
    #[test]
    fn event_comes_back_from_its_json(draft in drafts()) {
        prop_assert_eq!(draft.check(), Ok(()));
        prop_assert_eq!(decode_event(&json_of(draft.clone())).unwrap(), draft);
    }

    /// C-9: structured, stored, binary, stored, batch. C-7 for the payload in it.
    #[test]
    fn event_is_the_same_after_its_way_through_every_mode(draft in drafts()) {
        let event = place(draft, 41);
        let structured = decode_event(std::str::from_utf8(event.json()).unwrap()).unwrap();
        let stored = place(structured, 41);
        let stored = place(decode_binary(through_headers(encode_binary(&stored))).unwrap(), 41);
        prop_assert_eq!(&stored, &event);
        let batch = encode_batch([&stored, &event]);
        let batch = decode_batch(std::str::from_utf8(&batch).unwrap(), decode_structured).unwrap();
        prop_assert_eq!(batch.len(), 2);
        for draft in batch {
            prop_assert_eq!(&place(draft, 41), &event);
        }
    }

    /// C-5: what is written is visible ASCII without quotes, and comes back.
    #[test]
    fn header_value_is_visible_ascii_and_comes_back(text in prop_oneof![plain(), ".*"]) {
        let value = encode_header(&text);
        prop_assert!(value.bytes().all(|b| b.is_ascii_graphic() && b != b'"'), "{}", value);
        prop_assert_eq!(decode_header(value.as_bytes()), Ok(text));
    }

    #[test]
    fn decoding_any_header_never_panics(value: Vec<u8>, text in "[\"\\\\%0-9A-Fa-f]{0,8}") {
        let _ = decode_header(&value);
        prop_assert!(!decode_header(text.as_bytes()).is_ok_and(|t| t.len() > text.len()));
    }

    #[test]
    fn event_published_again_is_the_same_event(draft in drafts()) {
        let event = place(draft, 41);
        let json = std::str::from_utf8(event.json()).unwrap();
        prop_assert_eq!(place(decode_event(json).unwrap(), 41), event);
    }

    /// C-4, and what clients that read by lines need.
    #[test]
    fn json_is_one_line_without_null_attributes_or_repeated_members(draft in drafts()) {
        let json = json_of(draft);
        let cut = json.contains(['\r', '\n', '\u{85}', '\u{2028}', '\u{2029}']);
        prop_assert!(!cut, "{}", json);
        let Value::Object(members) = serde_json::from_str::<Value>(&json).unwrap() else {
            panic!("an object");
        };
        for (name, value) in &members {
            prop_assert!(name == "data" || !value.is_null(), "{}", name);
            prop_assert!(
                name == "data_base64"
                    || name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()),
                "{}", name,
            );
            prop_assert!(name == "data" || !(value.is_object() || value.is_array()));
        }
        for name in ["specversion", "id", "source", "type", "time"] {
            prop_assert!(members.contains_key(name), "{}", name);
        }
        prop_assert_eq!(&members["reveilleposition"], "00000000000000000041");
        prop_assert_eq!(&members["reveilleseq"], "00000000000000001041");
        let time = members["time"].as_str().unwrap();
        prop_assert_eq!(time.len(), "2026-01-31T12:00:00.100Z".len());
    }

    #[test]
    fn decoding_any_text_gives_an_event_that_passes_its_check_or_an_error(
        text in prop_oneof![Just(String::new()), ".*", near_json()],
    ) {
        if let Ok(draft) = decode_event(&text) {
            prop_assert_eq!(draft.check(), Ok(()));
            let again = decode_event(&json_of(draft.clone())).unwrap();
            prop_assert_eq!((again.kind, again.payload), (draft.kind, draft.payload));
        }
    }

    #[test]
    fn decoding_a_damaged_event_never_panics(
        draft in drafts(), at: prop::sample::Index, with in ".?", keep: bool,
    ) {
        let mut json = json_of(draft);
        let places: Vec<usize> = json.char_indices().map(|(n, _)| n).collect();
        let n = at.index(places.len());
        let end = if keep { places[n] } else { *places.get(n + 1).unwrap_or(&json.len()) };
        json.replace_range(places[n]..end, &with);
        if let Ok(draft) = decode_event(&json) {
            prop_assert_eq!(draft.check(), Ok(()));
        }
    }

    #[test]
    fn time_on_the_wire_is_utc_with_milliseconds_and_sorts_as_text(a in times(), b in times()) {
        prop_assert!(rfc3339(a).ends_with('Z') && rfc3339(a).len() == 24);
        prop_assert_eq!(rfc3339(a).parse::<Timestamp>().unwrap(), a);
        prop_assert_eq!(rfc3339(a).cmp(&rfc3339(b)), a.cmp(&b));
    }
}

/// Objects of an event's members with values that fit and that do not.
fn near_json() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "specversion",
        "id",
        "source",
        "type",
        "time",
        "subject",
        "datacontenttype",
        "dataschema",
        "data",
        "data_base64",
        "correlationid",
        "causationid",
        "traceparent",
        "tracestate",
        "reveilleclass",
        "reveillefinal",
        "reveilleprivacy",
        "reveilletags",
        "reveilleagent",
        "reveilleseq",
        "foo",
        "foo2",
        "Foo",
    ]);
    let value = prop::sample::select(vec![
        "null",
        "true",
        "7",
        "2147483648",
        "1.5",
        "\"\"",
        "\"1.0\"",
        "\"a\"",
        "\"a,b\"",
        "\"normal\"",
        "\"text/plain\"",
        "\"application/json\"",
        "\"YQ==\"",
        "\"\\ud800\"",
        "\"2026-01-31T12:00:00Z\"",
        "\"\\u0000\"",
        "{}",
        "[1, 2]",
        "\"\u{2028}\"",
    ]);
    prop::collection::vec((name, value), 0..5).prop_map(|members| {
        let members = members
            .iter()
            .map(|(name, value)| format!("\"{name}\" : {value}"));
        format!(
            "{{\"type\":\"a\",{}}}",
            members.collect::<Vec<_>>().join(",")
        )
        .replace(",}", "}")
    })
}
