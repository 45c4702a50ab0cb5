//! All signals of other systems that a system with a router remembers.
//!
//! One [`Foreign`] stands for each, shared by all who wait for it. The table's lock is what makes
//! looking and registering one step: a waiter takes its reference under it, and what nobody has
//! a reference to is forgotten under it. Slots are let go of, and the router is called, outside.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc as StdArc, Weak};

use foldhash::fast::RandomState;

use super::foreign::Foreign;
use super::merge::merge;
use super::receipt::Answer;
use super::slots::Core;
use crate::sync::{Arc, Mutex};
use crate::{
    MergeMode, SignalError, SignalHandle, SignalProxy, SignalReceipt, SignalReply, SignalRequest,
    SignalRouter, SignalStatus, SignalSystem,
};

/// How many entries are looked at, at most, to make room for one.
const LOOKS: usize = 8;

/// The router of a system, and what it has told.
pub(super) struct Foreigners<T> {
    router: StdArc<dyn SignalRouter<T>>,
    table: Mutex<Table<T>>,
    /// One signal for each request that is under way.
    answers: SignalSystem<Answer>,
    /// Requests whose answer was an error.
    failed: StdArc<AtomicU64>,
    this: Weak<Self>,
}

/// Each entry is under its handle in `entries`, and its ticket is once in `order`.
struct Table<T> {
    capacity: usize,
    entries: HashMap<SignalHandle, Entry<T>, RandomState>,
    /// Where room is made, from the front. Tickets of forgotten entries stay until they are
    /// more than the others.
    order: VecDeque<(u64, SignalHandle)>,
    next_ticket: u64,
}

struct Entry<T> {
    foreign: StdArc<Foreign<T>>,
    ticket: u64,
    /// Asked for since it was last looked at to make room.
    used: bool,
}

impl<T> Foreigners<T> {
    pub(super) fn new(
        router: StdArc<dyn SignalRouter<T>>,
        capacity: usize,
        signals_max: usize,
    ) -> StdArc<Self> {
        let answers = SignalSystem::builder().max_signals(signals_max).history(0);
        let answers = answers.build();
        StdArc::new_cyclic(|this| Self {
            router,
            table: Mutex::new(Table {
                capacity: capacity.max(1),
                entries: HashMap::default(),
                order: VecDeque::new(),
                next_ticket: 0,
            }),
            answers,
            failed: StdArc::default(),
            this: Weak::clone(this),
        })
    }

    /// How many signals are remembered.
    pub(super) fn len(&self) -> usize {
        self.table.lock().entries.len()
    }

    /// How many requests failed.
    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Where the signal stands, as far as it is known.
    pub(super) fn poll(&self, handle: SignalHandle) -> SignalStatus {
        let known = self.table.lock().find(handle);
        known.map_or(SignalStatus::Pending, |foreign| foreign.status())
    }

    /// Sends a request to the owner.
    pub(super) fn request(&self, handle: SignalHandle, request: SignalRequest<T>) -> SignalReceipt {
        let owner = handle.system_id();
        match self.answers.create_awaited() {
            Ok((signal, answer)) => {
                let reply = SignalReply::new(signal, owner, StdArc::clone(&self.failed));
                self.router.request(handle, request, reply);
                SignalReceipt::sent(answer, owner)
            }
            Err(error) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                SignalReceipt::known(Err(error))
            }
        }
    }

    /// What stands for the signal; subscribes to it if nothing does.
    pub(super) fn get(
        &self,
        core: &Arc<Core<T>>,
        handle: SignalHandle,
    ) -> Result<StdArc<Foreign<T>>, SignalError> {
        if let Some(known) = self.table.lock().find(handle) {
            return Ok(known);
        }
        let made = StdArc::new(Foreign::new(core, handle)?);
        // Has its reference before anybody can see it: what is pending has one for the table,
        // one for its proxy, and the rest are those of waiters.
        let proxy = SignalProxy::new(StdArc::clone(&made), Weak::clone(&self.this));
        let mut unneeded = Vec::new();
        let known = {
            let mut table = self.table.lock();
            let known = table.find(handle);
            if known.is_none() {
                table.make_room(&mut unneeded);
                table.insert(handle, StdArc::clone(&made));
            }
            known
        };
        for foreign in unneeded {
            foreign.let_go();
        }
        if let Some(known) = known {
            made.let_go();
            return Ok(known);
        }
        self.router.subscribe(proxy);
        Ok(made)
    }

    /// Merges inputs of which some may be foreign.
    pub(super) fn merge(
        &self,
        core: &Arc<Core<T>>,
        inputs: &[SignalHandle],
        mode: MergeMode,
    ) -> Result<SignalHandle, SignalError> {
        let id = core.id().get();
        let is_foreign = |input: &SignalHandle| input.system_id() != id;
        if !inputs.iter().any(is_foreign) {
            return merge(core, inputs, mode);
        }
        // Before anything is subscribed to.
        for input in inputs.iter().filter(|input| !is_foreign(input)) {
            core.find(*input)?;
        }
        // Held until the merge is registered, so that they are wanted until then.
        let mut held = Vec::new();
        let mut local = Vec::with_capacity(inputs.len());
        for input in inputs {
            local.push(if is_foreign(input) {
                let foreign = self.get(core, *input)?;
                let proxy = foreign.end().handle();
                held.push(foreign);
                proxy
            } else {
                *input
            });
        }
        merge(core, &local, mode)
    }

    /// Forgets `foreign`, whoever needs it.
    pub(super) fn forget(&self, foreign: &StdArc<Foreign<T>>) {
        let forgotten = self.table.lock().remove(foreign);
        drop(forgotten);
    }

    /// Forgets `foreign`, to which the caller has one reference, unless somebody else needs it.
    /// Whether nobody does.
    pub(super) fn forget_unwanted(&self, foreign: &StdArc<Foreign<T>>) -> bool {
        let _forgotten;
        let mut table = self.table.lock();
        let others = if table.has(foreign) { 2 } else { 1 };
        if Foreign::is_wanted(foreign, others) {
            return false;
        }
        _forgotten = table.remove(foreign);
        true
    }

    /// Forgets what is pending and nobody needs, so that nothing waits for it any more.
    pub(super) fn forget_idle(&self) {
        let mut idle = Vec::new();
        {
            let mut table = self.table.lock();
            for entry in table.entries.values() {
                if entry.foreign.is_pending() && !entry.is_wanted() {
                    idle.push(StdArc::clone(&entry.foreign));
                }
            }
            for foreign in &idle {
                // The clone above keeps it, so nothing is let go of under the lock.
                let _kept_by_the_clone = table.remove(foreign);
            }
        }
        for foreign in idle {
            foreign.let_go();
        }
    }
}

impl<T> Entry<T> {
    /// Whether somebody beside the table and the router needs it to be completed.
    fn is_wanted(&self) -> bool {
        Foreign::is_wanted(&self.foreign, 2)
    }
}

impl<T> Table<T> {
    fn find(&mut self, handle: SignalHandle) -> Option<StdArc<Foreign<T>>> {
        let entry = self.entries.get_mut(&handle)?;
        entry.used = true;
        Some(StdArc::clone(&entry.foreign))
    }

    fn has(&self, foreign: &StdArc<Foreign<T>>) -> bool {
        let entry = self.entries.get(&foreign.handle());
        entry.is_some_and(|entry| StdArc::ptr_eq(&entry.foreign, foreign))
    }

    fn insert(&mut self, handle: SignalHandle, foreign: StdArc<Foreign<T>>) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.order.push_back((ticket, handle));
        let used = false;
        let entry = Entry {
            foreign,
            ticket,
            used,
        };
        self.entries.insert(handle, entry);
    }

    #[must_use = "to be dropped after the lock is released"]
    fn remove(&mut self, foreign: &StdArc<Foreign<T>>) -> Option<Entry<T>> {
        if !self.has(foreign) {
            return None;
        }
        let removed = self.entries.remove(&foreign.handle());
        let Self { entries, order, .. } = self;
        if order.len() > 2 * entries.len() + LOOKS {
            order.retain(|(ticket, handle)| {
                entries
                    .get(handle)
                    .is_some_and(|entry| entry.ticket == *ticket)
            });
        }
        removed
    }

    /// Makes room for one more by what is complete or unwanted and was not asked for lately.
    /// There may be none for now, since what somebody waits for stays.
    fn make_room(&mut self, unneeded: &mut Vec<StdArc<Foreign<T>>>) {
        for _ in 0..LOOKS {
            if self.entries.len() < self.capacity {
                return;
            }
            let Some((ticket, handle)) = self.order.pop_front() else {
                return;
            };
            let Some(entry) = self.entries.get_mut(&handle) else {
                continue;
            };
            if entry.ticket != ticket {
                continue;
            }
            if mem::take(&mut entry.used) || entry.is_wanted() {
                self.order.push_back((ticket, handle));
                continue;
            }
            unneeded.extend(self.entries.remove(&handle).map(|entry| entry.foreign));
        }
    }
}
