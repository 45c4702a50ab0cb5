//! What only some signals have: more than one subscriber, a name, a record of who owes it.

use std::sync::Arc as StdArc;

use slab::Slab;

use super::explain::Owed;
use super::slots::Edge;
use crate::{SignalHandle, WaitList};

/// Beside the slot, so that a signal without any of this pays nothing for it.
#[derive(Default)]
pub(super) struct Extra {
    /// Those that found the cell taken.
    pub(super) waiters: WaitList<()>,
    /// Those that found the cell taken, too.
    pub(super) merges: Slab<Edge>,
    pub(super) name: Option<StdArc<str>>,
    pub(super) tracked: Option<Owed>,
    /// The signal of another system that it stands for.
    pub(super) stands_for: Option<SignalHandle>,
}

/// The extras of one chunk, by place. Few slots of a chunk have one at a time.
#[derive(Default)]
pub(super) struct Extras(Vec<(u8, Box<Extra>)>);

impl Extras {
    /// What is there for a slot, made if there is nothing.
    pub(super) fn of(&mut self, place: u8) -> &mut Extra {
        let at = self.position(place).unwrap_or_else(|| {
            self.0.push((place, Box::default()));
            self.0.len() - 1
        });
        &mut self.0[at].1
    }

    pub(super) fn find(&mut self, place: u8) -> Option<&mut Extra> {
        let at = self.position(place)?;
        Some(&mut self.0[at].1)
    }

    pub(super) fn remove(&mut self, place: u8) -> Option<Box<Extra>> {
        let at = self.position(place)?;
        Some(self.0.swap_remove(at).1)
    }

    fn position(&self, place: u8) -> Option<usize> {
        self.0.iter().position(|(of, _)| *of == place)
    }
}
