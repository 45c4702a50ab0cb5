//! What a publisher may send in structured mode, what is refused, and that the error names it.

#![allow(
    clippy::unwrap_used,
    reason = "in a test an unwrap that fails is the failure"
)]

use reveille_types::{
    EventDraft, ExtensionValue, Finality, Invalid, Label, Payload, decode_event, limits,
};

/// A full event with these members added.
fn with(members: &str) -> Result<EventDraft, Invalid> {
    let start = r#"{"specversion":"1.0","id":"1","source":"/s","type":"a.b""#;
    let comma = if members.is_empty() { "" } else { "," };
    decode_event(&format!("{start}{comma}{members}}}"))
}

fn field(result: Result<EventDraft, Invalid>) -> String {
    result.unwrap_err().field().to_owned()
}

#[test]
fn short_form_needs_a_type_alone() {
    let draft = decode_event(r#"{"type":"a.b"}"#).unwrap();
    assert_eq!(draft, EventDraft::parse("a.b").unwrap());
    let draft = decode_event(r#" { "data" : [ 1 ] , "type" : "a.b" } "#).unwrap();
    assert_eq!(draft.payload, Payload::json(&[1]).unwrap());
    assert_eq!(field(decode_event("{}")), "type");
    assert_eq!(field(decode_event(r#"{"type":null}"#)), "type");
}

#[test]
fn full_form_needs_id_and_source() {
    assert!(with("").is_ok());
    for (json, missing) in [
        (r#"{"specversion":"1.0","source":"/s","type":"a"}"#, "id"),
        (r#"{"specversion":"1.0","id":"1","type":"a"}"#, "source"),
        (r#"{"specversion":"1.0","id":"1","source":"/s"}"#, "type"),
        (
            r#"{"specversion":"1.0","id":null,"source":"/s","type":"a"}"#,
            "id",
        ),
        (
            r#"{"specversion":"1.0","id":"","source":"/s","type":"a"}"#,
            "id",
        ),
        (
            r#"{"specversion":"1.0","id":"1","source":"","type":"a"}"#,
            "source",
        ),
        (
            r#"{"specversion":"1.0","id":"1","source":"/s","type":""}"#,
            "type",
        ),
    ] {
        let refused = decode_event(json).unwrap_err();
        assert_eq!(
            refused,
            Invalid::Empty {
                field: missing.into()
            },
            "{json}"
        );
    }
}

#[test]
fn other_versions_are_refused() {
    for version in [r#""0.3""#, r#""1.0.2""#, r#""1""#, "1.0", r#""""#] {
        let json = format!(r#"{{"specversion":{version},"id":"1","source":"/s","type":"a"}}"#);
        assert_eq!(field(decode_event(&json)), "specversion", "{version}");
    }
}

/// C-6, and the types of the known attributes.
#[test]
fn illegal_attribute_is_refused_by_its_name() {
    for (members, name) in [
        (r#""subject":"""#, "subject"),
        (r#""subject":7"#, "subject"),
        (r#""subject":"a\u0000""#, "subject"),
        (r#""subject":"\ud800""#, "subject"),
        (r#""time":"yesterday""#, "time"),
        (r#""time":1700000000"#, "time"),
        (r#""datacontenttype":"""#, "datacontenttype"),
        (r#""datacontenttype":"a\nb","data":1"#, "datacontenttype"),
        (r#""dataschema":"""#, "dataschema"),
        (r#""dataschema":["a"]"#, "dataschema"),
        (r#""correlationid":"""#, "correlationid"),
        (r#""causationid":"\u0085""#, "causationid"),
        (r#""traceparent":7"#, "traceparent"),
        (r#""tracestate":"\ufffe""#, "tracestate"),
        (r#""reveilleagent":"""#, "reveilleagent"),
        (r#""reveillerun":true"#, "reveillerun"),
        (r#""reveilleturn":"\n""#, "reveilleturn"),
        (r#""reveilletags":["a"]"#, "reveilletags"),
        (r#""reveilletags":"a,,b""#, "reveilletags"),
        (r#""reveilletags":"""#, "reveilletags"),
        (r#""reveilleclass":"control""#, "reveilleclass"),
        (r#""reveilleclass":"Normal""#, "reveilleclass"),
        (r#""reveillefinal":true"#, "reveillefinal"),
        (r#""reveilleprivacy":"hidden""#, "reveilleprivacy"),
        (r#""foo":{}"#, "foo"),
        (r#""foo":[1]"#, "foo"),
        (r#""foo":2147483648"#, "foo"),
        (r#""foo":-2147483649"#, "foo"),
        (r#""foo":1.5"#, "foo"),
        (r#""foo":1e3"#, "foo"),
        (r#""foo":"a\tb""#, "foo"),
        (r#""foo":"\u007f""#, "foo"),
        (r#""foo":"\ufdd0""#, "foo"),
        (r#""foo":"\udc00""#, "foo"),
        (r#""fooBar":"x""#, "fooBar"),
        (r#""foo_bar":"x""#, "foo_bar"),
        (r#""foo-bar":"x""#, "foo-bar"),
        (r#""fóo":"x""#, "fóo"),
        (r#""":"x""#, ""),
        (r#""reveillenew":"x""#, "reveillenew"),
        (r#""reveille":"x""#, "reveille"),
        (r#""reveille_x":"x""#, "reveille_x"),
        (r#""data_base64":"a""#, "data_base64"),
        (r#""data_base64":"YQ""#, "data_base64"),
        (r#""data_base64":"Y Q==""#, "data_base64"),
        (r#""data_base64":7"#, "data_base64"),
        (r#""data_base64":"YQ==","data":"a""#, "data_base64"),
        (r#""data_base64":"YQ==","data":null"#, "data_base64"),
        (
            r#""data_base64":"YQ==","datacontenttype":"application/json""#,
            "data",
        ),
        (r#""datacontenttype":"text/plain","data":7"#, "data"),
        (r#""datacontenttype":"text/plain","data":null"#, "data"),
    ] {
        let refused = with(members).unwrap_err();
        assert_eq!(refused.field(), name, "{members}");
        assert!(refused.to_string().starts_with(name), "{refused}");
    }
}

#[test]
fn member_that_stands_twice_is_refused_by_its_name() {
    for (members, name) in [
        (r#""id":"1""#, "id"),
        (r#""id":null"#, "id"),
        (r#""foo":1,"foo":1"#, "foo"),
        (r#""f\u006fo":1,"foo":2"#, "foo"),
        (r#""data":1,"data":2"#, "data"),
        (r#""subject":null,"subject":"a""#, "subject"),
        (r#""reveilleseq":"1","reveilleseq":"1""#, "reveilleseq"),
    ] {
        let refused = with(members).unwrap_err();
        assert_eq!(refused, Invalid::form(name, "stands twice"), "{members}");
    }
}

#[test]
fn looking_for_duplicates_is_quick_even_among_very_many_members() {
    let members: Vec<String> = (0..200_000).map(|n| format!("\"x{n}\":null")).collect();
    assert!(
        with(&members.join(",")).is_ok(),
        "null attributes are absent"
    );
}

#[test]
fn reserved_kinds_are_refused() {
    for kind in [
        "reveille.gap",
        "end",
        "timeout",
        "task.status.cancel_requested",
    ] {
        let refused = decode_event(&format!(r#"{{"type":"{kind}"}}"#)).unwrap_err();
        assert_eq!((refused.field(), refused.code()), ("type", "reserved_name"));
    }
    let refused = with(r#""reveillenew":"x""#).unwrap_err();
    assert_eq!(refused.code(), "reserved_name");
    assert_eq!(refused.to_string(), "reveillenew is reserved");
}

#[test]
fn what_is_no_object_is_refused_as_an_event() {
    for text in [
        "",
        "null",
        "[]",
        "\"a\"",
        "{",
        "{\"type\":\"a\"} x",
        "{\"type\":\"a\",}",
    ] {
        assert_eq!(field(decode_event(text)), "event", "{text:?}");
    }
}

#[test]
fn attributes_of_the_server_are_ignored_whatever_they_hold() {
    let plain = with("").unwrap();
    for name in [
        "reveillesession",
        "reveillecursor",
        "reveilleposition",
        "reveilleseq",
    ] {
        for value in ["\"x\"", "7", "{\"a\":[1]}", "null"] {
            assert_eq!(with(&format!("\"{name}\":{value}")).unwrap(), plain);
        }
    }
}

#[test]
fn null_attributes_are_absent_and_null_data_is_a_value() {
    let members = r#""subject":null,"time":null,"foo":null,"data_base64":null,"reveilletags":null"#;
    assert_eq!(with(members).unwrap(), with("").unwrap());
    let draft = with(r#""data":null"#).unwrap();
    assert_eq!(draft.payload.as_text(), Some("null"));
}

#[test]
fn extensions_keep_their_types() {
    let members = r#""b":true,"i":-2147483648,"s":"7","partitionkey":"é","e":"""#;
    let extensions = with(members).unwrap().extensions;
    assert_eq!(extensions["b"], ExtensionValue::Boolean(true));
    assert_eq!(extensions["i"], ExtensionValue::Integer(i32::MIN));
    assert_eq!(extensions["s"], ExtensionValue::String("7".into()));
    assert_eq!(
        extensions["partitionkey"],
        ExtensionValue::String("é".into())
    );
    assert_eq!(extensions["e"], ExtensionValue::String("".into()));
}

#[test]
fn limits_hold_on_input() {
    let count = |n: usize| {
        let members: Vec<String> = (0..n).map(|n| format!("\"x{n}\":1")).collect();
        with(&members.join(","))
    };
    assert!(count(limits::EXTENSIONS).is_ok());
    assert_eq!(field(count(limits::EXTENSIONS + 1)), "extensions");
    let tags = |n: usize| {
        with(&format!(
            "\"reveilletags\":\"{}\"",
            ["t"].repeat(n).join(",")
        ))
    };
    assert_eq!(tags(limits::TAGS).unwrap().tags.len(), limits::TAGS);
    assert_eq!(field(tags(limits::TAGS + 1)), "reveilletags");
    let name = |n: usize| with(&format!("\"{}\":1", "x".repeat(n)));
    assert!(name(limits::EXTENSION_NAME_BYTES).is_ok());
    let refused = name(limits::EXTENSION_NAME_BYTES + 1).unwrap_err();
    assert_eq!(refused.sizes(), Some((64, 65)));
    let agent = |n: usize| with(&format!("\"reveilleagent\":\"{}\"", "a".repeat(n)));
    assert!(agent(limits::LABEL_BYTES).is_ok());
    assert_eq!(
        agent(limits::LABEL_BYTES + 1).unwrap_err().sizes(),
        Some((256, 257))
    );
}

#[test]
fn tags_hold_commas_and_percent_signs_in_escapes_only() {
    let draft = with(r#""reveilletags":"a%2Cb,100%25,%252C,%2c,%""#).unwrap();
    let tags: Vec<&str> = draft.tags.iter().map(Label::as_str).collect();
    assert_eq!(tags, ["a,b", "100%", "%2C", "%2c", "%"]);
}

#[test]
fn payload_is_read_by_its_content_type() {
    let payload = |members: &str| with(members).unwrap().payload;
    assert_eq!(payload(r#""data":"7""#).as_text(), Some("\"7\""));
    let text = payload(r#""datacontenttype":"text/plain","data":"a\nb""#);
    assert_eq!(text.as_text(), Some("a\nb"));
    let bytes = payload(r#""data_base64":"AP8=""#);
    assert_eq!(
        (bytes.content_type(), bytes.as_bytes().unwrap().as_ref()),
        (None, &[0, 255][..])
    );
    let json = payload(r#""datacontenttype":"text/json","data_base64":"WyAxIF0=""#);
    assert_eq!(
        (json.as_text(), json.content_type()),
        (Some("[1]"), Some("text/json"))
    );
    let absent = payload(r#""datacontenttype":"text/plain","dataschema":"urn:x""#);
    assert_eq!(
        (absent.as_bytes(), absent.content_type()),
        (None, Some("text/plain"))
    );
    assert_eq!(absent.schema(), Some("urn:x"));
}

#[test]
fn time_is_rfc_3339_and_nothing_else_of_iso_8601() {
    let time = |text: &str| with(&format!("\"time\":\"{text}\"")).map(|d| d.time.unwrap());
    let noon = time("2026-01-31T12:00:00Z").unwrap();
    for same in [
        "2026-01-31t12:00:00z",
        "2026-01-31T12:00:00.000000000Z",
        "2026-01-31T14:30:00+02:30",
        "2026-01-31T04:00:00.0-08:00",
    ] {
        assert_eq!(time(same), Ok(noon), "{same}");
    }
    assert!(time("0000-01-01T00:00:00Z").is_ok());
    for wrong in [
        "",
        "2026-01-31",
        "2026-01-31T12:00:00",
        "2026-01-31 12:00:00Z",
        "2026-01-31T12:00Z",
        "2026-01-31T12:00:00.Z",
        "2026-01-31T12:00:00,5Z",
        "2026-01-31T12:00:00+02",
        "2026-01-31T12:00:00+0200",
        "2026-01-31T12:00:00Z[UTC]",
        "20260131T120000Z",
        "+002026-01-31T12:00:00Z",
        "-000001-01-31T12:00:00Z",
        "2026-02-30T12:00:00Z",
        "2026-01-31T25:00:00Z",
        "0000-01-01T00:00:00+01:00",
    ] {
        assert_eq!(time(wrong).unwrap_err().field(), "time", "{wrong}");
    }
}

#[test]
fn stated_finality_wins_over_the_registered_one_after_a_round_trip() {
    let draft = decode_event(r#"{"type":"task.result","reveillefinal":"none"}"#).unwrap();
    assert_eq!(draft.finality, Some(Finality::None));
}
