//! The archive: what has a directory open.

use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use async_trait::async_trait;
use reveille_backend::{
    Backend, BackendError, Capabilities, ListOptions, LogHandle, OpenOptions, Opened, OrderPage,
    ReadLimit, StoredPage,
};
use reveille_core::{IdSource, SystemIds};
use reveille_types::{Durability, Epoch, Seq, SessionKey, Tenant};
use tokio::sync::{Semaphore, oneshot};

use crate::directory::Directory;
use crate::error::{NAME, OpenError, StoreError};
use crate::keys::Times;
use crate::log::{ArchiveLog, MAX_BATCH_BYTES};
use crate::maintenance::Maintenance;
use crate::options::ArchiveOptions;
use crate::order;
use crate::readers::Readers;
use crate::store::{self, shown};
use crate::wal::{self, Recovery};
use crate::writer::{Answer, Change, Command, Failure, Pace, Writer};

/// Most changes that are under way at once; whoever asks for more waits.
const UNDER_WAY: usize = 4096;

/// Session logs in a directory. Clones are the same archive, which closes with the last of them and of the
/// handles of its logs.
///
/// ```
/// use reveille_archive::{ArchiveBackend, ArchiveOptions};
///
/// let dir = tempfile::tempdir()?;
/// let archive = ArchiveBackend::open(dir.path(), ArchiveOptions::default())?;
/// let refused = ArchiveBackend::open(dir.path(), ArchiveOptions::default());
/// assert_eq!(refused.unwrap_err().code(), "archive_locked");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct ArchiveBackend(Arc<Inner>);

/// An open archive.
#[derive(Debug)]
pub(crate) struct Inner {
    id: Epoch,
    durability: Durability,
    recovery: Recovery,
    times: Times,
    under_way: Arc<Semaphore>,
    /// There until it closes.
    ends: Option<(Sender<Command>, Readers)>,
    threads: std::sync::Mutex<Vec<JoinHandle<()>>>,
    _directory: Arc<Directory>,
}

impl ArchiveBackend {
    /// Opens the archive in a directory, which is made if it is not there. Blocks while it is read what an
    /// earlier process left.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(dir: impl AsRef<Path>, options: ArchiveOptions) -> Result<Self, OpenError> {
        let directory = Arc::new(Directory::open(dir.as_ref())?);
        let recovery = wal::check(&directory.wal(), options.durability)?;
        let db = store::open_writer(&directory, options.durability)?;
        let failed = |source: StoreError| match source {
            StoreError::Damaged { place } => OpenError::Damaged {
                path: directory.database(),
                place,
            },
            source => OpenError::Store {
                dir: directory.path().to_owned(),
                source,
            },
        };
        let times = Times::new();
        let id = shown::prepare(&db, new_id(times)).map_err(failed)?;
        let (maintenance, syncing) = Maintenance::start(&directory, &options).map_err(failed)?;
        let writer = Writer::new(db, options.retention, maintenance, times).map_err(failed)?;
        let (readers, mut threads) =
            Readers::start(&directory, options.readers.get()).map_err(failed)?;
        let (commands, receiver) = channel();
        let (kept, durability) = (Arc::clone(&directory), options.durability);
        let writing = thread::Builder::new().name("archive-write".to_owned());
        let writing = writing.spawn(move || {
            writer.run(&receiver, Pace::of(durability));
            drop(kept);
        });
        threads.push(writing.map_err(|_| failed(StoreError::Closed))?);
        threads.push(syncing);
        Ok(Self(Arc::new(Inner {
            id,
            durability: options.durability.level(),
            recovery,
            times,
            under_way: Arc::new(Semaphore::new(UNDER_WAY)),
            ends: Some((commands, readers)),
            threads: std::sync::Mutex::new(threads),
            _directory: directory,
        })))
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    /// What was found unfinished when the archive was opened.
    #[must_use]
    pub fn recovery(&self) -> Recovery {
        self.0.recovery
    }
}

fn new_id(times: Times) -> Epoch {
    let millis = times.unix_millis(Instant::now()).cast_unsigned();
    let [a, b, c, d, ..] = SystemIds.random_u64().to_le_bytes();
    Epoch::from_parts(millis, u32::from_le_bytes([a, b, c, d]))
}

impl Inner {
    /// What the cursors of the archive port name.
    pub(crate) fn id(&self) -> Epoch {
        self.id
    }

    pub(crate) fn durability(&self) -> Durability {
        self.durability
    }

    pub(crate) fn unix_millis(&self, at: Instant) -> i64 {
        self.times.unix_millis(at)
    }

    pub(crate) fn readers(&self) -> &Readers {
        // Taken out by the drop only.
        let (_, readers) = self.ends.as_ref().expect("the archive is open");
        readers
    }

    /// Asks the writer for a change.
    ///
    /// # Cancel safety
    /// A dropped future has asked for it or not; what was asked for goes on.
    pub(crate) async fn ask(&self, change: Change) -> Result<Answer, Failure> {
        let closed = || Failure::Store(StoreError::Closed.into());
        let permit = Arc::clone(&self.under_way).acquire_owned().await;
        let (reply, answer) = oneshot::channel();
        let command = Command {
            change,
            reply,
            _permit: permit.map_err(|_| closed())?,
        };
        let (commands, _) = self.ends.as_ref().ok_or_else(closed)?;
        commands.send(command).map_err(|_| closed())?;
        // The writer answers everything that it takes; if it has died, nobody knows.
        answer.await.unwrap_or(Err(Failure::Unknown))
    }

    /// Asks for a change that is stored or not, whatever the reply.
    pub(crate) async fn ask_store(&self, change: Change) -> Result<Answer, BackendError> {
        self.ask(change).await.map_err(|failure| match failure {
            Failure::Store(error) => error,
            Failure::Unknown => StoreError::SyncFailed.into(),
        })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The threads end when nobody can ask for anything any more.
        drop(self.ends.take());
        let threads = self
            .threads
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            // The last handle may go in a waker that one of them runs.
            if thread.thread().id() != thread::current().id() {
                // Its panic has been told.
                let _ = thread.join();
            }
        }
    }
}

#[async_trait]
impl Backend for ArchiveBackend {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::volatile(NAME);
        capabilities.durability = self.0.durability;
        capabilities.survives_restart = true;
        capabilities.reads_order = true;
        capabilities.max_batch_bytes = Some(MAX_BATCH_BYTES);
        capabilities
    }

    async fn open(&self, key: &SessionKey, options: OpenOptions) -> Result<Opened, BackendError> {
        let (log, created) = match self.0.ask_store(Change::Open(key.clone(), options)).await? {
            Answer::Opened(opened) => opened?,
            _ => return Err(StoreError::Closed.into()),
        };
        let info = log.info()?;
        Ok(Opened {
            epoch: info.epoch,
            created,
            oldest: info.oldest,
            latest: info.latest,
            seal: info.seal,
            attributes: log.attributes.clone(),
            log: LogHandle::Stored(Arc::new(ArchiveLog::new(Arc::clone(&self.0), log))),
        })
    }

    async fn last_seq(&self, tenant: &Tenant) -> Result<Seq, BackendError> {
        let tenant = tenant.clone();
        let read = self
            .0
            .readers()
            .read(move |db| store::tenant_seq(db, &tenant));
        Ok(read.await?)
    }

    async fn order_epoch(&self, tenant: &Tenant, _: Epoch) -> Result<Epoch, BackendError> {
        Ok(order::epoch(self.0.id, tenant))
    }

    async fn read_order(
        &self,
        tenant: &Tenant,
        after: Seq,
        limit: ReadLimit,
    ) -> Result<OrderPage, BackendError> {
        let tenant = tenant.clone();
        let read = self
            .0
            .readers()
            .read(move |db| order::read(db, &tenant, after, limit));
        Ok(read.await?)
    }

    async fn list(
        &self,
        tenant: &Tenant,
        options: ListOptions,
    ) -> Result<StoredPage, BackendError> {
        let tenant = tenant.clone();
        let ListOptions { after, limit, .. } = options;
        let read = self
            .0
            .readers()
            .read(move |db| store::list(db, &tenant, after.as_ref(), limit.saturating_add(1)));
        let mut keys = read.await?;
        let more = keys.len() > limit;
        keys.truncate(limit);
        Ok(StoredPage { keys, more })
    }

    async fn remove(&self, key: &SessionKey) -> Result<bool, BackendError> {
        match self.0.ask_store(Change::Remove(key.clone())).await? {
            Answer::Changed(removed) => removed,
            _ => Err(StoreError::Closed.into()),
        }
    }

    async fn health(&self) -> Result<(), BackendError> {
        let read = self.0.readers().read(|db| store::tenants(db).map(drop));
        Ok(read.await?)
    }
}
