//! Names and session keys: what is a name, and that its text form loses nothing.

#![allow(
    clippy::unwrap_used,
    reason = "in a test an unwrap that fails is the failure"
)]

use proptest::prelude::*;
use reveille_types::{
    EventId, Invalid, Label, Namespace, SessionId, SessionKey, Source, Tenant, limits,
};

fn tenants() -> impl Strategy<Value = Tenant> {
    "[A-Za-z0-9._~:@-]{1,128}".prop_map(|t| Tenant::parse(t).unwrap())
}

fn namespaces() -> impl Strategy<Value = Namespace> {
    prop_oneof![
        Just(Namespace::default()),
        "[a-z0-9_-]{1,64}".prop_map(|t| Namespace::parse(t).unwrap()),
    ]
}

fn ids() -> impl Strategy<Value = SessionId> {
    "[A-Za-z0-9._~:@/-]{1,256}"
        .prop_filter("dots alone are no id", |t| t != "." && t != "..")
        .prop_map(|t| SessionId::parse(t).unwrap())
}

fn keys() -> impl Strategy<Value = SessionKey> {
    (tenants(), namespaces(), ids()).prop_map(|(t, n, i)| SessionKey::new(t, n, i))
}

proptest! {
    #[test]
    fn session_key_comes_back_from_its_text(key in keys()) {
        prop_assert_eq!(key.to_string().parse::<SessionKey>(), Ok(key));
    }

    #[test]
    fn session_key_comes_back_from_its_name_within_the_tenant(key in keys()) {
        let again = SessionKey::in_tenant(key.tenant.clone(), &key.name());
        prop_assert_eq!(again, Ok(key));
    }

    #[test]
    fn two_keys_never_share_a_text_or_a_name(a in keys(), b in keys()) {
        let b = SessionKey { tenant: a.tenant.clone(), ..b };
        prop_assert_eq!(a == b, a.to_string() == b.to_string());
        prop_assert_eq!(a == b, a.name() == b.name());
    }

    #[test]
    fn any_text_is_a_key_or_an_error(text in ".*") {
        if let Ok(key) = text.parse::<SessionKey>() {
            prop_assert_eq!(key.to_string(), text);
        }
    }

    #[test]
    fn any_name_is_a_session_of_this_tenant_or_an_error(text in "[a-z/.~_]{0,12}|.*") {
        let tenant = Tenant::default_tenant();
        if let Ok(key) = SessionKey::in_tenant(tenant.clone(), &text) {
            prop_assert_eq!(&key.tenant, &tenant);
            prop_assert_eq!(SessionKey::in_tenant(tenant, &key.name()), Ok(key));
        }
    }

    #[test]
    fn labels_take_every_character_but_controls_and_noncharacters(c in any::<char>()) {
        let code = u32::from(c);
        let legal = !(code < 0x20 || (0x7F..0xA0).contains(&code))
            && code & 0xFFFF < 0xFFFE
            && !(0xFDD0..=0xFDEF).contains(&code);
        prop_assert_eq!(Label::parse(c.to_string()).is_ok(), legal);
        prop_assert_eq!(EventId::parse(c.to_string()).is_ok(), legal);
        prop_assert_eq!(Source::parse(c.to_string()).is_ok(), ('!'..='~').contains(&c));
    }
}

/// A parser of one sort of name, its field and its limit.
type Row = (fn(&str) -> Result<(), Invalid>, &'static str, usize);

const NAMES: [Row; 6] = [
    (
        |t| Tenant::parse(t).map(drop),
        "tenant",
        limits::TENANT_BYTES,
    ),
    (
        |t| Namespace::parse(t).map(drop),
        "namespace",
        limits::NAMESPACE_BYTES,
    ),
    (
        |t| SessionId::parse(t).map(drop),
        "session",
        limits::SESSION_ID_BYTES,
    ),
    (
        |t| EventId::parse(t).map(drop),
        "id",
        limits::EVENT_ID_BYTES,
    ),
    (
        |t| Source::parse(t).map(drop),
        "source",
        limits::REFERENCE_BYTES,
    ),
    (|t| Label::parse(t).map(drop), "label", limits::LABEL_BYTES),
];

#[test]
fn name_at_its_limit_is_accepted_and_one_byte_more_is_refused() {
    for (parse, field, limit) in NAMES {
        assert_eq!(parse(&"a".repeat(limit - 1)), Ok(()), "{field}");
        assert_eq!(parse(&"a".repeat(limit)), Ok(()), "{field}");
        let refused = parse(&"a".repeat(limit + 1)).unwrap_err();
        assert_eq!(refused.field(), field);
        assert_eq!(refused.sizes(), Some((limit as u64, limit as u64 + 1)));
    }
}

#[test]
fn limit_counts_bytes_and_not_characters() {
    let half = limits::LABEL_BYTES / 2;
    assert!(Label::parse("é".repeat(half)).is_ok());
    let refused = Label::parse("é".repeat(half + 1)).unwrap_err();
    assert_eq!(refused.sizes(), Some((256, 258)));
}

#[test]
fn empty_name_is_refused_by_its_field() {
    for (parse, field, _) in NAMES {
        assert_eq!(
            parse(""),
            Err(Invalid::Empty {
                field: field.into()
            })
        );
    }
}

#[test]
fn dots_alone_are_no_session_id_but_dots_within_are() {
    for text in [".", ".."] {
        assert!(SessionId::parse(text).is_err(), "{text}");
        assert!(format!("t/session/{text}").parse::<SessionKey>().is_err());
    }
    for text in ["...", "a/..", "../a", ".a", "/", "/a", "a/", "a//b"] {
        let key: SessionKey = format!("t/session/{text}").parse().unwrap();
        assert_eq!(key.id.as_str(), text);
    }
}

#[test]
fn id_with_a_slash_is_named_with_its_namespace() {
    let tenant = || Tenant::parse("t").unwrap();
    let named = |name: &str| SessionKey::in_tenant(tenant(), name).unwrap();
    assert_eq!(named("a").to_string(), "t/session/a");
    assert_eq!(named("a/b").to_string(), "t/a/b");
    assert_eq!(named("session/a/b").to_string(), "t/session/a/b");
    assert_eq!(named("session/a/b").name(), "session/a/b");
    assert_eq!(named("session/a").name(), "a");
    assert_eq!(named("run//a").id.as_str(), "/a");
}

#[test]
fn key_without_three_parts_and_names_of_other_letters_are_refused() {
    for (text, field) in [
        ("", "session"),
        ("t", "session"),
        ("t/session", "session"),
        ("t/session/", "session"),
        ("/session/a", "tenant"),
        ("t//a", "namespace"),
        ("t/Session/a", "namespace"),
        ("t/session/a b", "session"),
        ("t/session/a%2Fb", "session"),
        ("t x/session/a", "tenant"),
    ] {
        let refused = text.parse::<SessionKey>().unwrap_err();
        assert_eq!(refused.field(), field, "{text:?}");
    }
}

#[test]
fn only_the_namespace_system_is_reserved() {
    for (name, reserved) in [("system", true), ("session", false), ("system-2", false)] {
        assert_eq!(Namespace::parse(name).unwrap().is_reserved(), reserved);
    }
}

#[test]
fn names_are_checked_when_they_are_read_from_json() {
    let id: SessionId = serde_json::from_str(r#""a\u002fb""#).unwrap();
    assert_eq!(serde_json::to_string(&id).unwrap(), r#""a/b""#);
    assert!(serde_json::from_str::<SessionId>(r#""..""#).is_err());
    assert!(serde_json::from_str::<Label>(r#""""#).is_err());
    assert!(serde_json::from_str::<Label>("7").is_err());
}
