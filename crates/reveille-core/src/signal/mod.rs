//! Signals: one-shot completions that are triggered, poisoned or cancelled.
//!
//! A [`SignalSystem`] owns the slots. Each slot serves one signal at a time, and each signal of
//! a slot is a generation of it:
//!
//! ```text
//!              create, merge                trigger, poison, cancel, inputs
//!  idle(g) ───────────────────▶ pending(g+1) ───────────────────────────▶ complete(g+1)
//!     ▲                                                                        │
//!     └──── its Signal is gone and every awaiter has its outcome or is gone ───┘
//! ```
//!
//! - *One completion for each generation*, in one step of the atomic that awaiters look at.
//! - *Outcomes are of a generation.* When a slot turns idle its outcome moves to the history,
//!   where a bounded number stay readable. A handle of an older generation is answered from
//!   there, or with [`SignalError::OutcomeForgotten`], never with the outcome of another.
//!   Success without a value takes no place in the history.
//! - *No lost wake-up*: looking at the slot and registering are one step, and a slot is not
//!   reused before all awaiters have left, so each gets what it waited for.
//! - *Generations only ascend.* A slot that used its last one is retired.
//!
//! A merged signal is a counter on edges from its inputs: no task, no reference cycle, and
//! complete at once when the inputs are. How the slots are shared without a lock is told in
//! `slots`, the one module with unsafe code.
//!
//! A signal of another system, which a [`SignalRouter`] reaches, has a proxy among the slots here.
//! Whatever waits for it waits for the proxy, which the router completes with the outcome that
//! the owner tells.
//!
//! Three layers of ownership: [`SignalSystem`]s together own the system, and when the last goes
//! everything pending is poisoned; [`Signal`]s and awaiters own the memory alone; handles own
//! nothing.

mod handle;

mod poison;

mod error;
mod outcome;

mod slots;

mod discard;
mod extra;
mod history;

mod completion;
mod drain;
mod merge;

mod awaiter;
mod explain;
mod right;

mod network;
mod router;

mod foreign;
mod foreigners;
mod proxy;
mod receipt;

mod builder;
mod stats;
mod system;

#[cfg(all(test, not(loom)))]
mod tests;

pub use awaiter::{Completion, SignalAwaiter};
pub use builder::SignalSystemBuilder;
pub use error::SignalError;
pub use explain::{Explanation, Owed, PendingSignal};
pub use handle::{ParseHandleError, SignalHandle};
pub use merge::MergeMode;
pub use network::{MemberFuture, SignalDesk, SignalMember, SignalNetwork, SignalQuestion};
pub use outcome::SignalStatus;
pub use poison::{Cause, Poison, PoisonKind};
pub use proxy::SignalProxy;
pub use receipt::{SignalReceipt, SignalReply};
pub use right::Signal;
pub use router::{SignalRequest, SignalRouter};
pub use stats::{ShutdownReport, SignalStats};
pub use system::SignalSystem;
