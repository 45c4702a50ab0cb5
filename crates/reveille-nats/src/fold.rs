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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use reveille_backend::types::{
        DraftDefaults, EndReason, Epoch, EventDraft, EventId, KindRegistry, SessionKey, Source,
        Tenant,
    };
    use reveille_backend::{Entry, IdempotencyKey};

    use super::*;

    /// An event with this key and fingerprint, or with none.
    fn ready(key: Option<(&str, u64)>) -> Ready {
        let session = SessionKey::in_tenant(Tenant::default_tenant(), "s");
        let session = session.unwrap_or_else(|e| panic!("{e}"));
        let draft = EventDraft::parse("a").unwrap_or_else(|e| panic!("{e}"));
        let event = draft.complete(DraftDefaults {
            id: EventId::parse("id").unwrap_or_else(|e| panic!("{e}")),
            time: jiff::Timestamp::UNIX_EPOCH,
            source: &Source::of_session(&session),
            registry: &KindRegistry::empty(),
        });
        let key = key.map(|(key, fingerprint)| IdempotencyKey {
            key: key.into(),
            fingerprint,
        });
        let entry = Entry { event, key };
        Ready::new(entry, &Arc::new(session), Epoch::from_parts(1, 1))
    }

    /// A log with the keys `a` at position 0 and `b` at 1.
    fn fold(now: Instant) -> Fold {
        let mut fold = Fold::default();
        fold.append(&ready(Some(("a", 1))), 10, now);
        fold.append(&ready(Some(("b", 1))), 15, now);
        fold
    }

    #[test]
    fn entries_are_new_known_or_there_twice() {
        let now = Instant::now();
        let batch = [Some(("c", 1)), None, Some(("c", 1)), Some(("b", 1))].map(ready);
        let spots = fold(now).place(&batch, &AppendOptions::at(now), 7);
        let spots = spots.unwrap_or_else(|e| panic!("{e}"));
        let expected = [
            Spot::New(0),
            Spot::New(1),
            Spot::Again(0),
            Spot::Known(Position(1), Seq(15)),
        ];
        assert_eq!(spots, expected);
        let placed = slots(&spots, Position(9), 20);
        let placed: Vec<_> = placed
            .iter()
            .map(|slot| (slot.position.0, slot.seq.0, slot.deduplicated))
            .collect();
        let expected = [
            (9, 20, false),
            (10, 21, false),
            (9, 20, true),
            (1, 15, true),
        ];
        assert_eq!(placed, expected);
    }

    #[test]
    fn what_is_known_is_answered_by_a_sealed_log() {
        let now = Instant::now();
        let mut fold = fold(now);
        fold.seal = Some(Seal {
            reason: EndReason::Closed,
            message: None,
        });
        let mut elsewhere = AppendOptions::at(now);
        elsewhere.expected = Some(Position(99));
        assert!(fold.place(&[ready(Some(("a", 1)))], &elsewhere, 0).is_ok());
        let refused = fold.place(&[ready(Some(("a", 1))), ready(None)], &elsewhere, 0);
        assert!(matches!(refused, Err(AppendError::Sealed { .. })));
        let refused = fold.place(&[ready(Some(("a", 2)))], &elsewhere, 0);
        assert!(matches!(
            refused,
            Err(AppendError::IdempotencyConflict { .. })
        ));
    }

    #[test]
    fn an_expected_position_counts_what_comes_before_in_the_step() {
        let now = Instant::now();
        let mut options = AppendOptions::at(now);
        options.expected = Some(Position(5));
        assert!(fold(now).place(&[ready(None)], &options, 3).is_ok());
        let refused = fold(now).place(&[ready(None)], &options, 0);
        assert!(matches!(
            refused,
            Err(AppendError::PositionConflict {
                actual: Position(2),
                ..
            })
        ));
    }

    #[test]
    fn keys_are_forgotten_after_their_window_and_not_before() {
        let now = Instant::now();
        let mut fold = fold(now);
        fold.expire(now + Duration::from_secs(600));
        assert_eq!(fold.first_known(), Some(10));
        fold.expire(now + KEY_WINDOW + Duration::from_secs(1));
        assert_eq!(fold.first_known(), None);
        let spots = fold.place(&[ready(Some(("a", 2)))], &AppendOptions::at(now), 0);
        assert!(spots.is_ok_and(|spots| spots == [Spot::New(0)]));
    }
}
