//! The handle of one log.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::{Script, ScriptInvocation, Value};
use reveille_backend::{
    AppendError, AppendOptions, BackendError, Entry, LogInfo, LogPage, ReadLimit, Seal, Slot,
    StoredLog, Watch,
};
use reveille_types::{Epoch, Position, Seq, SessionKey};

use crate::answer::{Answer, Facts, end_reason, next, number};
use crate::backend::Shared;
use crate::error::{append_failed, corrupt, failed};
use crate::event::{arguments, decode};
use crate::link::{Live, Request};
use crate::names::{TenantNames, channel, wake_name};
use crate::scripts::{APPEND, INFO, READ, SEAL, TRIM};

/// How long an idempotency key is known.
const KEY_WINDOW: Duration = Duration::from_secs(600);
/// How many idempotency keys of one log are known.
const KEYS: usize = 100_000;
/// The most that one read asks for, so that nobody else waits long for the server.
pub(crate) const READ_EVENTS: usize = 4_096;
/// As above, in bytes.
pub(crate) const READ_BYTES: usize = 16 * 1024 * 1024;
/// Beyond the end of any log, and still a whole number for a script.
pub(crate) const FAR: u64 = 1 << 52;

/// The handle of one incarnation of one log.
pub(crate) struct RedisLog {
    shared: Arc<Shared>,
    key: Arc<SessionKey>,
    epoch: Epoch,
    /// The log's name in messages.
    name: String,
}

impl fmt::Debug for RedisLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisLog")
            .field("key", &format_args!("{}", self.key))
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl RedisLog {
    pub(crate) fn new(shared: &Arc<Shared>, key: &SessionKey, epoch: Epoch) -> Self {
        Self {
            shared: Arc::clone(shared),
            key: Arc::new(key.clone()),
            epoch,
            name: wake_name(key),
        }
    }

    /// A call of a script on this incarnation.
    fn call(&self, script: &'static Script, live: &Live) -> ScriptInvocation<'static> {
        let names = TenantNames::new(&live.store, &self.key.tenant);
        let mut call = script.prepare_invoke();
        for key in names.log(&self.key) {
            call.key(key);
        }
        call.key(names.counters()).arg(self.epoch.as_str());
        call
    }

    fn channel(&self) -> String {
        channel(&self.shared.link.options().prefix)
    }

    /// Runs what may be run twice, with these arguments.
    async fn ask(
        &self,
        script: &'static Script,
        arguments: &[u64],
    ) -> Result<std::vec::IntoIter<Value>, BackendError> {
        let asking = self.shared.link.repeatable::<Answer>(|live| {
            let mut call = self.call(script, live);
            call.arg(arguments);
            Request::Script(call)
        });
        asking.await?.found()
    }

    fn batch(&self, live: &Live, entries: Vec<Entry>, options: &AppendOptions) -> Request {
        let mut call = self.call(&APPEND, live);
        call.key(TenantNames::new(&live.store, &self.key.tenant).sequence());
        let expected = options.expected.map(|position| position.0.to_string());
        let seal = options.seal.map_or("", |reason| reason.as_str());
        call.arg(self.channel())
            .arg(&self.name)
            .arg(expected.unwrap_or_default())
            .arg(seal)
            .arg(KEY_WINDOW.as_millis().to_string())
            .arg(KEYS);
        for entry in entries {
            for argument in arguments(entry, &self.key, self.epoch) {
                call.arg(argument);
            }
        }
        Request::Script(call)
    }
}

/// What the script says of a batch.
fn placed(answer: Answer, options: &AppendOptions) -> Result<Vec<Slot>, AppendError> {
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
            expected: options.expected.unwrap_or_default(),
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

#[async_trait]
impl StoredLog for RedisLog {
    async fn append(
        &self,
        entries: Vec<Entry>,
        options: AppendOptions,
    ) -> Result<Vec<Slot>, AppendError> {
        let link = &self.shared.link;
        if let Some(wanted) = options.durability
            && !link.durability().covers(wanted)
        {
            return Err(AppendError::Durability { wanted });
        }
        let live = link.tried().await?;
        let request = self.batch(&live, entries, &options);
        let answer = link.once(&live, &request).await;
        let answer = answer.map_err(append_failed)?;
        placed(answer, &options)
    }

    async fn read(&self, from: Position, limit: ReadLimit) -> Result<LogPage, BackendError> {
        let most = limit.events.clamp(1, READ_EVENTS) as u64;
        let bytes = limit.bytes.clamp(1, READ_BYTES) as u64;
        let arguments = [from.0.min(FAR), most, bytes];
        let mut values = self.ask(&READ, &arguments).await?;
        let oldest = Position(number(&mut values)?);
        let mut position = from.max(oldest);
        let (mut events, mut weight) = (Vec::new(), 0);
        for fields in next::<Vec<Value>>(&mut values)? {
            let event = decode(fields, position, &self.key, self.epoch)?;
            weight += event.weight();
            if weight > limit.bytes && !events.is_empty() {
                break;
            }
            events.push(event);
            position = position.next();
        }
        Ok(LogPage { oldest, events })
    }

    async fn watch(&self, after: Position) -> Result<Watch, BackendError> {
        let look = async {
            let info = self.info().await?;
            Ok(info.latest > after || info.seal.is_some())
        };
        let wakes = &self.shared.wakes;
        wakes.watch(&self.name, after.0, look).await
    }

    async fn seal(&self, seal: Seal) -> Result<bool, BackendError> {
        let link = &self.shared.link;
        let live = link.tried().await?;
        let mut call = self.call(&SEAL, &live);
        call.arg(self.channel())
            .arg(&self.name)
            .arg(seal.reason.as_str());
        if let Some(message) = &seal.message {
            call.arg(&**message);
        }
        let answer = link.once::<Answer>(&live, &Request::Script(call)).await;
        let mut values = answer.map_err(failed)?.found()?;
        Ok(number(&mut values)? == 1)
    }

    async fn trim(&self, before: Position) -> Result<(), BackendError> {
        self.ask(&TRIM, &[before.0.min(FAR)]).await.map(drop)
    }

    async fn info(&self) -> Result<LogInfo, BackendError> {
        let mut values = self.ask(&INFO, &[]).await?;
        let facts = Facts::read(&mut values)?;
        if facts.epoch != self.epoch {
            return Err(corrupt("epoch"));
        }
        Ok(LogInfo {
            epoch: facts.epoch,
            oldest: facts.oldest,
            latest: facts.latest,
            seal: facts.seal,
        })
    }
}
