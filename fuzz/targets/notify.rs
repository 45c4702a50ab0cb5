//! A notification in protobuf is read or refused. One that is read is written and read as the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reveille_types::data::PayloadData;
use reveille_types::wire::{NotifiedEvent, NotifyRequest};

fuzz_target!(|data: &[u8]| {
    let Ok(read) = NotifyRequest::decode(data) else {
        return;
    };
    assert_eq!(NotifyRequest::decode(&read.encode()).unwrap(), read);
    if let NotifiedEvent::AgentMessage(said) = read.event {
        // It may be too large to be stored, and that is all.
        let _ = said.into_draft().check();
    }
});
