//! How Reveille is used here: the public path that a program would write. Everything that the
//! benchmarks know of Reveille's signals is in this file.

use reveille_core::{Signal, SignalAwaiter, SignalHandle, SignalSystem};

use crate::kind::Kind;

const OPEN: &str = "the system is open and has room";
const KNOWN: &str = "the system made this handle";
const ONCE: &str = "nobody else completes the signal";

/// Signals.
pub(crate) struct Own;

impl Kind for Own {
    const NAME: &'static str = "reveille";

    type System = SignalSystem;
    type Trigger = Signal;
    type Wait = SignalAwaiter;
    type Idle = Signal;
    type Parked = SignalAwaiter;

    fn system() -> SignalSystem {
        SignalSystem::new()
    }

    fn pair(system: &SignalSystem) -> (Signal, SignalAwaiter) {
        system.create_awaited().expect(OPEN)
    }

    fn trigger(signal: Signal) {
        signal.trigger(()).expect(ONCE);
    }

    fn idle(system: &SignalSystem) -> Signal {
        system.create().expect(OPEN)
    }

    fn park(awaiter: SignalAwaiter) -> SignalAwaiter {
        awaiter
    }
}

/// Merges of signals. The caller's buffers are kept from one merge to the next.
pub(crate) struct OwnMerge {
    system: SignalSystem,
    signals: Vec<Signal>,
    handles: Vec<SignalHandle>,
}

impl OwnMerge {
    pub(crate) fn new() -> Self {
        Self {
            system: SignalSystem::new(),
            signals: Vec::new(),
            handles: Vec::new(),
        }
    }

    /// Creates `inputs` signals, merges them, triggers all, and awaits the merge.
    pub(crate) async fn once(&mut self, inputs: usize) {
        for _ in 0..inputs {
            let signal = self.system.create().expect(OPEN);
            self.handles.push(signal.handle());
            self.signals.push(signal);
        }
        let merged = self.system.merge(&self.handles).expect(OPEN);
        for signal in self.signals.drain(..) {
            signal.trigger(()).expect(ONCE);
        }
        self.handles.clear();
        let all = self.system.awaiter(merged).expect(KNOWN);
        all.await.expect("every input was triggered");
    }
}
