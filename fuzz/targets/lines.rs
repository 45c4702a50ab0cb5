//! A client that follows a stream of lines reads whatever a server sends, or stops.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use reveille_client::{Client, read_stream};

static CLIENT: LazyLock<Client> = LazyLock::new(|| Client::new("http://127.0.0.1:1").unwrap());

fuzz_target!(|data: &[u8]| {
    let lines = data.iter().filter(|b| **b == b'\n').count();
    assert!(read_stream(&CLIENT, data) <= lines);
});
