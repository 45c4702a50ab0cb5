//! What gateways ask of each other about signals, and what they answer, as JSON.

use reveille_core::SignalHandle;
use reveille_types::wire::{Problem, SignalInfo};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::value::SignalValue;
use crate::problem::Refusal;

/// How many signals one question is about, at most.
pub(super) const HANDLES_MAX: usize = 1000;

/// A question that has no effect.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Look {
    /// Where a signal stands: [`SignalInfo`].
    Info { handle: SignalHandle },
    /// What blocks these signals: [`SignalWhy`](reveille_types::wire::SignalWhy). Those that are not known are passed over if there are
    /// several.
    Why { handles: Vec<SignalHandle> },
    /// Which of these are not known: for each, why not.
    Known { handles: Vec<SignalHandle> },
    /// What these are called.
    Names { handles: Vec<SignalHandle> },
}

/// A question that has an effect.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Act {
    /// An [`Order`], whose text is what the proof is of.
    pub(super) order: Box<RawValue>,
    pub(super) proof: String,
}

/// What is to be done with a signal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) handle: SignalHandle,
    pub(super) how: How,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum How {
    Trigger { value: SignalValue },
    Poison { reason: String },
    Cancel { reason: String },
    Renew { lease_ms: Option<u64> },
}

/// What was done.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Done {
    /// It has ended so. The value is not said: whoever triggered it knows it.
    Ended(SignalInfo),
    /// Its lease has begun anew, for so many milliseconds.
    Renewed(u64),
}

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer<T> {
    Given(T),
    Refused(Box<Problem>),
}

impl<T: Serialize> Answer<T> {
    /// The answer as text.
    pub(super) fn text(answer: Result<T, Refusal>) -> String {
        let answer = match answer {
            Ok(given) => Self::Given(given),
            Err(refusal) => Self::Refused(Box::new(refusal.into_problem())),
        };
        // Its maps have texts as keys, and nothing fails to be written.
        serde_json::to_string(&answer).unwrap_or_default()
    }
}

impl<T> Answer<T> {
    pub(super) fn read(self) -> Result<T, Refusal> {
        match self {
            Self::Given(given) => Ok(given),
            Self::Refused(problem) => Err(Refusal::of(*problem)),
        }
    }
}

/// For each signal, why it is not known.
pub(super) type Known = Vec<Option<Problem>>;
/// For each signal, what it is called.
pub(super) type Names = Vec<Option<String>>;
