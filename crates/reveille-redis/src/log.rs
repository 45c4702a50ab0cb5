//! The handle of one log.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use redis::Value;
use reveille_backend::{
    AppendError, AppendOptions, BackendError, Entry, LogInfo, LogPage, ReadLimit, Seal, Slot,
    StoredLog, Watch,
};
use reveille_types::{Epoch, Position, SessionKey};

use crate::answer::{Answer, Facts, next, number};
use crate::appends::{Appends, Place};
use crate::backend::Shared;
use crate::error::corrupt;
use crate::event::{Ready, decode};
use crate::link::{Live, Request};
use crate::names::{TenantNames, channel, local_name, wake_name};
use crate::scripts::{INFO, Operation, READ, SEAL, TRIM};

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
    /// Which incarnation it is.
    place: Place,
    /// The log's name in messages.
    name: String,
    /// Those of the tenant.
    appends: Arc<Appends>,
}

impl fmt::Debug for RedisLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisLog")
            .field("key", &format_args!("{}", self.key))
            .field("epoch", &self.place.epoch)
            .finish_non_exhaustive()
    }
}

impl RedisLog {
    pub(crate) fn new(shared: &Arc<Shared>, key: &SessionKey, epoch: Epoch) -> Self {
        Self {
            shared: Arc::clone(shared),
            key: Arc::new(key.clone()),
            place: Place {
                name: local_name(key).into(),
                epoch,
            },
            name: wake_name(key),
            appends: shared.appends(&key.tenant),
        }
    }

    /// A call of a script on this incarnation.
    fn call(&self, operation: &'static Operation, live: &Live) -> Request {
        let names = TenantNames::new(&live.store, &self.key.tenant);
        let mut keys = vec![names.logs(), names.counters()];
        keys.extend(names.log(&self.place.name));
        let mut call = Request::script(operation, &keys);
        call.arg(&*self.place.name).arg(self.place.epoch.as_str());
        call
    }

    fn channel(&self) -> String {
        channel(&self.shared.servers.options().prefix)
    }

    /// Runs what may be run twice, with these arguments.
    async fn ask(
        &self,
        operation: &'static Operation,
        arguments: &[u64],
    ) -> Result<std::vec::IntoIter<Value>, BackendError> {
        let servers = &self.shared.servers;
        let asking = servers.repeatable::<Answer>(&self.key.tenant, |live| {
            let mut call = self.call(operation, live);
            call.arg(arguments);
            call
        });
        asking.await?.found()
    }
}

#[async_trait]
impl StoredLog for RedisLog {
    async fn append(
        &self,
        entries: Vec<Entry>,
        options: AppendOptions,
    ) -> Result<Vec<Slot>, AppendError> {
        if let Some(wanted) = options.durability
            && !self.shared.servers.durability().covers(wanted)
        {
            return Err(AppendError::Durability { wanted });
        }
        let ready = |entry| Ready::new(entry, &self.key, self.place.epoch);
        let batch = entries.into_iter().map(ready).collect();
        self.appends.append(&self.place, batch, &options).await
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
            let event = decode(fields, position, &self.key, self.place.epoch)?;
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
        let servers = &self.shared.servers;
        let asking = servers.once::<Answer>(&self.key.tenant, |live| {
            let mut call = self.call(&SEAL, live).replicated();
            call.arg(self.channel())
                .arg(&self.name)
                .arg(seal.reason.as_str());
            if let Some(message) = &seal.message {
                call.arg(&**message);
            }
            call
        });
        let mut values = asking.await?.found()?;
        Ok(number(&mut values)? == 1)
    }

    async fn trim(&self, before: Position) -> Result<(), BackendError> {
        self.ask(&TRIM, &[before.0.min(FAR)]).await.map(drop)
    }

    async fn info(&self) -> Result<LogInfo, BackendError> {
        let mut values = self.ask(&INFO, &[]).await?;
        let facts = Facts::read(&mut values)?;
        if facts.epoch != self.place.epoch {
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
