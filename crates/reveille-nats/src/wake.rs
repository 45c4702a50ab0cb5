//! Who waits in this process for a log, or a whole stream, to change.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::oneshot;

/// Who waits, by the name of the log or the stream: the former have dots, the latter none.
#[derive(Debug, Default)]
pub(crate) struct Wakes(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    next: u64,
    logs: HashMap<String, HashMap<u64, Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    after: u64,
    wake: oneshot::Sender<()>,
}

impl Wakes {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits from now on for this log to end past `after`.
    pub(crate) fn arm(self: &Arc<Self>, name: &str, after: u64) -> Armed {
        let (wake, woken) = oneshot::channel();
        let mut table = self.lock();
        let number = table.next;
        table.next += 1;
        let waiting = table.logs.entry(name.to_owned()).or_default();
        waiting.insert(number, Waiting { after, wake });
        drop(table);
        Armed {
            wakes: Arc::clone(self),
            name: name.to_owned(),
            number,
            woken,
        }
    }

    /// Wakes who waits for this log to end past what it does now; everybody who waits for it if it is sealed
    /// or gone.
    pub(crate) fn tell(&self, name: &str, end: Option<u64>) {
        let woken: Vec<Waiting> = {
            let mut table = self.lock();
            let Some(waiting) = table.logs.get_mut(name) else {
                return;
            };
            let due = |w: &Waiting| end.is_none_or(|end| end > w.after);
            let woken = waiting.extract_if(|_, w| due(w)).map(|(_, w)| w).collect();
            if waiting.is_empty() {
                table.logs.remove(name);
            }
            woken
        };
        wake(woken);
    }

    /// Wakes everybody: what was told meanwhile was not heard.
    pub(crate) fn tell_all(&self) {
        let logs = std::mem::take(&mut self.lock().logs);
        wake(logs.into_values().flat_map(HashMap::into_values));
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.lock().logs.is_empty()
    }
}

/// Not under the lock: waking runs other people's code.
fn wake(waiting: impl IntoIterator<Item = Waiting>) {
    for waiting in waiting {
        // Whoever is gone needs no wake.
        let _ = waiting.wake.send(());
    }
}

/// Resolves once something has happened that makes it worth looking again. Dropped, it leaves nothing.
#[derive(Debug)]
pub(crate) struct Armed {
    wakes: Arc<Wakes>,
    name: String,
    number: u64,
    woken: oneshot::Receiver<()>,
}

impl Future for Armed {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.woken).poll(cx).map(drop)
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        let mut table = self.wakes.lock();
        let Some(waiting) = table.logs.get_mut(&self.name) else {
            return;
        };
        let removed = waiting.remove(&self.number);
        if waiting.is_empty() {
            table.logs.remove(&self.name);
        }
        drop(table);
        drop(removed);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn is_woken(armed: &mut Armed) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(armed).poll(&mut cx).is_ready()
    }

    #[test]
    fn a_message_wakes_whom_it_concerns() {
        let wakes = Arc::new(Wakes::default());
        let mut behind = wakes.arm("a", 3);
        let mut ahead = wakes.arm("a", 4);
        let mut other = wakes.arm("b", 0);
        wakes.tell("a", Some(4));
        wakes.tell("c", Some(9));
        assert!(is_woken(&mut behind));
        assert!(!is_woken(&mut ahead), "the log ends where it did");
        wakes.tell("a", None);
        assert!(is_woken(&mut ahead), "a seal wakes everybody");
        assert!(!is_woken(&mut other));
        wakes.tell_all();
        assert!(is_woken(&mut other));
    }

    #[test]
    fn what_is_dropped_or_woken_leaves_nothing() {
        let wakes = Arc::new(Wakes::default());
        drop(wakes.arm("a", 0));
        assert!(wakes.is_empty());
        let _woken = wakes.arm("a", 0);
        wakes.tell("a", Some(1));
        assert!(wakes.is_empty());
    }
}
