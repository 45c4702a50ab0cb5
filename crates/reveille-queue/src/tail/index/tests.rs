//! The index against asking every filter.

use std::sync::Arc;

use proptest::prelude::*;
use reveille_types::{
    Class, DraftDefaults, Epoch, EventDraft, EventId, ExtensionValue, FilterSpec, KindRegistry,
    Label, Place, Position, Seq, SessionKey, Source, Tenant,
};

use super::*;

fn placed(draft: EventDraft, session: &str) -> Event {
    let session = SessionKey::in_tenant(Tenant::default_tenant(), session).unwrap();
    let event = draft.complete(DraftDefaults {
        id: EventId::parse("e").unwrap(),
        time: jiff::Timestamp::UNIX_EPOCH,
        source: &Source::of_session(&session),
        registry: &KindRegistry::empty(),
    });
    let place = Place {
        session: Arc::new(session),
        epoch: Epoch::from_parts(1, 1),
        position: Position(0),
        seq: Seq(1),
    };
    event.at(place)
}

fn event() -> impl Strategy<Value = Event> {
    let words = || prop::collection::vec("[ab]", 0..3);
    let classes = prop::sample::select(vec![None, Some(Class::Progress), Some(Class::Metering)]);
    let session = "(run/)?[ab](/[ab]){0,2}";
    let fields = (words(), words(), classes, session, words());
    ("[abc](\\.(a|b|c|ab)){0,5}", fields).prop_map(|(kind, fields)| {
        let (tags, agent, class, session, colour) = fields;
        let mut draft = EventDraft::parse(&kind).unwrap();
        draft.class = class;
        draft.agent = agent.first().map(|agent| Label::parse(agent).unwrap());
        if let Some(colour) = colour.first() {
            let colour = ExtensionValue::String(colour.as_str().into());
            draft.extensions.insert("colour".into(), colour);
        }
        draft.tags = tags.iter().map(|tag| Label::parse(tag).unwrap()).collect();
        placed(draft, &session)
    })
}

fn filter() -> impl Strategy<Value = Filter> {
    prop_oneof![
        4 => part(),
        1 => (part(), part()).prop_map(|(one, other)| one.and(&other)),
    ]
}

fn part() -> impl Strategy<Value = Filter> {
    let pattern = "(a|b|\\*|\\*\\*)(\\.(a|b|ab|\\*|\\*\\*)){0,4}(\\.>)?";
    let patterns = prop::collection::vec(pattern, 1..4);
    let words = || prop::option::weighted(0.3, prop::collection::vec("[abc]", 1..3));
    let classes = vec![vec![Class::Progress], vec![Class::Normal, Class::Metering]];
    let class = prop::option::weighted(0.2, prop::sample::select(classes));
    let kinds = prop::option::weighted(0.7, patterns);
    let paths = prop::collection::vec("(run/[ab](/[ab])?|[ab])", 1..3);
    let path = prop::option::weighted(0.2, (paths, any::<bool>()));
    let conditions = [
        r#"{"colour": ["a", "b"]}"#,
        r#"{"colour": [{"prefix": "a"}]}"#,
        r#"{"colour": [{"wildcard": "*a"}]}"#,
        r#"{"colour": ["a", {"equals-ignore-case": "B"}]}"#,
        r#"{"colour": [{"anything-but": "a"}]}"#,
        r#"{"colour": [{"exists": false}]}"#,
        r#"{"$or": [{"colour": ["a"]}, {"type": ["b"]}]}"#,
        r#"{"colour": ["a", "b"], "$or": [{"colour": ["a"]}, {"type": ["b"]}]}"#,
    ];
    let colour = prop::option::weighted(0.2, prop::sample::select(conditions.to_vec()));
    let fields = (kinds, words(), words(), words(), class, path, colour);
    fields.prop_map(|(kinds, agent, tag, session, class, path, colour)| {
        let below = |(paths, below): (Vec<String>, bool)| {
            let end = if below { "/**" } else { "" };
            paths.iter().map(|path| format!("{path}{end}")).collect()
        };
        let asked = |attributes: &str| serde_json::from_str(attributes).unwrap();
        let parsed = |patterns: Vec<String>| patterns.iter().map(|p| p.parse().unwrap()).collect();
        let spec = FilterSpec {
            kinds: kinds.map(parsed),
            agent,
            tag,
            session,
            class,
            path: path.map(below),
            attributes: colour.map(asked),
            ..FilterSpec::default()
        };
        Filter::compile(&spec).unwrap()
    })
}

#[derive(Debug, Clone)]
enum Step {
    Insert(Filter),
    Remove(prop::sample::Index),
    Lookup(Event),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => filter().prop_map(Step::Insert),
        2 => any::<prop::sample::Index>().prop_map(Step::Remove),
        3 => event().prop_map(Step::Lookup),
    ]
}

fn is_bare<T>(index: &Index<T>) -> bool {
    index.entries.is_empty()
        && index.lists.is_empty()
        && index.everything.is_none()
        && index.by_value.iter().all(HashMap::is_empty)
        && index.by_pattern.len() == 0
}

proptest! {
    /// Whatever was added and taken out: an event finds each filter that it matches, once, and no
    /// other; and what was taken out has left nothing behind.
    #[test]
    fn the_index_finds_what_asking_every_filter_finds(steps in prop::collection::vec(step(), 0..60)) {
        let mut index = Index::default();
        let mut all: Vec<(IndexKey, usize, Filter)> = Vec::new();
        for (value, step) in steps.into_iter().enumerate() {
            match step {
                Step::Insert(filter) => {
                    all.push((index.insert(filter.clone(), value), value, filter));
                }
                Step::Remove(_) if all.is_empty() => {}
                Step::Remove(which) => {
                    let (key, _, filter) = all.swap_remove(which.index(all.len()));
                    prop_assert_eq!(index.remove(key), Some(filter));
                }
                Step::Lookup(event) => {
                    let mut found = Vec::new();
                    let visits = index.lookup(&event, |value| found.push(value));
                    prop_assert!(visits >= found.len());
                    found.sort_unstable();
                    let matching = all.iter().filter(|(_, _, filter)| filter.matches(&event));
                    let mut asked: Vec<usize> = matching.map(|(_, value, _)| *value).collect();
                    asked.sort_unstable();
                    prop_assert_eq!(found, asked);
                }
            }
        }
        for (key, ..) in all.drain(..) {
            prop_assert!(index.remove(key).is_some());
            prop_assert!(index.remove(key).is_none());
        }
        prop_assert!(is_bare(&index));
    }
}

/// Counted, not timed: what is looked at is what matches, whatever else is asked for.
#[test]
fn only_filters_that_match_are_looked_at() {
    let mut index = Index::default();
    for n in 0..3_000_usize {
        for pattern in [
            format!("svc{n}.*"),
            format!("*.done{n}"),
            format!("**.end{n}.x"),
        ] {
            index.insert(Filter::matching(&pattern).unwrap(), n);
        }
    }
    for (kind, expected) in [
        ("svc7.a.b", 1),
        ("svc7.done9", 2),
        ("a.b.end3.x", 1),
        ("a.b", 0),
    ] {
        let event = placed(EventDraft::parse(kind).unwrap(), "s");
        let mut found = 0;
        let visits = index.lookup(&event, |_| found += 1);
        assert_eq!((visits, found), (expected, expected), "{kind}");
    }
}

/// Patterns along which a kind could be walked in more ways than anybody could try.
#[test]
fn hostile_patterns_are_walked_along_once() {
    let mut index = Index::default();
    let hostile = "**.a.".repeat(20) + "b";
    index.insert(Filter::matching(&hostile).unwrap(), 0);
    let event = |last| {
        placed(
            EventDraft::parse(&(["a"; 60].join(".") + last)).unwrap(),
            "s",
        )
    };
    let mut found = 0;
    for last in [".c", ".b"] {
        index.lookup(&event(last), |_| found += 1);
    }
    assert_eq!(found, 1);
}
