//! Filters: every field, all of them at once, and fingerprints that survive what does not matter.

#![allow(
    clippy::unwrap_used,
    reason = "in a test an unwrap that fails is the failure"
)]

mod common;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use reveille_types::{
    Class, Event, EventDraft, Filter, FilterSpec, Finality, Label, Privacy, SessionKey, Source,
    Tenant,
};

fn label(text: &str) -> Label {
    Label::parse(text).unwrap()
}

/// An event that has every attribute.
fn event() -> Event {
    let mut draft = EventDraft::parse("tool.completed").unwrap();
    draft.source = Some(Source::parse("urn:w1").unwrap());
    draft.subject = Some("s".into());
    draft.agent = Some(label("a"));
    draft.run = Some(label("r"));
    draft.turn = Some(label("t"));
    draft.correlation = Some(label("c"));
    draft.caused_by = Some(label("e0"));
    draft.tags = vec![label("x"), label("y")];
    draft.privacy = Some(Privacy::Internal);
    common::place(draft, 0)
}

fn bare() -> Event {
    common::place(EventDraft::parse("tool.completed").unwrap(), 0)
}

/// A spec with one field: a value that the event has, or one that it has not.
type OneField = (&'static str, fn(bool) -> FilterSpec);

fn texts(matching: bool, text: &str) -> Option<Vec<String>> {
    let value = if matching { text } else { "other" };
    Some(vec!["another".into(), value.into()])
}

const FIELDS: &[OneField] = &[
    ("match", |m| FilterSpec {
        kinds: Some(vec![if m { "tool.*" } else { "task.*" }.parse().unwrap()]),
        ..FilterSpec::default()
    }),
    ("namespace", |m| FilterSpec {
        namespace: texts(m, event().session().namespace.as_str()),
        ..FilterSpec::default()
    }),
    ("session", |m| FilterSpec {
        session: texts(m, &event().session().name()),
        ..FilterSpec::default()
    }),
    ("path", |m| FilterSpec {
        path: texts(m, "session/s1"),
        ..FilterSpec::default()
    }),
    ("source", |m| FilterSpec {
        source: texts(m, "urn:w1"),
        ..FilterSpec::default()
    }),
    ("subject", |m| FilterSpec {
        subject: texts(m, "s"),
        ..FilterSpec::default()
    }),
    ("agent", |m| FilterSpec {
        agent: texts(m, "a"),
        ..FilterSpec::default()
    }),
    ("run", |m| FilterSpec {
        run: texts(m, "r"),
        ..FilterSpec::default()
    }),
    ("turn", |m| FilterSpec {
        turn: texts(m, "t"),
        ..FilterSpec::default()
    }),
    ("correlation", |m| FilterSpec {
        correlation: texts(m, "c"),
        ..FilterSpec::default()
    }),
    ("caused_by", |m| FilterSpec {
        caused_by: texts(m, "e0"),
        ..FilterSpec::default()
    }),
    ("tag", |m| FilterSpec {
        tag: texts(m, "y"),
        ..FilterSpec::default()
    }),
    ("class", |m| FilterSpec {
        class: Some(vec![if m { Class::Normal } else { Class::Metering }]),
        ..FilterSpec::default()
    }),
    ("final", |m| FilterSpec {
        finality: Some(vec![if m {
            Finality::Operation
        } else {
            Finality::None
        }]),
        ..FilterSpec::default()
    }),
    ("privacy", |m| FilterSpec {
        privacy: Some(vec![if m {
            Privacy::Internal
        } else {
            Privacy::Public
        }]),
        ..FilterSpec::default()
    }),
];

#[test]
fn each_field_selects_by_its_attribute() {
    for (name, spec) in FIELDS {
        let hit = Filter::compile(&spec(true)).unwrap();
        let miss = Filter::compile(&spec(false)).unwrap();
        assert!(hit.matches(&event()), "{name}");
        assert!(!miss.matches(&event()), "{name}");
        assert!(!hit.is_all() && hit != miss, "{name}");
        assert_ne!(hit.fingerprint(), miss.fingerprint(), "{name}");
    }
}

#[test]
fn an_absent_attribute_matches_no_field_that_asks_for_it() {
    let optional = [
        "subject",
        "agent",
        "run",
        "turn",
        "correlation",
        "caused_by",
        "tag",
        "privacy",
    ];
    for (name, spec) in FIELDS {
        let filter = Filter::compile(&spec(true)).unwrap();
        if optional.contains(name) {
            assert!(!filter.matches(&bare()), "{name}");
        }
    }
}

/// 003-D20: an empty list would match nothing, silently.
#[test]
fn d003_20_an_empty_list_is_refused_and_named() {
    for json in FIELDS.iter().map(|(name, _)| format!("{{\"{name}\": []}}")) {
        let spec: FilterSpec = serde_json::from_str(&json).unwrap();
        let error = Filter::compile(&spec).unwrap_err();
        assert!(
            json.contains(&format!("\"{}\"", error.field())),
            "{json}: {error}"
        );
    }
    assert!(serde_json::from_str::<FilterSpec>(r#"{"agnet": ["a"]}"#).is_err());
}

/// All fields of several specs at once.
fn merged(specs: &[FilterSpec]) -> FilterSpec {
    let mut all = serde_json::Map::new();
    for spec in specs {
        let serde_json::Value::Object(fields) = serde_json::to_value(spec).unwrap() else {
            panic!("a spec is an object");
        };
        all.extend(fields);
    }
    serde_json::from_value(all.into()).unwrap()
}

proptest! {
    /// AND over the fields: a filter of several fields matches when each of them does.
    #[test]
    fn all_fields_must_match(
        fields in subsequence(FIELDS, 1..=FIELDS.len()),
        matching in prop::collection::vec(any::<bool>(), FIELDS.len()),
    ) {
        let specs: Vec<FilterSpec> = fields.iter().zip(&matching).map(|((_, spec), m)| spec(*m)).collect();
        let expected = specs.iter().zip(&matching).all(|(_, m)| *m);
        let filter = Filter::compile(&merged(&specs)).unwrap();
        prop_assert_eq!(filter.matches(&event()), expected);
    }

    /// 003-D05: what is asked for counts, not how it is written; one value more is another filter.
    #[test]
    fn d003_05_fingerprints_survive_order_and_repetition(
        kinds in prop::collection::vec(select(&["a.*", "b", "c.**.d", "*.e"][..]), 1..8),
        agents in prop::collection::vec("[a-c]{1,2}", 1..8),
    ) {
        let spec = |kinds: &[&str], agents: &[String]| FilterSpec {
            kinds: Some(kinds.iter().map(|k| k.parse().unwrap()).collect()),
            agent: Some(agents.to_vec()),
            ..FilterSpec::default()
        };
        let filter = Filter::compile(&spec(&kinds, &agents)).unwrap();
        let mut turned = (kinds.clone(), agents.clone());
        turned.0.reverse();
        turned.0.extend(kinds.iter().map(|k| if *k == "a.*" { "a.**" } else { k }));
        turned.1.reverse();
        let same = Filter::compile(&spec(&turned.0, &turned.1)).unwrap();
        prop_assert_eq!(filter.fingerprint(), same.fingerprint());
        prop_assert_eq!(&filter, &same);
        let mut more = agents;
        more.push("zz".into());
        let other = Filter::compile(&spec(&kinds, &more)).unwrap();
        prop_assert_ne!(filter.fingerprint(), other.fingerprint());
    }
}

/// The same in each process and on each platform: a change of this number breaks stored cursors. It is
/// FNV-1a over `filter/1`, `match`, `*.failed`, `task.**`, `agent`, `w1`, each behind its length in
/// eight bytes, big-endian.
#[test]
fn fingerprints_are_fixed() {
    let spec: FilterSpec =
        serde_json::from_str(r#"{"match": ["task.*", "*.failed"], "agent": ["w1"]}"#).unwrap();
    let filter = Filter::compile(&spec).unwrap();
    assert_eq!(filter.fingerprint(), Some(0x9384_2dee_a873_abc8));
}

/// 003-D26: a path alone is one session, with `/**` also what lies below it, segment by segment.
#[test]
fn d003_26_a_path_is_a_place_and_what_lies_below_it_when_asked() {
    let event = |session: &str| {
        let key = SessionKey::in_tenant(Tenant::default_tenant(), session).unwrap();
        common::place_in(EventDraft::parse("a").unwrap(), key)
    };
    for (path, inside, outside) in [
        (
            "run/r1",
            &["run/r1"][..],
            &["run/r1/a", "run/r10", "job/r1", "r1"][..],
        ),
        (
            "run/r1/**",
            &["run/r1", "run/r1/a", "run/r1/a/b"],
            &[
                "run/r10",
                "run/r10/a",
                "run/r",
                "run/r2",
                "job/r1/a",
                "session/run/r1",
            ],
        ),
        (
            "run/r1/a/**",
            &["run/r1/a", "run/r1/a/b"],
            &["run/r1", "run/r1/ab"],
        ),
        ("run/**", &["run/r1", "run/x/y"], &["runs/r1", "r1"]),
        ("r1", &["r1", "session/r1"], &["run/r1", "session/r1/a"]),
    ] {
        let filter = Filter::path(path).unwrap();
        for session in inside {
            assert!(filter.matches(&event(session)), "{path} {session}");
        }
        for session in outside {
            assert!(!filter.matches(&event(session)), "{path} {session}");
        }
    }
    for wrong in [
        "", "/**", "**", "run/*", "run/r*", "run/**/a", "Run/r1", "run/", "run/a b",
    ] {
        assert_eq!(
            Filter::path(wrong).unwrap_err().field(),
            "path",
            "{wrong:?}"
        );
    }
    let twice = FilterSpec {
        path: Some(vec!["session/r1".into(), "r1".into()]),
        ..FilterSpec::default()
    };
    assert_eq!(
        Filter::compile(&twice).unwrap(),
        Filter::path("r1").unwrap()
    );
}

proptest! {
    /// 003-F25: what is asked for within what may be seen; in whatever order and however often it is
    /// put together it is the same question.
    #[test]
    fn f003_25_both_of_two_filters_match_what_each_matches(
        fields in prop::collection::vec((0..FIELDS.len(), any::<bool>()), 1..6),
    ) {
        let filters: Vec<Filter> = fields
            .iter()
            .map(|(field, matching)| Filter::compile(&FIELDS[*field].1(*matching)).unwrap())
            .collect();
        let both = filters.iter().fold(Filter::all(), |all, filter| all.and(filter));
        let expected = filters.iter().all(|filter| filter.matches(&event()));
        prop_assert_eq!(both.matches(&event()), expected);
        let turned = filters.iter().rev().fold(Filter::all(), |all, filter| filter.and(&all));
        prop_assert_eq!(&turned, &both);
        prop_assert_eq!(turned.fingerprint(), both.fingerprint());
        prop_assert_eq!(&both.and(&filters[0]), &both);
        prop_assert_eq!(&both.and(&both), &both);
        if let Some((field, values)) = both.index().filter(|_| expected) {
            prop_assert!(field.any_value(&event(), |value| values.contains(&value)));
        }
    }
}
