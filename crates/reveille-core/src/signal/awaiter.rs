//! Waiting for a signal: with its value, or for its end alone.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::foreign::Foreign;
use super::outcome::Record;
use super::slots::{AlreadyComplete, Core, Place, Plain, SlotRef};
use crate::{Poison, SignalError, SignalHandle, WaiterKey};

/// Waits for a signal and gives its value, or why it failed.
///
/// Ready at once if the signal is complete, and with the outcome of its own generation however
/// late it is polled. It can be polled again after it is ready, and answers the same.
///
/// An awaiter does not keep the system alive: if its last owner is dropped, the awaiter ends
/// with [`PoisonKind::SystemDropped`](crate::PoisonKind::SystemDropped).
///
/// # Cancel safety
///
/// Dropping it unregisters it in O(1) and has no other effect.
///
/// ```
/// # let system = reveille_core::SignalSystem::<u32>::new();
/// let signal = system.create()?;
/// let awaiter = signal.awaiter();
/// signal.trigger(42)?;
/// assert_eq!(tokio_test::block_on(awaiter), Ok(42));
/// # Ok::<(), reveille_core::SignalError>(())
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct SignalAwaiter<T = ()> {
    waiter: Waiter<T>,
}

impl<T> SignalAwaiter<T> {
    /// The signal that is waited for.
    ///
    /// ```
    /// # let system = reveille_core::SignalSystem::<u32>::new();
    /// let signal = system.create()?;
    /// assert_eq!(signal.awaiter().handle(), signal.handle());
    /// # signal.trigger(1)?;
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    pub fn handle(&self) -> SignalHandle {
        self.waiter.handle()
    }

    /// Takes over a reference and the cell of its signal.
    pub(super) fn owning(slot: SlotRef<T>) -> Self {
        let seat = Seat::Cell;
        Self {
            waiter: Waiter::Live { slot, seat },
        }
    }

    /// Waits for the value of a signal of another system.
    pub(super) fn of_foreign(foreign: Arc<Foreign<T>>) -> Result<Self, SignalError> {
        if foreign.is_derived() {
            return Err(SignalError::Derived);
        }
        let waiter = Waiter::of_foreign(foreign, Foreign::value)?;
        Ok(Self { waiter })
    }

    /// Waits for the signal of a `Signal`; `None` at the limit of awaiters.
    pub(super) fn of(slot: &SlotRef<T>) -> Option<Self> {
        let waiter = Waiter::of(slot)?;
        Some(Self { waiter })
    }
}

impl<T> SignalAwaiter<T> {
    pub(super) fn new(core: &Core<T>, handle: SignalHandle) -> Result<Self, SignalError> {
        let waiter = Waiter::new(core, handle)?;
        // A merge has a value only where that is `()`.
        if waiter.is_derived() && core.unit().is_none() {
            return Err(SignalError::Derived);
        }
        Ok(Self { waiter })
    }
}

impl<T: Clone> Future for SignalAwaiter<T> {
    type Output = Result<T, Poison>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.waiter.poll(cx.waker()) {
            Poll::Ready(()) => Poll::Ready(self.waiter.value()),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T> fmt::Debug for SignalAwaiter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignalAwaiter")
            .field("handle", &self.handle())
            .finish_non_exhaustive()
    }
}

/// Waits for the end of any signal, merged ones included, without its value.
///
/// Otherwise as [`SignalAwaiter`].
///
/// # Cancel safety
///
/// Dropping it unregisters it in O(1) and has no other effect.
///
/// ```
/// # let system = reveille_core::SignalSystem::<u32>::new();
/// let (a, b) = (system.create()?, system.create()?);
/// let both = system.merge(&[a.handle(), b.handle()])?;
/// let completion = system.completion(both)?;
/// a.trigger(1)?;
/// b.trigger(2)?;
/// assert_eq!(tokio_test::block_on(completion), Ok(()));
/// # Ok::<(), reveille_core::SignalError>(())
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct Completion<T = ()> {
    waiter: Waiter<T>,
}

impl<T> Completion<T> {
    /// The signal that is waited for.
    ///
    /// ```
    /// # let system = reveille_core::SignalSystem::<u32>::new();
    /// let signal = system.create()?;
    /// assert_eq!(system.completion(signal.handle())?.handle(), signal.handle());
    /// # signal.trigger(1)?;
    /// # Ok::<(), reveille_core::SignalError>(())
    /// ```
    pub fn handle(&self) -> SignalHandle {
        self.waiter.handle()
    }
}

impl<T> Completion<T> {
    pub(super) fn new(core: &Core<T>, handle: SignalHandle) -> Result<Self, SignalError> {
        let waiter = Waiter::new(core, handle)?;
        Ok(Self { waiter })
    }
}

impl<T> Completion<T> {
    /// Waits for the end of a signal of another system.
    pub(super) fn of_foreign(foreign: Arc<Foreign<T>>) -> Result<Self, SignalError> {
        let waiter = Waiter::of_foreign(foreign, Foreign::end)?;
        Ok(Self { waiter })
    }
}

impl<T> Future for Completion<T> {
    type Output = Result<(), Poison>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.waiter
            .poll(cx.waker())
            .map(|()| self.waiter.ended().map_err(Poison::clone))
    }
}

impl<T> fmt::Debug for Completion<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completion")
            .field("handle", &self.handle())
            .finish_non_exhaustive()
    }
}

/// What both futures do: keep the slot, be registered with it while it is pending.
enum Waiter<T> {
    Live {
        slot: SlotRef<T>,
        seat: Seat,
    },
    /// It was triggered with nothing to remember.
    Plain {
        handle: SignalHandle,
        plain: Plain<T>,
    },
    /// The signal had left its slot when it was asked for.
    Past {
        handle: SignalHandle,
        record: Record<T>,
    },
    /// The signal is another system's, and what is waited for is its proxy here.
    Foreign(Box<ForeignWaiter<T>>),
}

struct ForeignWaiter<T> {
    /// Of the proxy.
    waiter: Waiter<T>,
    /// Keeps the proxy wanted; dropped after the waiter.
    foreign: Arc<Foreign<T>>,
}

/// How a waiter registers.
enum Seat {
    /// It owns the slot's cell.
    Cell,
    /// In the side table, once it was polled.
    Listed(Option<WaiterKey>),
}

impl Seat {
    fn new(owns_cell: bool) -> Self {
        if owns_cell {
            Self::Cell
        } else {
            Self::Listed(None)
        }
    }
}

impl<T> Waiter<T> {
    fn of(slot: &SlotRef<T>) -> Option<Self> {
        let (slot, owns_cell) = slot.another()?;
        let seat = Seat::new(owns_cell);
        Some(Self::Live { slot, seat })
    }

    fn new(core: &Core<T>, handle: SignalHandle) -> Result<Self, SignalError> {
        match core.find_to_wait(handle)? {
            Place::Live(slot, owns_cell) => Ok(Self::Live {
                slot,
                seat: Seat::new(owns_cell),
            }),
            Place::Plain(plain) => Ok(Self::Plain { handle, plain }),
            Place::Past(record) => Ok(Self::Past { handle, record }),
        }
    }

    fn of_foreign(
        foreign: Arc<Foreign<T>>,
        proxy: fn(&Foreign<T>) -> &SlotRef<T>,
    ) -> Result<Self, SignalError> {
        let proxy = proxy(&foreign);
        let waiter = Self::new(proxy.core(), proxy.handle())?;
        Ok(Self::Foreign(Box::new(ForeignWaiter { waiter, foreign })))
    }

    fn handle(&self) -> SignalHandle {
        match self {
            Self::Foreign(waiting) => waiting.foreign.handle(),
            Self::Live { slot, .. } => slot.handle(),
            Self::Plain { handle, .. } | Self::Past { handle, .. } => *handle,
        }
    }

    fn is_derived(&self) -> bool {
        match self {
            Self::Live { slot, .. } => slot.word().is_derived(),
            Self::Plain { plain, .. } => plain.is_derived(),
            Self::Past { record, .. } => record.derived,
            Self::Foreign(waiting) => waiting.waiter.is_derived(),
        }
    }

    /// How the signal ended, which it has.
    fn ended(&self) -> Result<(), &Poison> {
        match self {
            // Called after `poll` was ready: the signal is complete for good.
            Self::Live { slot, .. } => slot.ended().unwrap_or(Ok(())),
            Self::Plain { .. } => Ok(()),
            Self::Past { record, .. } => record.ended(),
            Self::Foreign(waiting) => waiting.waiter.ended(),
        }
    }

    /// The value of the signal, which is complete.
    fn value(&self) -> Result<T, Poison>
    where
        T: Clone,
    {
        self.ended().map_err(Poison::clone)?;
        let value = match self {
            Self::Foreign(waiting) => return waiting.waiter.value(),
            Self::Live { slot, .. } => slot.value(),
            Self::Plain { plain, .. } => plain.value(),
            Self::Past { record, .. } => record.remembered.value().cloned(),
        };
        // Only a merge may have none, and it is refused then.
        Ok(value.expect("an awaited signal carries a value"))
    }

    /// Looks whether the signal is complete, and else is woken when it is.
    #[inline]
    fn poll(&mut self, waker: &Waker) -> Poll<()> {
        let (slot, seat) = match self {
            Self::Live { slot, seat } => (slot, seat),
            Self::Foreign(waiting) => return waiting.waiter.poll(waker),
            Self::Plain { .. } | Self::Past { .. } => return Poll::Ready(()),
        };
        let word = slot.word();
        if word.is_complete() {
            return Poll::Ready(());
        }
        let registered = match seat {
            Seat::Cell if !word.has_cell() => slot.fill_cell(waker.clone()).is_ok(),
            Seat::Cell if slot.cell_wakes(waker) => true,
            Seat::Cell => match slot.empty_cell() {
                Ok(replaced) => {
                    drop(replaced);
                    slot.fill_cell(waker.clone()).is_ok()
                }
                Err(AlreadyComplete) => false,
            },
            Seat::Listed(key) => {
                // Cloned before the lock is taken, and a replaced one dropped after it.
                let waker = waker.clone();
                let replaced = slot.with_extra(|extra| match *key {
                    Some(key) => extra.waiters.set_waker(key, waker),
                    None => {
                        *key = Some(extra.waiters.insert(Some(waker), ()));
                        None
                    }
                });
                replaced.is_some()
            }
        };
        if registered {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }
}

impl<T> Drop for Waiter<T> {
    fn drop(&mut self) {
        let Self::Live { slot, seat } = self else {
            return;
        };
        if slot.word().is_complete() {
            return;
        }
        match seat {
            Seat::Cell => {
                if let Ok(removed) = slot.empty_cell() {
                    slot.disown_cell();
                    drop(removed);
                }
            }
            Seat::Listed(Some(key)) => {
                let removed = slot.if_extra(|extra| extra.waiters.remove(*key));
                drop(removed);
            }
            Seat::Listed(None) => {}
        }
    }
}
