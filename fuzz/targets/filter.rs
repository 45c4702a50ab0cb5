//! A filter in JSON compiles or is refused. One that compiles means the same when it has been written
//! and read again, and looking at events with it never fails.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use reveille_types::{Event, Filter, FilterSpec, decode_event_at};

mod place;

static EVENTS: LazyLock<Vec<Event>> = LazyLock::new(|| {
    [
        r#"{"specversion":"1.0","id":"1","source":"s","type":"task.completed","time":"2026-01-31T12:00:00Z"}"#,
        r#"{"specversion":"1.0","id":"2","source":"s","type":"a","time":"2026-01-31T12:00:00Z","reveilleagent":"x","reveillerun":"r","reveilletags":"t","count":3,"flag":true,"text":"caf\u00e9"}"#,
    ]
    .map(|json| decode_event_at(json, place::first()).unwrap())
    .into()
});

fuzz_target!(|text: &str| {
    let Ok(spec) = serde_json::from_str::<FilterSpec>(text) else {
        return;
    };
    let Ok(filter) = Filter::compile(&spec) else {
        return;
    };
    let written = serde_json::to_string(&spec).unwrap();
    let read = serde_json::from_str(&written).unwrap();
    let again = Filter::compile(&read).unwrap();
    assert_eq!(filter.fingerprint(), again.fingerprint(), "{written}");
    for event in EVENTS.iter() {
        assert_eq!(filter.matches(event), again.matches(event), "{written}");
        // What the index of a bus goes by may be wider than the filter, never narrower.
        assert!(
            !filter.matches(event) || filter.may_match_kind(event.kind()),
            "{written}"
        );
    }
});
