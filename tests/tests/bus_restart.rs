//! Cursors of a bus outlive its process where the store keeps the order of events.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::path::Path;
use std::sync::Arc;

use reqwest::Method;
use reveille_archive::{ArchiveBackend, ArchiveDurability, ArchiveOptions};
use reveille_backend::Backend;
use reveille_bus::{
    Bus, BusItem, BusPage, BusStart, BusSubscription, EventBus, PageQuery, SubscribeOptions,
};
use reveille_e2e::append_file::AppendFile;
use reveille_e2e::{Program, SseReader, publish, soon};
use reveille_queue::{Sessions, TailLimits};
use reveille_testkit::{Broken, Fault, Faulty, Flaw, MemoryStore, Operation};
use reveille_types::{Cursor, EventDraft, Filter, GapReason, Seq, SessionKey, Tenant};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Events before the restart: more than are read at once.
const BEFORE: u64 = 600;

/// Opens what is in a directory; nothing while somebody still has it.
type Open = fn(&Path) -> Option<Arc<dyn Backend>>;

fn archive(dir: &Path) -> Option<Arc<dyn Backend>> {
    // A restart is not a loss of power: hundreds of appends need not wait for the disk.
    let mut options = ArchiveOptions::default();
    options.durability = ArchiveDurability::Os;
    match ArchiveBackend::open(dir, options) {
        Ok(archive) => Some(Arc::new(archive)),
        Err(error) => {
            assert_eq!(error.code(), "archive_locked");
            None
        }
    }
}

fn append_file(dir: &Path) -> Option<Arc<dyn Backend>> {
    Some(Arc::new(AppendFile::open(&dir.join("log")).unwrap()))
}

/// A bus of its own over what is in a directory, once the tasks of the one before have ended.
async fn bus_at(open: Open, dir: &Path) -> Bus {
    let opened = soon("the directory", async {
        loop {
            match open(dir) {
                Some(backend) => return backend,
                None => tokio::task::yield_now().await,
            }
        }
    });
    bus(opened.await).await
}

async fn bus_of(backend: Arc<dyn Backend>, tenant: &str) -> Bus {
    let sessions = Sessions::on(backend).tail(TailLimits::default()).build();
    Bus::open(sessions, Tenant::parse(tenant).unwrap())
        .await
        .unwrap()
}

async fn bus(backend: Arc<dyn Backend>) -> Bus {
    bus_of(backend, Tenant::default_tenant().as_str()).await
}

/// Every third event is odd, and all are in turn in three sessions.
async fn fill(bus: &Bus, from: u64, to: u64) {
    for n in from..=to {
        let kind = if n % 3 == 0 { "odd" } else { "plain" };
        let name = format!("s{}", n % 3);
        let key = SessionKey::in_tenant(bus.tenant().clone(), &name).unwrap();
        let draft = EventDraft::parse(kind).unwrap();
        let published = bus.publish(key, vec![draft]).await.unwrap();
        assert_eq!(published.cursor.place(), n);
    }
}

fn after(cursor: Cursor, filter: &Filter) -> SubscribeOptions {
    SubscribeOptions::matching(filter.clone()).from(BusStart::After(cursor))
}

/// What comes until the subscriber has caught up: events as they are, gaps as their ranges.
async fn read(events: &mut BusSubscription) -> (Vec<u64>, Vec<(u64, u64)>) {
    let (mut seqs, mut missing) = (Vec::new(), Vec::new());
    loop {
        match soon("an item", events.next()).await.unwrap().unwrap() {
            BusItem::Event(frame) => {
                assert_eq!(frame.cursor, events.cursor());
                assert_eq!(frame.archived, None);
                seqs.push(frame.event.place().seq.0);
            }
            BusItem::Gap(gap) => {
                assert_eq!(gap.reason, GapReason::Expired);
                missing.extend(gap.ranges.as_slice());
            }
            BusItem::CaughtUp(_) => return (seqs, missing),
            BusItem::Summary(_) => panic!("nothing is summarised"),
        }
    }
}

#[tokio::test]
async fn cursors_of_a_bus_resume_exactly_after_a_restart() {
    let odd = Filter::matching("odd").unwrap();
    for open in [archive as Open, append_file] {
        let dir = TempDir::new().unwrap();
        let before = bus_at(open, dir.path()).await;
        fill(&before, 1, BEFORE).await;
        let places = [0, 1, 255, 256, 257, 599, BEFORE];
        let cursors = places.map(|seq| (before.cursor(Seq(seq), &Filter::all()), seq));
        let filtered = places.map(|seq| (before.cursor(Seq(seq), &odd), seq));
        drop(before);

        let bus = bus_at(open, dir.path()).await;
        let mut live = Vec::new();
        for (cursor, seq) in cursors {
            let mut events = bus.subscribe(after(cursor, &Filter::all())).unwrap();
            let rest: Vec<u64> = (seq + 1..=BEFORE).collect();
            assert_eq!(read(&mut events).await, (rest, vec![]), "after {seq}");
            live.push(events);
        }
        fill(&bus, BEFORE + 1, BEFORE + 3).await;
        // Live goes on where the store ended, and so does whoever comes later.
        for mut events in live {
            for seq in BEFORE + 1..=BEFORE + 3 {
                let item = soon("a live event", events.next()).await.unwrap().unwrap();
                let BusItem::Event(frame) = item else {
                    panic!("no event, but {item:?}");
                };
                assert_eq!(frame.event.place().seq.0, seq);
            }
        }
        for (cursor, seq) in filtered {
            let mut events = bus.subscribe(after(cursor, &odd)).unwrap();
            let rest = (seq + 1..=BEFORE + 3).filter(|seq| seq.is_multiple_of(3));
            let (seqs, missing) = read(&mut events).await;
            assert_eq!((seqs, missing), (rest.collect(), vec![]), "after {seq}");
        }
    }
}

#[tokio::test]
async fn what_was_removed_before_a_restart_is_a_gap_after_it() {
    for open in [archive as Open, append_file] {
        let dir = TempDir::new().unwrap();
        let before = bus_at(open, dir.path()).await;
        fill(&before, 1, 9).await;
        let cursor = before.cursor(Seq(1), &Filter::all());
        let removed = SessionKey::in_tenant(Tenant::default_tenant(), "s0").unwrap();
        before.sessions().remove(&removed).await.unwrap();
        drop(before);

        let bus = bus_at(open, dir.path()).await;
        let mut events = bus.subscribe(after(cursor, &Filter::all())).unwrap();
        let (seqs, missing) = read(&mut events).await;
        assert_eq!(seqs, [2, 4, 5, 7, 8]);
        assert_eq!(missing, [(3, 3), (6, 6), (9, 9)]);
    }
}

#[tokio::test]
async fn cursors_of_another_tenant_or_store_or_of_the_future_are_refused() {
    for open in [archive as Open, append_file] {
        let (dir, elsewhere) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let ours = bus_at(open, dir.path()).await;
        fill(&ours, 1, 3).await;
        let foreign = bus_at(open, elsewhere.path()).await;
        fill(&foreign, 1, 3).await;
        let backend = Arc::clone(ours.sessions().backend());
        let theirs = bus_of(backend, "theirs").await;
        fill(&theirs, 1, 3).await;
        let all = Filter::all();
        for (other, code) in [
            (foreign.cursor(Seq(1), &all), "cursor_epoch_mismatch"),
            (theirs.cursor(Seq(1), &all), "cursor_epoch_mismatch"),
            (ours.cursor(Seq(4), &all), "cursor_ahead"),
        ] {
            let refused = ours.subscribe(after(other, &all));
            assert_eq!(refused.unwrap_err().code(), code);
        }
    }
}

fn query(cursor: Cursor, filter: &Filter, events: usize) -> PageQuery {
    PageQuery::new(filter.clone(), BusStart::After(cursor)).limit(events, usize::MAX)
}

fn seqs(page: &BusPage) -> Vec<u64> {
    let events = page.events.iter();
    events.map(|frame| frame.event.place().seq.0).collect()
}

/// What pages of so many events give until they have caught up: events as they are, gaps as their ranges.
async fn read_pages(
    bus: &Bus,
    mut cursor: Cursor,
    filter: &Filter,
    events: usize,
) -> (Vec<u64>, Vec<(u64, u64)>) {
    let (mut read, mut missing) = (Vec::new(), Vec::new());
    loop {
        let page = bus.page(&query(cursor, filter, events)).await.unwrap();
        assert!(page.events.len() <= events);
        for frame in &page.events {
            assert_eq!(frame.cursor, bus.cursor(frame.event.place().seq, filter));
        }
        read.extend(seqs(&page));
        if let Some(gap) = page.gap {
            assert_eq!(gap.requested, Some(cursor));
            let count = filter.is_all().then(|| gap.ranges.count());
            assert_eq!(gap.missed, count);
            missing.extend(gap.ranges.as_slice());
        }
        cursor = page.cursor;
        if page.caught_up {
            return (read, missing);
        }
    }
}

#[tokio::test]
async fn pages_resume_exactly_after_a_restart() {
    let odd = Filter::matching("odd").unwrap();
    for open in [archive as Open, append_file] {
        let dir = TempDir::new().unwrap();
        let before = bus_at(open, dir.path()).await;
        fill(&before, 1, BEFORE).await;
        let epoch = before.tail().epoch();
        drop(before);

        let bus = bus_at(open, dir.path()).await;
        assert_eq!(bus.tail().epoch(), epoch);
        fill(&bus, BEFORE + 1, BEFORE + 3).await;
        let last = BEFORE + 3;
        for after in [0, 1, 255, 256, 257, 599, BEFORE, last] {
            for events in [100, 1_000] {
                let all = Filter::all();
                let cursor = bus.cursor(Seq(after), &all);
                let (read, missing) = read_pages(&bus, cursor, &all, events).await;
                let rest: Vec<u64> = (after + 1..=last).collect();
                assert_eq!((read, missing), (rest, vec![]), "after {after}");
                let cursor = bus.cursor(Seq(after), &odd);
                let (read, missing) = read_pages(&bus, cursor, &odd, events).await;
                let rest = (after + 1..=last).filter(|seq| seq.is_multiple_of(3));
                assert_eq!((read, missing), (rest.collect(), vec![]), "after {after}");
            }
        }
    }
}

#[tokio::test]
async fn a_page_after_a_restart_holds_as_many_bytes_as_were_asked_for() {
    let store = MemoryStore::new();
    fill(&bus(Arc::new(store.clone())).await, 1, 9).await;
    let bus = bus(Arc::new(store)).await;
    let first = bus.cursor(Seq(0), &Filter::all());
    let three = bus.page(&query(first, &Filter::all(), 3)).await.unwrap();
    let bytes = three.events.iter().map(|frame| frame.event.weight()).sum();
    for (bytes, events) in [(bytes, 3), (bytes - 1, 2), (0, 1)] {
        let query = query(first, &Filter::all(), 9).limit(9, bytes);
        let page = bus.page(&query).await.unwrap();
        assert_eq!(seqs(&page), (1..=events).collect::<Vec<u64>>(), "{bytes}");
        assert_eq!((page.cursor.place(), page.caught_up), (events, false));
    }
}

#[tokio::test]
async fn what_was_removed_before_a_restart_is_told_before_the_page_that_follows_it() {
    let store = MemoryStore::new();
    let before = bus(Arc::new(store.clone())).await;
    fill(&before, 1, 9).await;
    let removed = SessionKey::in_tenant(Tenant::default_tenant(), "s0").unwrap();
    before.sessions().remove(&removed).await.unwrap();
    drop(before);
    let bus = bus(Arc::new(store)).await;
    let (all, odd) = (Filter::all(), Filter::matching("odd").unwrap());

    let mut cursor = bus.cursor(Seq(2), &all);
    for (missing, events, caught_up) in [
        (vec![(3, 3)], vec![4, 5], false),
        (vec![(6, 6)], vec![7, 8], false),
        (vec![(9, 9)], vec![], true),
    ] {
        let page = bus.page(&query(cursor, &all, 9)).await.unwrap();
        let gap = page.gap.as_ref().unwrap();
        assert_eq!(gap.ranges.as_slice(), missing);
        assert_eq!((gap.requested, gap.missed), (Some(cursor), Some(1)));
        assert_eq!(gap.resumes_at.place(), missing[0].1);
        assert_eq!((seqs(&page), page.caught_up), (events, caught_up));
        cursor = page.cursor;
    }
    // All that this filter chose is gone.
    let page = bus.page(&query(bus.cursor(Seq(2), &odd), &odd, 9)).await;
    let page = page.unwrap();
    let gap = page.gap.as_ref().unwrap();
    assert_eq!(gap.ranges.as_slice(), [(3, 3), (6, 6), (9, 9)]);
    assert_eq!((gap.missed, page.events.len()), (None, 0));
}

/// A page can be asked for again; a gap cannot be taken back.
#[tokio::test]
async fn a_page_is_refused_while_the_store_cannot_be_read() {
    let store = MemoryStore::new();
    fill(&bus(Arc::new(store.clone())).await, 1, 9).await;
    let backend = Faulty::new(store);
    let faults = backend.faults().clone();
    let bus = bus(Arc::new(backend)).await;
    let begin = bus.cursor(Seq(0), &Filter::all());
    faults.plan(Operation::ReadOrder, Fault::Refuse);
    let refused = bus.page(&query(begin, &Filter::all(), 9)).await;
    assert_eq!(refused.unwrap_err().code(), "backend_unavailable");
    let page = bus.page(&query(begin, &Filter::all(), 9)).await.unwrap();
    assert_eq!((seqs(&page), page.gap), ((1..=9).collect(), None));
}

/// A page has an end though nothing in the store matches.
#[tokio::test]
async fn a_page_looks_through_so_much_of_the_store_and_goes_on_at_its_cursor() {
    const EVENTS: u64 = 64 * 256;
    let store = MemoryStore::new();
    let before = bus(Arc::new(store.clone())).await;
    let key = |name: &str| SessionKey::in_tenant(Tenant::default_tenant(), name).unwrap();
    let draft = |kind| EventDraft::parse(kind).unwrap();
    for n in 0..64 {
        let batch = vec![draft("plain"); 256];
        before.publish(key(&format!("s{n}")), batch).await.unwrap();
    }
    before.publish(key("s"), vec![draft("odd")]).await.unwrap();
    drop(before);

    let bus = bus(Arc::new(store)).await;
    let odd = Filter::matching("odd").unwrap();
    let begin = bus.cursor(Seq(0), &odd);
    let first = bus.page(&query(begin, &odd, 9)).await.unwrap();
    assert!(first.is_empty() && !first.caught_up, "{first:?}");
    assert_eq!(first.cursor.place(), EVENTS);
    let (read, missing) = read_pages(&bus, begin, &odd, 9).await;
    assert_eq!((read, missing), (vec![EVENTS + 1], vec![]));
}

/// The tail drops what the reader has not come to, and each page begins in the store.
#[tokio::test]
async fn pages_that_are_read_while_much_is_published_miss_nothing() {
    let limits = TailLimits {
        events: 5,
        ..TailLimits::default()
    };
    let sessions = Sessions::builder(MemoryStore::new()).tail(limits).build();
    let bus = Bus::open(sessions, Tenant::default_tenant()).await.unwrap();
    let (mut read, mut last) = (Vec::new(), 0);
    let mut cursor = bus.cursor(Seq(0), &Filter::all());
    while read.len() < 100 {
        if last < 100 {
            fill(&bus, last + 1, last + 4).await;
            last += 4;
        }
        let page = bus.page(&query(cursor, &Filter::all(), 3)).await.unwrap();
        assert_eq!(page.gap, None);
        read.extend(seqs(&page));
        cursor = page.cursor;
    }
    assert_eq!(read, (1..=100).collect::<Vec<u64>>());
}

/// The order is kept, but not read: what was before is a gap, and nothing else is.
#[tokio::test]
async fn without_reading_the_order_a_restart_is_an_exact_gap() {
    let store = MemoryStore::new();
    let open = || Arc::new(Broken::new(Flaw::PromisesTheOrder, store.clone()));
    assert!(!open().capabilities().reads_order);
    let before = bus(open()).await;
    fill(&before, 1, 5).await;
    let cursor = before.cursor(Seq(2), &Filter::all());
    drop(before);

    let bus = bus(open()).await;
    let mut events = bus.subscribe(after(cursor, &Filter::all())).unwrap();
    assert_eq!(read(&mut events).await, (vec![], vec![(3, 5)]));
    let pages = read_pages(&bus, cursor, &Filter::all(), 9).await;
    assert_eq!(pages, (vec![], vec![(3, 5)]));
    fill(&bus, 6, 6).await;
    assert_eq!(events.cursor().place(), 5);
    let item = soon("a live event", events.next()).await.unwrap().unwrap();
    assert!(matches!(item, BusItem::Event(frame) if frame.event.place().seq == Seq(6)));
}

/// The tail drops what the reader has not come to, and the reader finds it in the store, until it has
/// caught up.
#[tokio::test]
async fn a_reader_that_resumes_while_much_is_published_misses_nothing() {
    let store = MemoryStore::new();
    let before = bus(Arc::new(store.clone())).await;
    fill(&before, 1, BEFORE).await;
    let cursor = before.cursor(Seq(0), &Filter::all());
    drop(before);

    let limits = TailLimits {
        events: 5,
        ..TailLimits::default()
    };
    let sessions = Sessions::builder(store).tail(limits).build();
    let bus = Bus::open(sessions, Tenant::default_tenant()).await.unwrap();
    let mut events = bus.subscribe(after(cursor, &Filter::all())).unwrap();
    let mut seqs = Vec::new();
    let mut last = BEFORE;
    while seqs.len() < 2 * usize::try_from(BEFORE).unwrap() {
        let item = soon("an item", events.next()).await.unwrap().unwrap();
        let BusItem::Event(frame) = item else {
            panic!("no event, but {item:?}");
        };
        seqs.push(frame.event.place().seq.0);
        // As fast as it reads, and then a little slower.
        if last < 2 * BEFORE {
            fill(&bus, last + 1, last + 1).await;
            last += 1;
        }
    }
    assert_eq!(seqs, (1..=2 * BEFORE).collect::<Vec<u64>>());
    let end = soon("the end", events.next()).await.unwrap().unwrap();
    assert!(matches!(end, BusItem::CaughtUp(_)), "{end:?}");
}

/// Over HTTP, with a server that was killed.
#[tokio::test]
async fn streams_of_all_sessions_resume_from_a_server_that_was_killed() {
    let dir = TempDir::new().unwrap();
    let backend = format!("archive:{}", dir.path().display());
    let serve = ["serve", "--listen", "127.0.0.1:0", "--backend", &backend];
    let first = Program::start(&serve).await;
    for n in 0..5 {
        let event = json!({"type": "task.step", "data": n});
        publish(&first.url, &format!("s{n}"), &event).await;
    }
    let at = |url: &str, query| format!("{url}/v1/events?match=task.*{query}");
    let mut stream = SseReader::open(&at(&first.url, "&after=earliest"), None).await;
    let mut id = None;
    for n in 0..2 {
        let event = stream.event().await;
        assert_eq!(event.json()["data"], n);
        id = event.id;
    }
    first.signal(Signal::KILL);
    first.ended().await;

    let second = Program::start(&serve).await;
    let event = json!({"type": "task.step", "data": 5});
    publish(&second.url, "s0", &event).await;
    let mut stream = SseReader::open(&at(&second.url, ""), id.as_deref()).await;
    assert_eq!(stream.next().await.unwrap().json()["resumed"], true);
    for n in 2..6 {
        assert_eq!(stream.event().await.json()["data"], n);
    }
    assert!(stream.next().await.unwrap().is("reveille.caught_up"));
}

/// Each way to ask for a page, and what is found with it behind a cursor of the first server.
#[tokio::test]
async fn pages_and_waits_of_all_sessions_resume_from_a_server_that_was_killed() {
    let dir = TempDir::new().unwrap();
    let backend = format!("archive:{}", dir.path().display());
    let serve = ["serve", "--listen", "127.0.0.1:0", "--backend", &backend];
    let first = Program::start(&serve).await;
    for n in 0..5 {
        let events = json!([{"type": "task.step", "data": n}, {"type": "other"}]);
        publish(&first.url, &format!("s{n}"), &events).await;
    }
    let page = async |request: reqwest::RequestBuilder| {
        let request = request.header("accept", "application/json");
        let answer = soon("a page", request.send()).await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.json::<Value>().await.unwrap()
    };
    let client = reqwest::Client::new();
    let url = format!("{}/v1/events?match=task.*&limit=2", first.url);
    let cursor = page(client.get(url)).await["cursor"].clone();
    let cursor = cursor.as_str().unwrap();
    first.signal(Signal::KILL);
    first.ended().await;

    let second = Program::start(&serve).await;
    let events = format!("{}/v1/events", second.url);
    let query = json!({"filter": {"match": ["task.*"]}, "after": cursor, "limit": 2});
    let method = Method::from_bytes(b"QUERY").unwrap();
    let asked = [
        client.get(format!("{events}?match=task.*&after={cursor}&limit=2")),
        client.get(format!(
            "{events}?match=task.*&after={cursor}&limit=2&wait=20s"
        )),
        client.post(format!("{events}:query")).json(&query),
        client.request(method, &events).json(&query),
    ];
    for request in asked {
        let page = page(request).await;
        let data: Vec<&Value> = page["events"].as_array().unwrap().iter().collect();
        let data: Vec<&Value> = data.iter().map(|event| &event["data"]).collect();
        assert_eq!(data, [2, 3]);
        assert_eq!(page.get("gap"), None);
        assert_eq!(page["caught_up"], false);
    }
    // Nothing is missing for a reader that would rather have nothing than a gap.
    let url = format!("{events}?match=task.*&after={cursor}&gap=fail");
    let mut stream = SseReader::open(&url, None).await;
    assert_eq!(stream.event().await.json()["data"], 2);
    // A wait that finds nothing in the store is one for what comes.
    let url = format!("{events}?match=late&after=latest&limit=1");
    let none = page(client.get(&url)).await;
    let after = none["cursor"].as_str().unwrap();
    let wait = format!("{events}?match=late&after={after}&wait=20s");
    let waiting = tokio::spawn(page(client.get(wait)));
    publish(&second.url, "s0", &json!({"type": "late"})).await;
    let found = soon("the wait ends", waiting).await.unwrap();
    assert_eq!(found["events"][0]["type"], "late");
}
