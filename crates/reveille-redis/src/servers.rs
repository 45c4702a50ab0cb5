//! Where each tenant's keys are: on the one server, or on a master of a cluster.
//!
//! In a cluster all keys of a tenant have one slot, and each master has a [`Link`] of its own. Whoever asks
//! the wrong server is told where to ask, and has changed nothing there: what was refused so is asked again,
//! even if it must not be done twice. While a slot is on its way from one master to another, part of a tenant's
//! keys is here and part there, and the servers refuse what needs both: that waits.
//!
//! Not the client library's own connection to a cluster: that one sends again what was sent and not answered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{select_ok, try_join_all};
use redis::{ErrorKind, FromRedisValue, ServerErrorKind};
use reveille_backend::BackendError;
use reveille_types::{Durability, Tenant};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::address::{Address, Nodes};
use crate::error::{is_elsewhere, unavailable};
use crate::link::{Failure, Link, Live, Manner, Request};
use crate::names::tenant_name;
use crate::options::RedisOptions;
use crate::slots::{Node, Range, slot};

/// How long after a server has said that it cannot answer yet it is asked again.
const PAUSE: Duration = Duration::from_millis(10);
/// How many servers are asked for one thing without a pause.
const AT_ONCE: u32 = 3;
/// How long after a server could not be reached the others are asked whether it was replaced.
const RATHER: Duration = Duration::from_millis(100);

/// What the servers' settings promise, once it is known.
pub(crate) type Promise = Arc<OnceLock<Durability>>;

/// The way to all servers.
#[derive(Debug)]
pub(crate) struct Servers {
    options: Arc<RedisOptions>,
    promise: Promise,
    way: Way,
}

#[derive(Debug)]
enum Way {
    One(Arc<Link>),
    Cluster(Box<Cluster>),
}

#[derive(Debug)]
struct Cluster {
    nodes: Nodes,
    table: Mutex<Table>,
    /// Held while the servers are asked who has what.
    refreshing: tokio::sync::Mutex<()>,
    /// Told when a server cannot be reached, which may have been replaced.
    stale: Notify,
}

#[derive(Debug, Default)]
struct Table {
    /// Counts how often the rest has been read.
    version: u64,
    /// Counts how often it was something else than before.
    moves: u64,
    ranges: Vec<Range>,
    links: HashMap<Node, Arc<Link>>,
}

/// A master of a cluster.
#[derive(Debug)]
pub(crate) struct Master {
    pub(crate) node: Node,
    pub(crate) link: Arc<Link>,
    /// The first slot that it has.
    pub(crate) slot: u16,
}

/// What to do about a failure.
enum Turn {
    /// It is one.
    Fail,
    /// That server has the slot.
    Moved(Node),
    /// That server may have what is asked for.
    Ask(Node),
    /// It will pass.
    Wait,
}

impl Servers {
    /// The one at this address, which is not tried yet.
    pub(crate) fn one(address: Address, options: RedisOptions) -> Self {
        let (options, promise) = (Arc::new(options), Promise::default());
        let link = Link::new(address, Arc::clone(&options), Arc::clone(&promise));
        Self {
            way: Way::One(Arc::new(link)),
            options,
            promise,
        }
    }

    /// Those of the cluster that these belong to, which are not tried yet.
    pub(crate) fn cluster(nodes: Nodes, options: RedisOptions) -> Self {
        let cluster = Cluster {
            nodes,
            table: Mutex::default(),
            refreshing: tokio::sync::Mutex::default(),
            stale: Notify::new(),
        };
        Self {
            way: Way::Cluster(Box::new(cluster)),
            options: Arc::new(options),
            promise: Promise::default(),
        }
    }

    pub(crate) fn options(&self) -> &RedisOptions {
        &self.options
    }

    /// What the servers' settings promised at the beginning.
    pub(crate) fn durability(&self) -> Durability {
        let found = self.promise.get().copied();
        found.unwrap_or(Durability::Volatile)
    }

    /// Connects, and reads what the settings promise: in a cluster, what each of the masters does.
    pub(crate) async fn connect(&self) -> Result<(), BackendError> {
        let cluster = match &self.way {
            Way::One(link) => return link.live().await.map(drop),
            Way::Cluster(cluster) => cluster,
        };
        self.read_table(cluster, None, cluster.version()).await?;
        let masters = cluster.masters();
        let promised = try_join_all(masters.iter().map(|master| master.link.promised())).await?;
        let common = |all: Durability, one| if all.covers(one) { one } else { all };
        let Some(least) = promised.into_iter().reduce(common) else {
            return Err(unavailable("no server of the cluster has any slots"));
        };
        self.promise.get_or_init(|| least);
        try_join_all(masters.iter().map(|master| master.link.live())).await?;
        Ok(())
    }

    /// The only server, or none in a cluster.
    pub(crate) fn single(&self) -> Option<&Arc<Link>> {
        match &self.way {
            Way::One(link) => Some(link),
            Way::Cluster(_) => None,
        }
    }

    /// Those that have slots in a cluster, as far as is known.
    pub(crate) fn masters(&self) -> Vec<Master> {
        match &self.way {
            Way::One(_) => Vec::new(),
            Way::Cluster(cluster) => cluster.masters(),
        }
    }

    /// Changes whenever slots of a cluster are found with another master.
    pub(crate) fn moves(&self) -> u64 {
        match &self.way {
            Way::One(_) => 0,
            Way::Cluster(cluster) => cluster.table().moves,
        }
    }

    /// Looks again who has which slots; soon if a server cannot be reached, else after a while.
    pub(crate) async fn look_again(&self) {
        let Way::Cluster(cluster) = &self.way else {
            return std::future::pending().await;
        };
        tokio::select! {
            () = tokio::time::sleep(self.options.ping_interval) => {}
            // Others find out soon as well.
            () = cluster.stale.notified() => tokio::time::sleep(RATHER).await,
        }
        // What is known stays until something else is.
        let _ = self.read_table(cluster, None, cluster.version()).await;
    }

    /// Asks what may be asked twice.
    pub(crate) async fn repeatable<T: FromRedisValue>(
        &self,
        tenant: &Tenant,
        request: impl Fn(&Live) -> Request,
    ) -> Result<T, BackendError> {
        let asking = self.ask(tenant, Manner::Repeatable, request);
        asking.await.map_err(BackendError::from)
    }

    /// Asks what must not be done twice.
    pub(crate) async fn once<T: FromRedisValue>(
        &self,
        tenant: &Tenant,
        request: impl Fn(&Live) -> Request,
    ) -> Result<T, Failure> {
        self.ask(tenant, Manner::Once, request).await
    }

    async fn ask<T: FromRedisValue>(
        &self,
        tenant: &Tenant,
        manner: Manner,
        request: impl Fn(&Live) -> Request,
    ) -> Result<T, Failure> {
        let cluster = match &self.way {
            Way::One(link) => return link.ask(manner, &request).await,
            Way::Cluster(cluster) => cluster,
        };
        let slot = slot(&tenant_name(tenant));
        let until = Instant::now() + self.options.response_timeout;
        let mut ask_there = None;
        let mut turns = 0;
        loop {
            turns += 1;
            if turns > AT_ONCE {
                // The servers do not agree yet.
                tokio::time::sleep(PAUSE).await;
            }
            let version = cluster.version();
            let (node, manner) = match ask_there.take() {
                Some(node) => (node, Manner::Asking),
                None => (cluster.master(slot)?, manner),
            };
            let link = self.link(cluster, &node)?;
            let failure = match link.ask(manner, &request).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            if matches!(failure, Failure::Unsent(_)) {
                cluster.stale.notify_one();
            }
            let turn = Turn::of(&failure, &node);
            if Instant::now() >= until {
                return Err(failure);
            }
            match turn {
                Turn::Fail => return Err(failure),
                Turn::Wait => tokio::time::sleep(PAUSE).await,
                Turn::Ask(there) => ask_there = Some(there),
                Turn::Moved(there) => {
                    // What is known is asked again without it, and sends here again.
                    let _ = self.read_table(cluster, Some(&there), version).await;
                }
            }
        }
    }

    /// Whether all servers are well.
    pub(crate) async fn health(&self) -> Result<(), BackendError> {
        let ping = |_: &Live| redis::cmd("PING").into();
        if let Way::One(link) = &self.way {
            return Ok(link.ask(Manner::Repeatable, &ping).await?);
        }
        let masters = self.masters();
        let asking = masters.iter().map(async |master| {
            let ask = |_: &Live| {
                let mut command = redis::cmd("CLUSTER");
                command.arg("INFO");
                command.into()
            };
            let info: String = master.link.ask(Manner::Repeatable, &ask).await?;
            match info.contains("cluster_state:ok") {
                true => Ok(()),
                false => Err(unavailable("the cluster is down")),
            }
        });
        try_join_all(asking).await.map(drop)
    }

    /// The way to this server of the cluster.
    fn link(&self, cluster: &Cluster, node: &Node) -> Result<Arc<Link>, BackendError> {
        let mut table = cluster.table();
        if let Some(link) = table.links.get(node) {
            return Ok(Arc::clone(link));
        }
        let address = cluster.nodes.address(node).map_err(unavailable)?;
        let (options, promise) = (Arc::clone(&self.options), Arc::clone(&self.promise));
        let link = Arc::new(Link::new(address, options, promise));
        table.links.insert(node.clone(), Arc::clone(&link));
        Ok(link)
    }

    /// Reads who has which slots from this server, or from whichever answers, unless somebody else has done so
    /// since it was as the caller knows it.
    async fn read_table(
        &self,
        cluster: &Cluster,
        from: Option<&Node>,
        known: u64,
    ) -> Result<(), BackendError> {
        let _guard = cluster.refreshing.lock().await;
        if cluster.version() != known {
            return Ok(());
        }
        let masters: Vec<Node> = cluster.masters().into_iter().map(|m| m.node).collect();
        let seeds = cluster.nodes.seeds().to_vec();
        let mut found = Err(unavailable("no server of the cluster is known"));
        for some in [from.cloned().into_iter().collect(), masters, seeds] {
            let asking = some.iter().map(|node| self.ranges(cluster, node).boxed());
            let asking: Vec<_> = asking.collect();
            if !asking.is_empty() {
                found = select_ok(asking).await.map(|(ranges, _)| ranges);
            }
            if found.is_ok() {
                break;
            }
        }
        let ranges = found?;
        // Each master has a way from the beginning.
        for range in &ranges {
            self.link(cluster, &range.master)?;
        }
        let mut table = cluster.table();
        let is_master = |node: &Node| ranges.iter().any(|range| range.master == *node);
        table.links.retain(|node, _| is_master(node));
        table.version += 1;
        table.moves += u64::from(table.ranges != ranges);
        table.ranges = ranges;
        Ok(())
    }

    /// Which slots are whose, as this server says.
    async fn ranges(&self, cluster: &Cluster, node: &Node) -> Result<Vec<Range>, BackendError> {
        let link = self.link(cluster, node)?;
        let ranges = Range::read_all(link.cluster_slots().await?, node);
        let ranges = ranges.filter(|ranges| !ranges.is_empty());
        ranges.ok_or_else(|| unavailable("a server of the cluster knows no slots"))
    }
}

impl Cluster {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn version(&self) -> u64 {
        self.table().version
    }

    /// Who has this slot.
    fn master(&self, slot: u16) -> Result<Node, BackendError> {
        let table = self.table();
        let range = table.ranges.iter().find(|range| range.has(slot));
        let missing = || unavailable(format!("no server of the cluster has slot {slot}"));
        range.map(|range| range.master.clone()).ok_or_else(missing)
    }

    fn masters(&self) -> Vec<Master> {
        let table = self.table();
        let mut masters: Vec<Master> = Vec::new();
        for Range { first, master, .. } in &table.ranges {
            match masters.iter_mut().find(|known| known.node == *master) {
                Some(known) => known.slot = known.slot.min(*first),
                None => masters.extend(table.links.get(master).map(|link| Master {
                    node: master.clone(),
                    link: Arc::clone(link),
                    slot: *first,
                })),
            }
        }
        masters
    }
}

impl Turn {
    fn of(failure: &Failure, teller: &Node) -> Self {
        let Failure::Told(error) = failure else {
            return Self::Fail;
        };
        let there = || {
            let (node, _) = error.redirect_node()?;
            Node::parse(node, teller)
        };
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::Moved) => there().map_or(Self::Wait, Self::Moved),
            ErrorKind::Server(ServerErrorKind::Ask) => there().map_or(Self::Wait, Self::Ask),
            ErrorKind::Server(ServerErrorKind::TryAgain | ServerErrorKind::ClusterDown) => {
                Self::Wait
            }
            _ if is_elsewhere(error) => Self::Wait,
            _ => Self::Fail,
        }
    }
}
