//! The threads that read, each with a connection of its own.

use std::fmt;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::directory::Directory;
use crate::error::StoreError;
use crate::store;

type Job = Box<dyn FnOnce(&Connection) + Send>;

/// Where reads are handed in. Whoever waits for none any more has dropped its answer, and is skipped.
pub(crate) struct Readers(Sender<Job>);

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readers").finish_non_exhaustive()
    }
}

impl Readers {
    /// Starts the threads, which end when this is dropped.
    pub(crate) fn start(
        directory: &Arc<Directory>,
        count: usize,
    ) -> Result<(Self, Vec<JoinHandle<()>>), StoreError> {
        let (jobs, receiver) = channel();
        let receiver = Arc::new(Mutex::new(receiver));
        let mut threads = Vec::with_capacity(count);
        for n in 0..count {
            let db = store::connect(directory)?;
            db.pragma_update(None, "query_only", true)?;
            let (receiver, directory) = (Arc::clone(&receiver), Arc::clone(directory));
            let thread = thread::Builder::new().name(format!("archive-read-{n}"));
            let thread = thread.spawn(move || {
                work(&db, &receiver);
                drop(db);
                drop(directory);
            });
            threads.push(thread.map_err(|_| StoreError::Closed)?);
        }
        Ok((Self(jobs), threads))
    }

    /// Reads what is committed, as it was at one moment.
    ///
    /// # Cancel safety
    /// A dropped future reads nothing, or in vain.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |db| {
            if reply.is_closed() {
                return;
            }
            // Nobody may be waiting any more.
            let _ = reply.send(in_snapshot(db, read));
        });
        self.0.send(job).map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

fn in_snapshot<T>(
    db: &Connection,
    read: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let snapshot = db.unchecked_transaction()?;
    let read = read(&snapshot);
    snapshot.finish()?;
    read
}

fn work(db: &Connection, jobs: &Mutex<Receiver<Job>>) {
    loop {
        // The lock is held while waiting: whoever has it gets the next job, the others wait for it.
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(job) => job(db),
            Err(_) => return,
        }
    }
}
