//! What a system tells in numbers.

/// How much a system holds.
///
/// ```
/// # let system = reveille_core::SignalSystem::<()>::new();
/// let signal = system.create()?;
/// let mut awaiter = tokio_test::task::spawn(signal.awaiter());
/// assert!(awaiter.poll().is_pending());
/// let stats = system.stats();
/// assert_eq!((stats.pending, stats.waiters, stats.history), (1, 1, 0));
/// # signal.trigger(())?;
/// # Ok::<(), reveille_core::SignalError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignalStats {
    /// Signals that are not complete, merged ones included.
    pub pending: usize,
    /// Awaiters of pending signals that have been polled and not been dropped.
    pub waiters: usize,
    /// Slots in memory, idle ones included.
    pub slots: usize,
    /// Outcomes in the history.
    pub history: usize,
    /// Signals of other systems that are remembered. Each is among those above as well, by one
    /// or two signals that stand for it here.
    pub foreign: usize,
    /// Requests to other systems that were answered with an error, or not at all.
    pub requests_failed: u64,
}

/// How an orderly shutdown went.
///
/// ```
/// use reveille_core::{ShutdownReport, SignalSystem};
///
/// let system = SignalSystem::<()>::new();
/// let (fast, slow) = (system.create()?, system.create()?);
/// let finish = async {
///     fast.trigger(()).unwrap();
/// };
/// let report = tokio_test::block_on(system.shutdown(finish));
/// assert_eq!(report, ShutdownReport { completed: 1, poisoned: 1 });
/// # drop(slow);
/// # Ok::<(), reveille_core::SignalError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Signals that were pending at its start and completed, in whichever way, before its end.
    pub completed: usize,
    /// Signals that it poisoned at its end.
    pub poisoned: usize,
}
