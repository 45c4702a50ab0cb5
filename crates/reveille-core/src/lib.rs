//! Signals, the wait list, cancel tokens and clocks: what every form of waiting rests on.
//!
//! This crate runs no task, sets no timer and does no input or output. Its futures are plain
//! [`Future`]s which any executor can poll, and every one of them may be dropped at any moment:
//! it unregisters in O(1) and loses nothing. No code of a caller (wakers, values, clocks) runs
//! while one of its locks is held.
//!
//! In reading order:
//!
//! - [`sync`] the primitives, from std or from the model checker
//! - [`Clock`] monotonic time for deadlines and wall time for display, apart from each other
//! - [`IdSource`] unique, time-ordered identifiers
//! - [`WaitList`] the one list of waiters, embedded in its owner's lock
//! - [`CancelToken`] a request to stop that can be awaited
//! - [`SignalSystem`] one-shot completions: triggered, poisoned, cancelled or merged
//! - [`SignalRouter`] the seam through which a system reaches the signals of others

pub mod sync;

mod text;

mod clock;
mod id_source;

mod wait_list;
mod wake_batch;

mod cancel;
mod signal;

pub use cancel::{CancelOutcome, CancelToken, Cancellation, Cancelled};
pub use clock::{Clock, ManualClock, SystemClock};
pub use id_source::{IdSource, SystemIds};
pub use signal::{
    Cause, Completion, Explanation, MemberFuture, MergeMode, Owed, ParseHandleError, PendingSignal,
    Poison, PoisonKind, ShutdownReport, Signal, SignalAwaiter, SignalDesk, SignalError,
    SignalHandle, SignalMember, SignalNetwork, SignalProxy, SignalQuestion, SignalReceipt,
    SignalReply, SignalRequest, SignalRouter, SignalStats, SignalStatus, SignalSystem,
    SignalSystemBuilder,
};
pub use wait_list::{Removed, WaitList, WaiterKey};
pub use wake_batch::WakeBatch;
