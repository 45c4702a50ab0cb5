//! The handles of logs with a flaw.

use std::fmt;
use std::future::{pending, poll_fn, ready};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use reveille_backend::{
    AppendError, AppendOptions, BackendError, Entry, ImmediateLog, Incarnation, LogHandle, LogInfo,
    LogPage, OpenOptions, ReadLimit, Seal, Slot, Slots, StoredLog, Watch,
};
use reveille_types::{Durability, Epoch, Position, Seq, SessionKey, UnplacedEvent};
use tokio::task::yield_now;

use super::{Broken, Flaw, unavailable};

/// What is wrong with appends, whatever the shape of the log.
pub(super) struct Spoiler {
    broken: Broken,
    key: SessionKey,
    /// Where the log ends, as far as this handle knows.
    latest: Mutex<Position>,
}

impl fmt::Debug for Spoiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Spoiler").field(&self.broken.flaw).finish()
    }
}

impl Spoiler {
    pub(super) fn new(broken: Broken, key: SessionKey, latest: Position) -> Self {
        Self {
            broken,
            key,
            latest: Mutex::new(latest),
        }
    }

    fn flaw(&self) -> Flaw {
        self.broken.flaw
    }

    /// Spoils what is asked for.
    fn request(
        &self,
        entries: &mut [Entry],
        options: &mut AppendOptions,
    ) -> Result<(), AppendError> {
        match self.flaw() {
            Flaw::ForgetsKeys => entries.iter_mut().for_each(|entry| entry.key = None),
            Flaw::ForgetsKeysEarly => {
                let begin = *self.broken.memory().begin.get_or_insert(options.now);
                if options.now > begin + Duration::from_secs(60) {
                    entries.iter_mut().for_each(|entry| entry.key = None);
                }
            }
            Flaw::ForgetsKeysAtRestart => {
                let keys = entries.iter_mut().filter_map(|entry| entry.key.as_mut());
                keys.for_each(|key| key.key = format!("{}~{}", key.key, self.broken.nth).into());
            }
            Flaw::MixesUpKeys => {
                let mut memory = self.broken.memory();
                for key in entries.iter().filter_map(|entry| entry.key.as_ref()) {
                    let known = memory.keys.entry(key.key.clone());
                    if *known.or_insert(key.fingerprint) != key.fingerprint {
                        let key = key.key.clone();
                        return Err(AppendError::IdempotencyConflict { key });
                    }
                }
            }
            Flaw::IgnoresWhatAKeyStandsFor => {
                let keys = entries.iter_mut().filter_map(|entry| entry.key.as_mut());
                keys.for_each(|key| key.fingerprint = 0);
            }
            Flaw::LeavesTheLastBatchOpen => options.seal = None,
            Flaw::IgnoresTheExpectedPosition => options.expected = None,
            Flaw::PromisesEverything => options.durability = Some(Durability::Volatile),
            Flaw::LosesAField => {
                for entry in entries {
                    let (mut envelope, payload) = entry.event.clone().into_parts();
                    envelope.tracestate = None;
                    entry.event = UnplacedEvent::new(envelope, payload);
                }
            }
            Flaw::ComparesRepeatedAppends => {
                let actual = *self.latest.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(expected) = options.expected
                    && expected != actual
                {
                    return Err(AppendError::PositionConflict { expected, actual });
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What is appended, too.
    fn stowaway(
        &self,
        entries: &[Entry],
        answer: &Result<Vec<Slot>, AppendError>,
    ) -> Option<Vec<Entry>> {
        let stows = matches!(
            (self.flaw(), answer),
            (Flaw::KeepsHalfABatch, Err(_)) | (Flaw::LeavesHoles, Ok(_))
        );
        let mut first = entries.first()?.clone();
        first.key = None;
        stows.then(|| vec![first])
    }

    /// Spoils the answer.
    fn answer(&self, mut answer: Result<Vec<Slot>, AppendError>) -> Result<Vec<Slot>, AppendError> {
        if let Ok(slots) = &mut answer {
            let ends = slots.iter().map(|slot| slot.position.next());
            let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
            *latest = ends.fold(*latest, Position::max);
            match self.flaw() {
                Flaw::ReversesBatches => slots.reverse(),
                Flaw::NumbersEachLogAlone => {
                    let numbered = slots.iter_mut();
                    numbered.for_each(|slot| slot.seq = Seq(slot.position.next().0));
                }
                _ => {}
            }
        }
        answer
    }
}

#[derive(Debug)]
pub(super) struct BrokenImmediate {
    pub(super) sound: Box<dyn ImmediateLog>,
    pub(super) spoiler: Spoiler,
}

impl ImmediateLog for BrokenImmediate {
    fn try_append(
        &mut self,
        entries: &[Entry],
        options: &AppendOptions,
    ) -> Result<Slots, AppendError> {
        let (mut entries, mut options) = (entries.to_vec(), *options);
        self.spoiler.request(&mut entries, &mut options)?;
        let answer = self.sound.try_append(&entries, &options);
        let answer = answer.map(Slots::into_vec);
        if let Some(stowaway) = self.spoiler.stowaway(&entries, &answer) {
            let options = AppendOptions::at(options.now);
            self.sound.try_append(&stowaway, &options)?;
        }
        self.spoiler.answer(answer).map(Slots::from_vec)
    }
}

#[derive(Debug)]
pub(super) struct BrokenStored {
    pub(super) sound: Arc<dyn StoredLog>,
    pub(super) spoiler: Spoiler,
}

impl BrokenStored {
    fn flaw(&self) -> Flaw {
        self.spoiler.flaw()
    }

    async fn commit(
        &self,
        entries: Vec<Entry>,
        mut options: AppendOptions,
    ) -> Result<Vec<Slot>, AppendError> {
        match self.flaw() {
            Flaw::SplitsBatches => {
                let mut slots = Vec::new();
                for entry in entries {
                    slots.extend(self.sound.append(vec![entry], options).await?);
                    yield_now().await;
                }
                Ok(slots)
            }
            Flaw::NumbersFromAStaleEnd => {
                let mut next = self.sound.info().await?.latest;
                yield_now().await;
                let mut slots = self.sound.append(entries, options).await?;
                for slot in &mut slots {
                    slot.position = next;
                    next = next.next();
                }
                Ok(slots)
            }
            Flaw::OldHandlesWriteOn => match self.sound.append(entries.clone(), options).await {
                Err(AppendError::Backend(BackendError::NotFound)) => {
                    let incarnation = Incarnation::CurrentOrNew;
                    let open = OpenOptions::new(incarnation, Epoch::from_parts(1, 1));
                    let sound = &self.spoiler.broken.sound;
                    match sound.open(&self.spoiler.key, open).await?.log {
                        LogHandle::Stored(log) => log.append(entries, options).await,
                        LogHandle::Immediate(mut log) => {
                            log.try_append(&entries, &options).map(Slots::into_vec)
                        }
                    }
                }
                answer => answer,
            },
            Flaw::SealsBehindTheLastBatch | Flaw::SealsForNothing => {
                let Some(reason) = options.seal.take() else {
                    return self.sound.append(entries, options).await;
                };
                let answer = self.sound.append(entries, options).await;
                if answer.is_ok() || self.flaw() == Flaw::SealsForNothing {
                    yield_now().await;
                    let message = None;
                    self.sound.seal(Seal { reason, message }).await?;
                }
                answer
            }
            _ => self.sound.append(entries, options).await,
        }
    }
}

#[async_trait]
impl StoredLog for BrokenStored {
    async fn append(
        &self,
        mut entries: Vec<Entry>,
        mut options: AppendOptions,
    ) -> Result<Vec<Slot>, AppendError> {
        self.spoiler.request(&mut entries, &mut options)?;
        let answer = self.commit(entries.clone(), options).await;
        if let Some(stowaway) = self.spoiler.stowaway(&entries, &answer) {
            let options = AppendOptions::at(options.now);
            self.sound.append(stowaway, options).await?;
        }
        self.spoiler.answer(answer)
    }

    async fn read(&self, from: Position, mut limit: ReadLimit) -> Result<LogPage, BackendError> {
        if self.flaw() == Flaw::IgnoresReadLimits {
            (limit.events, limit.bytes) = (usize::MAX, usize::MAX);
        }
        self.sound.read(from, limit).await
    }

    async fn watch(&self, after: Position) -> Result<Watch, BackendError> {
        let sound = Arc::clone(&self.sound);
        let broken = self.spoiler.broken.clone();
        Ok(match self.flaw() {
            Flaw::NeverWakes => Box::pin(pending()),
            Flaw::NeverSleeps => Box::pin(ready(Ok(()))),
            Flaw::ArmsAtTheFirstPoll => Box::pin(async move {
                let latest = sound.info().await?.latest;
                sound.watch(latest.max(after)).await?.await
            }),
            Flaw::SleepsOnWhatIsThere => {
                let latest = sound.info().await?.latest;
                sound.watch(latest.max(after)).await?
            }
            Flaw::WakesOneOfMany => {
                let one = Living::new(broken);
                let watch = sound.watch(after).await?;
                Box::pin(async move {
                    // The whole of it moves in here, and lives as long.
                    let one = one;
                    if !one.is_first {
                        return pending().await;
                    }
                    watch.await
                })
            }
            Flaw::StopsWaking => {
                let nth = {
                    let mut memory = broken.memory();
                    memory.watches += 1;
                    memory.watches
                };
                match nth {
                    ..=100 => sound.watch(after).await?,
                    _ => Box::pin(pending()),
                }
            }
            Flaw::SleepsThroughASeal => {
                let watch = sound.watch(after).await?;
                Box::pin(async move {
                    watch.await?;
                    match sound.info().await?.seal {
                        Some(_) => pending().await,
                        None => Ok(()),
                    }
                })
            }
            Flaw::SleepsThroughRemoval => {
                let watch = sound.watch(after).await?;
                Box::pin(async move {
                    match watch.await {
                        Err(BackendError::NotFound) => pending().await,
                        seen => seen,
                    }
                })
            }
            Flaw::KeepsDroppedWatches => {
                let mut watch = sound.watch(after).await?;
                Box::pin(poll_fn(move |cx| {
                    broken.memory().wakers.push(cx.waker().clone());
                    watch.as_mut().poll(cx)
                }))
            }
            _ => sound.watch(after).await?,
        })
    }

    async fn seal(&self, seal: Seal) -> Result<bool, BackendError> {
        let broken = &self.spoiler.broken;
        match self.flaw() {
            Flaw::SealsNothing => {
                let is_first = broken.memory().seal.is_none();
                broken.memory().seal.get_or_insert(seal);
                Ok(is_first)
            }
            Flaw::LastSealStays => {
                broken.memory().seal = Some(seal.clone());
                self.sound.seal(seal).await
            }
            Flaw::EverySealWins => {
                self.sound.seal(seal).await?;
                Ok(true)
            }
            _ => self.sound.seal(seal).await,
        }
    }

    async fn trim(&self, before: Position) -> Result<(), BackendError> {
        match self.flaw() {
            Flaw::TrimsOneTooMany => self.sound.trim(before.next()).await,
            Flaw::RefusesToTrimBeyondTheEnd if before > self.sound.info().await?.latest => {
                Err(unavailable("nothing is there to trim"))
            }
            Flaw::TellsTheLastTrim => {
                self.spoiler.broken.memory().last_trim = before;
                self.sound.trim(before).await
            }
            _ => self.sound.trim(before).await,
        }
    }

    async fn info(&self) -> Result<LogInfo, BackendError> {
        let mut info = self.sound.info().await?;
        info.seal = self.spoiler.broken.seal(info.seal);
        if self.flaw() == Flaw::TellsTheLastTrim {
            info.oldest = self.spoiler.broken.memory().last_trim;
        }
        Ok(info)
    }
}

/// Counts a watch as long as it lives.
struct Living {
    broken: Broken,
    is_first: bool,
}

impl Living {
    fn new(broken: Broken) -> Self {
        let is_first = {
            let mut memory = broken.memory();
            memory.living_watches += 1;
            memory.living_watches == 1
        };
        Self { broken, is_first }
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        self.broken.memory().living_watches -= 1;
    }
}
