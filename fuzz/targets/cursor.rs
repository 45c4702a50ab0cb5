//! A text is a cursor or is not; one that is prints as a text that browsers send back unchanged.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reveille_types::Cursor;

fuzz_target!(|text: &str| {
    let Ok(cursor) = text.parse::<Cursor>() else {
        return;
    };
    let printed = cursor.to_string();
    assert_eq!(printed.parse::<Cursor>().unwrap(), cursor);
    assert!(printed.len() <= 128, "{printed}");
    let is_safe = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    assert!(printed.bytes().all(is_safe), "{printed}");
});
