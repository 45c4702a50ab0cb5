//! The one wait list: who waits, in which order, and whom to wake.
//!
//! The list is a plain data structure without a lock. Its owner keeps it inside the lock that
//! guards the awaited state, so that looking at the state and registering are one step, and no
//! wake-up can fall between them.
//!
//! ```text
//!  insert ──▶ armed ──wake──▶ woken ──remove──▶ gone
//!               ▲ │             │                 ▲
//!               │ └─────────────┼─────remove──────┘
//!               └───set_waker───┘
//! ```
//!
//! An entry belongs to its waiter: waking takes the waker out and leaves the entry with the
//! owner's data (what the waiter got, say) until the waiter's next poll or its drop removes it.

use std::fmt;
use std::iter;
use std::task::Waker;

use slab::Slab;

use crate::WakeBatch;

/// Names one waiter of one list.
///
/// A key outlives its waiter harmlessly: after the removal no operation finds anything under
/// it, even when the place is taken by a later waiter.
///
/// ```
/// use reveille_core::WaitList;
///
/// let mut waiters = WaitList::new();
/// let first = waiters.insert(None, "first");
/// drop(waiters.remove(first));
/// let second = waiters.insert(None, "second");
/// assert_eq!(waiters.get(first), None, "though the second has its place");
/// assert_eq!(waiters.get(second), Some(&"second"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WaiterKey {
    index: usize,
    /// Unique in the list, and ascending in the order of arrival.
    ticket: u64,
}

/// What [`WaitList::remove`] hands back.
///
/// Dropping a waker runs code of an executor, so drop this after the owner's lock is released.
///
/// ```
/// use std::task::Waker;
/// use reveille_core::WaitList;
///
/// let mut waiters = WaitList::new();
/// let key = waiters.insert(Some(Waker::noop().clone()), 7);
/// let removed = waiters.remove(key).unwrap();
/// assert_eq!(removed.data, 7);
/// assert!(removed.waker.is_some(), "it was not woken");
/// ```
#[must_use = "to be dropped after the lock is released"]
#[derive(Debug)]
pub struct Removed<T> {
    /// The owner's data.
    pub data: T,
    /// The waker, unless it had been taken to be woken.
    pub waker: Option<Waker>,
}

/// Waiters in order of arrival, each with a waker and the owner's data `T`.
///
/// Every operation on one waiter is O(1). No waker is ever cloned, woken or dropped in here,
/// since all of that runs code of an executor, which must not happen under the owner's lock:
/// clone the waker before locking, and drop what a method hands back after unlocking.
///
/// ```
/// use std::{future::poll_fn, task::Poll};
/// use reveille_core::{WaitList, WakeBatch, sync::Mutex};
///
/// /// Opens once, for everybody.
/// struct Gate(Mutex<(bool, WaitList<()>)>);
///
/// impl Gate {
///     fn open(&self) {
///         let mut batch = WakeBatch::new();
///         {
///             let (open, waiters) = &mut *self.0.lock();
///             *open = true;
///             waiters.wake_all(&mut batch);
///         }
///         batch.wake_all();
///     }
///
///     async fn opened(&self) {
///         let mut key = None;
///         poll_fn(|cx| {
///             let waker = cx.waker().clone(); // before the lock
///             let _replaced; // dropped after the lock
///             let (open, waiters) = &mut *self.0.lock();
///             if *open {
///                 return Poll::Ready(());
///             }
///             match key {
///                 None => key = Some(waiters.insert(Some(waker), ())),
///                 Some(key) => _replaced = waiters.set_waker(key, waker),
///             }
///             Poll::Pending
///         })
///         .await; // a real future also removes its key when it is dropped
///     }
/// }
///
/// let gate = Gate(Mutex::default());
/// let mut opened = tokio_test::task::spawn(gate.opened());
/// assert!(opened.poll().is_pending());
/// gate.open();
/// assert!(opened.is_woken());
/// assert!(opened.poll().is_ready());
/// ```
pub struct WaitList<T> {
    entries: Slab<Entry<T>>,
    /// The ends of the chain through `Entry::prev` and `Entry::next`, which holds every entry
    /// exactly once, by ascending ticket. Both are `None` when the list is empty.
    head: Option<usize>,
    tail: Option<usize>,
    /// The ticket of the next waiter; 64 bits do not run out.
    next_ticket: u64,
}

struct Entry<T> {
    ticket: u64,
    waker: Option<Waker>,
    prev: Option<usize>,
    next: Option<usize>,
    data: T,
}

impl<T> WaitList<T> {
    /// An empty list, which has allocated nothing.
    ///
    /// ```
    /// let waiters = reveille_core::WaitList::<()>::new();
    /// assert_eq!((waiters.len(), waiters.capacity()), (0, 0));
    /// ```
    pub const fn new() -> Self {
        Self {
            entries: Slab::new(),
            head: None,
            tail: None,
            next_ticket: 0,
        }
    }

    /// How many waiters there are, woken ones that have not left included.
    ///
    /// ```
    /// let mut waiters = reveille_core::WaitList::new();
    /// let key = waiters.insert(None, ());
    /// assert_eq!(waiters.len(), 1);
    /// drop(waiters.remove(key));
    /// assert_eq!(waiters.len(), 0);
    /// ```
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no waiter.
    ///
    /// ```
    /// let mut waiters = reveille_core::WaitList::new();
    /// assert!(waiters.is_empty());
    /// waiters.insert(None, ());
    /// assert!(!waiters.is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many waiters fit into the memory that the list holds.
    ///
    /// ```
    /// let mut waiters = reveille_core::WaitList::new();
    /// waiters.insert(None, ());
    /// assert!(waiters.capacity() >= 1);
    /// ```
    pub fn capacity(&self) -> usize {
        self.entries.capacity()
    }

    /// Adds a waiter behind all others.
    ///
    /// Without a waker it holds its place, and cannot be woken until
    /// [`set_waker`](Self::set_waker) gives it one.
    ///
    /// ```
    /// let mut waiters = reveille_core::WaitList::new();
    /// let (a, b) = (waiters.insert(None, "a"), waiters.insert(None, "b"));
    /// assert_eq!((waiters.first(), waiters.next_after(a)), (Some(a), Some(b)));
    /// ```
    pub fn insert(&mut self, waker: Option<Waker>, data: T) -> WaiterKey {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let entry = Entry {
            ticket,
            waker,
            prev: self.tail,
            next: None,
            data,
        };
        let index = self.entries.insert(entry);
        match self.tail {
            Some(tail) => self.entries[tail].next = Some(index),
            None => self.head = Some(index),
        }
        self.tail = Some(index);
        WaiterKey { index, ticket }
    }

    /// The data of a waiter; `None` if it has left.
    ///
    /// ```
    /// let mut waiters = reveille_core::WaitList::new();
    /// let key = waiters.insert(None, 7);
    /// assert_eq!(waiters.get(key), Some(&7));
    /// drop(waiters.remove(key));
    /// assert_eq!(waiters.get(key), None);
    /// ```
    pub fn get(&self, key: WaiterKey) -> Option<&T> {
        self.entry(key).map(|entry| &entry.data)
    }

    /// The data of a waiter, to be changed; `None` if it has left.
    ///
    /// ```
    /// let mut waiters = reveille_core::WaitList::new();
    /// let key = waiters.insert(None, None);
    /// if let Some(got) = waiters.get_mut(key) {
    ///     *got = Some("an event");
    /// }
    /// assert_eq!(waiters.get(key), Some(&Some("an event")));
    /// ```
    pub fn get_mut(&mut self, key: WaiterKey) -> Option<&mut T> {
        self.entry_mut(key).map(|entry| &mut entry.data)
    }

    /// Takes a waiter out; `None` if it has left before.
    ///
    /// ```
    /// let mut waiters = reveille_core::WaitList::new();
    /// let key = waiters.insert(None, 7);
    /// assert_eq!(waiters.remove(key).map(|removed| removed.data), Some(7));
    /// assert!(waiters.remove(key).is_none());
    /// ```
    pub fn remove(&mut self, key: WaiterKey) -> Option<Removed<T>> {
        self.entry(key)?;
        let Entry {
            prev,
            next,
            data,
            waker,
            ..
        } = self.entries.remove(key.index);
        match prev {
            Some(prev) => self.entries[prev].next = next,
            None => self.head = next,
        }
        match next {
            Some(next) => self.entries[next].prev = prev,
            None => self.tail = prev,
        }
        Some(Removed { data, waker })
    }

    /// Makes `waker` the one to wake for this waiter, and hands back the one that is not
    /// needed: the replaced one, or `waker` itself if the present one wakes the same task or
    /// the waiter has left. Drop it after unlocking.
    ///
    /// ```
    /// use std::task::Waker;
    /// use reveille_core::{WaitList, WakeBatch};
    /// let (mut waiters, mut batch) = (WaitList::new(), WakeBatch::new());
    /// let key = waiters.insert(None, ());
    /// assert!(waiters.set_waker(key, Waker::noop().clone()).is_none());
    /// assert!(waiters.wake(key, &mut batch));
    /// ```
    pub fn set_waker(&mut self, key: WaiterKey, waker: Waker) -> Option<Waker> {
        let Some(entry) = self.entry_mut(key) else {
            return Some(waker);
        };
        match &entry.waker {
            Some(present) if present.will_wake(&waker) => Some(waker),
            _ => entry.waker.replace(waker),
        }
    }

    /// Moves the waker of a waiter into `batch`; the waiter keeps its place and its data.
    ///
    /// Gives `false` if there was no waker to move: the waiter has left, or is awake already.
    ///
    /// ```
    /// use std::task::Waker;
    /// use reveille_core::{WaitList, WakeBatch};
    /// let (mut waiters, mut batch) = (WaitList::new(), WakeBatch::new());
    /// let key = waiters.insert(Some(Waker::noop().clone()), ());
    /// assert!(waiters.wake(key, &mut batch));
    /// assert!(!waiters.wake(key, &mut batch), "awake already");
    /// assert_eq!((waiters.len(), batch.len()), (1, 1));
    /// ```
    pub fn wake(&mut self, key: WaiterKey, batch: &mut WakeBatch) -> bool {
        let Some(waker) = self.entry_mut(key).and_then(|entry| entry.waker.take()) else {
            return false;
        };
        batch.push(waker);
        true
    }

    /// Moves all wakers into `batch`, in order of arrival.
    ///
    /// ```
    /// use std::task::Waker;
    /// use reveille_core::{WaitList, WakeBatch};
    /// let (mut waiters, mut batch) = (WaitList::new(), WakeBatch::new());
    /// for _ in 0..3 {
    ///     waiters.insert(Some(Waker::noop().clone()), ());
    /// }
    /// waiters.wake_all(&mut batch);
    /// assert_eq!(batch.len(), 3);
    /// ```
    pub fn wake_all(&mut self, batch: &mut WakeBatch) {
        self.wake_where(batch, |_, _| true);
    }

    /// Visits all waiters in order of arrival, and wakes those for which `choose` says `true`.
    ///
    /// `choose` runs under the owner's lock and may change the data. To stop early, or to
    /// remove while visiting, walk with [`first`](Self::first) and
    /// [`next_after`](Self::next_after).
    ///
    /// ```
    /// use std::task::Waker;
    /// use reveille_core::{WaitList, WakeBatch};
    /// let (mut waiters, mut batch) = (WaitList::new(), WakeBatch::new());
    /// for position in [3, 5, 8] {
    ///     waiters.insert(Some(Waker::noop().clone()), position);
    /// }
    /// waiters.wake_where(&mut batch, |_, position| *position <= 5);
    /// assert_eq!(batch.len(), 2);
    /// ```
    pub fn wake_where(
        &mut self,
        batch: &mut WakeBatch,
        mut choose: impl FnMut(WaiterKey, &mut T) -> bool,
    ) {
        let mut at = self.head;
        while let Some(index) = at {
            let entry = &mut self.entries[index];
            if choose(
                WaiterKey {
                    index,
                    ticket: entry.ticket,
                },
                &mut entry.data,
            ) && let Some(waker) = entry.waker.take()
            {
                batch.push(waker);
            }
            at = entry.next;
        }
    }

    /// The waiter that arrived first.
    ///
    /// ```
    /// let mut waiters = reveille_core::WaitList::new();
    /// assert_eq!(waiters.first(), None);
    /// let key = waiters.insert(None, ());
    /// waiters.insert(None, ());
    /// assert_eq!(waiters.first(), Some(key));
    /// ```
    pub fn first(&self) -> Option<WaiterKey> {
        self.head.map(|index| self.key_at(index))
    }

    /// The waiter that arrived next after `key`; `None` at the end, or if `key` has left.
    ///
    /// ```
    /// let mut waiters = reveille_core::WaitList::new();
    /// let (a, b) = (waiters.insert(None, ()), waiters.insert(None, ()));
    /// assert_eq!((waiters.next_after(a), waiters.next_after(b)), (Some(b), None));
    /// ```
    pub fn next_after(&self, key: WaiterKey) -> Option<WaiterKey> {
        self.entry(key)?.next.map(|index| self.key_at(index))
    }

    /// The waiters in order of arrival.
    ///
    /// ```
    /// let mut waiters = reveille_core::WaitList::new();
    /// waiters.insert(None, "a");
    /// waiters.insert(None, "b");
    /// let data: Vec<_> = waiters.iter().map(|(_, data)| *data).collect();
    /// assert_eq!(data, ["a", "b"]);
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = (WaiterKey, &T)> {
        iter::successors(self.first(), |key| self.next_after(*key))
            .filter_map(|key| Some((key, self.get(key)?)))
    }

    fn key_at(&self, index: usize) -> WaiterKey {
        WaiterKey {
            index,
            ticket: self.entries[index].ticket,
        }
    }

    fn entry(&self, key: WaiterKey) -> Option<&Entry<T>> {
        self.entries
            .get(key.index)
            .filter(|entry| entry.ticket == key.ticket)
    }

    fn entry_mut(&mut self, key: WaiterKey) -> Option<&mut Entry<T>> {
        self.entries
            .get_mut(key.index)
            .filter(|entry| entry.ticket == key.ticket)
    }
}

impl<T> Default for WaitList<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for WaitList<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitList")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn waker() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (Arc::clone(&count), Waker::from(count))
    }

    #[test]
    fn stale_key_does_not_hit_the_waiter_that_took_its_place() {
        let mut list = WaitList::new();
        let old = list.insert(None, 'a');
        assert_eq!(list.remove(old).unwrap().data, 'a');
        let (count, waker) = waker();
        let new = list.insert(Some(waker.clone()), 'b');
        assert_eq!(old.index, new.index);

        let mut batch = WakeBatch::new();
        assert!(list.get(old).is_none() && list.get_mut(old).is_none());
        assert!(!list.wake(old, &mut batch));
        assert!(list.set_waker(old, Waker::noop().clone()).is_some());
        assert!(list.next_after(old).is_none());
        assert!(list.remove(old).is_none());
        batch.wake_all();
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        assert_eq!(list.get(new), Some(&'b'));
    }

    #[test]
    fn waker_of_the_same_task_is_handed_back() {
        let (count, first) = waker();
        let mut list = WaitList::new();
        let key = list.insert(Some(first.clone()), ());
        assert!(
            list.set_waker(key, first.clone())
                .unwrap()
                .will_wake(&first)
        );
        let (other, second) = waker();
        assert!(list.set_waker(key, second).unwrap().will_wake(&first));

        let mut batch = WakeBatch::new();
        assert!(list.wake(key, &mut batch));
        assert!(
            !list.wake(key, &mut batch),
            "the second time nobody is asleep"
        );
        batch.wake_all();
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        assert_eq!(other.0.load(Ordering::Relaxed), 1);
        assert_eq!(list.len(), 1, "a woken waiter stays until it is removed");
    }

    #[derive(Debug, Clone)]
    enum Op {
        Insert { armed: bool },
        Remove(prop::sample::Index),
        Wake(prop::sample::Index),
        SetWaker(prop::sample::Index),
        Change(prop::sample::Index),
        WakeOdd,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => any::<bool>().prop_map(|armed| Op::Insert { armed }),
            3 => any::<prop::sample::Index>().prop_map(Op::Remove),
            2 => any::<prop::sample::Index>().prop_map(Op::Wake),
            2 => any::<prop::sample::Index>().prop_map(Op::SetWaker),
            1 => any::<prop::sample::Index>().prop_map(Op::Change),
            1 => Just(Op::WakeOdd),
        ]
    }

    proptest! {
        /// Against a vector of `(key, armed, data)` in order of arrival; keys are picked among
        /// all that were ever given, so that most of them are stale.
        #[test]
        fn list_behaves_as_a_vector(ops in prop::collection::vec(op(), 1..200)) {
            let mut list = WaitList::new();
            let mut model: Vec<(WaiterKey, bool, usize)> = Vec::new();
            let mut keys = Vec::new();
            for op in ops {
                let pick = |index: prop::sample::Index| {
                    (!keys.is_empty()).then(|| *index.get(&keys))
                };
                let mut batch = WakeBatch::new();
                match op {
                    Op::Insert { armed } => {
                        let data = keys.len();
                        let key = list.insert(armed.then(|| Waker::noop().clone()), data);
                        model.push((key, armed, data));
                        keys.push(key);
                    }
                    Op::Remove(index) => if let Some(key) = pick(index) {
                        let place = model.iter().position(|entry| entry.0 == key);
                        let expected = place.map(|place| model.remove(place));
                        let removed = list.remove(key).map(|r| (key, r.waker.is_some(), r.data));
                        prop_assert_eq!(removed, expected);
                    },
                    Op::Wake(index) => if let Some(key) = pick(index) {
                        let entry = model.iter_mut().find(|entry| entry.0 == key);
                        let expected = entry.is_some_and(|entry| std::mem::take(&mut entry.1));
                        prop_assert_eq!(list.wake(key, &mut batch), expected);
                        prop_assert_eq!(batch.len(), usize::from(expected));
                    },
                    Op::SetWaker(index) => if let Some(key) = pick(index) {
                        let entry = model.iter_mut().find(|entry| entry.0 == key);
                        let expected = entry.is_none_or(|entry| std::mem::replace(&mut entry.1, true));
                        prop_assert_eq!(list.set_waker(key, Waker::noop().clone()).is_some(), expected);
                    },
                    Op::Change(index) => if let Some(key) = pick(index) {
                        let entry = model.iter_mut().find(|entry| entry.0 == key);
                        prop_assert_eq!(list.get(key), entry.as_ref().map(|entry| &entry.2));
                        if let Some(entry) = entry {
                            entry.2 += 1;
                            *list.get_mut(key).unwrap() += 1;
                        }
                    },
                    Op::WakeOdd => {
                        let mut expected = 0;
                        for entry in &mut model {
                            if entry.2 % 2 == 1 {
                                expected += usize::from(std::mem::take(&mut entry.1));
                            }
                        }
                        list.wake_where(&mut batch, |_, data| *data % 2 == 1);
                        prop_assert_eq!(batch.len(), expected);
                    }
                }
                let listed: Vec<_> = list.iter().map(|(key, data)| (key, *data)).collect();
                let expected: Vec<_> = model.iter().map(|entry| (entry.0, entry.2)).collect();
                prop_assert_eq!(listed, expected);
                prop_assert_eq!(list.len(), model.len());
                prop_assert_eq!(list.is_empty(), model.is_empty());
            }
        }
    }
}
