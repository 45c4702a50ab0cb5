//! The bodies of `/v1/signals`.
//!
//! A handle is text here: 32 lower-case hexadecimal digits, made and read by the server alone.

use std::num::NonZeroU32;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// How to create a signal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SignalRequest {
    /// What it is, for people: 1 to 128 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 128))]
    pub name: Option<String>,
    /// How long it may go without a renewal before it is poisoned: 100 ms to 24 h. Without it nothing
    /// ends the signal but its producer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 100, maximum = 86_400_000))]
    pub lease_ms: Option<u64>,
}

/// Puts off the end of a lease.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SignalRenewRequest {
    /// The signal's secret.
    #[serde(default)]
    pub secret: String,
    /// The length of the lease from now on; as before if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 100, maximum = 86_400_000))]
    pub lease_ms: Option<u64>,
}

/// A lease that was renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignalRenewed {
    /// After how long it ends, unless it is renewed again.
    pub lease_ms: u64,
}

/// What blocks a signal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignalWhy {
    /// The signal and, if it is a merge, what it waits for, nearer ones first; each once. Empty if the
    /// signal is complete. At most 1000.
    pub pending: Vec<SignalPending>,
    /// Whether there are more.
    pub truncated: bool,
}

/// A signal that is not complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignalPending {
    /// Its handle.
    pub handle: String,
    /// Its name, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who created it, and so owes it; absent for a merge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owed_by: Option<String>,
    /// Since when.
    #[serde(
        default,
        with = "crate::time::optional_millis",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub since: Option<Timestamp>,
    /// How its inputs complete it, if it is a merge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<SignalMergeMode>,
    /// Its inputs that are not complete, if it is a merge.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<String>,
}

/// A signal that was created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignalCreated {
    /// The right to look at it and to wait for it.
    pub handle: String,
    /// The right to complete it. It is told here and never again.
    pub secret: String,
}

/// Completes a signal with success.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TriggerRequest {
    /// The signal's secret.
    #[serde(default)]
    pub secret: String,
    /// What everybody who waits gets; null is the same as none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub value: Option<Box<RawValue>>,
}

/// Completes a signal with a failure.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PoisonRequest {
    /// The signal's secret.
    #[serde(default)]
    pub secret: String,
    /// What went wrong; not empty, and cut to 1 KiB.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(min_length = 1, required))]
    pub reason: String,
}

/// Completes a signal as cancelled.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SignalCancelRequest {
    /// The signal's secret.
    #[serde(default)]
    pub secret: String,
    /// Why; cut to 1 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// When a merged signal is complete, and how: a word, or a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(
    rename_all = "snake_case",
    expecting = "a merge's mode is `all_settled`, `fail_fast`, `any` or a number from 1"
)]
pub enum SignalMergeMode {
    /// Waits for all inputs, then is triggered if all were, and else poisoned with all causes.
    #[default]
    AllSettled,
    /// The same, but is poisoned as soon as one input has failed.
    FailFast,
    /// Is triggered with the first input that is, and poisoned when all have failed.
    Any,
    /// Is triggered when so many inputs are, and poisoned as soon as too few can be.
    #[serde(untagged)]
    N(NonZeroU32),
}

/// How to merge signals.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct MergeRequest {
    /// The handles of the inputs; what stands twice counts once.
    #[serde(default)]
    pub inputs: Vec<String>,
    /// When the merged signal is complete, and how.
    #[serde(default)]
    pub mode: SignalMergeMode,
}

/// A merged signal. It has no secret: its inputs complete it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignalMerged {
    /// The right to look at it and to wait for it.
    pub handle: String,
}

/// Where a signal stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SignalState {
    /// Not complete.
    Pending,
    /// Complete, with success.
    Triggered,
    /// Complete, with a failure.
    Poisoned,
    /// Complete, by cancellation.
    Cancelled,
}

/// What is known of a signal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignalInfo {
    /// The signal.
    pub handle: String,
    /// Its name, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where it stands.
    pub status: SignalState,
    /// What it was triggered with, if that was anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub value: Option<Box<RawValue>>,
    /// Why it was poisoned or cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poison: Option<PoisonInfo>,
}

/// Why a signal was poisoned or cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PoisonInfo {
    /// In which way: `explicit`, `cancelled`, `merged`, `shut_down`, ...
    pub kind: String,
    /// The reason as text; of a merge, its causes as far as they fit.
    pub reason: String,
    /// The signals that failed by themselves, in the order of the inputs; of a signal that did,
    /// itself.
    pub causes: Vec<PoisonCause>,
    /// How many more causes there are at least.
    pub more: u64,
}

/// A signal that failed by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PoisonCause {
    /// The signal.
    pub handle: String,
    /// Its name, if it has one that is still known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// In which way it failed.
    pub kind: String,
    /// Why, as far as it is kept.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_words_and_numbers() {
        let modes = [
            (r#""all_settled""#, SignalMergeMode::AllSettled),
            (r#""fail_fast""#, SignalMergeMode::FailFast),
            (r#""any""#, SignalMergeMode::Any),
            ("2", SignalMergeMode::N(NonZeroU32::new(2).unwrap())),
        ];
        for (text, mode) in modes {
            assert_eq!(serde_json::from_str::<SignalMergeMode>(text).unwrap(), mode);
            assert_eq!(serde_json::to_string(&mode).unwrap(), text);
        }
        for wrong in ["0", "-1", "1.5", r#""n""#, "null", r#"{"n_of":2}"#] {
            let refused = serde_json::from_str::<SignalMergeMode>(wrong).unwrap_err();
            assert!(refused.to_string().contains("number from 1"), "{refused}");
        }
    }

    #[test]
    fn a_value_keeps_its_digits() {
        let text = r#"{"secret":"s","value":12345678901234567890.10}"#;
        let request: TriggerRequest = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&request).unwrap(), text);
    }
}
