//! Conditions on attributes, against a matcher that takes them word by word, and what is refused.

#![allow(
    clippy::unwrap_used,
    reason = "in a test an unwrap that fails is the failure"
)]

mod common;

use std::collections::BTreeMap;

use proptest::prelude::*;
use reveille_types::{
    Condition, Event, EventDraft, ExtensionValue, Filter, FilterSpec, Label, Scalar,
};

fn filter(json: &str) -> Filter {
    Filter::compile(&serde_json::from_str(json).unwrap()).unwrap()
}

fn refusal(json: &str) -> String {
    match serde_json::from_str::<FilterSpec>(json) {
        Err(error) => error.to_string(),
        Ok(spec) => Filter::compile(&spec).unwrap_err().to_string(),
    }
}

fn event(extensions: &[(&str, ExtensionValue)]) -> Event {
    let mut draft = EventDraft::parse("tool.completed").unwrap();
    for (name, value) in extensions {
        draft.extensions.insert((*name).into(), value.clone());
    }
    common::place(draft, 0)
}

fn text(text: &str) -> ExtensionValue {
    ExtensionValue::String(text.into())
}

#[test]
fn each_condition_matches_what_it_says() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        (r#""eu""#, &["eu"], &["us", "EU", "eu "]),
        (r#"5"#, &["5", "5.0", "05", "+5"], &["6", "five", ""]),
        (r#"true"#, &["true"], &["false", "True"]),
        (
            r#"{"prefix": "eu-"}"#,
            &["eu-", "eu-west"],
            &["eu", "us-eu-"],
        ),
        (
            r#"{"suffix": ".png"}"#,
            &[".png", "a.png"],
            &["png", "a.png2"],
        ),
        (r#"{"anything-but": "x"}"#, &["y", ""], &["x"]),
        (
            r#"{"anything-but": ["x", 5]}"#,
            &["y", "51"],
            &["x", "5", "5.00"],
        ),
        (
            r#"{"anything-but": {"prefix": "x"}}"#,
            &["ax", ""],
            &["x", "xa"],
        ),
        (
            r#"{"anything-but": {"suffix": ["x", "y"]}}"#,
            &["xa"],
            &["x", "ay"],
        ),
        (
            r#"{"equals-ignore-case": "Caf\u00c9"}"#,
            &["caf\u{e9}", "CAF\u{c9}"],
            &["cafe", "caf\u{e9}s"],
        ),
        (
            r#"{"wildcard": "a*b"}"#,
            &["ab", "axb", "abab"],
            &["aba", "b", "A*B"],
        ),
        (
            r#"{"wildcard": "*-eu-*"}"#,
            &["-eu-", "x-eu-y"],
            &["eu", "-eu"],
        ),
        (r#"{"wildcard": "*"}"#, &["", "x"], &[]),
        (r#"{"wildcard": "ab*ba"}"#, &["abba"], &["aba"]),
        (
            r#"{"wildcard": "a\\*b\\\\"}"#,
            &["a*b\\"],
            &["axb\\", "a\\*b\\"],
        ),
        (
            r#"{"anything-but": {"equals-ignore-case": ["X", "y"]}}"#,
            &["z", "xx"],
            &["x", "X", "Y"],
        ),
        (
            r#"{"anything-but": {"wildcard": ["*.log", "tmp*"]}}"#,
            &["a.txt", "log"],
            &["a.log", "tmp", "tmp.log"],
        ),
        (r#"{"numeric": ["=", 3]}"#, &["3", "3.0"], &["4", "three"]),
        (
            r#"{"numeric": [">", 0, "<=", 5]}"#,
            &["0.1", "5", "1e0"],
            &["0", "5.1", "", "1 "],
        ),
        (r#"{"numeric": ["<", -1.5]}"#, &["-2"], &["-1.5", "-1"]),
        (r#"{"exists": true}"#, &["", "x"], &[]),
        (r#"{"exists": false}"#, &[], &["", "x"]),
    ];
    for (condition, matching, other) in cases {
        let filter = filter(&format!(r#"{{"attributes": {{"a": [{condition}]}}}}"#));
        for value in *matching {
            assert!(
                filter.matches(&event(&[("a", text(value))])),
                "{condition} {value:?}"
            );
        }
        for value in *other {
            assert!(
                !filter.matches(&event(&[("a", text(value))])),
                "{condition} {value:?}"
            );
        }
        let takes_absent = *condition == r#"{"exists": false}"#;
        assert_eq!(
            filter.matches(&event(&[("b", text("x"))])),
            takes_absent,
            "{condition}"
        );
    }
}

/// An event that came by headers has texts only; the same filter finds it.
#[test]
fn it_does_not_matter_how_a_value_travelled() {
    for (condition, value, written) in [
        ("5", ExtensionValue::Integer(5), "5"),
        (r#""5""#, ExtensionValue::Integer(5), "5"),
        ("true", ExtensionValue::Boolean(true), "true"),
        (r#"{"numeric": [">=", 5]}"#, ExtensionValue::Integer(5), "5"),
    ] {
        let filter = filter(&format!(r#"{{"attributes": {{"a": [{condition}]}}}}"#));
        assert!(filter.matches(&event(&[("a", value)])), "{condition}");
        assert!(
            filter.matches(&event(&[("a", text(written))])),
            "{condition}"
        );
    }
}

#[test]
fn all_attributes_must_match_and_of_each_any_condition() {
    let filter = filter(
        r#"{"match": ["tool.*"], "attributes": {"a": ["x", {"numeric": [">", 9]}], "b": [{"exists": false}]}}"#,
    );
    assert!(filter.matches(&event(&[("a", text("x"))])));
    assert!(filter.matches(&event(&[("a", text("10"))])));
    assert!(!filter.matches(&event(&[("a", text("9"))])));
    assert!(!filter.matches(&event(&[("a", text("x")), ("b", text(""))])));
}

#[test]
fn attributes_of_the_envelope_can_be_asked_for_by_their_names() {
    let mut draft = EventDraft::parse("tool.completed").unwrap();
    draft.subject = Some("orders/17".into());
    draft.run = Some(Label::parse("r1").unwrap());
    draft.tags = vec![Label::parse("x").unwrap(), Label::parse("blue-7").unwrap()];
    let event = common::place(draft, 0);
    for (name, condition) in [
        ("type", r#"{"suffix": ".completed"}"#),
        ("id", r#""made""#),
        ("subject", r#"{"prefix": "orders/"}"#),
        ("reveillerun", r#"{"anything-but": "r2"}"#),
        ("reveilletags", r#"{"prefix": "blue-"}"#),
        ("reveilleagent", r#"{"exists": false}"#),
        ("reveillefinal", r#""operation""#),
    ] {
        let filter = filter(&format!(r#"{{"attributes": {{"{name}": [{condition}]}}}}"#));
        assert!(filter.matches(&event), "{name}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_its_reason() {
    let many: Vec<String> = (0..65).map(|n| n.to_string()).collect();
    let many = serde_json::to_string(&many).unwrap();
    let long = "x".repeat(4097);
    for (attributes, reason) in [
        ("{}", "attributes is empty"),
        (r#"{"a": []}"#, "attributes.a is empty"),
        (r#"{"A": ["x"]}"#, "lower-case"),
        (r#"{"data": ["x"]}"#, "no attribute that a filter looks at"),
        (r#"{"reveilleother": ["x"]}"#, "reserved"),
        (r#"{"a": [null]}"#, "no text, number or Boolean"),
        (r#"{"a": [["x"]]}"#, "no text, number or Boolean"),
        (r#"{"a": [{"prefix": ""}]}"#, "empty prefix"),
        (r#"{"a": [{"prefix": 5}]}"#, "prefix that is no text"),
        (
            r#"{"a": [{"prefix": "x", "suffix": "y"}]}"#,
            "just one member",
        ),
        (r#"{"a": [{"cidr": "::/0"}]}"#, "unknown condition \"cidr\""),
        (
            r#"{"a": [{"wildcard": "x**"}]}"#,
            "a has a wildcard with **",
        ),
        (r#"{"a": [{"wildcard": "x\\y"}]}"#, "neither * nor"),
        (
            r#"{"a": [{"anything-but": {"wildcard": ["x", "\\"]}}]}"#,
            "neither * nor",
        ),
        (
            r#"{"a": [{"equals-ignore-case": 5}]}"#,
            "equals-ignore-case that is no text",
        ),
        (
            &format!(r#"{{"a": [{{"wildcard": "{}"}}]}}"#, "x".repeat(257)),
            "the limit is 256 bytes",
        ),
        (r#"{"$or": []}"#, "attributes.$or is empty"),
        (r#"{"$or": {"a": ["x"]}}"#, "expected a sequence"),
        (
            r#"{"$or": [{"a": ["x"]}]}"#,
            "attributes.$or has one alternative only",
        ),
        (r#"{"$or": [{"a": ["x"]}, {}]}"#, "attributes is empty"),
        (r#"{"$or": [{"a": ["x"]}, {"A": ["x"]}]}"#, "lower-case"),
        (
            &format!(r#"{{"$or": [{{"a": ["x"]}}, {{"b": {many}}}]}}"#),
            "attributes.$or is 66, the limit is 64 values",
        ),
        (r#"{"a": [{"anything-but": []}]}"#, "a is empty"),
        (
            r#"{"a": [{"anything-but": {"numeric": ["=", 1]}}]}"#,
            "anything-but of unknown condition",
        ),
        (r#"{"a": [{"numeric": []}]}"#, "no bound"),
        (r#"{"a": [{"numeric": [">"]}]}"#, "comparisons and numbers"),
        (r#"{"a": [{"numeric": ["~", 1]}]}"#, "unknown comparison"),
        (
            r#"{"a": [{"numeric": [">", 5, "<", 5]}]}"#,
            "no number between",
        ),
        (
            r#"{"a": [{"numeric": [">", 5, ">=", 7]}]}"#,
            "two bounds on one side",
        ),
        (r#"{"a": [{"exists": "yes"}]}"#, "neither true nor false"),
        (&format!(r#"{{"a": {many}}}"#), "the limit is 64 values"),
        (
            &format!(r#"{{"a": [{{"anything-but": {many}}}]}}"#),
            "the limit is 64 values",
        ),
        (
            &format!(r#"{{"a": ["{long}"]}}"#),
            "the limit is 4096 bytes",
        ),
    ] {
        let refusal = refusal(&format!(r#"{{"attributes": {attributes}}}"#));
        assert!(refusal.contains(reason), "{attributes}: {refusal}");
    }
}

/// With EventBridge alternatives stand beside other attributes, and all of one must match.
#[test]
fn of_alternatives_one_must_match_besides_the_attributes_beside_them() {
    let filter = filter(
        r#"{"attributes": {"a": ["x"], "$or": [
            {"b": ["y"], "c": [{"exists": true}]},
            {"$or": [{"b": ["z"]}, {"c": [{"prefix": "q"}]}]}
        ]}}"#,
    );
    let matches = |had: &[(&str, &str)]| {
        let had: Vec<_> = had
            .iter()
            .map(|(name, value)| (*name, text(value)))
            .collect();
        filter.matches(&event(&had))
    };
    assert!(matches(&[("a", "x"), ("b", "y"), ("c", "")]));
    assert!(matches(&[("a", "x"), ("b", "z")]));
    assert!(matches(&[("a", "x"), ("c", "q1")]));
    assert!(!matches(&[("a", "x"), ("b", "y")]));
    assert!(!matches(&[("a", "x")]));
    assert!(!matches(&[("b", "z"), ("c", "q")]));
}

/// A cursor of one is none of the other.
#[test]
fn different_conditions_have_different_fingerprints() {
    let asked = [
        r#"{"a": ["x"]}"#,
        r#"{"a": [{"prefix": "x"}]}"#,
        r#"{"a": [{"equals-ignore-case": "x"}]}"#,
        r#"{"a": [{"wildcard": "x"}]}"#,
        r#"{"a": [{"wildcard": "x*"}]}"#,
        r#"{"a": [{"wildcard": "x\\*"}]}"#,
        r#"{"a": ["x", {"anything-but": "y"}]}"#,
        r#"{"a": [{"anything-but": ["x", "y"]}]}"#,
        r#"{"a": [{"anything-but": {"equals-ignore-case": ["x", "y"]}}]}"#,
        r#"{"a": [{"equals-ignore-case": "x"}, {"anything-but": {"equals-ignore-case": "y"}}]}"#,
        r#"{"a": [{"anything-but": {"wildcard": ["x", "y"]}}]}"#,
        r#"{"a": [{"wildcard": "x"}, {"anything-but": {"wildcard": "y"}}]}"#,
        r#"{"a": ["x"], "b": ["y"]}"#,
        r#"{"$or": [{"a": ["x"]}, {"b": ["y"]}]}"#,
        r#"{"$or": [{"a": ["x"]}, {"b": ["z"]}]}"#,
        r#"{"$or": [{"a": ["x"], "b": ["y"]}, {"c": ["z"]}]}"#,
        r#"{"$or": [{"a": ["x"]}, {"b": ["y"], "c": ["z"]}]}"#,
        r#"{"$or": [{"a": ["x"]}, {"b": ["y"]}, {"c": ["z"]}]}"#,
        r#"{"$or": [{"a": ["x"]}, {"$or": [{"b": ["y"]}, {"c": ["z"]}]}]}"#,
        r#"{"c": ["z"], "$or": [{"a": ["x"]}, {"b": ["y"]}]}"#,
    ];
    let fingerprint =
        |attributes: &&str| filter(&format!(r#"{{"attributes": {attributes}}}"#)).fingerprint();
    let different: std::collections::BTreeSet<_> = asked.iter().map(fingerprint).collect();
    assert_eq!(different.len(), asked.len());
}

/// The same in each process and on each platform: a change of this number breaks stored cursors.
#[test]
fn fingerprints_of_conditions_are_fixed() {
    let filter = filter(
        r#"{"attributes": {"b": [{"numeric": [">", 1, "<=", 2.5]}, {"anything-but": ["x", 3]}], "a": ["y", {"prefix": "p"}]}}"#,
    );
    assert_eq!(filter.fingerprint(), Some(0xc93d_7839_7374_177e));
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[abA]{1,3}".prop_map(|word| word),
        2 => (-3..4_i32).prop_map(|n| n.to_string()),
        1 => (-3..4_i32).prop_map(|n| format!("{n}.5")),
        1 => "(true|false)".prop_map(|word| word),
    ]
}

fn wildcard() -> impl Strategy<Value = String> {
    let parts = prop::collection::vec("[ab1]{1,2}", 1..3);
    (parts, "[*]?", "[*]?").prop_map(|(parts, head, end)| format!("{head}{}{end}", parts.join("*")))
}

/// Whether a text is a wildcard, each of whose stars is tried with every rest.
fn is_wildcard(wildcard: &str, text: &str) -> bool {
    let mut rests = (0..=text.len()).map(|n| &text[n..]);
    match (wildcard.chars().next(), wildcard.get(1..)) {
        (Some('*'), Some(wildcard)) => rests.any(|rest| is_wildcard(wildcard, rest)),
        (Some(char), Some(wildcard)) => {
            let rest = text.strip_prefix(char);
            rest.is_some_and(|rest| is_wildcard(wildcard, rest))
        }
        _ => text.is_empty(),
    }
}

/// One condition as JSON.
fn condition() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::json;
    let affix = "[ab1-]{1,2}";
    let affixes = || prop::collection::vec("[ab1-]{1,2}", 1..3);
    let scalar = || {
        prop_oneof![
            word().prop_map(|word| json!(word)),
            (-3..4_i32).prop_map(|n| json!(n)),
            any::<bool>().prop_map(|b| json!(b)),
        ]
    };
    prop_oneof![
        scalar(),
        affix.prop_map(|text| json!({"prefix": text})),
        affix.prop_map(|text| json!({"suffix": text})),
        scalar().prop_map(|value| json!({"anything-but": value})),
        prop::collection::vec(scalar(), 1..4).prop_map(|values| json!({"anything-but": values})),
        affixes().prop_map(|texts| json!({"anything-but": {"prefix": texts}})),
        affixes().prop_map(|texts| json!({"anything-but": {"suffix": texts}})),
        "[abAB]{1,2}".prop_map(|text| json!({"equals-ignore-case": text})),
        wildcard().prop_map(|text| json!({"wildcard": text})),
        prop::collection::vec("[abAB]{1,2}", 1..3)
            .prop_map(|texts| json!({"anything-but": {"equals-ignore-case": texts}})),
        prop::collection::vec(wildcard(), 1..3)
            .prop_map(|texts| json!({"anything-but": {"wildcard": texts}})),
        (-3..2_i32, 1..4_i32, any::<bool>(), any::<bool>()).prop_map(
            |(low, more, open, closed)| {
                let lower = if open { ">" } else { ">=" };
                let upper = if closed { "<=" } else { "<" };
                json!({"numeric": [lower, low, upper, low + more]})
            }
        ),
        (-3..4_i32).prop_map(|n| json!({"numeric": ["=", n]})),
        (-3..4_i32).prop_map(|n| json!({"numeric": ["<", n]})),
        any::<bool>().prop_map(|there| json!({"exists": there})),
    ]
}

/// As the words of the JSON say, one after the other.
fn holds(condition: &serde_json::Value, value: Option<&str>) -> bool {
    let number = |text: &str| text.parse::<f64>().ok();
    let is = |wanted: &serde_json::Value, text: &str| match wanted {
        serde_json::Value::String(wanted) => wanted == text,
        serde_json::Value::Bool(wanted) => wanted.to_string() == text,
        wanted => number(text) == wanted.as_f64(),
    };
    let each = |value: &serde_json::Value| match value {
        serde_json::Value::Array(values) => values.clone(),
        value => vec![value.clone()],
    };
    let Some(object) = condition.as_object() else {
        return value.is_some_and(|text| is(condition, text));
    };
    let (rule, wanted) = object.iter().next().unwrap();
    if rule == "exists" {
        return wanted.as_bool() == Some(value.is_some());
    }
    let Some(text) = value else { return false };
    match &**rule {
        "prefix" => text.starts_with(wanted.as_str().unwrap()),
        "suffix" => text.ends_with(wanted.as_str().unwrap()),
        "equals-ignore-case" => text.eq_ignore_ascii_case(wanted.as_str().unwrap()),
        "wildcard" => is_wildcard(wanted.as_str().unwrap(), text),
        "anything-but" => match wanted.as_object().and_then(|affix| affix.iter().next()) {
            None => !each(wanted).iter().any(|wanted| is(wanted, text)),
            Some((rule, affixes)) => !each(affixes).iter().any(|affix| {
                let affix = affix.as_str().unwrap();
                match &**rule {
                    "prefix" => text.starts_with(affix),
                    "equals-ignore-case" => text.eq_ignore_ascii_case(affix),
                    "wildcard" => is_wildcard(affix, text),
                    _ => text.ends_with(affix),
                }
            }),
        },
        _ => number(text).is_some_and(|number| {
            wanted.as_array().unwrap().chunks(2).all(|pair| {
                let bound = pair[1].as_f64().unwrap();
                match pair[0].as_str().unwrap() {
                    "=" => number == bound,
                    "<" => number < bound,
                    "<=" => number <= bound,
                    ">" => number > bound,
                    _ => number >= bound,
                }
            })
        }),
    }
}

type Each = BTreeMap<String, Vec<serde_json::Value>>;

fn each() -> impl Strategy<Value = Each> {
    prop::collection::btree_map("[abc]", prop::collection::vec(condition(), 1..4), 1..4)
}

fn members(each: &Each, any: Option<&Vec<Each>>) -> serde_json::Value {
    let mut members = serde_json::json!(each);
    if let Some(any) = any {
        members["$or"] = serde_json::json!(any);
    }
    members
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Compiled, an event matches exactly when the words of every attribute's conditions say so; and
    /// neither order nor repetition changes what is asked for, nor does writing and reading it.
    #[test]
    fn compiled_conditions_match_as_they_are_written(
        asked in each(),
        any in prop::option::of(prop::collection::vec(each(), 2..4)),
        values in prop::collection::btree_map("[abc]", word(), 0..4),
    ) {
        let spec: FilterSpec =
            serde_json::from_value(serde_json::json!({"attributes": members(&asked, any.as_ref())}))
                .unwrap();
        let filter = Filter::compile(&spec).unwrap();
        let had: Vec<(&str, ExtensionValue)> =
            values.iter().map(|(name, value)| (name.as_str(), text(value))).collect();
        let all = |asked: &Each| {
            asked.iter().all(|(name, conditions)| {
                let value = values.get(name).map(String::as_str);
                conditions.iter().any(|condition| holds(condition, value))
            })
        };
        let expected = all(&asked) && any.as_ref().is_none_or(|any| any.iter().any(all));
        prop_assert_eq!(filter.matches(&event(&had)), expected);

        let mut turned = spec.clone();
        let attributes = turned.attributes.as_mut().unwrap();
        attributes.any.reverse();
        if let Some(first) = attributes.any.first().cloned() {
            attributes.any.push(first);
        }
        for conditions in attributes.each.values_mut() {
            conditions.reverse();
            conditions.push(conditions[0].clone());
            for condition in conditions {
                if let Condition::AnythingBut(values) = condition {
                    let first: Scalar = values[0].clone();
                    values.push(first);
                }
            }
        }
        let same = Filter::compile(&turned).unwrap();
        prop_assert_eq!(same.fingerprint(), filter.fingerprint());
        prop_assert_eq!(&same, &filter);
        let read: FilterSpec =
            serde_json::from_str(&serde_json::to_string(&spec).unwrap()).unwrap();
        prop_assert_eq!(Filter::compile(&read).unwrap(), filter);
    }
}
