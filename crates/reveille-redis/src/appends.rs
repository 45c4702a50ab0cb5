//! Appends to the logs of one tenant: those that wait at the same time go to the server in one call.
//!
//! While calls are under way, others wait for the next one, so that the server runs a script for many of them
//! and not for each. What each of them is told is its own, as if they had come one after the other.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::{RedisError, Value};
use reveille_backend::{AppendError, AppendOptions, BackendError, Slot};
use reveille_types::{EndReason, Epoch, Position, Seq, Tenant};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::answer::{Answer, end_reason, next, number};
use crate::error::{append_failed, corrupt, failed, unavailable};
use crate::event::Ready;
use crate::link::{Failure, Live, Request};
use crate::names::{TenantNames, channel, tenant_name};
use crate::scripts::APPEND;
use crate::servers::Servers;

/// How long an idempotency key is known.
const KEY_WINDOW: Duration = Duration::from_secs(600);
/// How many idempotency keys of one log are known.
const KEYS: usize = 100_000;
/// How many calls are under way at most: while the server runs one, the next one is made.
const CALLS: usize = 2;
/// Most events in a call, unless one append alone has more, so that nobody else waits long for the server.
const CALL_EVENTS: usize = 512;
/// As above, in bytes.
const CALL_BYTES: usize = 1024 * 1024;

/// One incarnation of a log, as calls name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// The log's name behind the tenant's.
    pub(crate) name: Arc<str>,
    pub(crate) epoch: Epoch,
}

/// An append that waits.
#[derive(Debug)]
struct Job {
    place: Place,
    batch: Vec<Ready>,
    expected: Option<Position>,
    seal: Option<EndReason>,
    answer: oneshot::Sender<Result<Vec<Slot>, AppendError>>,
}

/// The appends to the logs of one tenant.
#[derive(Debug)]
pub(crate) struct Appends {
    servers: Arc<Servers>,
    tenant: Tenant,
    /// Where calls are made, however long who appends lives.
    runtime: Handle,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// How many tasks make calls.
    calls: usize,
}

impl Appends {
    /// Must be called on a tokio runtime.
    pub(crate) fn new(servers: &Arc<Servers>, tenant: &Tenant, runtime: &Handle) -> Self {
        Self {
            servers: Arc::clone(servers),
            tenant: tenant.clone(),
            runtime: runtime.clone(),
            waiting: Mutex::default(),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a batch. Dropped before it is sent it does nothing, dropped later it may have taken effect.
    pub(crate) async fn append(
        self: &Arc<Self>,
        place: &Place,
        batch: Vec<Ready>,
        options: &AppendOptions,
    ) -> Result<Vec<Slot>, AppendError> {
        let (answer, told) = oneshot::channel();
        let job = Job {
            place: place.clone(),
            batch,
            expected: options.expected,
            seal: options.seal,
            answer,
        };
        let begins = {
            let mut waiting = self.waiting();
            waiting.jobs.push_back(job);
            let begins = waiting.calls < CALLS;
            waiting.calls += usize::from(begins);
            begins
        };
        if begins {
            self.runtime.spawn(Arc::clone(self).work());
        }
        // Without an answer the task has ended, with its runtime.
        told.await.unwrap_or(Err(AppendError::OutcomeUnknown))
    }

    /// Makes calls as long as somebody waits.
    async fn work(self: Arc<Self>) {
        loop {
            // Whoever was answered just now may have more, which goes into the same call.
            tokio::task::yield_now().await;
            let Some(jobs) = self.next() else {
                return;
            };
            self.call(jobs).await;
        }
    }

    /// The appends of the next call. Without any, the task ends.
    fn next(&self) -> Option<Vec<Job>> {
        let mut waiting = self.waiting();
        let (mut jobs, mut events, mut bytes) = (Vec::new(), 0, 0);
        while let Some(job) = waiting.jobs.front() {
            events += job.batch.len();
            bytes += job.batch.iter().map(Ready::weight).sum::<usize>();
            if !jobs.is_empty() && (events > CALL_EVENTS || bytes > CALL_BYTES) {
                break;
            }
            // Nobody waits for one that was dropped: it has not begun, and never will.
            let job = waiting.jobs.pop_front();
            jobs.extend(job.filter(|job| !job.answer.is_closed()));
        }
        if jobs.is_empty() {
            waiting.calls -= 1;
            return None;
        }
        Some(jobs)
    }

    /// Sends these appends and tells each what has become of it.
    async fn call(&self, jobs: Vec<Job>) {
        let call = Call::of(jobs);
        match self.ask(&call).await {
            Ok(answers) => call.settle(answers),
            // What is wrong with one log is not wrong with the others. Nothing was stored.
            Err(Failure::Told(error)) if is_damage(&error) && call.jobs() > 1 => {
                for job in call.into_jobs() {
                    let call = Call::of(vec![job]);
                    match self.ask(&call).await {
                        Ok(answers) => call.settle(answers),
                        Err(failure) => call.fail(&failure),
                    }
                }
            }
            Err(failure) => call.fail(&failure),
        }
    }

    async fn ask(&self, call: &Call) -> Result<Vec<Value>, Failure> {
        let channel = channel(&self.servers.options().prefix);
        let request = |live: &Live| call.request(&channel, live, &self.tenant);
        self.servers.once(&self.tenant, request).await
    }
}

/// Whether the script has found something else than was written.
fn is_damage(error: &RedisError) -> bool {
    matches!(failed(error.clone()), BackendError::Corrupt { .. })
}

/// The same error for somebody else.
fn again(error: &BackendError) -> BackendError {
    match error {
        BackendError::Unavailable { source, .. } => unavailable(source.to_string()),
        other => unavailable(other.to_string()),
    }
}

impl Job {
    fn tell(self, outcome: Result<Vec<Slot>, AppendError>) {
        // Whoever is gone needs no answer.
        let _ = self.answer.send(outcome);
    }

    /// Whether the script may take it together with others of its log: it says the same of all.
    fn is_plain(&self) -> bool {
        let is_bare = |ready: &Ready| ready.keys.is_none();
        self.expected.is_none() && self.seal.is_none() && self.batch.iter().all(is_bare)
    }
}

/// Appends that go to the server together.
#[derive(Debug)]
struct Call(Vec<OfLog>);

/// The appends of one incarnation, in order.
#[derive(Debug)]
struct OfLog {
    place: Place,
    parts: Vec<Part>,
}

/// What the script gives one answer for.
#[derive(Debug)]
enum Part {
    /// These follow each other, or none of them is stored.
    Plain(Vec<Job>),
    Marked(Job),
}

impl Call {
    fn of(jobs: Vec<Job>) -> Self {
        let mut logs: Vec<OfLog> = Vec::new();
        let mut numbers: HashMap<Place, usize> = HashMap::new();
        for job in jobs {
            let number = numbers.entry(job.place.clone()).or_insert_with(|| {
                logs.push(OfLog {
                    place: job.place.clone(),
                    parts: Vec::new(),
                });
                logs.len() - 1
            });
            let Some(log) = logs.get_mut(*number) else {
                continue;
            };
            match (log.parts.last_mut(), job.is_plain()) {
                (Some(Part::Plain(jobs)), true) => jobs.push(job),
                (_, true) => log.parts.push(Part::Plain(vec![job])),
                (_, false) => log.parts.push(Part::Marked(job)),
            }
        }
        Self(logs)
    }

    fn into_parts(self) -> impl Iterator<Item = Part> {
        self.0.into_iter().flat_map(|log| log.parts)
    }

    fn into_jobs(self) -> impl Iterator<Item = Job> {
        self.into_parts().flat_map(|part| match part {
            Part::Plain(jobs) => jobs,
            Part::Marked(job) => vec![job],
        })
    }

    fn jobs(&self) -> usize {
        let parts = self.0.iter().flat_map(|log| &log.parts);
        let jobs = parts.map(|part| match part {
            Part::Plain(jobs) => jobs.len(),
            Part::Marked(_) => 1,
        });
        jobs.sum()
    }

    /// As the script reads it.
    fn request(&self, channel: &str, live: &Live, tenant: &Tenant) -> Request {
        let names = TenantNames::new(&live.store, tenant);
        let mut keys = vec![names.logs(), names.counters(), names.sequence()];
        keys.extend(self.0.iter().flat_map(|log| names.log(&log.place.name)));
        let mut command = Request::script(&APPEND, &keys).replicated();
        command
            .arg(channel)
            .arg(tenant_name(tenant))
            .arg(KEY_WINDOW.as_millis().to_string())
            .arg(KEYS)
            .arg(self.0.len());
        for log in &self.0 {
            command.arg(&*log.place.name);
        }
        for log in &self.0 {
            command.arg(log.place.epoch.as_str()).arg(log.parts.len());
            for part in &log.parts {
                part.write(&mut command);
            }
        }
        command
    }

    /// Tells each append what the script answers for it.
    fn settle(self, answers: Vec<Value>) {
        let mut answers = answers.into_iter();
        for part in self.into_parts() {
            match (answers.next(), answers.next()) {
                (Some(Value::Int(position)), Some(Value::Int(seq))) => part.stored(position, seq),
                (Some(_), Some(other)) => part.told(other),
                // Nothing that the script says.
                _ => part.fail(&|| AppendError::OutcomeUnknown),
            }
        }
    }

    fn fail(self, failure: &Failure) {
        for part in self.into_parts() {
            part.fail(&|| match failure {
                Failure::Unsent(error) => again(error).into(),
                Failure::Told(error) => append_failed(error.clone()),
            });
        }
    }
}

impl Part {
    fn write(&self, command: &mut Request) {
        match self {
            Self::Plain(jobs) => {
                command.arg(jobs.iter().map(|job| job.batch.len()).sum::<usize>());
                for ready in jobs.iter().flat_map(|job| &job.batch) {
                    command.arg(ready.json());
                }
            }
            Self::Marked(job) => {
                let expected = job.expected.map(|position| position.0.to_string());
                command
                    .arg("")
                    .arg(expected.unwrap_or_default())
                    .arg(job.seal.map_or("", |reason| reason.as_str()))
                    .arg(job.batch.len());
                for ready in &job.batch {
                    let keys = ready.keys.as_ref();
                    command
                        .arg(keys.map_or("", |keys| &keys.key))
                        .arg(keys.map_or("", |keys| &keys.fingerprint))
                        .arg(ready.json())
                        .arg(keys.map_or("", |keys| &keys.own));
                }
            }
        }
    }

    /// All of it is new, and begins there.
    fn stored(self, position: i64, seq: i64) {
        let first = (u64::try_from(position), u64::try_from(seq));
        let (Ok(mut position), Ok(mut seq)) = first else {
            return self.fail(&|| AppendError::OutcomeUnknown);
        };
        let jobs = match self {
            Self::Plain(jobs) => jobs,
            Self::Marked(job) => vec![job],
        };
        for job in jobs {
            let slots = job.batch.iter().map(|_| {
                let slot = Slot {
                    position: Position(position),
                    seq: Seq(seq),
                    deduplicated: false,
                };
                (position, seq) = (position + 1, seq + 1);
                slot
            });
            let slots = slots.collect();
            job.tell(Ok(slots));
        }
    }

    /// Something else has become of it.
    fn told(self, answer: Value) {
        match self {
            Self::Plain(jobs) => {
                for job in jobs {
                    let outcome = job.outcome(answer.clone());
                    job.tell(outcome);
                }
            }
            Self::Marked(job) => {
                let outcome = job.outcome(answer);
                job.tell(outcome);
            }
        }
    }

    fn fail(self, error: &dyn Fn() -> AppendError) {
        match self {
            Self::Plain(jobs) => jobs.into_iter().for_each(|job| job.tell(Err(error()))),
            Self::Marked(job) => job.tell(Err(error())),
        }
    }
}

impl Job {
    /// What the script says of it.
    fn outcome(&self, answer: Value) -> Result<Vec<Slot>, AppendError> {
        let answer = redis::from_redis_value::<Answer>(answer);
        let answer = answer.map_err(|error| corrupt(error.to_string()))?;
        let word = answer.word.clone();
        let mut values = answer.found()?;
        match word.as_str() {
            "conflict" => Err(AppendError::IdempotencyConflict {
                key: next::<String>(&mut values)?.into(),
            }),
            "sealed" => Err(AppendError::Sealed {
                reason: end_reason(&next::<String>(&mut values)?)?,
            }),
            "conflicting" => Err(AppendError::PositionConflict {
                expected: self.expected.unwrap_or_default(),
                actual: Position(number(&mut values)?),
            }),
            _ => {
                let mut slots = Vec::with_capacity(values.len() / 3);
                while values.len() > 0 {
                    slots.push(Slot {
                        position: Position(number(&mut values)?),
                        seq: Seq(number(&mut values)?),
                        deduplicated: number(&mut values)? == 1,
                    });
                }
                Ok(slots)
            }
        }
    }
}
