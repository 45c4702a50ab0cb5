//! The backend: opening, listing and removing logs.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use jiff::Timestamp;
use reveille_backend::types::{Durability, Epoch, Fingerprint, Seq, SessionKey, Tenant};
use reveille_backend::{
    Backend, BackendError, Capabilities, Incarnation, ListOptions, LogHandle, OpenOptions, Opened,
    OrderPage, ReadLimit, StoredPage, Wakes, Watch,
};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::core::Core;
use crate::error::{ConnectError, corrupt, unavailable};
use crate::link::Link;
use crate::log::NatsLog;
use crate::names::{Names, parse_log_name};
use crate::options::NatsOptions;
use crate::order;
use crate::reader::{LOUD, QUIET, hear};
use crate::record::Record;
use crate::store::{Appended, Outgoing, Store};
use crate::streams::{self, durability};

/// The backend's name in messages.
pub(crate) const NAME: &str = "nats";
/// What a message has beside its payload, at most: a key of the greatest length in its header.
const OVERHEAD: usize = 8 * 1024;
/// Most bytes of a batch, whatever the server takes.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// Session logs in NATS JetStream. Clones are the same backend.
#[derive(Clone)]
pub struct NatsBackend(Arc<Shared>);

impl fmt::Debug for NatsBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsBackend")
            .field("durability", &self.0.durability)
            .finish_non_exhaustive()
    }
}

/// What the backend and its logs share. With the last of them the connection is closed.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Arc<Store>,
    pub(crate) wakes: Wakes,
    pub(crate) durability: Durability,
    pub(crate) max_batch_bytes: u64,
    /// So few appends that wait are not worth a batch.
    pub(crate) few: usize,
    /// As the records are kept, so are the events.
    settings: streams::Settings,
    /// The streams that are heard, when they were made, and by which task.
    readers: tokio::sync::Mutex<HashMap<String, (String, Reading)>>,
    /// The logs with handles, by their incarnations.
    cores: Mutex<HashMap<String, Weak<Core>>>,
    /// Tells what is made here from what is made anywhere else.
    process: String,
    count: AtomicU64,
}

/// A task that ends when this is dropped.
#[derive(Debug)]
struct Reading(AbortHandle);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Shared {
    /// A name that nothing else has.
    pub(crate) fn unique(&self) -> String {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        format!("{}{count:x}", self.process)
    }

    /// The record of a log, and its sequence, for what has waited since then.
    pub(crate) async fn record(
        &self,
        key: &SessionKey,
        since: Instant,
    ) -> Result<Option<(Record, u64)>, BackendError> {
        let names = &self.store.names;
        let found = self
            .store
            .last(&names.records(), &names.record(key), since)
            .await?;
        let Some(found) = found else {
            return Ok(None);
        };
        let record = serde_json::from_slice(&found.message.payload()?);
        let record = record.map_err(|_| corrupt(format!("record of {key}")))?;
        Ok(Some((record, found.message.seq)))
    }

    /// Replaces a record if it is still the one with this sequence (0: none). Its new sequence, unless
    /// it was not.
    async fn put_record(
        &self,
        key: &SessionKey,
        record: &Record,
        expected: u64,
        is_quiet: bool,
        since: Instant,
    ) -> Result<Option<u64>, BackendError> {
        let subject = self.store.names.record(key).into();
        let mut retry = self.store.link.retry_since(since);
        loop {
            let payload = serde_json::to_vec(record).map_err(unavailable)?;
            let header = if is_quiet { QUIET } else { LOUD }.to_owned();
            let message = Outgoing {
                header,
                payload: payload.into(),
            };
            let putting = self
                .store
                .append(&subject, expected, vec![message], ("", 0));
            let failure = match putting.await {
                Appended::At(seq) => return Ok(Some(seq)),
                Appended::Refused(refusal) => return Err(refusal.into()),
                Appended::NotNow(failure) => failure.to_string(),
                Appended::Conflict => String::new(),
                Appended::Lost => "the answer was lost".to_owned(),
            };
            // What has become of it is in the stream.
            match self.record(key, since).await? {
                Some((now, seq)) if seq > expected && now == *record => return Ok(Some(seq)),
                now if now.as_ref().map_or(0, |(_, seq)| *seq) != expected => return Ok(None),
                _ => {}
            }
            if !retry.again().await {
                return Err(unavailable(failure));
            }
        }
    }

    /// Changes a record that is there, unless there is nothing to change, for what has waited since then.
    pub(crate) async fn change_record(
        &self,
        key: &SessionKey,
        since: Instant,
        change: impl Fn(&mut Record) -> Result<bool, BackendError>,
    ) -> Result<(), BackendError> {
        loop {
            let found = self.record(key, since).await?;
            let (mut record, seq) = found.ok_or(BackendError::NotFound)?;
            if !change(&mut record)? {
                return Ok(());
            }
            let putting = self.put_record(key, &record, seq, true, since);
            if putting.await?.is_some() {
                return Ok(());
            }
        }
    }

    /// Deletes the events of incarnations that are over.
    async fn bury(&self, key: &SessionKey, dying: &[String]) -> Result<(), BackendError> {
        let names = &self.store.names;
        for place in dying {
            let (stream, subject) = (names.events(&key.tenant), names.log(key, place));
            self.store.purge(&stream, &subject, None).await?;
        }
        Ok(())
    }

    /// Takes away the record of a log that is gone, with what is left of its events.
    async fn finish(
        &self,
        key: &SessionKey,
        record: &Record,
        seq: u64,
    ) -> Result<(), BackendError> {
        self.bury(key, &record.dying).await?;
        self.store.delete(&self.store.names.records(), seq).await
    }

    /// Removes a log, if there is one and it is of this epoch or of any.
    async fn remove(&self, key: &SessionKey, epoch: Option<Epoch>) -> Result<bool, BackendError> {
        loop {
            let Some((mut record, seq)) = self.record(key, Instant::now()).await? else {
                return Ok(false);
            };
            if record.gone {
                self.finish(key, &record, seq).await?;
                return Ok(false);
            }
            if epoch.is_some_and(|epoch| record.epoch != epoch.as_str()) {
                return Ok(false);
            }
            record.gone = true;
            record.dying.push(record.place.clone());
            let putting = self.put_record(key, &record, seq, false, Instant::now());
            if let Some(seq) = putting.await? {
                self.finish(key, &record, seq).await?;
                return Ok(true);
            }
        }
    }

    /// Hears this stream, made at that time, from now on; whoever waits looks once more when that begins.
    pub(crate) async fn listen(&self, stream: String, created: String) -> Result<(), BackendError> {
        let mut readers = self.readers.lock().await;
        if readers.get(&stream).is_some_and(|(of, _)| *of == created) {
            return Ok(());
        }
        let (ready, begun) = oneshot::channel();
        let hearing = hear(
            Arc::clone(&self.store),
            self.wakes.clone(),
            stream.clone(),
            ready,
        );
        let reader = Reading(tokio::spawn(hearing).abort_handle());
        let begun = tokio::time::timeout(self.store.link.options().patience, begun).await;
        if !matches!(begun, Ok(Ok(()))) {
            return Err(unavailable("the changes of logs cannot be heard"));
        }
        readers.insert(stream, (created, reader));
        Ok(())
    }

    /// Sees to it that the streams are there. When that of the tenant's events was made.
    async fn ensure(&self, tenant: &Tenant) -> Result<String, BackendError> {
        let names = &self.store.names;
        let (created, found) = streams::of_records(&self.store).await?;
        if !durability(&found).covers(self.durability) {
            return Err(unavailable("the streams keep less than they did"));
        }
        self.listen(names.records(), created).await?;
        streams::of_tenant(&self.store, &self.settings, tenant).await
    }

    fn core(
        self: &Arc<Self>,
        key: &SessionKey,
        record: &Record,
    ) -> Result<Arc<Core>, BackendError> {
        let epoch = record.epoch.parse();
        let epoch = epoch.map_err(|_| corrupt(format!("record of {key}")))?;
        let mut cores = self.cores.lock().unwrap_or_else(PoisonError::into_inner);
        let subject = self.store.names.log(key, &record.place);
        if let Some(core) = cores.get(&subject).and_then(Weak::upgrade) {
            return Ok(core);
        }
        let core = Arc::new(Core::new(self, key, epoch, &record.place));
        cores.insert(subject, Arc::downgrade(&core));
        Ok(core)
    }

    /// Forgets a log whose last handle is gone.
    pub(crate) fn forget(&self, subject: &str) {
        let mut cores = self.cores.lock().unwrap_or_else(PoisonError::into_inner);
        if cores
            .get(subject)
            .is_some_and(|core| core.strong_count() == 0)
        {
            cores.remove(subject);
        }
    }

    /// Finds or makes the record that is asked for, and whether it was made.
    async fn find_or_make(
        &self,
        key: &SessionKey,
        options: &OpenOptions,
    ) -> Result<(Record, u64, bool), BackendError> {
        let mut made = Record {
            epoch: options.new_epoch.as_str().to_owned(),
            place: self.unique(),
            attributes: options.attributes.to_string(),
            oldest: 0,
            oldest_seq: 0,
            used: false,
            gone: false,
            dying: Vec::new(),
        };
        loop {
            let found = self.record(key, Instant::now()).await?;
            let expected = found.as_ref().map_or(0, |(_, seq)| *seq);
            made.dying.clear();
            match found {
                Some((record, seq)) if record.gone => {
                    self.finish(key, &record, seq).await?;
                    if options.incarnation == Incarnation::Current {
                        return Err(BackendError::NotFound);
                    }
                    continue;
                }
                None if options.incarnation == Incarnation::Current => {
                    return Err(BackendError::NotFound);
                }
                Some((record, seq)) if options.incarnation != Incarnation::New => {
                    return Ok((record, seq, false));
                }
                Some((record, _)) => {
                    made.dying.extend(record.dying);
                    made.dying.push(record.place);
                }
                None => {}
            }
            let putting = self.put_record(key, &made, expected, false, Instant::now());
            if let Some(seq) = putting.await? {
                return Ok((made, seq, true));
            }
        }
    }
}

impl NatsBackend {
    /// Connects to `nats://[USER:PASSWORD@]HOST[:PORT]`, or to one of several servers of a cluster,
    /// separated by commas; a token may stand in the place of user and password. `tls://` instead of
    /// `nats://` asks for TLS, which is spoken anyway with a server that asks for it. Behind a `?` may
    /// stand `replicas=N`, `storage=file|memory`, `max_bytes=N`, `prefix=NAME`, `credentials=FILE`,
    /// `ca=FILE`, and `cert=FILE` with `key=FILE`, separated by `&`, which go before the options. One
    /// connection is held, and made anew when it breaks.
    ///
    /// The stream of what is known of logs is made here unless it is there, and what acknowledged
    /// events survive is read from it.
    ///
    /// Must be called on a tokio runtime, which has to live as long as the backend. Cancel safe.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(url: &str, mut options: NatsOptions) -> Result<Self, ConnectError> {
        let url = options.take_query(url);
        let url = url.map_err(|name| ConnectError::Setting { name })?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        if options.prefix.is_empty() || !options.prefix.chars().all(is_plain) {
            let prefix = options.prefix;
            return Err(ConnectError::Prefix { prefix });
        }
        let names = Names::new(&options.prefix);
        let link = Link::connect(url, options).await?;
        let max_payload = link.client().max_payload().min(BATCH_BYTES + OVERHEAD);
        let store = Arc::new(Store { link, names });
        let (created, settings) = streams::of_records(&store)
            .await
            .map_err(ConnectError::Server)?;
        let shared = Shared {
            durability: durability(&settings),
            few: streams::few(&settings),
            max_batch_bytes: max_payload.saturating_sub(OVERHEAD) as u64,
            settings,
            wakes: Wakes::new(),
            cores: Mutex::default(),
            readers: tokio::sync::Mutex::default(),
            process: format!("{:016x}-", RandomState::new().hash_one(())),
            count: AtomicU64::new(0),
            store,
        };
        let records = shared.store.names.records();
        let hearing = shared.listen(records, created);
        hearing.await.map_err(ConnectError::Server)?;
        Ok(Self(Arc::new(shared)))
    }
}

#[async_trait]
impl Backend for NatsBackend {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::volatile(NAME);
        capabilities.durability = self.0.durability;
        capabilities.survives_restart = self.0.durability != Durability::Volatile;
        capabilities.shared = true;
        capabilities.reads_order = true;
        capabilities.max_batch_bytes = Some(self.0.max_batch_bytes);
        capabilities
    }

    async fn open(&self, key: &SessionKey, options: OpenOptions) -> Result<Opened, BackendError> {
        let shared = &self.0;
        let is_wanted = options.incarnation != Incarnation::Current;
        if !is_wanted && shared.record(key, Instant::now()).await?.is_none() {
            return Err(BackendError::NotFound);
        }
        let made = shared.ensure(&key.tenant).await?;
        let (mut record, seq, created) = shared.find_or_make(key, &options).await?;
        if !record.dying.is_empty() {
            shared.bury(key, &record.dying).await?;
            let attributes = record.attributes.clone();
            record.dying.clear();
            // Whoever changes it meanwhile leaves this to the next open.
            let putting = shared.put_record(key, &record, seq, true, Instant::now());
            putting.await?;
            record.attributes = attributes;
        }
        let core = shared.core(key, &record)?;
        let facts = core.facts().await?;
        Ok(Opened {
            epoch: core.epoch,
            created,
            oldest: facts.oldest,
            latest: facts.latest,
            seal: facts.seal,
            attributes: record.attributes.into(),
            log: LogHandle::Stored(Arc::new(NatsLog { core, made })),
        })
    }

    async fn last_seq(&self, tenant: &Tenant) -> Result<Seq, BackendError> {
        let stream = self.0.store.names.events(tenant);
        let info = self.0.store.info(&stream).await?;
        Ok(Seq(info.map_or(0, |info| info.state.last_seq)))
    }

    async fn order_epoch(&self, tenant: &Tenant, _: Epoch) -> Result<Epoch, BackendError> {
        self.0.ensure(tenant).await?;
        let stream = self.0.store.names.events(tenant);
        let info = self.0.store.info(&stream).await?;
        let info = info.ok_or_else(|| unavailable("the stream of a tenant is gone"))?;
        let made: Timestamp = info.created.parse().map_err(|_| corrupt("stream"))?;
        // A stream that is made anew counts anew, and is made at another time.
        let low = (Fingerprint::of(&info.created) & u64::from(u32::MAX)) as u32;
        let millis = u64::try_from(made.as_millisecond()).unwrap_or_default();
        Ok(Epoch::from_parts(millis, low))
    }

    async fn read_order(
        &self,
        tenant: &Tenant,
        after: Seq,
        limit: ReadLimit,
    ) -> Result<OrderPage, BackendError> {
        order::read(&self.0, tenant, after, limit).await
    }

    async fn watch_order(&self, tenant: &Tenant, after: Seq) -> Result<Watch, BackendError> {
        let store = &self.0.store;
        let stream = store.names.events(tenant);
        let look = async {
            let Some(info) = store.info(&stream).await? else {
                self.0.ensure(tenant).await?;
                return Ok(true);
            };
            self.0.listen(stream.clone(), info.created).await?;
            Ok(info.state.last_seq > after.0)
        };
        self.0.wakes.watch(&stream, after.0, look).await
    }

    async fn list(
        &self,
        tenant: &Tenant,
        options: ListOptions,
    ) -> Result<StoredPage, BackendError> {
        let names = &self.0.store.names;
        let (stream, filter) = (names.records(), names.records_of(tenant));
        let asking = self.0.store.subjects(&stream, &filter);
        let mut keys = Vec::new();
        for subject in asking.await? {
            let key = names
                .log_of(&subject)
                .and_then(|name| parse_log_name(tenant, name));
            keys.push(key.ok_or_else(|| corrupt(format!("subject {subject}")))?);
        }
        keys.retain(|key| options.after.as_ref().is_none_or(|after| key > after));
        keys.sort();
        let more = keys.len() > options.limit;
        keys.truncate(options.limit);
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
        let names = &self.0.store.names;
        let info = self.0.store.info(&names.records()).await?;
        match info.map(|info| durability(&info.into())) {
            Some(durability) if durability.covers(self.0.durability) => Ok(()),
            Some(_) => Err(unavailable("the streams keep less than they did")),
            None => Err(unavailable("the stream of logs is gone")),
        }
    }
}
