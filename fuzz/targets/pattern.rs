//! A pattern is read or refused. One that is read prints as itself, and matches the same kinds when it is
//! read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reveille_types::{Kind, Pattern};

fuzz_target!(|texts: (&str, &str)| {
    let (pattern, kind) = texts;
    let Ok(pattern) = pattern.parse::<Pattern>() else {
        return;
    };
    let again: Pattern = pattern.to_string().parse().unwrap();
    assert_eq!(again, pattern);
    if let Ok(kind) = Kind::parse(kind) {
        assert_eq!(again.matches(&kind), pattern.matches(&kind));
    }
});
