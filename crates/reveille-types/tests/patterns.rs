//! Patterns over kinds, against a slow and obvious matcher, and filters made of them.

#![allow(
    clippy::unwrap_used,
    reason = "in a test an unwrap that fails is the failure"
)]

use proptest::prelude::*;
use reveille_types::{Event, EventDraft, Filter, Kind, Pattern, limits};

mod common;

fn matches(pattern: &str, kind: &str) -> bool {
    let pattern: Pattern = pattern.parse().unwrap();
    pattern.matches(&Kind::parse(kind).unwrap())
}

/// The definition: `*` is one segment and `**` any number, at the end both are one or more.
fn reference(pattern: &[&str], kind: &[&str]) -> bool {
    match pattern {
        [] => kind.is_empty(),
        ["*" | "**" | ">"] => !kind.is_empty(),
        ["**", rest @ ..] => (0..=kind.len()).any(|n| reference(rest, &kind[n..])),
        ["*", rest @ ..] => !kind.is_empty() && reference(rest, &kind[1..]),
        [literal, rest @ ..] => kind.first() == Some(literal) && reference(rest, &kind[1..]),
    }
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
    #![proptest_config(cases(2048))]

    #[test]
    fn pattern_matches_what_the_definition_says(
        pattern in "(a|b|\\*|\\*\\*)(\\.(a|b|ab|\\*|\\*\\*)){0,6}(\\.>)?",
        kind in "(a|b)(\\.(a|b|ab)){0,7}",
    ) {
        let want = reference(
            &pattern.split('.').collect::<Vec<_>>(),
            &kind.split('.').collect::<Vec<_>>(),
        );
        prop_assert_eq!(matches(&pattern, &kind), want, "{} on {}", pattern, kind);
    }

    #[test]
    fn any_text_is_a_pattern_that_comes_back_or_an_error(text in "[a.*>_]{0,8}|.*") {
        match text.parse::<Pattern>() {
            Ok(pattern) => {
                prop_assert_eq!(pattern.as_str(), &text);
                prop_assert_eq!(pattern.to_string().parse::<Pattern>().unwrap(), pattern.clone());
                let json = serde_json::to_string(&pattern).unwrap();
                prop_assert_eq!(serde_json::from_str::<Pattern>(&json).unwrap(), pattern);
            }
            Err(refused) => prop_assert_eq!(refused.field(), "match"),
        }
    }

    #[test]
    fn exact_pattern_matches_its_kind_alone(
        a in "[a-c/:-]{1,2}(\\.[a-c]){0,2}", b in "[a-c/:-]{1,2}(\\.[a-c]){0,2}",
    ) {
        let (a, b) = (Kind::parse(a).unwrap(), Kind::parse(b).unwrap());
        prop_assert!(Pattern::exact(&a).matches(&a));
        prop_assert_eq!(Pattern::exact(&a).matches(&b), a == b);
        prop_assert_eq!(Pattern::exact(&a), a.as_str().parse().unwrap());
    }

    #[test]
    fn every_kind_matches_every(kind in "[A-Za-z0-9_/:-]{1,9}(\\.[a-z]{1,9}){0,9}") {
        let kind = Kind::parse(kind).unwrap();
        for text in ["*", "**", ">"] {
            let pattern: Pattern = text.parse().unwrap();
            prop_assert!(pattern.is_every() && pattern.matches(&kind));
        }
        prop_assert!(Pattern::every().matches(&kind));
    }
}

/// 004-D09, and the table of the documentation.
#[test]
fn documented_table_of_matches_holds() {
    for (pattern, kind, want) in [
        ("task.completed", "task.completed", true),
        ("task.completed", "task.completed.x", false),
        ("task.completed", "Task.completed", false),
        ("task.*", "task.started", true),
        ("task.*", "task.a.b", true),
        ("task.*", "tasks.x", false),
        ("task.*", "task", false),
        ("task.**", "task.started", true),
        ("task.**", "task.a.b", true),
        ("task.**", "task", false),
        ("task.>", "task.a.b", true),
        ("task.>", "task", false),
        ("*.completed", "task.completed", true),
        ("*.completed", "completed", false),
        ("*.completed", "a.task.completed", false),
        ("**.completed", "completed", true),
        ("**.completed", "a.task.completed", true),
        ("**.completed", "a.completed.task", false),
        ("a.*.c", "a.b.c", true),
        ("a.*.c", "a.c", false),
        ("a.*.c", "a.b.b.c", false),
        ("a.**.c", "a.c", true),
        ("a.**.c", "a.b.c", true),
        ("a.**.c", "a.b.b.b.c", true),
        ("a.**.c", "a.b.c.d", false),
        ("a.**.c", "b.c", false),
        ("*", "a", true),
        ("*", "a.b.c", true),
        ("**", "a.b.c", true),
        ("*.*", "a", false),
        ("*.*", "a.b.c", true),
    ] {
        assert_eq!(matches(pattern, kind), want, "{pattern} on {kind}");
    }
}

#[test]
fn half_wildcards_and_empty_segments_are_refused() {
    for text in [
        "", "task._", "_", "ta*k", "task*", "*task", "***", "task.***", "a..b", ".a", "a.", ".",
        "a.>.b", ">.a", "a>", "a b", "tä", "a.*.", "a,b",
    ] {
        let refused = text.parse::<Pattern>().unwrap_err();
        assert_eq!(refused.field(), "match", "{text:?}");
    }
}

#[test]
fn pattern_at_its_limit_is_accepted_and_one_byte_more_is_refused() {
    let full = format!("{}ab", "a.".repeat(limits::PATTERN_BYTES / 2 - 1));
    assert_eq!(full.len(), limits::PATTERN_BYTES);
    assert!(full.parse::<Pattern>().is_ok());
    let refused = format!("b{full}").parse::<Pattern>().unwrap_err();
    assert_eq!(refused.sizes(), Some((256, 257)));
}

#[test]
fn many_inner_wildcards_take_no_exponential_time() {
    let pattern = format!("{}b", "**.a.".repeat(50));
    let kind = ["a"; 64].join(".");
    assert!(!matches(&pattern, &kind));
}

fn event(kind: &str) -> Event {
    common::place(EventDraft::parse(kind).unwrap(), 0)
}

#[test]
fn filter_matches_when_any_of_its_patterns_does() {
    let filter = Filter::any_of(["task.*".parse().unwrap(), "*.failed".parse().unwrap()]).unwrap();
    for (kind, want) in [
        ("task.a.b", true),
        ("agent.failed", true),
        ("agent.ok", false),
    ] {
        assert_eq!(filter.matches(&event(kind)), want, "{kind}");
    }
    assert!(!filter.is_all());
    let exact = Filter::matching("agent.ok").unwrap();
    assert!(exact.matches(&event("agent.ok")));
    assert!(!exact.matches(&event("agent.ok.x")));
}

#[test]
fn filter_with_a_pattern_for_every_kind_is_the_filter_for_all() {
    let filter = Filter::any_of(["a".parse().unwrap(), "**".parse().unwrap()]).unwrap();
    assert_eq!(filter, Filter::all());
    assert!(filter.is_all() && filter.matches(&event("x.y")));
}

#[test]
fn filter_takes_1_to_64_patterns() {
    let some = |count| Filter::any_of((0..count).map(|_| "a".parse().unwrap()));
    assert_eq!(some(0).unwrap_err().field(), "match");
    assert!(some(1).is_ok());
    assert!(some(limits::FILTER_VALUES).is_ok());
    assert_eq!(
        some(limits::FILTER_VALUES + 1).unwrap_err().sizes(),
        Some((64, 65))
    );
    assert!(Filter::matching("a..b").is_err());
}
