//! One incarnation of one log, shared by all its handles in this process: what is known of it, and how
//! more is found out.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use async_nats::Subject;
use reveille_backend::types::{Epoch, Event, Position, SessionKey};
use reveille_backend::{BackendError, LogPage, ReadLimit, Seal};
use tokio::time;

use crate::backend::Shared;
use crate::error::{corrupt, unavailable};
use crate::fold::{Fold, KEY_WINDOW};
use crate::message::Stored;
use crate::names::log_name;
use crate::record::Record;
use crate::store::{PAGE, Start, Store};
use crate::writer::Job;

/// How many places of the stream are remembered at most.
const CHECKPOINTS: usize = 512;
/// Rather than look for a place, so many events are read that nobody asked for.
const SKIP: u64 = 256;

/// One incarnation of one log.
pub(crate) struct Core {
    pub(crate) shared: Arc<Shared>,
    pub(crate) key: Arc<SessionKey>,
    pub(crate) epoch: Epoch,
    /// Names the incarnation.
    pub(crate) place: Box<str>,
    /// Where its events are.
    pub(crate) subject: Subject,
    pub(crate) stream: String,
    /// The log's name among those that wake.
    pub(crate) name: String,
    pub(crate) state: tokio::sync::Mutex<State>,
    jobs: Mutex<Jobs>,
    /// Where in the stream an event is, or something before it, by its position.
    checkpoints: Mutex<BTreeMap<u64, u64>>,
}

/// What appending needs to know.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) fold: Fold,
    /// The log was looked at once.
    loaded: bool,
}

impl State {
    /// Nothing is known yet.
    pub(crate) fn is_new(&self) -> bool {
        !self.loaded
    }
}

#[derive(Debug, Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    is_worked_on: bool,
}

/// What a log says of itself.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) oldest: Position,
    pub(crate) latest: Position,
    pub(crate) seal: Option<Seal>,
    /// Where in the stream to look for the oldest.
    oldest_seq: u64,
    /// The sequence of the last message; 0 if there is none.
    head: u64,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("key", &format_args!("{}", self.key))
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.shared.forget(&self.subject);
    }
}

impl Core {
    pub(crate) fn new(shared: &Arc<Shared>, key: &SessionKey, epoch: Epoch, place: &str) -> Self {
        let names = &shared.store.names;
        Self {
            subject: names.log(key, place).into(),
            stream: names.events(&key.tenant),
            name: log_name(key),
            shared: Arc::clone(shared),
            key: Arc::new(key.clone()),
            epoch,
            place: place.into(),
            state: tokio::sync::Mutex::default(),
            jobs: Mutex::default(),
            checkpoints: Mutex::default(),
        }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.shared.store
    }

    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a job to the task that does them in order. Whether there is none: the caller begins it.
    pub(crate) fn hand_in(&self, job: Job) -> bool {
        let mut jobs = self.jobs();
        jobs.waiting.push_back(job);
        !std::mem::replace(&mut jobs.is_worked_on, true)
    }

    /// How many jobs wait.
    pub(crate) fn waiting(&self) -> usize {
        self.jobs().waiting.len()
    }

    /// All jobs that wait. Without any, the task ends.
    pub(crate) fn next_jobs(&self) -> Option<VecDeque<Job>> {
        let mut jobs = self.jobs();
        let waiting = std::mem::take(&mut jobs.waiting);
        jobs.is_worked_on = !waiting.is_empty();
        jobs.is_worked_on.then_some(waiting)
    }

    /// The log's record, if it is still that of this incarnation, and its sequence.
    pub(crate) async fn record(&self, since: time::Instant) -> Result<(Record, u64), BackendError> {
        match self.shared.record(&self.key, since).await? {
            Some((record, seq)) if !record.gone && *record.place == *self.place => {
                Ok((record, seq))
            }
            _ => Err(BackendError::NotFound),
        }
    }

    async fn last(&self, since: time::Instant) -> Result<Option<Stored>, BackendError> {
        let asking = self.store().last(&self.stream, &self.subject, since);
        let last = asking.await?;
        last.as_ref().map(Stored::of_json).transpose()
    }

    /// The last message of the log, and its record.
    async fn look(&self, since: time::Instant) -> Result<(Option<Stored>, Record), BackendError> {
        // The record last: that it is there means that what was found before was the log's.
        let last = self.last(since).await?;
        let (record, _) = self.record(since).await?;
        if last.is_some() || !record.used {
            return Ok((last, record));
        }
        // The first message has come between the two, unless it was lost.
        let last = self.last(since).await?;
        let (record, _) = self.record(since).await?;
        match last {
            Some(last) => Ok((Some(last), record)),
            None => Err(corrupt("events")),
        }
    }

    /// What the servers know of the log now.
    pub(crate) async fn facts(&self) -> Result<Facts, BackendError> {
        let (last, record) = self.look(time::Instant::now()).await?;
        let latest = last.as_ref().map(Stored::end).unwrap_or_default();
        Ok(Facts {
            oldest: Position(record.oldest).min(latest),
            latest,
            seal: last.as_ref().and_then(Stored::seal),
            oldest_seq: record.oldest_seq,
            head: last.map_or(0, |last| last.seq),
        })
    }

    /// Brings the state up to date with the leader of the stream, for what has waited since then: silence
    /// ends it with the patience that began then, but a long log is looked through for as long as that
    /// takes while the servers answer. What was not known before.
    pub(crate) async fn catch_up(
        &self,
        state: &mut State,
        since: time::Instant,
    ) -> Result<Vec<Stored>, BackendError> {
        let now = Instant::now();
        let mut last = self.last(since).await?;
        if last.is_none() {
            last = self.look(since).await?.0;
        }
        let Some(last) = last else {
            if state.fold.head > 0 {
                return Err(corrupt("events"));
            }
            state.loaded = true;
            return Ok(Vec::new());
        };
        if last.seq < state.fold.head {
            return Err(corrupt("the end of the stream"));
        }
        let start = match state.loaded {
            true if last.seq == state.fold.head => return Ok(Vec::new()),
            true => Start::Seq(state.fold.head + 1),
            // What is older has no key that must be known.
            false => Start::Ago(KEY_WINDOW.as_secs()),
        };
        let mut messages = self.up_to(start, last.seq, since).await?;
        if messages.is_empty() {
            messages.push(last);
        }
        for message in &messages {
            state.fold.apply(message, now);
        }
        state.loaded = true;
        Ok(messages)
    }

    /// All messages from there up to this one. None if the last one is older.
    async fn up_to(
        &self,
        start: Start,
        last: u64,
        since: time::Instant,
    ) -> Result<Vec<Stored>, BackendError> {
        let mut messages: Vec<Stored> = Vec::new();
        let mut retry = self.store().link.retry_since(since);
        let mut next = start;
        loop {
            let (stream, subject) = (&self.stream, &self.subject);
            let paging = self
                .store()
                .page(stream, subject, next, PAGE, usize::MAX, since);
            let page = paging.await?;
            let got_on = !page.is_empty();
            messages.extend(page.into_iter().filter(|message| message.seq <= last));
            match messages.last() {
                Some(message) if message.seq == last => return Ok(messages),
                Some(message) => next = Start::Seq(message.seq + 1),
                None if matches!(start, Start::Ago(_)) => return Ok(messages),
                None => {}
            }
            // A server that is behind the leader has answered.
            if !got_on && !retry.again().await {
                return Err(unavailable("the servers are behind their leader"));
            }
        }
    }

    /// Remembers where in the stream a position is.
    pub(crate) fn note(&self, position: Position, seq: u64) {
        let mut checkpoints = self.checkpoints();
        checkpoints.insert(position.0, seq);
        if checkpoints.len() > CHECKPOINTS {
            let mut keep = false;
            checkpoints.retain(|_, _| {
                keep = !keep;
                keep
            });
        }
    }

    fn checkpoints(&self) -> MutexGuard<'_, BTreeMap<u64, u64>> {
        self.checkpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A place in the stream not far before a position that is stored, and how far about.
    async fn locate(&self, position: Position, facts: &Facts) -> Result<(u64, u64), BackendError> {
        let known = {
            let checkpoints = self.checkpoints();
            let known = checkpoints.range(..=position.0).next_back();
            known.map(|(position, seq)| (*position, *seq))
        };
        let mut low = (facts.oldest.0, facts.oldest_seq);
        low = known.map_or(low, |known| low.max(known));
        let mut high = facts.head;
        while position.0.saturating_sub(low.0) > SKIP && high > low.1 + 1 {
            let middle = low.1 + (high - low.1) / 2;
            let found = self.one(middle).await?;
            match found {
                Some(found) if found.position <= position => low = (found.position.0, found.seq),
                _ => high = middle,
            }
        }
        Ok((low.1, position.0.saturating_sub(low.0)))
    }

    /// The first message from this sequence on.
    async fn one(&self, seq: u64) -> Result<Option<Stored>, BackendError> {
        let start = Start::Seq(seq);
        let page = self.store().page(
            &self.stream,
            &self.subject,
            start,
            1,
            usize::MAX,
            time::Instant::now(),
        );
        Ok(page.await?.into_iter().next())
    }

    pub(crate) async fn read(
        &self,
        from: Position,
        limit: ReadLimit,
    ) -> Result<LogPage, BackendError> {
        let facts = self.facts().await?;
        let oldest = facts.oldest;
        let mut next = from.max(oldest);
        let (mut events, mut weight): (Vec<Event>, usize) = (Vec::new(), 0);
        if next >= facts.latest {
            return Ok(LogPage { oldest, events });
        }
        let most = limit.events.clamp(1, PAGE);
        let (mut seq, mut skip) = self.locate(next, &facts).await?;
        let mut retry = self.store().link.retry();
        while next < facts.latest && events.len() < most {
            let wanted = most - events.len() + usize::try_from(skip).unwrap_or(PAGE);
            skip = 0;
            let page = self
                .store()
                .page(
                    &self.stream,
                    &self.subject,
                    Start::Seq(seq),
                    wanted,
                    limit.bytes.max(1 << 16),
                    time::Instant::now(),
                )
                .await?;
            if page.is_empty() && !retry.again().await {
                return Err(unavailable("the servers are behind their leader"));
            }
            for message in page {
                seq = message.seq + 1;
                if message.position < next || events.len() >= most {
                    continue;
                }
                let Some(event) = message.event(&self.key, self.epoch)? else {
                    continue;
                };
                if message.position != next {
                    // It may have been trimmed meanwhile.
                    let trimmed = self.facts().await?.oldest > next;
                    return match trimmed {
                        true => Box::pin(self.read(from, limit)).await,
                        false => Err(corrupt(format!("position {next}"))),
                    };
                }
                weight += event.weight();
                if weight > limit.bytes && !events.is_empty() {
                    return Ok(LogPage { oldest, events });
                }
                events.push(event);
                next = next.next();
                self.note(next, seq);
            }
        }
        Ok(LogPage { oldest, events })
    }

    pub(crate) async fn trim(&self, before: Position) -> Result<(), BackendError> {
        let facts = self.facts().await?;
        let before = before.min(facts.latest);
        if before <= facts.oldest {
            return Ok(());
        }
        let (seq, _) = self.locate(before, &facts).await?;
        let now = time::Instant::now();
        let changed = self.shared.change_record(&self.key, now, |record| {
            if record.gone || *record.place != *self.place {
                return Err(BackendError::NotFound);
            }
            let change = record.oldest < before.0;
            if change {
                (record.oldest, record.oldest_seq) = (before.0, seq);
            }
            Ok(change)
        });
        changed.await?;
        // A key that must be known is read from its event. The last message tells where the log ends.
        let mut state = self.state.lock().await;
        self.catch_up(&mut state, time::Instant::now()).await?;
        state.fold.expire(Instant::now());
        let first_known = state.fold.first_known().unwrap_or(u64::MAX);
        drop(state);
        let before = seq.min(first_known).min(facts.head);
        if before <= 1 {
            // Nothing is before the first message; some servers would delete everything for it.
            return Ok(());
        }
        self.store()
            .purge(&self.stream, &self.subject, Some(before))
            .await
    }

    /// Notes that there was an event, so that a log without any is not taken for a new one. An event of
    /// a log that was gone before it came is taken back.
    pub(crate) async fn note_use(&self, since: time::Instant) -> Result<(), BackendError> {
        let noted = self.shared.change_record(&self.key, since, |record| {
            if record.gone || *record.place != *self.place {
                return Err(BackendError::NotFound);
            }
            Ok(!std::mem::replace(&mut record.used, true))
        });
        let noted = noted.await;
        if matches!(noted, Err(BackendError::NotFound)) {
            self.store()
                .purge(&self.stream, &self.subject, None)
                .await?;
        }
        noted
    }
}
