//! Subscriptions that begin in an archive and pass into the live bus.

#![allow(
    clippy::unwrap_used,
    reason = "in a test an unwrap that fails is the failure"
)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{LIMITS, bus, bus_with, draft, event, key, publish};
use reveille_backend::{
    Archive, ArchiveBatch, ArchiveCursor, ArchiveError, ArchiveId, ArchivePage, BackendError,
    ReplayFrom, ReplayQuery, Watermark,
};
use reveille_bus::{Bus, BusItem, BusStart, BusSubscription, EventBus, SubscribeOptions};
use reveille_memory::MemoryArchive;
use reveille_queue::TailLimits;
use reveille_types::{Epoch, Filter, GapReason, PositionRanges, Seq, Tenant};

fn id(n: u32) -> ArchiveId {
    ArchiveId(Epoch::from_parts(1_700_000_000_000, n))
}

fn archive() -> Arc<MemoryArchive> {
    Arc::new(MemoryArchive::new(id(1)))
}

fn from(archive: &Arc<MemoryArchive>, filter: Filter, start: BusStart) -> SubscribeOptions {
    let archive: Arc<dyn Archive> = archive.clone();
    SubscribeOptions::matching(filter)
        .capacity(1_000_000)
        .from(start)
        .archive(archive)
}

fn limits(events: usize) -> TailLimits {
    TailLimits {
        events,
        bytes: usize::MAX,
    }
}

async fn fill(bus: &Bus, count: usize) {
    for n in 0..count {
        publish(bus, "s", if n % 2 == 0 { "even" } else { "odd" }).await;
    }
}

/// Publishes and archives them all.
async fn archived(bus: &Bus, archive: &Arc<MemoryArchive>, count: usize) {
    let mut archiving = bus.archive_into(archive.clone());
    fill(bus, count).await;
    assert!(archiving.caught_up().await);
    archiving.stop().await;
}

/// The sequence numbers of the next events.
async fn read(events: &mut BusSubscription, count: usize) -> Vec<u64> {
    let mut seqs = Vec::new();
    while seqs.len() < count {
        seqs.push(event(events).await.event.place().seq.0);
    }
    seqs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f003_18_archive_and_live_bus_join_without_a_gap_or_a_repetition() {
    const ALL: u64 = 3_000;
    // The bus itself keeps but a part of it.
    let bus = bus_with(limits(200)).await;
    let archive = archive();
    let mut archiving = bus.archive_into(archive.clone());
    let mut readers = Vec::new();
    for step in 0..ALL / 50 {
        // Wherever publisher and archive stand just then.
        let events = bus.subscribe(from(&archive, Filter::all(), BusStart::Earliest));
        let mut events = events.unwrap();
        readers.push(tokio::spawn(async move {
            let count = usize::try_from(ALL).unwrap();
            read(&mut events, count).await
        }));
        fill(&bus, 50).await;
        if step % 3 == 0 {
            assert!(archiving.caught_up().await);
        }
    }
    let all: Vec<u64> = (1..=ALL).collect();
    for reader in readers {
        assert_eq!(reader.await.unwrap(), all);
    }
    archiving.stop().await;
}

#[tokio::test]
async fn f003_18_every_archive_cursor_resumes_exactly() {
    let bus = bus().await;
    let archive = archive();
    archived(&bus, &archive, 20).await;
    fill(&bus, 4).await;
    let filter = Filter::matching("odd").unwrap();
    let mut events = bus
        .subscribe(from(&archive, filter.clone(), BusStart::Earliest))
        .unwrap();
    let (mut all, mut cursors) = (Vec::new(), Vec::new());
    for _ in 0..12 {
        let frame = event(&mut events).await;
        all.push(frame.event.place().seq.0);
        cursors.push((frame.cursor, frame.archived));
    }
    assert_eq!(all, (1..=12).map(|n| n * 2).collect::<Vec<u64>>());
    for (n, (cursor, archived)) in cursors.into_iter().enumerate() {
        assert_eq!(
            archived.is_some(),
            n < 10,
            "live frames are not archived yet"
        );
        let starts = archived.map(|place| BusStart::Archived(*place)).into_iter();
        for start in starts.chain([BusStart::After(cursor)]) {
            let again = bus.subscribe(from(&archive, filter.clone(), start));
            assert_eq!(read(&mut again.unwrap(), 11 - n).await, all[n + 1..]);
        }
    }
}

#[tokio::test]
async fn f003_20_a_cursor_of_a_bus_that_is_gone_goes_on_in_the_archive() {
    let archive = archive();
    let old = bus().await;
    archived(&old, &archive, 10).await;
    let cursor = old.cursor(Seq(7), &Filter::all());
    drop(old);

    let bus = bus().await;
    let refused = bus.subscribe(SubscribeOptions::default().from(BusStart::After(cursor)));
    assert_eq!(refused.unwrap_err().code(), "cursor_epoch_mismatch");
    archived(&bus, &archive, 2).await;
    fill(&bus, 1).await;
    let mut events = bus
        .subscribe(from(&archive, Filter::all(), BusStart::After(cursor)))
        .unwrap();
    assert_eq!(read(&mut events, 6).await, [8, 9, 10, 1, 2, 3]);
    assert_eq!(events.cursor(), bus.cursor(Seq(3), &Filter::all()));
}

/// 003-F20: what live retention has taken comes from the archive, and then the stream is live.
#[tokio::test]
async fn f003_20_a_slow_reader_finds_in_the_archive_what_is_no_longer_retained() {
    let bus = bus_with(limits(5)).await;
    let archive = archive();
    let mut events = bus
        .subscribe(from(&archive, Filter::all(), BusStart::Latest))
        .unwrap();
    fill(&bus, 1).await;
    assert_eq!(read(&mut events, 1).await, [1]);
    let mut archiving = bus.archive_into(archive.clone());
    for _ in 0..10 {
        fill(&bus, 4).await;
        assert!(archiving.caught_up().await);
    }
    assert_eq!(read(&mut events, 40).await, (2..=41).collect::<Vec<u64>>());
    archiving.stop().await;
    // Without somebody who archives, what is gone is gone, and told.
    fill(&bus, 10).await;
    let BusItem::Gap(gap) = events.next().await.unwrap().unwrap() else {
        panic!("what is missing is told first");
    };
    assert_eq!(gap.reason, GapReason::Expired);
    assert_eq!(
        (gap.missed, gap.ranges.as_slice()),
        (Some(5), &[(42, 46)][..])
    );
    assert_eq!(read(&mut events, 5).await, (47..=51).collect::<Vec<u64>>());
}

#[tokio::test]
async fn what_was_gone_before_it_was_archived_is_a_gap_of_the_replay() {
    let bus = bus_with(limits(5)).await;
    fill(&bus, 12).await;
    let archive = archive();
    archived(&bus, &archive, 0).await;
    let mut events = bus
        .subscribe(from(&archive, Filter::all(), BusStart::Earliest))
        .unwrap();
    let BusItem::Gap(gap) = events.next().await.unwrap().unwrap() else {
        panic!("what is missing is told first");
    };
    assert_eq!(
        (gap.missed, gap.ranges.as_slice()),
        (Some(7), &[(1, 7)][..])
    );
    assert_eq!(read(&mut events, 5).await, [8, 9, 10, 11, 12]);
}

/// 003-D21: a cursor of another archive, or none at all, is an error and never a replay of anything.
#[tokio::test]
async fn d003_21_a_place_that_is_not_in_the_archive_is_refused() {
    let bus = bus().await;
    let archive = archive();
    archived(&bus, &archive, 3).await;
    let cursor = |id, position: u64| ArchiveCursor {
        archive: id,
        position: reveille_types::Position(position),
    };
    let code = |start, archive: Option<&Arc<MemoryArchive>>| {
        let options = match archive {
            Some(archive) => from(archive, Filter::all(), start),
            None => SubscribeOptions::default().from(start),
        };
        bus.subscribe(options).unwrap_err().code()
    };
    let foreign = BusStart::Archived(cursor(id(2), 1));
    assert_eq!(code(foreign, Some(&archive)), "archive_mismatch");
    assert_eq!(code(foreign, None), "archive_required");
    assert!("garbage".parse::<ArchiveCursor>().is_err());
    assert!("a.01hkzz5rr0000001.x".parse::<ArchiveCursor>().is_err());

    let ahead = BusStart::Archived(cursor(id(1), 4));
    let mut events = bus.subscribe(from(&archive, Filter::all(), ahead)).unwrap();
    let error = events.next().await.unwrap().unwrap_err();
    assert_eq!(error.code(), "archive_cursor_ahead");
    assert!(events.next().await.is_none());

    let other = common::bus().await.cursor(Seq(1), &Filter::all());
    let unknown = from(&archive, Filter::all(), BusStart::After(other));
    let mut events = bus.subscribe(unknown).unwrap();
    let error = events.next().await.unwrap().unwrap_err();
    assert_eq!(error.code(), "archive_unknown_place");
    let scope = from(
        &archive,
        Filter::matching("odd").unwrap(),
        BusStart::After(other),
    );
    assert_eq!(
        bus.subscribe(scope).unwrap_err().code(),
        "cursor_scope_mismatch"
    );
}

/// 003-D21: two writers do not interleave.
#[tokio::test]
async fn d003_21_an_archive_takes_only_what_comes_next() {
    let bus = bus().await;
    fill(&bus, 4).await;
    let archive = archive();
    let epoch = bus.tail().epoch();
    let batch = |after: u64, through: u64| ArchiveBatch {
        tenant: Tenant::default_tenant(),
        epoch,
        after: Seq(after),
        through: Seq(through),
        events: (after + 1..=through)
            .filter_map(|seq| bus.tail().get(Seq(seq)))
            .collect(),
        missing: PositionRanges::new(),
    };
    archive.append(batch(0, 2)).await.unwrap();
    for wrong in [(0, 2), (1, 3), (3, 4)] {
        let refused = archive.append(batch(wrong.0, wrong.1)).await.unwrap_err();
        let ArchiveError::OutOfOrder { watermark } = refused else {
            panic!("{refused}");
        };
        assert_eq!(watermark, Some(Watermark { epoch, seq: Seq(2) }));
    }
    archive.append(batch(2, 4)).await.unwrap();
    // Two at once end with each event once.
    let (one, mut two) = (
        bus.archive_into(archive.clone()),
        bus.archive_into(archive.clone()),
    );
    fill(&bus, 20).await;
    assert!(two.caught_up().await);
    one.stop().await;
    let query = ReplayQuery::new(
        Tenant::default_tenant(),
        Filter::all(),
        ReplayFrom::Earliest,
    );
    let page = archive.replay(&query).await.unwrap();
    assert_eq!(page.items.len(), 24);
}

#[tokio::test]
async fn an_archive_is_bounded_and_says_what_it_dropped() {
    let bus = bus().await;
    let archive = Arc::new(MemoryArchive::with_capacity(id(1), 4));
    archived(&bus, &archive, 10).await;
    let tenant = Tenant::default_tenant();
    let page = |from| {
        let (archive, tenant) = (archive.clone(), tenant.clone());
        async move {
            let query = ReplayQuery::new(tenant, Filter::all(), from);
            let page = archive.replay(&query).await.unwrap();
            let gone: Vec<_> = page
                .items
                .iter()
                .filter_map(|item| match item {
                    reveille_backend::Archived::Missing { ranges, .. } => {
                        Some(ranges.as_slice().to_vec())
                    }
                    reveille_backend::Archived::Event { .. } => None,
                })
                .collect();
            (gone, page.items.len())
        }
    };
    let epoch = bus.tail().epoch();
    assert_eq!(page(ReplayFrom::Earliest).await, (vec![], 4));
    let after = |seq| {
        ReplayFrom::AfterSeq(Watermark {
            epoch,
            seq: Seq(seq),
        })
    };
    assert_eq!(page(after(2)).await, (vec![vec![(3, 6)]], 5));
    assert_eq!(page(after(6)).await, (vec![], 4));
    let first = ArchiveCursor {
        archive: id(1),
        position: reveille_types::Position(1),
    };
    assert_eq!(page(ReplayFrom::After(first)).await, (vec![vec![]], 5));
}

/// Fails every other time.
#[derive(Debug)]
struct Unsteady {
    inner: MemoryArchive,
    /// Of each operation.
    calls: [AtomicUsize; 2],
}

impl Unsteady {
    fn fail(&self, operation: usize) -> Result<(), ArchiveError> {
        match self.calls[operation].fetch_add(1, Ordering::Relaxed) % 2 {
            0 => Err(ArchiveError::Backend(BackendError::NotFound)),
            _ => Ok(()),
        }
    }
}

#[async_trait::async_trait]
impl Archive for Unsteady {
    fn id(&self) -> ArchiveId {
        self.inner.id()
    }

    async fn watermark(&self, tenant: &Tenant) -> Result<Option<Watermark>, ArchiveError> {
        self.fail(0)?;
        self.inner.watermark(tenant).await
    }

    async fn append(&self, batch: ArchiveBatch) -> Result<ArchiveCursor, ArchiveError> {
        self.fail(1)?;
        self.inner.append(batch).await
    }

    async fn replay(&self, query: &ReplayQuery) -> Result<ArchivePage, ArchiveError> {
        self.inner.replay(query).await
    }
}

/// 003-F19: publishing depends neither on subscribers nor on the archive.
#[tokio::test(start_paused = true)]
async fn f003_19_an_archive_that_fails_is_tried_again_and_nobody_waits_for_it() {
    let bus = bus_with(LIMITS).await;
    let archive = Arc::new(Unsteady {
        inner: MemoryArchive::new(id(1)),
        calls: Default::default(),
    });
    let mut archiving = bus.archive_into(archive.clone());
    for _ in 0..5 {
        bus.publish(key("s"), vec![draft("a"), draft("b")])
            .await
            .unwrap();
        assert!(archiving.caught_up().await);
    }
    let query = ReplayQuery::new(
        Tenant::default_tenant(),
        Filter::all(),
        ReplayFrom::Earliest,
    );
    assert_eq!(archive.replay(&query).await.unwrap().items.len(), 10);
    assert_eq!(archiving.archived_to(), Seq(10));
}
