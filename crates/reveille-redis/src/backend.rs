//! The backend: opening, listing and removing logs.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use reveille_backend::{
    Backend, BackendError, Capabilities, Incarnation, ListOptions, LogHandle, OpenOptions, Opened,
    OrderPage, ReadLimit, StoredPage, Wakes, Watch,
};
use reveille_types::{Durability, Epoch, Seq, SessionKey, Tenant};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::address::Address;
use crate::answer::{Answer, Facts, number};
use crate::appends::Appends;
use crate::error::{ConnectError, corrupt, failed, unavailable};
use crate::link::{Link, Live, Request};
use crate::log::RedisLog;
use crate::names::{
    TenantNames, channel, local_name, member, parse_member, tenant_name, wake_name,
};
use crate::options::RedisOptions;
use crate::order;
use crate::scripts::{BEGIN, OPEN, REMOVE};
use crate::wake::listen;

/// The backend's name in messages.
pub(crate) const NAME: &str = "redis";
/// Most logs on a page of a list.
const LIST: usize = 10_000;

/// Session logs in a Redis server. Clones are the same backend.
#[derive(Clone)]
pub struct RedisBackend(Arc<Shared>);

impl fmt::Debug for RedisBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBackend")
            .field("link", &self.0.link)
            .finish_non_exhaustive()
    }
}

/// What the backend and its logs share. With the last of them the connections are closed.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) link: Arc<Link>,
    pub(crate) wakes: Wakes,
    /// Those that have handles, by tenant.
    appends: Mutex<HashMap<Tenant, Weak<Appends>>>,
    runtime: Handle,
    listening: AbortHandle,
}

impl Shared {
    /// The appends to the logs of this tenant, whatever handles they come from.
    pub(crate) fn appends(&self, tenant: &Tenant) -> Arc<Appends> {
        let mut all = self.appends.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(appends) = all.get(tenant).and_then(Weak::upgrade) {
            return appends;
        }
        all.retain(|_, appends| appends.strong_count() > 0);
        let appends = Arc::new(Appends::new(&self.link, tenant, &self.runtime));
        all.insert(tenant.clone(), Arc::downgrade(&appends));
        appends
    }

    /// Removes a log, if there is one and it is of this epoch or of any.
    async fn remove(&self, key: &SessionKey, epoch: Option<Epoch>) -> Result<bool, BackendError> {
        let link = &self.link;
        let live = link.tried().await?;
        let names = TenantNames::new(&live.store, &key.tenant);
        let mut call = REMOVE.prepare_invoke();
        call.key(names.logs()).key(names.counters());
        let name = local_name(key);
        for of_log in names.log(&name) {
            call.key(of_log);
        }
        call.key(names.index())
            .arg(name)
            .arg(channel(&link.options().prefix))
            .arg(wake_name(key))
            .arg(member(key));
        if let Some(epoch) = epoch {
            call.arg(epoch.as_str());
        }
        let answer = link.once::<Answer>(&live, &Request::Script(call)).await;
        let answer = answer.map_err(failed)?;
        Ok(number(&mut answer.found()?)? == 1)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl RedisBackend {
    /// Connects to `redis://[USER:PASSWORD@]HOST[:PORT][/DB]`, `unix:///PATH`, or to the master that
    /// sentinels name: `redis+sentinel://[USER:PASSWORD@]HOST:PORT,.../MASTER[/DB]`. Two connections
    /// are held: one for commands, one that hears wake-ups. Both are made anew when they break.
    ///
    /// What acknowledged events survive is read from the server's settings here. A server that promises
    /// less after a reconnect is not used.
    ///
    /// Must be called on a tokio runtime, which has to live as long as the backend. Cancel safe.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(url: &str, options: RedisOptions) -> Result<Self, ConnectError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.:".contains(c);
        if !options.prefix.chars().all(is_plain) {
            let prefix = options.prefix;
            return Err(ConnectError::Prefix { prefix });
        }
        let link = Arc::new(Link::new(Address::parse(url)?, options));
        link.live().await.map_err(ConnectError::Server)?;
        let wakes = Wakes::new();
        let (ready, begun) = oneshot::channel();
        let listening = tokio::spawn(listen(Arc::clone(&link), wakes.clone(), ready));
        let shared = Shared {
            link,
            wakes,
            appends: Mutex::default(),
            runtime: Handle::current(),
            listening: listening.abort_handle(),
        };
        let patience = shared.link.options().response_timeout;
        match tokio::time::timeout(patience, begun).await {
            Ok(Ok(())) => Ok(Self(Arc::new(shared))),
            _ => {
                let error = unavailable("the server takes no subscription");
                Err(ConnectError::Server(error))
            }
        }
    }
}

#[async_trait]
impl Backend for RedisBackend {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::volatile(NAME);
        capabilities.durability = self.0.link.durability();
        capabilities.survives_restart = capabilities.durability != Durability::Volatile;
        capabilities.shared = true;
        capabilities.reads_order = true;
        capabilities
    }

    async fn open(&self, key: &SessionKey, options: OpenOptions) -> Result<Opened, BackendError> {
        let link = &self.0.link;
        let mode = match options.incarnation {
            Incarnation::Current => "current",
            Incarnation::CurrentOrNew => "any",
            Incarnation::New => "new",
        };
        let live = link.tried().await?;
        let names = TenantNames::new(&live.store, &key.tenant);
        let mut call = OPEN.prepare_invoke();
        call.key(names.logs()).key(names.counters());
        let name = local_name(key);
        for of_log in names.log(&name) {
            call.key(of_log);
        }
        call.key(names.index())
            .arg(name)
            .arg(mode)
            .arg(options.new_epoch.as_str())
            .arg(&*options.attributes)
            .arg(channel(&link.options().prefix))
            .arg(wake_name(key))
            .arg(member(key));
        let answer = link.once::<Answer>(&live, &Request::Script(call)).await;
        let answer = answer.map_err(failed)?;
        let created = answer.word == "made";
        let facts = Facts::read(&mut answer.found()?)?;
        let log = RedisLog::new(&self.0, key, facts.epoch);
        Ok(Opened {
            epoch: facts.epoch,
            created,
            oldest: facts.oldest,
            latest: facts.latest,
            seal: facts.seal,
            attributes: facts.attributes,
            log: LogHandle::Stored(Arc::new(log)),
        })
    }

    async fn last_seq(&self, tenant: &Tenant) -> Result<Seq, BackendError> {
        let asking = self.0.link.repeatable::<Option<u64>>(|live| {
            let mut command = redis::cmd("HGET");
            let key = TenantNames::new(&live.store, tenant).counters();
            command.arg(key).arg("seq");
            Request::Command(command)
        });
        Ok(Seq(asking.await?.unwrap_or_default()))
    }

    async fn order_epoch(&self, tenant: &Tenant, new_epoch: Epoch) -> Result<Epoch, BackendError> {
        // Of several nodes that begin the order the first one does; asking again changes nothing.
        let beginning = self.0.link.repeatable::<String>(|live| {
            let mut call = BEGIN.prepare_invoke();
            let names = TenantNames::new(&live.store, tenant);
            call.key(names.logs()).key(names.counters());
            call.arg(new_epoch.as_str());
            Request::Script(call)
        });
        beginning.await?.parse().map_err(|_| BackendError::Corrupt {
            backend: NAME,
            place: format!("the order of tenant {tenant}"),
        })
    }

    async fn read_order(
        &self,
        tenant: &Tenant,
        after: Seq,
        limit: ReadLimit,
    ) -> Result<OrderPage, BackendError> {
        order::read(&self.0.link, tenant, after, limit).await
    }

    async fn watch_order(&self, tenant: &Tenant, after: Seq) -> Result<Watch, BackendError> {
        let look = async { Ok(self.last_seq(tenant).await? > after) };
        let wakes = &self.0.wakes;
        wakes.watch(&tenant_name(tenant), after.0, look).await
    }

    async fn list(
        &self,
        tenant: &Tenant,
        options: ListOptions,
    ) -> Result<StoredPage, BackendError> {
        let limit = options.limit.min(LIST);
        let after = match &options.after {
            // What comes after a key of another tenant is all or nothing of this one.
            Some(after) if after.tenant > *tenant => return Ok(nothing()),
            Some(after) if after.tenant == *tenant => format!("({}", member(after)),
            _ => "-".to_owned(),
        };
        let asking = self.0.link.repeatable::<Vec<String>>(|live| {
            let mut command = redis::cmd("ZRANGEBYLEX");
            command
                .arg(TenantNames::new(&live.store, tenant).index())
                .arg(&after)
                .arg("+")
                .arg("LIMIT")
                .arg(0)
                .arg(limit + 1);
            Request::Command(command)
        });
        let mut members = asking.await?;
        let more = members.len() > limit;
        members.truncate(limit);
        let keys = members.iter().map(|member| {
            parse_member(tenant, member).ok_or_else(|| corrupt(format!("index {member:?}")))
        });
        let keys = keys.collect::<Result<_, _>>()?;
        Ok(StoredPage { keys, more })
    }

    async fn remove(&self, key: &SessionKey) -> Result<bool, BackendError> {
        self.0.remove(key, None).await
    }

    async fn remove_incarnation(
        &self,
        key: &SessionKey,
        epoch: Epoch,
    ) -> Result<bool, BackendError> {
        self.0.remove(key, Some(epoch)).await
    }

    async fn health(&self) -> Result<(), BackendError> {
        let ping = |_: &Live| Request::Command(redis::cmd("PING"));
        self.0.link.repeatable::<()>(ping).await
    }
}

fn nothing() -> StoredPage {
    StoredPage {
        keys: Vec::new(),
        more: false,
    }
}
