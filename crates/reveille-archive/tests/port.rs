//! The archive port: what a bus has shown is replayed in its order, over restarts.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod common;

use std::sync::Arc;

use common::{archive, entry, key};
use reveille_archive::ArchiveBackend;
use reveille_backend::{
    Archive, ArchiveBatch, ArchiveError, ArchivePage, Archived, ReplayFrom, ReplayQuery, Watermark,
};
use reveille_types::{Epoch, Event, Filter, Place, Position, PositionRanges, Seq, Tenant};
use tempfile::TempDir;

fn epoch(n: u32) -> Epoch {
    Epoch::from_parts(1, n)
}

fn event(seq: u64) -> Event {
    entry(&seq.to_string(), 10).event.at(Place {
        session: Arc::new(key("run/a/b")),
        epoch: epoch(9),
        position: Position(seq + 100),
        seq: Seq(seq),
    })
}

fn batch(n: u32, after: u64, through: u64, events: &[u64], missing: &[(u64, u64)]) -> ArchiveBatch {
    ArchiveBatch {
        tenant: Tenant::default_tenant(),
        epoch: epoch(n),
        after: Seq(after),
        through: Seq(through),
        events: events.iter().map(|seq| event(*seq)).collect(),
        missing: missing.iter().copied().collect::<PositionRanges>(),
    }
}

fn mark(n: u32, seq: u64) -> Watermark {
    Watermark {
        epoch: epoch(n),
        seq: Seq(seq),
    }
}

async fn replay(
    archive: &ArchiveBackend,
    from: ReplayFrom,
    limit: usize,
) -> Result<ArchivePage, ArchiveError> {
    let mut query = ReplayQuery::new(Tenant::default_tenant(), Filter::all(), from);
    query.limit = limit;
    archive.replay(&query).await
}

/// Events by their number, missing ranges as text.
fn told(page: &ArchivePage) -> Vec<String> {
    let tell = |item: &Archived| match item {
        Archived::Event { event, .. } => event.id().to_string(),
        Archived::Missing { ranges, .. } => format!("{:?}", ranges.as_slice()),
    };
    page.items.iter().map(tell).collect()
}

#[tokio::test]
async fn what_was_shown_is_replayed_in_order_over_a_restart() {
    let dir = TempDir::new().unwrap();
    let tenant = Tenant::default_tenant();
    let id = {
        let archive = archive(dir.path());
        let nothing = replay(&archive, ReplayFrom::Earliest, 10).await.unwrap();
        assert_eq!((nothing.items.len(), nothing.end), (0, Some(None)));
        archive
            .append(batch(1, 0, 4, &[1, 4], &[(2, 3)]))
            .await
            .unwrap();
        archive.append(batch(1, 4, 6, &[5], &[])).await.unwrap();
        archive.append(batch(2, 7, 9, &[8, 9], &[])).await.unwrap();
        archive.id()
    };
    let archive = archive(dir.path());
    assert_eq!(archive.id(), id);
    assert_eq!(archive.watermark(&tenant).await.unwrap(), Some(mark(2, 9)));
    let all = replay(&archive, ReplayFrom::Earliest, 10).await.unwrap();
    assert_eq!(told(&all), ["1", "[(2, 3)]", "4", "5", "8", "9"]);
    assert_eq!(all.end, Some(Some(mark(2, 9))));
    let Archived::Event { event: first, .. } = &all.items[0] else {
        panic!("an event is first");
    };
    assert_eq!(*first, event(1));

    // A page at a time, every event once.
    let (mut from, mut paged) = (ReplayFrom::Earliest, Vec::new());
    loop {
        let page = replay(&archive, from, 1).await.unwrap();
        paged.extend(told(&page));
        if page.end.is_some() {
            break;
        }
        from = ReplayFrom::After(page.next);
    }
    assert_eq!(paged, told(&all));

    // After a place of an order; the order of the first bus ends at 6.
    for (after, rest) in [
        (mark(1, 4), 3),
        (mark(1, 6), 2),
        (mark(2, 8), 1),
        (mark(2, 9), 0),
    ] {
        let page = replay(&archive, ReplayFrom::AfterSeq(after), 10)
            .await
            .unwrap();
        assert_eq!(page.items.len(), rest, "{after:?}");
    }
}

#[tokio::test]
async fn wrong_places_are_refused() {
    let (dir, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (archive, other) = (archive(dir.path()), common::archive(other.path()));
    let end = archive.append(batch(1, 0, 2, &[1, 2], &[])).await.unwrap();
    other.append(batch(1, 0, 2, &[1, 2], &[])).await.unwrap();
    let refused = other.append(batch(1, 1, 3, &[3], &[])).await.unwrap_err();
    assert_eq!(refused.code(), "archive_out_of_order");
    let mut ahead = end;
    ahead.position = Position(3);
    for (archive, from, code) in [
        (&other, ReplayFrom::After(end), "archive_mismatch"),
        (&archive, ReplayFrom::After(ahead), "archive_cursor_ahead"),
        (
            &archive,
            ReplayFrom::AfterSeq(mark(1, 3)),
            "archive_unknown_place",
        ),
        (
            &archive,
            ReplayFrom::AfterSeq(mark(7, 1)),
            "archive_unknown_place",
        ),
    ] {
        assert_eq!(replay(archive, from, 10).await.unwrap_err().code(), code);
    }
    let mut foreign = ReplayQuery::new(
        Tenant::parse("other").unwrap(),
        Filter::all(),
        ReplayFrom::Earliest,
    );
    foreign.limit = 10;
    assert!(archive.replay(&foreign).await.unwrap().items.is_empty());
}
