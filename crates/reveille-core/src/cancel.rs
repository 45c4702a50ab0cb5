//! A request to stop, which work looks at or waits for.
//!
//! ```text
//!  live ──cancel, or the parent is cancelled──▶ cancelled (for good, the first reason stays)
//! ```
//!
//! Two layers keep the tree free of cycles. [`Shared`] is the state, and the parent's state
//! refers to those of its children, so that a cancel reaches them. [`Node`] is what tokens own:
//! it refers to its parent's node, and its drop takes the child out of the parent's state.
//! Nothing in a state refers upwards.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use jiff::Timestamp;
use slab::Slab;

use crate::sync::{Arc, Mutex};
use crate::text::clip;
use crate::{Clock, WaitList, WaiterKey, WakeBatch};

/// The longest reason that is kept, in bytes; a longer one is cut.
const REASON_BYTES_MAX: usize = 1024;

/// Why and when something was asked to stop.
///
/// ```
/// # let token = reveille_core::CancelToken::new(std::sync::Arc::new(reveille_core::ManualClock::new()));
/// token.cancel(Some("user left"));
/// let cancellation = token.cancellation().unwrap();
/// assert_eq!(cancellation.reason.as_deref(), Some("user left"));
/// assert_eq!(cancellation.at, jiff::Timestamp::UNIX_EPOCH);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cancellation {
    /// What the canceller said, cut to 1 KiB.
    pub reason: Option<std::sync::Arc<str>>,
    /// Wall time of the request, for display.
    pub at: Timestamp,
}

/// What a call of [`CancelToken::cancel`] did.
///
/// ```
/// use reveille_core::CancelOutcome;
///
/// # let token = reveille_core::CancelToken::new(std::sync::Arc::new(reveille_core::SystemClock));
/// assert!(matches!(token.cancel(None), CancelOutcome::Requested(_)));
/// assert!(matches!(token.cancel(None), CancelOutcome::AlreadyCancelled(_)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelOutcome {
    /// This call was the first: it made the request.
    Requested(Cancellation),
    /// An earlier request stands unchanged.
    AlreadyCancelled(Cancellation),
}

impl CancelOutcome {
    /// The request that stands.
    ///
    /// ```
    /// # let token = reveille_core::CancelToken::new(std::sync::Arc::new(reveille_core::SystemClock));
    /// let (first, second) = (token.cancel(Some("user left")), token.cancel(None));
    /// assert_eq!(first.cancellation(), second.cancellation());
    /// ```
    pub fn cancellation(&self) -> &Cancellation {
        match self {
            Self::Requested(cancellation) | Self::AlreadyCancelled(cancellation) => cancellation,
        }
    }
}

/// A request to stop that is made once and can be awaited; clones are the same token.
///
/// Cancelling asks and forces nothing: producers look at the token between units of work.
///
/// ```
/// use std::sync::Arc;
/// use reveille_core::{CancelOutcome, CancelToken, SystemClock};
///
/// let session = CancelToken::new(Arc::new(SystemClock));
/// let step = session.child();
/// let mut stopped = tokio_test::task::spawn(step.cancelled());
/// assert!(stopped.poll().is_pending());
///
/// assert!(matches!(session.cancel(Some("user left")), CancelOutcome::Requested(_)));
/// assert!(matches!(session.cancel(None), CancelOutcome::AlreadyCancelled(_)));
///
/// assert!(stopped.is_woken());
/// assert_eq!(step.cancellation().unwrap().reason.as_deref(), Some("user left"));
/// ```
#[derive(Clone)]
pub struct CancelToken {
    node: Arc<Node>,
}

impl CancelToken {
    /// A token nobody has cancelled; `clock` gives the time of the request.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use reveille_core::{CancelToken, SystemClock};
    ///
    /// assert!(!CancelToken::new(Arc::new(SystemClock)).is_cancelled());
    /// ```
    pub fn new(clock: std::sync::Arc<dyn Clock>) -> Self {
        Self::with_parent(clock, State::default(), None)
    }

    /// A token that is cancelled with this one, for the same reason at the same time.
    ///
    /// Cancelling the child leaves this one alone, and so does dropping it. The child of a
    /// cancelled token is cancelled from the start.
    ///
    /// ```
    /// # let token = reveille_core::CancelToken::new(std::sync::Arc::new(reveille_core::SystemClock));
    /// let child = token.child();
    /// child.cancel(Some("this step only"));
    /// assert!(child.is_cancelled() && !token.is_cancelled());
    /// token.cancel(None);
    /// assert!(token.child().is_cancelled());
    /// ```
    pub fn child(&self) -> Self {
        let clock = std::sync::Arc::clone(&self.node.clock);
        let mut parent = self.node.shared.state.lock();
        if let Some(cancellation) = parent.cancellation.clone() {
            drop(parent);
            let state = State {
                cancellation: Some(cancellation),
                ..State::default()
            };
            return Self::with_parent(clock, state, None);
        }
        let entry = parent.children.vacant_entry();
        let link = Link {
            parent: Arc::clone(&self.node),
            key: entry.key(),
        };
        let child = Self::with_parent(clock, State::default(), Some(link));
        entry.insert(Arc::clone(&child.node.shared));
        child
    }

    /// Asks to stop. The first call wins; later ones change nothing and are told so.
    ///
    /// ```
    /// # let token = reveille_core::CancelToken::new(std::sync::Arc::new(reveille_core::SystemClock));
    /// token.cancel(Some("user left"));
    /// let second = token.cancel(Some("too late"));
    /// assert_eq!(second.cancellation().reason.as_deref(), Some("user left"));
    /// ```
    pub fn cancel(&self, reason: Option<&str>) -> CancelOutcome {
        let reason = reason.map(|text| clip(text.into(), REASON_BYTES_MAX));
        // The clock is the caller's code, so it is read before the lock is taken.
        let request = Cancellation {
            reason,
            at: self.node.clock.wall(),
        };
        let mut batch = WakeBatch::new();
        let outcome = match self.node.shared.cancel(&request, &mut batch) {
            Ok(children) => {
                Shared::cancel_all(children, &request, &mut batch);
                CancelOutcome::Requested(request)
            }
            Err(earlier) => CancelOutcome::AlreadyCancelled(earlier),
        };
        batch.wake_all();
        outcome
    }

    /// Whether somebody asked to stop.
    ///
    /// ```
    /// # let token = reveille_core::CancelToken::new(std::sync::Arc::new(reveille_core::SystemClock));
    /// assert!(!token.is_cancelled());
    /// token.cancel(None);
    /// assert!(token.is_cancelled());
    /// ```
    pub fn is_cancelled(&self) -> bool {
        self.node.shared.state.lock().cancellation.is_some()
    }

    /// The request to stop, if there is one.
    ///
    /// ```
    /// # let token = reveille_core::CancelToken::new(std::sync::Arc::new(reveille_core::SystemClock));
    /// assert_eq!(token.cancellation(), None);
    /// token.cancel(Some("user left"));
    /// assert_eq!(token.cancellation().unwrap().reason.as_deref(), Some("user left"));
    /// ```
    pub fn cancellation(&self) -> Option<Cancellation> {
        self.node.shared.state.lock().cancellation.clone()
    }

    /// Waits for the request to stop.
    ///
    /// The future can be polled again after it is ready and answers the same.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future unregisters it and has no other effect.
    ///
    /// ```
    /// # let token = reveille_core::CancelToken::new(std::sync::Arc::new(reveille_core::SystemClock));
    /// let stopped = token.cancelled();
    /// token.cancel(Some("user left"));
    /// assert_eq!(tokio_test::block_on(stopped).reason.as_deref(), Some("user left"));
    /// ```
    pub fn cancelled(&self) -> Cancelled {
        Cancelled {
            token: self.clone(),
            key: None,
        }
    }

    fn with_parent(clock: std::sync::Arc<dyn Clock>, state: State, parent: Option<Link>) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
        });
        Self {
            node: Arc::new(Node {
                shared,
                clock,
                parent,
            }),
        }
    }
}

/// Equal tokens are clones of each other.
impl PartialEq for CancelToken {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.node, &other.node)
    }
}

impl Eq for CancelToken {}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelToken")
            .field("cancellation", &self.cancellation())
            .finish()
    }
}

/// Waits for the request to stop: the future of [`CancelToken::cancelled`]. It can be polled again
/// after it is ready and answers the same.
///
/// # Cancel safety
///
/// Dropping it unregisters it and has no other effect.
///
/// ```
/// # let token = reveille_core::CancelToken::new(std::sync::Arc::new(reveille_core::SystemClock));
/// let mut stopped = tokio_test::task::spawn(token.cancelled());
/// assert!(stopped.poll().is_pending());
/// token.cancel(None);
/// assert!(stopped.is_woken() && stopped.poll().is_ready());
/// ```
#[must_use = "futures do nothing unless polled"]
#[derive(Debug)]
pub struct Cancelled {
    token: CancelToken,
    /// The place in the wait list, from the first poll that found no request.
    key: Option<WaiterKey>,
}

impl Future for Cancelled {
    type Output = Cancellation;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Cancellation> {
        // Declared before the guard, so dropped after it: wakers are the executor's code.
        let waker = cx.waker().clone();
        let _replaced;
        let token = self.token.clone();
        let mut state = token.node.shared.state.lock();
        if let Some(cancellation) = &state.cancellation {
            return Poll::Ready(cancellation.clone());
        }
        match self.key {
            Some(key) => _replaced = state.waiters.set_waker(key, waker),
            None => self.key = Some(state.waiters.insert(Some(waker), ())),
        }
        Poll::Pending
    }
}

impl Drop for Cancelled {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let removed = self.token.node.shared.state.lock().waiters.remove(key);
            drop(removed);
        }
    }
}

/// What the clones of one token own together.
struct Node {
    shared: Arc<Shared>,
    clock: std::sync::Arc<dyn Clock>,
    /// Where this node is registered; roots, and children of cancelled tokens, are nowhere.
    parent: Option<Link>,
}

struct Link {
    parent: Arc<Node>,
    key: usize,
}

impl Drop for Node {
    fn drop(&mut self) {
        // A loop and no recursion: each node may be the last owner of its parent, and a chain
        // may be longer than the stack is deep.
        let mut link = self.parent.take();
        while let Some(Link { parent, key }) = link {
            let child = parent.shared.state.lock().children.try_remove(key);
            drop(child);
            link = match Arc::try_unwrap(parent) {
                Ok(mut node) => node.parent.take(),
                Err(_shared) => None,
            };
        }
    }
}

struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    cancellation: Option<Cancellation>,
    waiters: WaitList<()>,
    /// The states of the live children; empty for ever once cancelled, so that the key of a
    /// child which the cancel took out hits no other.
    children: Slab<Arc<Shared>>,
}

impl Shared {
    /// Cancels this one state: its children to go on with, or the request that stands.
    fn cancel(
        &self,
        request: &Cancellation,
        batch: &mut WakeBatch,
    ) -> Result<Slab<Arc<Shared>>, Cancellation> {
        let mut state = self.state.lock();
        if let Some(earlier) = &state.cancellation {
            return Err(earlier.clone());
        }
        state.cancellation = Some(request.clone());
        state.waiters.wake_all(batch);
        Ok(std::mem::take(&mut state.children))
    }

    /// Cancels all below. One lock at a time, and a loop: a tree may be of any depth.
    fn cancel_all(children: Slab<Arc<Shared>>, request: &Cancellation, batch: &mut WakeBatch) {
        let mut open: Vec<_> = children.into_iter().map(|(_, child)| child).collect();
        while let Some(child) = open.pop() {
            // A child that was cancelled before has its own reason, and so has all below it.
            if let Ok(below) = child.cancel(request, batch) {
                open.extend(below.into_iter().map(|(_, child)| child));
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio_test::{assert_pending, assert_ready, task};

    use super::*;
    use crate::ManualClock;

    fn token() -> (Arc<ManualClock>, CancelToken) {
        let clock = Arc::new(ManualClock::new());
        (Arc::clone(&clock), CancelToken::new(clock))
    }

    fn waiters(token: &CancelToken) -> usize {
        token.node.shared.state.lock().waiters.len()
    }

    fn children(token: &CancelToken) -> usize {
        token.node.shared.state.lock().children.len()
    }

    #[test]
    fn first_cancel_wins_with_its_reason_and_time() {
        let (clock, token) = token();
        let first = Cancellation {
            reason: Some("a".into()),
            at: clock.wall(),
        };
        assert_eq!(
            token.cancel(Some("a")),
            CancelOutcome::Requested(first.clone())
        );
        clock.advance(Duration::from_secs(1));
        assert_eq!(
            token.cancel(Some("b")),
            CancelOutcome::AlreadyCancelled(first.clone())
        );
        assert_eq!(token.cancel(None).cancellation(), &first);
        assert_eq!(token.cancellation(), Some(first));
    }

    #[test]
    fn cancel_wakes_every_waiter_and_a_late_one_is_ready_at_once() {
        let (_, token) = token();
        let mut early: Vec<_> = (0..20).map(|_| task::spawn(token.cancelled())).collect();
        for waiter in &mut early {
            assert_pending!(waiter.poll());
        }
        token.cancel(None);
        for waiter in &mut early {
            assert!(waiter.is_woken());
            assert_eq!(assert_ready!(waiter.poll()).reason, None);
            assert_eq!(
                assert_ready!(waiter.poll()).reason,
                None,
                "ready stays ready"
            );
        }
        assert_ready!(task::spawn(token.cancelled()).poll());
        drop(early);
        assert_eq!(waiters(&token), 0);
    }

    #[test]
    fn dropped_waiters_leave_nothing_behind() {
        let (_, token) = token();
        for _ in 0..10_000 {
            assert_pending!(task::spawn(token.cancelled()).poll());
        }
        assert_eq!(waiters(&token), 0);
    }

    #[test]
    fn waiter_that_moved_to_another_task_wakes_there() {
        let (_, token) = token();
        let mut future = Box::pin(token.cancelled());
        assert_pending!(task::spawn(&mut future).poll());
        let mut moved = task::spawn(&mut future);
        assert_pending!(moved.poll());
        token.cancel(None);
        assert!(moved.is_woken());
        assert_eq!(waiters(&token), 1);
    }

    #[test]
    fn child_falls_with_its_parent_and_not_the_other_way_round() {
        let (_, token) = token();
        let (early, other) = (token.child(), token.child());
        let grandchild = other.child();
        early.cancel(Some("own"));
        assert!(!token.is_cancelled() && !grandchild.is_cancelled());

        let mut waiting = task::spawn(grandchild.cancelled());
        assert_pending!(waiting.poll());
        token.cancel(Some("all"));
        assert!(waiting.is_woken());
        assert_eq!(grandchild.cancellation(), token.cancellation());
        assert_eq!(early.cancellation().unwrap().reason.as_deref(), Some("own"));
        assert_eq!(
            token.child().cancellation(),
            token.cancellation(),
            "born cancelled"
        );
    }

    #[test]
    fn dropped_children_leave_their_parent() {
        let (_, token) = token();
        let kept = token.child();
        for _ in 0..1000 {
            drop(token.child().child());
        }
        assert_eq!(children(&token), 1);
        let weak = Arc::downgrade(&token.node);
        drop(token);
        assert!(weak.upgrade().is_some(), "a child keeps its parent");
        drop(kept);
        assert!(weak.upgrade().is_none(), "nothing is left");
    }

    #[test]
    fn chain_of_any_depth_is_cancelled_and_dropped_without_recursion() {
        let (_, token) = token();
        let mut last = token.child();
        for _ in 0..100_000 {
            last = last.child();
        }
        token.cancel(None);
        assert!(last.is_cancelled());
        drop(token);
        drop(last);
    }

    #[test]
    fn concurrent_cancels_have_one_winner() {
        for _ in 0..200 {
            let (_, token) = token();
            let child = token.child();
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    let token = token.clone();
                    std::thread::spawn(move || {
                        matches!(token.cancel(None), CancelOutcome::Requested(_))
                    })
                })
                .collect();
            let winners = threads.into_iter().map(|t| t.join().unwrap());
            assert_eq!(winners.filter(|won| *won).count(), 1);
            assert!(child.is_cancelled());
        }
    }

    #[test]
    fn endless_reason_is_cut() {
        let (_, token) = token();
        token.cancel(Some(&"x".repeat(1 << 20)));
        assert_eq!(
            token.cancellation().unwrap().reason.unwrap().len(),
            REASON_BYTES_MAX
        );
    }
}
