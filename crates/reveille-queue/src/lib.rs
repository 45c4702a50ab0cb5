//! Session logs: append, take, wait, subscribe, cancel, close and expire.
//!
//! [`Sessions`] creates, finds, lists, removes and sweeps; a [`SessionLog`] is one log. Of the four
//! ways to read, [`take`](SessionLog::take) consumes (exactly one taker of a group gets an event),
//! [`wait`](SessionLog::wait) looks, [`subscribe`](SessionLog::subscribe) follows, and
//! [`page`](SessionLog::page) reads without waiting. Readers never change the log.
//!
//! ```
//! use reveille_memory::MemoryBackend;
//! use reveille_queue::{AppendOptions, SessionOptions, Sessions, WaitOptions, WaitOutcome};
//! use reveille_types::{EventDraft, Filter, SessionKey, Tenant};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let sessions = Sessions::builder(MemoryBackend::new()).build();
//! let key = SessionKey::in_tenant(Tenant::default_tenant(), "build")?;
//! let log = sessions.create(key, SessionOptions::default()).await?;
//!
//! let worker = log.clone();
//! tokio::spawn(async move {
//!     let done = EventDraft::parse("task.completed").unwrap();
//!     worker.append([done], AppendOptions::default()).await.unwrap();
//! });
//!
//! let done = Filter::matching("task.completed")?;
//! let WaitOutcome::Matched { events, .. } = log.wait(WaitOptions::any(done)).await? else {
//!     panic!("there is no time-out, and nobody ends the session");
//! };
//! assert_eq!(events[0].kind().as_str(), "task.completed");
//! # Ok(())
//! # }
//! ```
//!
//! Inside, each session is a synchronous state machine (`state`) under one short lock, never held
//! across an await and never while anybody's code runs. Events are stored by a
//! [`Backend`](reveille_backend::Backend); the default one commits inside that lock. This crate knows
//! one log and one manager: no filters over many sessions, no handlers, no HTTP. tokio gives it timers
//! and nothing else.

mod environment;
mod error;
mod options;
mod outcome;

mod budget;
mod builder;
mod listing;
mod sessions;
mod sweeping;
mod table;
mod unopened;

mod append;
mod info;
mod keep_alive;
mod kept;
mod lifecycle;
mod log;
mod prepare;
mod read;
mod stored;

mod group_log;
mod groups;
mod multi_wait;
mod subscription;
mod take;
mod taking_stored;
mod token;
mod wait;

mod deadline;
mod reminders;
mod runtime;
mod state;
mod tail;
mod window;

pub use builder::SessionsBuilder;
pub use environment::TokioClock;
pub use error::{AppendError, ReadError, SessionError, SettleError, StoreFailure};
pub use info::Outline;
pub use keep_alive::KeepAlive;
pub use listing::{ListOptions, SessionsInfo};
pub use log::SessionLog;
pub use multi_wait::{MultiOutcome, MultiWait};
pub use options::{
    AppendOptions, PageOptions, QueueLimits, SessionOptions, SubscribeOptions, TakeOptions,
    WaitOptions,
};
pub use outcome::{
    CancelOutcome, DeadLetter, GroupInfo, Lease, LeaseId, Page, StreamItem, SubscriptionInfo,
    TakeOutcome, Taken, WaitOutcome,
};
pub use sessions::Sessions;
pub use subscription::Subscription;
pub use sweeping::Swept;
pub use tail::{Tail, TailInfo, TailLimits, TailPage, TailWatch};
pub use unopened::SweptStored;
