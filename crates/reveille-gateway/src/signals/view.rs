//! Signals as they are told on the wire.

use std::num::NonZeroU32;

use reveille_core::{MergeMode, Poison, PoisonKind, SignalHandle};
use reveille_types::wire::{PoisonCause, PoisonInfo, SignalInfo, SignalMergeMode, SignalState};

use super::value::SignalValue;

/// How a signal ended: with its value, which may be none, or not well.
pub(super) type End = Result<SignalValue, Poison>;

/// What is told of a signal that ended like this, or has not. `name` says what signals are called.
pub(super) fn info(
    handle: SignalHandle,
    end: Option<&End>,
    name: impl Fn(SignalHandle) -> Option<String>,
) -> SignalInfo {
    let (status, value, poison) = match end {
        None => (SignalState::Pending, None, None),
        Some(Ok(value)) => (SignalState::Triggered, value.json(), None),
        Some(Err(poison)) => {
            let status = match poison.kind() {
                PoisonKind::Cancelled => SignalState::Cancelled,
                _ => SignalState::Poisoned,
            };
            (status, None, Some(poison_info(poison, &name)))
        }
    };
    SignalInfo {
        handle: handle.to_string(),
        name: name(handle),
        status,
        value,
        poison,
    }
}

fn poison_info(poison: &Poison, name: impl Fn(SignalHandle) -> Option<String>) -> PoisonInfo {
    let causes = poison.causes();
    PoisonInfo {
        kind: poison.kind().to_string(),
        reason: poison.reason().to_owned(),
        causes: causes
            .iter()
            .map(|cause| PoisonCause {
                handle: cause.handle.to_string(),
                name: name(cause.handle),
                kind: cause.kind.to_string(),
                reason: cause.reason.to_string(),
            })
            .collect(),
        more: (poison.cause_count() - causes.len()) as u64,
    }
}

pub(super) fn mode_on_wire(mode: MergeMode) -> SignalMergeMode {
    match mode {
        MergeMode::FailFast => SignalMergeMode::FailFast,
        MergeMode::AnyOf => SignalMergeMode::Any,
        MergeMode::NOf(n) => SignalMergeMode::N(n.try_into().unwrap_or(NonZeroU32::MAX)),
        _ => SignalMergeMode::AllSettled,
    }
}
