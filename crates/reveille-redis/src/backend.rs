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

use crate::address::{Target, take_replicas};
use crate::answer::{Answer, Facts, number};
use crate::appends::Appends;
use crate::error::{ConnectError, corrupt, unavailable};
use crate::link::Request;
use crate::log::RedisLog;
use crate::names::{
    TenantNames, channel, local_name, member, parse_member, tenant_name, wake_name,
};
use crate::options::RedisOptions;
use crate::order;
use crate::scripts::{BEGIN, OPEN, Operation, REMOVE};
use crate::servers::Servers;
use crate::wake::follow;

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
            .field("servers", &self.0.servers)
            .finish_non_exhaustive()
    }
}

/// What the backend and its logs share. With the last of them the connections are closed.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) servers: Arc<Servers>,
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
        let appends = Arc::new(Appends::new(&self.servers, tenant, &self.runtime));
        all.insert(tenant.clone(), Arc::downgrade(&appends));
        appends
    }

    /// Removes a log, if there is one and it is of this epoch or of any.
    async fn remove(&self, key: &SessionKey, epoch: Option<Epoch>) -> Result<bool, BackendError> {
        let channel = channel(&self.servers.options().prefix);
        let removing = self.servers.once::<Answer>(&key.tenant, |live| {
            let mut call = whole(&REMOVE, &live.store, key);
            call.arg(local_name(key))
                .arg(&channel)
                .arg(wake_name(key))
                .arg(member(key));
            if let Some(epoch) = epoch {
                call.arg(epoch.as_str());
            }
            call
        });
        let answer = removing.await?;
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
    /// `redis+cluster://[USER:PASSWORD@]HOST:PORT,...` names servers of a cluster, whose masters are found by
    /// any of them, and looked for again when slots move. Each has its two connections.
    ///
    /// `rediss://`, `rediss+sentinel://` and `rediss+cluster://` speak TLS. The authorities that the system knows are trusted,
    /// or, with `?ca=FILE`, those of the file instead; `cert=FILE` and `key=FILE`, separated by `&`, are shown
    /// to a server that asks for a certificate. All are in PEM, and read here.
    ///
    /// `replicas=N` behind any of them goes before [the option](RedisOptions::replicas).
    ///
    /// What acknowledged events survive is read from the server's settings here; in a cluster it is what all
    /// masters keep. A server that promises less after a reconnect is not used.
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
        let (url, replicas) = take_replicas(url)?;
        let mut options = options;
        options.replicas = replicas.unwrap_or(options.replicas);
        let servers = Arc::new(match Target::parse(&url)? {
            Target::Server(address) => Servers::one(address, options),
            Target::Cluster(nodes) => Servers::cluster(nodes, options),
        });
        servers.connect().await.map_err(ConnectError::Server)?;
        let promised = servers.durability();
        if let Some(asked) = servers.options().durability
            && !promised.covers(asked)
        {
            return Err(ConnectError::Durability { asked, promised });
        }
        let wakes = Wakes::new();
        let (ready, begun) = oneshot::channel();
        let listening = tokio::spawn(follow(Arc::clone(&servers), wakes.clone(), ready));
        let shared = Shared {
            servers,
            wakes,
            appends: Mutex::default(),
            runtime: Handle::current(),
            listening: listening.abort_handle(),
        };
        let patience = shared.servers.options().response_timeout;
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
        capabilities.durability = self.0.servers.durability();
        capabilities.survives_restart = capabilities.durability != Durability::Volatile;
        capabilities.shared = true;
        capabilities.reads_order = true;
        capabilities
    }

    async fn open(&self, key: &SessionKey, options: OpenOptions) -> Result<Opened, BackendError> {
        let servers = &self.0.servers;
        let channel = channel(&servers.options().prefix);
        let mode = match options.incarnation {
            Incarnation::Current => "current",
            Incarnation::CurrentOrNew => "any",
            Incarnation::New => "new",
        };
        let opening = servers.once::<Answer>(&key.tenant, |live| {
            let mut call = whole(&OPEN, &live.store, key);
            call.arg(local_name(key))
                .arg(mode)
                .arg(options.new_epoch.as_str())
                .arg(&*options.attributes)
                .arg(&channel)
                .arg(wake_name(key))
                .arg(member(key));
            call
        });
        let answer = opening.await?;
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
        let asking = self.0.servers.repeatable::<Option<u64>>(tenant, |live| {
            let mut command = redis::cmd("HGET");
            let key = TenantNames::new(&live.store, tenant).counters();
            command.arg(key).arg("seq");
            command.into()
        });
        Ok(Seq(asking.await?.unwrap_or_default()))
    }

    async fn order_epoch(&self, tenant: &Tenant, new_epoch: Epoch) -> Result<Epoch, BackendError> {
        // Of several nodes that begin the order the first one does; asking again changes nothing.
        let beginning = self.0.servers.repeatable::<String>(tenant, |live| {
            let names = TenantNames::new(&live.store, tenant);
            let mut call = Request::script(&BEGIN, &[names.logs(), names.counters()]);
            call.arg(new_epoch.as_str());
            call
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
        order::read(&self.0.servers, tenant, after, limit).await
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
        let asking = self.0.servers.repeatable::<Vec<String>>(tenant, |live| {
            let mut command = redis::cmd("ZRANGEBYLEX");
            command
                .arg(TenantNames::new(&live.store, tenant).index())
                .arg(&after)
                .arg("+")
                .arg("LIMIT")
                .arg(0)
                .arg(limit + 1);
            command.into()
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
        self.0.servers.health().await
    }
}

/// A call of a script on a log and its place in the index.
fn whole(operation: &'static Operation, store: &str, key: &SessionKey) -> Request {
    let names = TenantNames::new(store, &key.tenant);
    let mut keys = vec![names.logs(), names.counters()];
    keys.extend(names.log(&local_name(key)));
    keys.push(names.index());
    Request::script(operation, &keys)
}

fn nothing() -> StoredPage {
    StoredPage {
        keys: Vec::new(),
        more: false,
    }
}
