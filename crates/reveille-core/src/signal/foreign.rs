//! A signal of another system, as it is known here: a proxy in a slot of this one.

use std::sync::Arc as StdArc;

use super::completion::conclude;
use super::merge::{MergeMode, merge};
use super::outcome::{Outcome, status};
use super::slots::{Core, Place, SlotRef};
use crate::sync::Arc;
use crate::{Poison, PoisonKind, SignalError, SignalHandle, SignalStatus};

/// The proxy of one signal of another system.
///
/// It is pending while `value` is. What completes it is the router's
/// [`SignalProxy`](crate::SignalProxy), or, as of any signal, the end of this system.
pub(super) struct Foreign<T> {
    handle: SignalHandle,
    /// Has the outcome with the value.
    value: SlotRef<T>,
    /// Has the outcome alone, where `T` is not `()`: a signal with such a value cannot be
    /// triggered without one, but what it stands for may be a merge.
    end: Option<SlotRef<T>>,
}

impl<T> Foreign<T> {
    pub(super) fn new(core: &Arc<Core<T>>, handle: SignalHandle) -> Result<Self, SignalError> {
        let value = Core::create_held(core)?;
        // So that an explanation of what waits for it says what it is.
        value.with_extra(|extra| extra.stands_for = Some(handle));
        let mut this = Self {
            handle,
            value,
            end: None,
        };
        if core.unit().is_none() {
            match end_of(core, &this.value) {
                Ok(end) => {
                    end.with_extra(|extra| extra.stands_for = Some(handle));
                    this.end = Some(end);
                }
                Err(error) => {
                    this.let_go();
                    return Err(error);
                }
            }
        }
        Ok(this)
    }

    /// The signal of the other system.
    pub(super) fn handle(&self) -> SignalHandle {
        self.handle
    }

    /// What those wait for who want the value.
    pub(super) fn value(&self) -> &SlotRef<T> {
        &self.value
    }

    /// What those wait for who want the end alone, merges among them.
    pub(super) fn end(&self) -> &SlotRef<T> {
        self.end.as_ref().unwrap_or(&self.value)
    }

    /// Where the signal stands, as far as the owner has told.
    pub(super) fn status(&self) -> SignalStatus {
        let end = self.end();
        match end.ended() {
            // The wait for it was ended here.
            Some(Err(poison)) if poison.handle() == end.handle() => SignalStatus::Pending,
            Some(ended) => status(ended),
            None => SignalStatus::Pending,
        }
    }

    /// Whether the owner has told that it was triggered without a value.
    pub(super) fn is_derived(&self) -> bool {
        let triggered = |slot: &SlotRef<T>| slot.ended().map(|ended| ended.is_ok());
        triggered(self.end()) == Some(true) && triggered(&self.value) == Some(false)
    }

    pub(super) fn is_pending(&self) -> bool {
        self.value.word().is_pending()
    }

    /// Whether somebody beside `others` references needs it to be completed.
    pub(super) fn is_wanted(this: &StdArc<Self>, others: usize) -> bool {
        if this.value.word().is_complete() {
            return false;
        }
        let end = this.end();
        StdArc::strong_count(this) > others
            || end.word().has_cell()
            || end.if_extra(|extra| !extra.merges.is_empty()) == Some(true)
    }

    /// Completes the proxy with success, with a value or without.
    pub(super) fn triggered(&self, value: Option<T>) {
        if let Some(end) = &self.end {
            conclude(end, || Outcome::Triggered(None));
        }
        let outcome = match value.or_else(|| self.value.core().unit()) {
            Some(value) => Outcome::Triggered(Some(value)),
            None => {
                let reason = SignalError::Derived.to_string();
                Outcome::Failed(Poison::new(self.handle, PoisonKind::Refused, reason))
            }
        };
        conclude(&self.value, || outcome);
    }

    /// Completes the proxy with a failure.
    pub(super) fn failed(&self, poison: Poison) {
        if let Some(end) = &self.end {
            conclude(end, || Outcome::Failed(poison.clone()));
        }
        conclude(&self.value, || Outcome::Failed(poison));
    }

    /// Completes the proxy because nobody needs it, so that its slot becomes free.
    pub(super) fn let_go(&self) {
        let own = self.end().handle();
        self.failed(Poison::new(own, PoisonKind::Cancelled, "nobody waits"));
    }
}

/// A merge of the proxy alone, so that whatever ends that here ends it too.
fn end_of<T>(core: &Arc<Core<T>>, value: &SlotRef<T>) -> Result<SlotRef<T>, SignalError> {
    let merged = merge(core, &[value.handle()], MergeMode::AllSettled)?;
    match core.find(merged)? {
        Place::Live(end, _) => Ok(end),
        // The system was shut down meanwhile.
        Place::Plain(_) | Place::Past(_) => Err(SignalError::ShutDown {
            reason: StdArc::from("draining"),
        }),
    }
}
