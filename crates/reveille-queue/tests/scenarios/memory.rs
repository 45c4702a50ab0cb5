//! A payload may be anybody's memory: letting go of it runs their code, which must find no lock held.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use reveille_memory::MemoryBackend;
use reveille_queue::{
    AppendOptions, QueueLimits, SessionLog, SessionOptions, Sessions, TailLimits, TakeOptions,
    TakeOutcome,
};
use reveille_types::{EventDraft, Payload, Position, Start, Tenant};

use crate::support::{append, create, draft, key, ms};

/// Memory that looks at everything when it is let go of.
struct Memory {
    sessions: Sessions,
    released: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for Memory {
    fn as_ref(&self) -> &[u8] {
        b"x"
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // Each of these would wait for ever if its lock were held.
        let _ = self.sessions.list(
            &Tenant::default_tenant(),
            &reveille_queue::ListOptions::first(10),
        );
        let tail = self.sessions.tail(&Tenant::default_tenant()).unwrap();
        let _ = tail.info();
        self.released.fetch_add(1, Ordering::Relaxed);
    }
}

struct Run {
    sessions: Sessions,
    released: Arc<AtomicUsize>,
}

impl Run {
    fn draft(&self) -> EventDraft {
        let memory = Memory {
            sessions: self.sessions.clone(),
            released: Arc::clone(&self.released),
        };
        let payload = Payload::bytes(None, Bytes::from_owner(memory)).unwrap();
        draft("a").with_payload(payload)
    }

    fn append(&self, log: &SessionLog) {
        let drafts = [self.draft()];
        log.try_append(drafts, AppendOptions::default()).unwrap();
    }

    /// How many were let go of since the last call.
    fn released(&self) -> usize {
        self.released.swap(0, Ordering::Relaxed)
    }
}

/// Runs the scenario on a thread of its own, so that a deadlock is a failure and not a hang.
fn without_deadlock(scenario: impl FnOnce(Run) + Send + 'static) {
    let (tell, told) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let mut limits = QueueLimits::default();
        limits.kept_events_per_group = 2;
        limits.batch_events = 10;
        let sessions = Sessions::builder(MemoryBackend::new())
            .limits(limits)
            .tail(TailLimits {
                events: 1,
                bytes: 1,
            })
            .build();
        scenario(Run {
            sessions,
            released: Arc::default(),
        });
        let _ = tell.send(());
    });
    let outcome = told.recv_timeout(Duration::from_secs(60));
    assert!(
        outcome != Err(std::sync::mpsc::RecvTimeoutError::Timeout),
        "a lock was held"
    );
    thread.join().unwrap();
}

fn now<T>(future: impl Future<Output = T>) -> T {
    futures_util::FutureExt::now_or_never(future).unwrap()
}

#[test]
fn evicted_events_are_let_go_of_after_the_lock() {
    without_deadlock(|run| {
        let log = create(
            &run.sessions,
            "s",
            SessionOptions::default().max_events(3).max_deliveries(1),
        );
        (0..10).for_each(|_| run.append(&log));
        assert_eq!(run.released(), 7);

        // By what a group does with them.
        let group = TakeOptions::new().group;
        let lease = TakeOptions::new().lease(ms(60_000)).max(3);
        let TakeOutcome::Taken { taken, .. } = now(log.take(lease)).unwrap() else {
            panic!("three are there");
        };
        let leases: Vec<_> = taken.iter().map(|t| t.lease.as_ref().unwrap().id).collect();
        drop(taken);
        append(&log, &["b"; 3]);
        assert_eq!(run.released(), 1, "two of three may be kept");
        now(log.ack(&group, leases[2])).unwrap();
        assert_eq!(run.released(), 1);
        now(log.nack(&group, leases[1])).unwrap();
        assert!(now(log.discard_dead_letter(&group, Position(8))).unwrap());
        assert_eq!(run.released(), 1);

        // By the removal of the session, by the skip of a group.
        run.append(&log);
        let lease = TakeOptions::new().lease(ms(60_000)).max(9);
        drop(now(log.take(lease)).unwrap());
        now(log.skip_to(&group, Start::Latest)).unwrap();
        now(run.sessions.remove(&key("s"))).unwrap();
        assert_eq!(run.released(), 1);
    });
}

#[test]
fn refused_and_repeated_events_are_let_go_of_after_the_lock() {
    without_deadlock(|run| {
        let log = create(&run.sessions, "s", SessionOptions::default());
        let expecting = AppendOptions::default().expecting(Position(5));
        assert!(log.try_append([run.draft()], expecting).is_err());
        assert_eq!(run.released(), 1);
        for _ in 0..2 {
            let mut keyed = run.draft();
            keyed.idempotency_key = Some("k".into());
            log.try_append([keyed], AppendOptions::default()).unwrap();
        }
        assert_eq!(run.released(), 1);
        now(log.close(None)).unwrap();
        assert!(
            log.try_append([run.draft()], AppendOptions::default())
                .is_err()
        );
        assert_eq!(run.released(), 1);
        now(run.sessions.remove(&key("s"))).unwrap();
        assert_eq!(run.released(), 1);
    });
}
