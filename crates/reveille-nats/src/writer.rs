//! Appends of one log, in order: those that wait together are stored in one step.
//!
//! Each step compares the last message of the log with the last one that is known here, so a position is
//! given once, whoever else appends, and a step that is tried again is stored once. A step whose answer
//! is lost is looked for in the log, where it bears a name of its own.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use reveille_backend::types::{EndReason, Position};
use reveille_backend::{AppendError, AppendOptions, BackendError, Seal, Slot};
use tokio::sync::oneshot;
use tokio::time;

use crate::core::{Core, State};
use crate::error::{Failure, full, unavailable};
use crate::fold::{Spot, slots};
use crate::message::{Ready, Stored, seal_header};
use crate::store::{Appended, Outgoing, PAGE};

/// Most bytes that are stored in one step, unless one append alone has more.
const STEP_BYTES: u64 = 4 * 1024 * 1024;

/// So often whoever hands in jobs may run without doing so before a batch is begun: on several threads
/// they are not all done when one has nothing else to do.
const QUIET: u32 = 4;

/// What is to be done with a log.
#[derive(Debug)]
pub(crate) enum Job {
    Append {
        batch: Vec<Ready>,
        options: AppendOptions,
        /// When it was handed in: it may wait for the servers as long as their patience lasts.
        since: time::Instant,
        answer: oneshot::Sender<Result<Vec<Slot>, AppendError>>,
    },
    Seal {
        seal: Seal,
        since: time::Instant,
        answer: oneshot::Sender<Result<bool, BackendError>>,
    },
}

impl Job {
    /// Nobody waits for it any more: it has not begun, and never will.
    fn is_given_up(&self) -> bool {
        match self {
            Self::Append { answer, .. } => answer.is_closed(),
            Self::Seal { answer, .. } => answer.is_closed(),
        }
    }

    fn since(&self) -> time::Instant {
        match self {
            Self::Append { since, .. } | Self::Seal { since, .. } => *since,
        }
    }

    fn fail(self, why: &Why) {
        // Whoever is gone needs no answer.
        match self {
            Self::Append { answer, .. } => drop(answer.send(Err(why.of_append()))),
            Self::Seal { answer, .. } => drop(answer.send(Err(why.of_seal()))),
        }
    }
}

/// Why nothing came of a step.
#[derive(Debug)]
enum Why {
    Unknown,
    NotFound,
    Corrupt(String),
    Full(String),
    Unavailable(String),
}

impl Why {
    fn new(error: &BackendError, lost: bool) -> Self {
        match error {
            BackendError::NotFound => Self::NotFound,
            _ if lost => Self::Unknown,
            BackendError::Corrupt { place, .. } => Self::Corrupt(place.clone()),
            BackendError::Full { source, .. } => Self::Full(source.to_string()),
            BackendError::Unavailable { source, .. } => Self::Unavailable(source.to_string()),
            other => Self::Unavailable(other.to_string()),
        }
    }

    fn of_seal(&self) -> BackendError {
        match self {
            Self::Unknown => unavailable("whether the log is sealed is unknown"),
            Self::NotFound => BackendError::NotFound,
            Self::Corrupt(place) => crate::error::corrupt(place.clone()),
            Self::Full(why) => full(why.clone()),
            Self::Unavailable(why) => unavailable(why.clone()),
        }
    }

    fn of_append(&self) -> AppendError {
        match self {
            Self::Unknown => AppendError::OutcomeUnknown,
            why => why.of_seal().into(),
        }
    }
}

/// What has become of a step.
#[derive(Debug)]
enum Settled {
    /// Its jobs are answered.
    Done,
    /// The log has changed: these jobs are to be looked at again.
    TooLate(Vec<Job>),
    /// Its jobs are answered: no server could be reached in time.
    Silence(Why),
}

/// Jobs that are stored in one step.
#[derive(Debug, Default)]
struct Step {
    jobs: Vec<(Job, Vec<Spot>)>,
    /// How many events it adds.
    new: usize,
    bytes: u64,
    keys: HashSet<Box<str>>,
    /// Nothing may follow in it.
    is_full: bool,
}

impl Core {
    /// Does what is handed in, until there is nothing.
    pub(crate) async fn work(self: Arc<Self>) {
        while let Some(mut jobs) = self.next_jobs() {
            let answered = jobs.len();
            let mut state = self.state.lock().await;
            while !jobs.is_empty() {
                self.step(&mut state, &mut jobs).await;
            }
            drop(state);
            self.gather(answered).await;
        }
    }

    /// Lets whoever was answered just now hand in more, which is done together, and by this task. A batch
    /// that costs the server much, however little is in it, is not begun while more comes.
    async fn gather(&self, answered: usize) {
        let few = self.shared.few;
        let may_be_batch = few > 1 && answered + self.waiting() >= few;
        let (mut before, mut quiet) = (0, 0);
        loop {
            tokio::task::yield_now().await;
            let waiting = self.waiting();
            quiet = if waiting > before { 0 } else { quiet + 1 };
            before = waiting;
            if !may_be_batch || waiting >= PAGE || quiet == QUIET {
                return;
            }
        }
    }

    /// Does the first of the jobs, and what can be done together with it.
    async fn step(&self, state: &mut State, jobs: &mut VecDeque<Job>) {
        let mut is_fresh = false;
        let mut step = Step::default();
        // So few are stored sooner one after the other, unless one of them is a batch already.
        let are_few = jobs.len() < self.shared.few;
        while !step.is_full
            && let Some(job) = jobs.pop_front()
        {
            if job.is_given_up() {
                continue;
            }
            // What is answered without being stored is answered by the log as it is now.
            let needs_fresh = state.is_new() || !is_fresh && step.answers_at_once(&job, state);
            if !step.takes(&job) || (needs_fresh && !step.jobs.is_empty()) {
                jobs.push_front(job);
                break;
            }
            if needs_fresh {
                let deadline = self.store().link.retry_since(job.since()).deadline();
                // It has waited for so long while nobody answered. A long log, whose servers do answer, is
                // looked through for as long as that takes.
                let caught = match state.is_new() && time::Instant::now() >= deadline {
                    true => Err(unavailable("the server does not answer in time")),
                    false => self.catch_up(state, job.since()).await.map(drop),
                };
                if let Err(error) = caught {
                    let why = Why::new(&error, false);
                    job.fail(&why);
                    jobs.drain(..).for_each(|job| job.fail(&why));
                    return;
                }
                is_fresh = true;
            }
            state.fold.expire(Instant::now());
            step.add(job, state);
            step.is_full |= are_few && step.new <= 1;
        }
        if step.jobs.is_empty() {
            return;
        }
        match self.settle(state, step).await {
            Settled::Done => {}
            Settled::TooLate(late) => late.into_iter().rev().for_each(|job| jobs.push_front(job)),
            // The others have waited as long.
            Settled::Silence(why) => jobs.drain(..).for_each(|job| job.fail(&why)),
        }
    }

    /// Stores a step and answers its jobs.
    async fn settle(&self, state: &mut State, step: Step) -> Settled {
        let append = self.shared.unique();
        let since = step.since();
        let mut retry = self.store().link.retry_since(since);
        let mut lost = false;
        for attempt in 0_u32.. {
            let expected = state.fold.head;
            let messages = step.messages(&append, state.fold.end);
            let storing =
                self.store()
                    .append(&self.subject, expected, messages, (&append, attempt));
            let refused: Box<str> = match storing.await {
                Appended::At(last) => {
                    self.done(state, step, last).await;
                    return Settled::Done;
                }
                Appended::Refused(refusal) => {
                    let why = Why::new(&refusal.into(), lost);
                    step.fail(&why);
                    return Settled::Done;
                }
                Appended::Lost => {
                    lost = true;
                    "the answer was lost".into()
                }
                Appended::Conflict => "the log has changed".into(),
                Appended::NotNow(failure) => Failure::to_string(&failure).into(),
            };
            // What has become of it is in the log.
            let catching = self.catch_up(state, since);
            let looking = tokio::time::timeout_at(retry.deadline(), catching);
            let found = match looking.await {
                Ok(Ok(found)) => found,
                Ok(Err(error @ (BackendError::NotFound | BackendError::Corrupt { .. }))) => {
                    step.fail(&Why::new(&error, lost));
                    return Settled::Done;
                }
                Ok(Err(_)) | Err(_) => Vec::new(),
            };
            if let Some(last) = found.iter().rfind(|message| *message.append == *append) {
                self.answer(step, last).await;
                return Settled::Done;
            }
            // Nothing can be stored behind another message than the one that was expected.
            if state.fold.head != expected {
                let jobs = step.jobs.into_iter();
                return Settled::TooLate(jobs.map(|(job, _)| job).collect());
            }
            if !retry.again().await {
                let silence = Why::Unavailable(refused.into());
                step.fail(if lost { &Why::Unknown } else { &silence });
                return Settled::Silence(silence);
            }
        }
        Settled::Done
    }

    /// Takes note of a step that is stored, its last message with this sequence, and answers it.
    async fn done(&self, state: &mut State, step: Step, last: u64) {
        let is_first = state.fold.head == 0;
        let position = state.fold.end;
        let first = last + 1 - step.messages_len() as u64;
        let now = Instant::now();
        let mut seq = first;
        for (job, spots) in &step.jobs {
            match job {
                Job::Append { batch, options, .. } => {
                    let mut added = 0;
                    for (ready, spot) in batch.iter().zip(spots) {
                        if *spot == Spot::New(added) {
                            state.fold.append(ready, seq, now);
                            (added, seq) = (added + 1, seq + 1);
                        }
                    }
                    state.fold.seal = options.seal.map(|reason| Seal {
                        reason,
                        message: None,
                    });
                }
                Job::Seal { seal, .. } => {
                    state.fold.seal = Some(seal.clone());
                    state.fold.head = seq;
                }
            }
        }
        self.note(position, first);
        self.tell(is_first, step, position, first).await;
    }

    /// Answers a step whose last message was found in the log, which is known already.
    async fn answer(&self, step: Step, last: &Stored) {
        let new = step.messages_len();
        let first = last.seq + 1 - new as u64;
        let position = match step.new {
            0 => last.end(),
            new => Position(last.end().0 - new as u64),
        };
        let is_first = position == Position::START;
        self.tell(is_first, step, position, first).await;
    }

    /// Answers the jobs of a step that begins there.
    async fn tell(&self, is_first: bool, step: Step, mut position: Position, mut seq: u64) {
        if is_first && let Err(error) = self.note_use(step.since()).await {
            // Without an answer it is not known whether the log was still there.
            step.fail(&Why::new(&error, true));
            return;
        }
        for (job, spots) in step.jobs {
            match job {
                Job::Append { answer, .. } => {
                    let new = added(&spots);
                    let _ = answer.send(Ok(slots(&spots, position, seq)));
                    (position, seq) = (position.plus(new), seq + new as u64);
                }
                Job::Seal { answer, .. } => drop(answer.send(Ok(true))),
            }
        }
    }
}

/// How many events a batch adds.
fn added(spots: &[Spot]) -> usize {
    let is_new = |spot: &&Spot| matches!(spot, Spot::New(_));
    spots.iter().filter(is_new).count()
}

impl Step {
    /// Whether a job can be done together with those that are in it.
    fn takes(&self, job: &Job) -> bool {
        let Job::Append { batch, options, .. } = job else {
            return self.jobs.is_empty();
        };
        if self.jobs.is_empty() {
            return true;
        }
        let bytes: u64 = batch.iter().map(Ready::weight).sum();
        let meets = |ready: &Ready| {
            let key = ready.key.as_ref();
            key.is_some_and(|key| self.keys.contains(&key.key))
        };
        // What would be told of the log before this step is stored might turn out wrong.
        options.expected.is_none()
            && self.new + batch.len() <= PAGE
            && self.bytes + bytes <= STEP_BYTES
            && !batch.iter().any(meets)
    }

    /// Whether a job stores nothing, by what is known.
    fn answers_at_once(&self, job: &Job, state: &State) -> bool {
        match job {
            Job::Seal { .. } => state.fold.seal.is_some(),
            Job::Append { batch, options, .. } => {
                let placed = state.fold.place(batch, options, self.new);
                !placed.is_ok_and(|spots| added(&spots) > 0)
            }
        }
    }

    /// Adds a job, or answers it if it stores nothing.
    fn add(&mut self, job: Job, state: &State) {
        match job {
            Job::Seal { answer, .. } if state.fold.seal.is_some() => {
                let _ = answer.send(Ok(false));
            }
            Job::Seal { .. } => {
                self.jobs.push((job, Vec::new()));
                self.is_full = true;
            }
            Job::Append {
                batch,
                options,
                since,
                answer,
            } => match state.fold.place(&batch, &options, self.new) {
                Err(error) => drop(answer.send(Err(error))),
                Ok(spots) if added(&spots) == 0 => {
                    let _ = answer.send(Ok(slots(&spots, state.fold.end, 0)));
                }
                Ok(spots) => {
                    self.new += added(&spots);
                    self.bytes += batch.iter().map(Ready::weight).sum::<u64>();
                    let keys = batch.iter().filter_map(|ready| ready.key.as_ref());
                    self.keys.extend(keys.map(|key| key.key.clone()));
                    self.is_full = options.seal.is_some();
                    let job = Job::Append {
                        batch,
                        options,
                        since,
                        answer,
                    };
                    self.jobs.push((job, spots));
                }
            },
        }
    }

    /// Since when its jobs wait: whoever has waited longest is not to wait longer than he would alone.
    fn since(&self) -> time::Instant {
        let since = self.jobs.iter().map(|(job, _)| job.since()).min();
        since.unwrap_or_else(time::Instant::now)
    }

    fn messages_len(&self) -> usize {
        // A seal has a message of its own, and is alone.
        self.new.max(1)
    }

    /// What is sent for it, the first event at this position.
    fn messages(&self, append: &str, mut position: Position) -> Vec<Outgoing> {
        let mut messages = Vec::with_capacity(self.messages_len());
        for (job, spots) in &self.jobs {
            let (batch, options) = match job {
                Job::Append { batch, options, .. } => (batch, options),
                Job::Seal { seal, .. } => {
                    messages.push(Outgoing {
                        header: seal_header(position, append, seal),
                        payload: seal
                            .message
                            .as_deref()
                            .unwrap_or_default()
                            .to_owned()
                            .into(),
                    });
                    continue;
                }
            };
            let count = added(spots);
            let mut sent = 0;
            for (ready, spot) in batch.iter().zip(spots) {
                if *spot != Spot::New(sent) {
                    continue;
                }
                sent += 1;
                let seals: Option<EndReason> = options.seal.filter(|_| sent == count);
                messages.push(Outgoing {
                    header: ready.header(position, append, seals),
                    payload: ready.json.clone(),
                });
                position = position.next();
            }
        }
        messages
    }

    fn fail(self, why: &Why) {
        for (job, _) in self.jobs {
            job.fail(why);
        }
    }
}
