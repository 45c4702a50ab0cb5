//! How ends, standings and refusals of signals are written down, and read again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use reveille_core::{
    Cause, Poison, PoisonKind, SignalError, SignalHandle, SignalProxy, SignalStatus,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::run::System;

/// How a signal ended, or why that cannot be told.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum EndText {
    /// Triggered with this value.
    Triggered { value: Box<RawValue> },
    /// Triggered without one: a merge.
    Done {},
    /// Poisoned or cancelled.
    Failed(PoisonText),
    /// The owner cannot tell.
    Refused(ErrorText),
}

/// Where a signal stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StatusText {
    Pending {},
    Triggered {},
    Failed(PoisonText),
}

/// A [`Poison`], with all that it keeps.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct PoisonText {
    handle: SignalHandle,
    causes: Vec<CauseText>,
    count: usize,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct CauseText {
    handle: SignalHandle,
    kind: String,
    reason: Box<str>,
}

/// A [`SignalError`]: its code, and what it carries.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct ErrorText {
    code: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expected: Option<System>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    got: Option<System>,
}

/// The value as JSON.
pub(super) fn write_value<T: Serialize>(value: &T) -> Result<Box<RawValue>, SignalError> {
    // The code of the value is a stranger's.
    match catch_unwind(AssertUnwindSafe(|| to_raw_value(value))) {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(error)) => Err(not_carried(format!("its value cannot be written: {error}"))),
        Err(_) => Err(not_carried("writing its value panicked")),
    }
}

/// The value that this JSON is.
pub(super) fn read_value<T: DeserializeOwned>(text: &RawValue) -> Result<T, SignalError> {
    match catch_unwind(AssertUnwindSafe(|| serde_json::from_str(text.get()))) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(not_carried(format!("its value cannot be read: {error}"))),
        Err(_) => Err(not_carried("reading its value panicked")),
    }
}

/// The refusal to carry something, because of this.
pub(super) fn not_carried(reason: impl Into<Arc<str>>) -> SignalError {
    SignalError::NotCarried {
        reason: reason.into(),
    }
}

impl EndText {
    /// About how many bytes it takes.
    pub(super) fn size(&self) -> usize {
        const FIXED: usize = 256;
        FIXED
            + match self {
                Self::Triggered { value } => value.get().len(),
                Self::Done {} | Self::Refused(_) => 0,
                Self::Failed(poison) => poison.size(),
            }
    }

    /// Tells those who wait here.
    pub(super) fn tell<T: DeserializeOwned>(&self, proxy: SignalProxy<T>) {
        match self {
            Self::Triggered { value } => match read_value(value) {
                Ok(value) => proxy.triggered(Some(value)),
                Err(error) => proxy.refused(error),
            },
            Self::Done {} => proxy.triggered(None),
            Self::Failed(poison) => proxy.failed(poison.read()),
            Self::Refused(error) => proxy.refused(error.read()),
        }
    }
}

impl StatusText {
    pub(super) fn write(status: &SignalStatus) -> Self {
        match status {
            SignalStatus::Pending => Self::Pending {},
            SignalStatus::Triggered => Self::Triggered {},
            SignalStatus::Poisoned(poison) | SignalStatus::Cancelled(poison) => {
                Self::Failed(PoisonText::write(poison))
            }
        }
    }

    pub(super) fn read(&self) -> SignalStatus {
        match self {
            Self::Pending {} => SignalStatus::Pending,
            Self::Triggered {} => SignalStatus::Triggered,
            Self::Failed(poison) => {
                let poison = poison.read();
                if poison.kind() == PoisonKind::Cancelled {
                    SignalStatus::Cancelled(poison)
                } else {
                    SignalStatus::Poisoned(poison)
                }
            }
        }
    }
}

impl PoisonText {
    pub(super) fn write(poison: &Poison) -> Self {
        let causes = poison.causes().iter().map(|cause| CauseText {
            handle: cause.handle,
            kind: cause.kind.as_str().to_owned(),
            reason: Box::from(&*cause.reason),
        });
        Self {
            handle: poison.handle(),
            causes: causes.collect(),
            count: poison.cause_count(),
        }
    }

    pub(super) fn read(&self) -> Poison {
        let causes = self.causes.iter().map(|cause| {
            let handle = cause.handle;
            let (kind, reason) = match PoisonKind::from_name(&cause.kind) {
                Some(kind) => (kind, Arc::from(&*cause.reason)),
                // Of a later release. That it failed is known all the same.
                None => {
                    let reason = format!("{}: {}", cause.kind, cause.reason);
                    (PoisonKind::Explicit, reason.into())
                }
            };
            Cause {
                handle,
                kind,
                reason,
            }
        });
        Poison::from_causes(self.handle, causes, self.count)
    }

    fn size(&self) -> usize {
        const FIXED: usize = 96;
        // A control character takes six.
        let sizes = self.causes.iter().map(|it| FIXED + 6 * it.reason.len());
        sizes.sum()
    }
}

impl ErrorText {
    pub(super) fn write(error: &SignalError) -> Self {
        let mut text = Self {
            code: error.code().to_owned(),
            ..Self::default()
        };
        match error {
            SignalError::AlreadyPoisoned { reason }
            | SignalError::AlreadyCancelled { reason }
            | SignalError::ShutDown { reason }
            | SignalError::NotCarried { reason } => text.reason = Some(Box::from(&**reason)),
            SignalError::Exhausted { limit } => text.limit = Some(*limit),
            SignalError::ForeignHandle { expected, got } => {
                text.expected = Some(System(*expected));
                text.got = Some(System(*got));
            }
            _ => {}
        }
        text
    }

    pub(super) fn read(&self) -> SignalError {
        let reason = || Arc::from(self.reason.as_deref().unwrap_or_default());
        let system = |it: Option<System>| it.map_or(0, |System(id)| id);
        match &*self.code {
            "already_triggered" => SignalError::AlreadyTriggered,
            "already_poisoned" => SignalError::AlreadyPoisoned { reason: reason() },
            "already_cancelled" => SignalError::AlreadyCancelled { reason: reason() },
            "unknown_signal" => SignalError::UnknownSignal,
            "outcome_forgotten" => SignalError::OutcomeForgotten,
            "foreign_handle" => SignalError::ForeignHandle {
                expected: system(self.expected),
                got: system(self.got),
            },
            "not_permitted" => SignalError::NotPermitted,
            "derived_signal" => SignalError::Derived,
            "shut_down" => SignalError::ShutDown { reason: reason() },
            "not_carried" => SignalError::NotCarried { reason: reason() },
            "exhausted" => SignalError::Exhausted {
                limit: self.limit.unwrap_or(0),
            },
            other => not_carried(format!("refused there as {other:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn again<T: Serialize + DeserializeOwned>(it: &T) -> T {
        serde_json::from_str(&serde_json::to_string(it).unwrap()).unwrap()
    }

    #[test]
    fn refusals_are_read_as_they_were() {
        let reason: Arc<str> = "late".into();
        for error in [
            SignalError::AlreadyTriggered,
            SignalError::AlreadyPoisoned {
                reason: Arc::clone(&reason),
            },
            SignalError::AlreadyCancelled {
                reason: Arc::clone(&reason),
            },
            SignalError::UnknownSignal,
            SignalError::OutcomeForgotten,
            SignalError::ForeignHandle {
                expected: u64::MAX,
                got: 2,
            },
            SignalError::NotPermitted,
            SignalError::Derived,
            SignalError::ShutDown {
                reason: Arc::clone(&reason),
            },
            SignalError::NotCarried { reason },
            SignalError::Exhausted { limit: 7 },
        ] {
            assert_eq!(again(&ErrorText::write(&error)).read(), error);
        }
        let later: ErrorText = serde_json::from_str("{\"code\":\"out_of_tune\"}").unwrap();
        assert_eq!(later.read().code(), "not_carried");
        assert!(later.read().to_string().contains("out_of_tune"));
    }

    #[test]
    fn a_kind_of_a_later_release_is_a_failure_with_its_name() {
        let text = "{\"handle\":\"00000000000000000000000000000001\",\"count\":1,\"causes\":[{\
                    \"handle\":\"00000000000000000000000000000001\",\"kind\":\"evicted\",\
                    \"reason\":\"too old\"}]}";
        let poison = serde_json::from_str::<PoisonText>(text).unwrap().read();
        assert_eq!(
            (poison.kind(), poison.reason()),
            (PoisonKind::Explicit, "evicted: too old")
        );
    }

    fn kinds() -> impl Strategy<Value = PoisonKind> {
        proptest::sample::select(vec![
            PoisonKind::Explicit,
            PoisonKind::Dropped,
            PoisonKind::Panicked,
            PoisonKind::ShutDown,
            PoisonKind::SystemDropped,
            PoisonKind::Cancelled,
            PoisonKind::OwnerLost,
        ])
    }

    proptest! {
        #[test]
        fn poisons_are_read_as_they_were(
            inputs in proptest::collection::vec((1_u128..9, kinds(), ".{0,300}"), 1..30),
            merged: bool,
        ) {
            let inputs: Vec<_> = inputs
                .into_iter()
                .map(|(raw, kind, reason)| Poison::new(SignalHandle::from_raw(raw), kind, reason))
                .collect();
            let poison = if merged {
                Poison::merged(SignalHandle::from_raw(100), &inputs)
            } else {
                inputs[0].clone()
            };
            let text = PoisonText::write(&poison);
            prop_assert!(serde_json::to_string(&text).unwrap().len() < 256 + text.size());
            prop_assert_eq!(again(&text).read(), poison.clone());
            let status = SignalStatus::Poisoned(poison.clone());
            let read = again(&StatusText::write(&status)).read();
            let is_cancelled = poison.kind() == PoisonKind::Cancelled;
            let expected = if is_cancelled { SignalStatus::Cancelled(poison) } else { status };
            prop_assert_eq!(read, expected);
        }
    }
}
