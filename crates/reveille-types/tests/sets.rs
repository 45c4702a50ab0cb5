//! Closed sets: every name as it stands on the wire, both ways.

#![allow(
    clippy::unwrap_used,
    reason = "in a test an unwrap that fails is the failure"
)]

use std::fmt::Display;
use std::str::FromStr;

use reveille_types::Invalid;
use reveille_types::sets::{
    ContentCapture, DeliverySemantics, OverflowPolicy, OverflowReason, PayloadAccess, Retention,
    Trust, WakeStatus,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn names<T>(all: &[T], want: &str)
where
    T: Copy
        + Display
        + FromStr<Err = Invalid>
        + Serialize
        + DeserializeOwned
        + PartialEq
        + std::fmt::Debug,
{
    let json = serde_json::to_string(all).unwrap();
    let written = json.trim_matches(['[', ']']).replace('"', "");
    assert_eq!(written.replace(',', " "), want);
    assert_eq!(serde_json::from_str::<Vec<T>>(&json).unwrap(), all);
    for value in all {
        assert_eq!(value.to_string().parse::<T>().unwrap(), *value);
    }
    for wrong in ["", "other", &want.to_uppercase()] {
        let refused = wrong.parse::<T>().unwrap_err();
        assert!(refused.to_string().contains(want), "{refused}");
    }
}

#[test]
fn every_set_has_its_names_on_the_wire() {
    names(
        DeliverySemantics::ALL,
        "best_effort_live journal_backed derived_replay diagnostic_only",
    );
    names(
        OverflowReason::ALL,
        "subscriber_queue_full subscriber_lagged live_buffer_expired policy_dropped_progress \
         policy_dropped_non_terminal",
    );
    names(
        OverflowPolicy::ALL,
        "drop_non_terminal drop_progress summarize_and_continue backpressure_caller \
         fail_subscriber drop_oldest latest_only",
    );
    names(
        ContentCapture::ALL,
        "off metadata_only redacted_summary payload_refs raw_content",
    );
    names(
        PayloadAccess::ALL,
        "envelope_only redacted_summary payload_refs full_payload_if_policy_allows",
    );
    names(
        Retention::ALL,
        "ephemeral run_scoped session_scoped durable persistent host_policy",
    );
    names(
        Trust::ALL,
        "trusted sdk_generated host_provided user_provided external untrusted",
    );
    names(
        WakeStatus::ALL,
        "registered triggered timed_out cancelled failed",
    );
}

#[test]
fn older_names_of_policies_are_read() {
    assert_eq!("coalesce".parse(), Ok(OverflowPolicy::LatestOnly));
    assert_eq!("disconnect".parse(), Ok(OverflowPolicy::FailSubscriber));
}
