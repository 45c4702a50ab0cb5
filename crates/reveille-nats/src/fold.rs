//! What must be known of a log to append to it: its end, its seal, and its keys.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use reveille_backend::types::{Position, Seq};
use reveille_backend::{AppendError, AppendOptions, Seal, Slot};

use crate::message::{Ready, Stored, What};

/// How long a key is known: a little longer than is promised.
pub(crate) const KEY_WINDOW: Duration = Duration::from_secs(660);
/// How many keys of one log are known.
const KEYS: usize = 100_000;

/// A log as far as its messages up to `head` say.
#[derive(Debug, Default)]
pub(crate) struct Fold {
    /// The sequence of its last message; 0 if it has none.
    pub(crate) head: u64,
    pub(crate) end: Position,
    pub(crate) seal: Option<Seal>,
    keys: HashMap<Box<str>, Known>,
    /// The keys, oldest first.
    order: VecDeque<(Instant, Box<str>)>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    fingerprint: u64,
    position: Position,
    seq: u64,
}

/// Where an entry of a batch goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spot {
    /// It is stored there.
    Known(Position, Seq),
    /// It is the n-th of what the batch adds.
    New(usize),
    /// It stands in the batch before, as the n-th of what that adds.
    Again(usize),
}

impl Fold {
    /// Takes note of a message that follows.
    pub(crate) fn apply(&mut self, message: &Stored, now: Instant) {
        self.head = message.seq;
        self.end = message.end();
        self.seal = message.seal();
        if let What::Event { key: Some(key), .. } = &message.what {
            self.know(
                &key.key,
                key.fingerprint,
                message.position,
                message.seq,
                now,
            );
        }
    }

    /// Takes note of what was appended here.
    pub(crate) fn append(&mut self, ready: &Ready, seq: u64, now: Instant) {
        if let Some(key) = &ready.key {
            self.know(&key.key, key.fingerprint, self.end, seq, now);
        }
        self.head = seq;
        self.end = self.end.next();
    }

    fn know(&mut self, key: &str, fingerprint: u64, position: Position, seq: u64, now: Instant) {
        let known = Known {
            fingerprint,
            position,
            seq,
        };
        self.keys.insert(key.into(), known);
        self.order.push_back((now, key.into()));
        while self.order.len() > KEYS {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.order.pop_front() {
            self.keys.remove(&key);
        }
    }

    /// Forgets the keys that are too old.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some((at, _)) = self.order.front()
            && now.saturating_duration_since(*at) > KEY_WINDOW
        {
            self.forget_oldest();
        }
    }

    /// The first message whose key is known: it must not be deleted yet.
    pub(crate) fn first_known(&self) -> Option<u64> {
        let (_, key) = self.order.front()?;
        self.keys.get(key).map(|known| known.seq)
    }

    /// Gives each entry of a batch its place, or says why not. `ahead` events come before it that are not
    /// stored yet.
    pub(crate) fn place(
        &self,
        batch: &[Ready],
        options: &AppendOptions,
        ahead: usize,
    ) -> Result<Vec<Spot>, AppendError> {
        let mut own: HashMap<&str, (u64, usize)> = HashMap::new();
        let mut new = 0;
        let mut spots = Vec::with_capacity(batch.len());
        for ready in batch {
            let Some(key) = &ready.key else {
                spots.push(Spot::New(new));
                new += 1;
                continue;
            };
            let known = self.keys.get(&key.key);
            let (fingerprint, spot) = match (known, own.get(&*key.key)) {
                (Some(known), _) => (
                    known.fingerprint,
                    Spot::Known(known.position, Seq(known.seq)),
                ),
                (None, Some((fingerprint, n))) => (*fingerprint, Spot::Again(*n)),
                (None, None) => {
                    own.insert(&key.key, (key.fingerprint, new));
                    new += 1;
                    (key.fingerprint, Spot::New(new - 1))
                }
            };
            if fingerprint != key.fingerprint {
                return Err(AppendError::IdempotencyConflict {
                    key: key.key.clone(),
                });
            }
            spots.push(spot);
        }
        // What is known as a whole is answered whatever has happened since.
        if new == 0 {
            return Ok(spots);
        }
        if let Some(seal) = &self.seal {
            return Err(AppendError::Sealed {
                reason: seal.reason,
            });
        }
        let actual = self.end.plus(ahead);
        match options.expected {
            Some(expected) if expected != actual => {
                Err(AppendError::PositionConflict { expected, actual })
            }
            _ => Ok(spots),
        }
    }
}

/// The slots of a batch of which what is new begins at this position and sequence.
pub(crate) fn slots(spots: &[Spot], position: Position, seq: u64) -> Vec<Slot> {
    let new = |n: usize| (position.plus(n), Seq(seq + n as u64));
    let slot = |spot: &Spot| {
        let ((position, seq), deduplicated) = match *spot {
            Spot::Known(position, seq) => ((position, seq), true),
            Spot::New(n) => (new(n), false),
            Spot::Again(n) => (new(n), true),
        };
        Slot {
            position,
            seq,
            deduplicated,
        }
    };
    spots.iter().map(slot).collect()
}
