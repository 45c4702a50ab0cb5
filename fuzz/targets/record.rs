//! The body of a stored row is read or is damaged. What is read can be shown.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reveille_archive::read_record;

mod place;

fuzz_target!(|data: &[u8]| {
    for event in read_record(data, &place::first()).unwrap_or_default() {
        let json = std::str::from_utf8(event.json()).unwrap();
        serde_json::from_str::<serde_json::Value>(json).unwrap();
    }
});
