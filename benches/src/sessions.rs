//! Reveille's sessions as the benchmarks use them: on the default backend, polled by hand.

use std::pin::pin;
use std::task::Poll;

use reveille_memory::MemoryBackend;
use reveille_queue::{
    AppendOptions, SessionLog, SessionOptions, Sessions, TakeOptions, TakeOutcome, WaitOptions,
};
use reveille_types::{EventDraft, Filter, Kind, SessionKey, Start, Tenant};

use crate::harness::poll;

/// The kind of every event.
pub const KIND: &str = "task.completed";
/// A kind that is waited for and does not come.
pub const OTHER_KIND: &str = "task.failed";

/// What is ready at the first poll: everything here that does not wait.
///
/// # Panics
/// If it waits after all.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    match poll(pin!(future)) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it does not wait"),
    }
}

/// Sessions as they are by default.
#[must_use]
pub fn manager() -> Sessions {
    Sessions::builder(MemoryBackend::new()).build()
}

/// A session of this name which retains so many events.
#[must_use]
pub fn create(sessions: &Sessions, name: &str, retained: usize) -> SessionLog {
    let key = SessionKey::in_tenant(Tenant::default_tenant(), name).expect("the name is good");
    let options = SessionOptions::default().max_events(retained);
    now(sessions.create(key, options)).expect("there is room")
}

/// The kind of every event, parsed.
#[must_use]
pub fn kind() -> Kind {
    Kind::parse(KIND).expect("the kind is good")
}

/// Appends one event without a payload.
pub fn append(log: &SessionLog, kind: &Kind) {
    let draft = EventDraft::new(kind.clone());
    now(log.append([draft], AppendOptions::default())).expect("the session is open");
}

/// Takes one event, which is there.
pub fn take(log: &SessionLog) {
    let outcome = now(log.take(TakeOptions::new())).expect("the options are good");
    assert!(matches!(outcome, TakeOutcome::Taken { .. }));
}

/// To wait for the next event of this kind.
#[must_use]
pub fn next(kind: &str) -> WaitOptions {
    WaitOptions::any(Filter::matching(kind).expect("the pattern is good")).from(Start::Latest)
}
