//! Dropping what callers gave as values, which is their code.
//!
//! A value may own a signal or an awaiter, whose end lets go of another value, and so on: in a
//! full history that is a chain of thousands. So what a drop lets go of is not dropped within
//! it, but after it, by the outermost on this thread.

use std::any::Any;
use std::cell::RefCell;
use std::mem::needs_drop;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::outcome::Outcome;

thread_local! {
    /// What the running drop on this thread let go of; `None` if there is none.
    static LATER: RefCell<Option<Vec<Box<dyn Any>>>> = const { RefCell::new(None) };
}

/// Lets go of an outcome, whose value is dropped now or soon.
pub(super) fn discard<T: 'static>(outcome: Outcome<T>) {
    let Outcome::Triggered(Some(value)) = outcome else {
        return;
    };
    if !needs_drop::<T>() {
        return;
    }
    let mut value = Some(value);
    // At the end of a thread there is no queue any more.
    let outermost = LATER.try_with(|later| match &mut *later.borrow_mut() {
        Some(later) => {
            later.extend(value.take().map(|value| Box::new(value) as Box<dyn Any>));
            false
        }
        none => {
            *none = Some(Vec::new());
            true
        }
    });
    drop_quietly(value);
    if outermost == Ok(true) {
        while let Some(value) = next() {
            drop_quietly(value);
        }
    }
}

/// What is to be dropped next; with `None`, nothing runs any more.
fn next() -> Option<Box<dyn Any>> {
    let next = LATER.try_with(|later| {
        let mut later = later.borrow_mut();
        let next = later.as_mut().and_then(Vec::pop);
        if next.is_none() {
            *later = None;
        }
        next
    });
    next.ok().flatten()
}

/// A panic ends here, as that of a waker does: it must not get into the middle of a completion
/// that evicted the value, and is no concern of it.
fn drop_quietly<V>(value: V) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(value)));
}
