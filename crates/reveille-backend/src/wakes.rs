//! Who waits in this process for something to change: what a backend keeps that hears of changes.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::error::BackendError;
use crate::log::Watch;

/// Who waits for which log to end past which position, by names of the backend's own: for backends that hear
/// of changes, from a server or from another thread, and have many watches to wake.
///
/// A [watch](Self::watch) is [armed](Self::arm) before its backend looks at the log, so that nothing that happens after
/// the look is missed. Whoever hears that a log has grown [tells](Self::tell) it; whoever may have missed
/// something tells [all](Self::tell_all). Anything that counts upwards has a place here: the order of a tenant
/// under its last sequence number, too.
///
/// Clones are the same. Wakers are neither called nor dropped under the lock.
///
/// ```
/// use reveille_backend::Wakes;
/// use std::future::Future;
/// use std::pin::pin;
/// use std::task::{Context, Waker};
///
/// let wakes = Wakes::default();
/// let mut watch = pin!(wakes.arm("a log", 3));
/// let mut cx = Context::from_waker(Waker::noop());
/// wakes.tell("a log", Some(3)); // It ends where the watch knows that it does.
/// assert!(watch.as_mut().poll(&mut cx).is_pending());
/// wakes.tell("a log", Some(4));
/// assert!(watch.as_mut().poll(&mut cx).is_ready());
/// ```
#[derive(Debug, Clone, Default)]
pub struct Wakes(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    /// The number of the next entry. None is given twice, so an entry that is there is its owner's.
    next: u64,
    /// Whoever is woken or gone has no entry, and a name has at least one.
    names: HashMap<Box<str>, HashMap<u64, Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    after: u64,
    /// Nothing before the first poll.
    waker: Option<Waker>,
}

impl Wakes {
    /// Nobody waits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits from now on, polled or not, for what has this name to end past `after`.
    pub fn arm(&self, name: &str, after: u64) -> Armed {
        let mut table = self.lock();
        let number = table.next;
        table.next += 1;
        let waiting = Waiting { after, waker: None };
        let of_name = table.names.entry(name.into()).or_default();
        of_name.insert(number, waiting);
        drop(table);
        Armed {
            wakes: self.clone(),
            name: name.into(),
            number,
        }
    }

    /// A [`Watch`] for what has this name to end past `after`: first armed, then looked, so that what happens
    /// after the look is heard. `look` says whether it is ready already; it is run here, and must not have begun
    /// before. Cancel safe: dropped, it leaves nothing behind.
    ///
    /// # Errors
    /// Those of the look.
    pub async fn watch(
        &self,
        name: &str,
        after: u64,
        look: impl Future<Output = Result<bool, BackendError>>,
    ) -> Result<Watch, BackendError> {
        let armed = self.arm(name, after);
        let is_ready = look.await?;
        Ok(Box::pin(async move {
            if !is_ready {
                armed.await;
            }
            Ok(())
        }))
    }

    /// Wakes who waits for what has this name to end past less than `end`; everybody who waits for it if
    /// there is no end to tell, because it is sealed or gone.
    pub fn tell(&self, name: &str, end: Option<u64>) {
        let woken: Vec<Waiting> = {
            let mut table = self.lock();
            let Some(waiting) = table.names.get_mut(name) else {
                return;
            };
            let due = |w: &Waiting| end.is_none_or(|end| end > w.after);
            let woken = waiting.extract_if(|_, w| due(w)).map(|(_, w)| w).collect();
            if waiting.is_empty() {
                table.names.remove(name);
            }
            woken
        };
        wake(woken);
    }

    /// Wakes everybody: what was told meanwhile was not heard.
    pub fn tell_all(&self) {
        let names = std::mem::take(&mut self.lock().names);
        wake(names.into_values().flat_map(HashMap::into_values));
    }
}

/// Not under the lock: waking runs other people's code.
fn wake(woken: impl IntoIterator<Item = Waiting>) {
    for waker in woken.into_iter().filter_map(|waiting| waiting.waker) {
        waker.wake();
    }
}

/// Resolves once it was told that it is worth looking again; see [`Wakes::arm`]. Cancel safe: dropped, it
/// leaves nothing behind, its waker included.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Armed {
    wakes: Wakes,
    name: Box<str>,
    number: u64,
}

impl Future for Armed {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let mut table = self.wakes.lock();
        let waiting = table.names.get_mut(&self.name);
        match waiting.and_then(|waiting| waiting.get_mut(&self.number)) {
            Some(waiting) => {
                let replaced = waiting.waker.replace(waker);
                drop(table);
                drop(replaced);
                Poll::Pending
            }
            None => {
                drop(table);
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        let mut table = self.wakes.lock();
        let Some(waiting) = table.names.get_mut(&self.name) else {
            return;
        };
        let removed = waiting.remove(&self.number);
        if waiting.is_empty() {
            table.names.remove(&self.name);
        }
        drop(table);
        drop(removed);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    fn is_woken(armed: &mut Armed) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(armed).poll(&mut cx).is_ready()
    }

    fn is_empty(wakes: &Wakes) -> bool {
        wakes.lock().names.is_empty()
    }

    /// Counts, and asks for the lock as a waker may.
    struct Counts(Wakes, AtomicUsize);

    impl Wake for Counts {
        fn wake(self: Arc<Self>) {
            self.0.tell("any", None);
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Drop for Counts {
        fn drop(&mut self) {
            self.0.tell("any", None);
        }
    }

    #[test]
    fn whom_it_concerns_is_woken_and_nobody_else() {
        let wakes = Wakes::new();
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
        let wakes = Wakes::new();
        drop(wakes.arm("a", 0));
        assert!(is_empty(&wakes));
        let mut polled = wakes.arm("a", 0);
        assert!(!is_woken(&mut polled));
        drop(polled);
        assert!(is_empty(&wakes));
        let _woken = wakes.arm("a", 0);
        wakes.tell("a", Some(1));
        assert!(is_empty(&wakes));
    }

    #[test]
    fn the_last_waker_is_called_once_and_not_under_the_lock() {
        let wakes = Wakes::new();
        let mut armed = wakes.arm("a", 0);
        let [first, last] = [0; 2].map(|_| Arc::new(Counts(wakes.clone(), AtomicUsize::new(0))));
        for counts in [&first, &last] {
            let waker = Waker::from(Arc::clone(counts));
            let polled = Pin::new(&mut armed).poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
        }
        assert_eq!(
            Arc::strong_count(&first),
            1,
            "a waker that was replaced is dropped"
        );
        wakes.tell("a", Some(1));
        wakes.tell("a", Some(2));
        assert_eq!(first.1.load(Ordering::Relaxed), 0);
        assert_eq!(last.1.load(Ordering::Relaxed), 1);
        assert!(is_woken(&mut armed));
    }

    /// What is told during the look is heard, whatever the look has found.
    #[test]
    fn a_watch_is_armed_before_the_look() {
        let wakes = Wakes::new();
        let mut cx = Context::from_waker(Waker::noop());
        for (is_ready, told, expected) in [
            (false, None, false),
            (false, Some(1), true),
            (true, None, true),
        ] {
            let look = async {
                if told.is_some() {
                    wakes.tell("a", told);
                }
                Ok(is_ready)
            };
            let Poll::Ready(Ok(mut watch)) = pin!(wakes.watch("a", 0, look)).poll(&mut cx) else {
                panic!("the look does not wait");
            };
            let woken = watch.as_mut().poll(&mut cx).is_ready();
            assert_eq!(woken, expected, "{is_ready} {told:?}");
            drop(watch);
            assert!(is_empty(&wakes));
        }
    }

    #[test]
    fn the_waker_goes_with_the_watch() {
        let wakes = Wakes::new();
        let counts = Arc::new(Counts(wakes.clone(), AtomicUsize::new(0)));
        let mut armed = wakes.arm("a", 0);
        let waker = Waker::from(Arc::clone(&counts));
        assert!(
            Pin::new(&mut armed)
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        drop((waker, armed));
        assert_eq!(Arc::strong_count(&counts), 1);
    }
}
