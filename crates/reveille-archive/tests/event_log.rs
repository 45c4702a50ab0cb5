//! Events as lines of JSON, one file per agent.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what fails here fails the test"
)]

mod common;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use reveille_archive::{ArchiveDurability, EventLog, EventLogError, EventLogOptions, OpenError};
use reveille_testkit::dropped_at_each_poll;
use reveille_types::{
    DraftDefaults, Epoch, Event, EventDraft, EventId, KindRegistry, Label, Payload, Place,
    Position, Seq, Source,
};
use tempfile::tempdir;

fn open(dir: &Path) -> EventLog {
    EventLog::open(dir, EventLogOptions::default()).unwrap()
}

fn agent(name: &str) -> Label {
    Label::parse(name).unwrap()
}

/// The event with this id at this position, of an agent or of none.
fn event(n: u64, of: Option<&str>) -> Event {
    let session = Arc::new(common::key("s"));
    let mut draft = EventDraft::parse("task.progress").unwrap();
    draft.agent = of.map(agent);
    draft.payload = Payload::json(&n).unwrap();
    let event = draft.complete(DraftDefaults {
        id: EventId::parse(format!("id-{n}")).unwrap(),
        time: "2026-01-02T03:04:05.678Z".parse().unwrap(),
        source: &Source::of_session(&session),
        registry: &KindRegistry::empty(),
    });
    event.at(Place {
        session,
        epoch: Epoch::from_parts(1_700_000_000_000, 1),
        position: Position(n),
        seq: Seq(n + 1),
    })
}

fn ids(log: &EventLog, of: Option<&str>) -> Vec<String> {
    let lines = log.read(of.map(agent).as_ref()).unwrap();
    let id = |line: Result<EventDraft, _>| line.unwrap().id.unwrap().to_string();
    lines.map(id).collect()
}

#[tokio::test]
async fn d000_20_agents_that_look_alike_have_logs_of_their_own_which_read_back_in_order() {
    let dir = tempdir().unwrap();
    let log = open(dir.path());
    for n in 0..100 {
        let of = ["a/b", "a_b"][usize::from(n % 2 == 1)];
        log.append(&event(n, Some(of))).await.unwrap();
    }
    log.flush().await.unwrap();
    let expected = |first: u64| (first..100).step_by(2).map(|n| format!("id-{n}"));
    assert_eq!(ids(&log, Some("a/b")), expected(0).collect::<Vec<_>>());
    assert_eq!(ids(&log, Some("a_b")), expected(1).collect::<Vec<_>>());
    assert_ne!(log.file(Some(&agent("a/b"))), log.file(Some(&agent("a_b"))));
}

#[tokio::test]
async fn f000_20_a_line_is_an_event_with_its_time_id_type_agent_and_data() {
    let dir = tempdir().unwrap();
    let log = open(dir.path());
    log.append(&event(7, Some("w1"))).await.unwrap();
    log.append(&event(8, None)).await.unwrap();
    log.flush().await.unwrap();
    let text = fs::read_to_string(log.file(Some(&agent("w1")))).unwrap();
    let line: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(text.ends_with("}\n"), "{text}");
    assert_eq!(line["id"], "id-7");
    assert_eq!(line["type"], "task.progress");
    assert_eq!(line["time"], "2026-01-02T03:04:05.678Z");
    assert_eq!(line["reveilleagent"], "w1");
    assert_eq!(line["data"], 7);
    assert_eq!(ids(&log, None), ["id-8"]);
}

#[tokio::test]
async fn what_was_appended_is_written_when_the_last_handle_is_dropped() {
    let dir = tempdir().unwrap();
    let log = open(dir.path());
    for n in 0..5000 {
        log.append(&event(n, Some("w"))).await.unwrap();
    }
    let file = log.file(Some(&agent("w")));
    drop(log);
    // The writer has the directory until it has written everything.
    let again = loop {
        match EventLog::open(dir.path(), EventLogOptions::default()) {
            Ok(log) => break log,
            Err(OpenError::Locked { .. }) => tokio::task::yield_now().await,
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(fs::read_to_string(file).unwrap().lines().count(), 5000);
    assert_eq!(ids(&again, Some("w")).len(), 5000);
}

#[tokio::test]
async fn a_directory_has_one_writer() {
    let dir = tempdir().unwrap();
    let _log = open(dir.path());
    let second = EventLog::open(dir.path(), EventLogOptions::default());
    assert_eq!(second.unwrap_err().code(), "archive_locked");
}

#[tokio::test]
async fn a_line_that_was_not_written_to_its_end_is_cut_off() {
    let dir = tempdir().unwrap();
    let file = {
        let log = open(dir.path());
        log.append(&event(1, Some("w"))).await.unwrap();
        log.flush().await.unwrap();
        // While it is being written it is not there for readers, either.
        let file = log.file(Some(&agent("w")));
        let mut writer = OpenOptions::new().append(true).open(&file).unwrap();
        writer
            .write_all(br#"{"specversion":"1.0","id":"to"#)
            .unwrap();
        assert_eq!(ids(&log, Some("w")), ["id-1"]);
        file
    };
    let copy = tempdir().unwrap();
    fs::copy(&file, copy.path().join(file.file_name().unwrap())).unwrap();
    let log = open(copy.path());
    log.append(&event(2, Some("w"))).await.unwrap();
    log.flush().await.unwrap();
    assert_eq!(ids(&log, Some("w")), ["id-1", "id-2"]);
}

#[tokio::test]
async fn a_damaged_line_is_told_by_its_number() {
    let dir = tempdir().unwrap();
    let log = open(dir.path());
    log.append(&event(1, None)).await.unwrap();
    log.flush().await.unwrap();
    let mut file = OpenOptions::new()
        .append(true)
        .open(log.file(None))
        .unwrap();
    file.write_all(b"not an event\n").unwrap();
    let lines: Vec<_> = log.read(None).unwrap().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].is_ok());
    let Err(error @ EventLogError::Damaged { line: 2, .. }) = &lines[1] else {
        panic!("{lines:?}");
    };
    assert_eq!(error.code(), "event_log_damaged");
}

#[tokio::test]
async fn what_cannot_be_written_is_counted_and_the_log_goes_on() {
    let dir = tempdir().unwrap();
    let mut options = EventLogOptions::default();
    options.durability = ArchiveDurability::Fsync;
    let log = EventLog::open(dir.path(), options).unwrap();
    // Where the file should be there is a directory.
    let in_the_way = log.file(Some(&agent("w")));
    fs::create_dir(&in_the_way).unwrap();
    for n in 0..3 {
        log.append(&event(n, Some("w"))).await.unwrap();
    }
    log.append(&event(3, Some("v"))).await.unwrap();
    let Err(EventLogError::NotWritten { path, lost: 3, .. }) = log.flush().await else {
        panic!("it was written");
    };
    assert_eq!(path, in_the_way);
    assert_eq!(ids(&log, Some("v")), ["id-3"]);

    fs::remove_dir(&in_the_way).unwrap();
    log.append(&event(4, Some("w"))).await.unwrap();
    log.flush().await.unwrap();
    assert_eq!(ids(&log, Some("w")), ["id-4"]);
}

/// A log whose queue holds one event, with that event in it.
async fn nearly_full(dir: &Path) -> EventLog {
    let mut options = EventLogOptions::default();
    options.queue = 1.try_into().unwrap();
    let log = EventLog::open(dir, options).unwrap();
    log.append(&event(1, Some("w"))).await.unwrap();
    log
}

#[tokio::test]
async fn append_that_is_dropped_is_in_the_log_or_not() {
    let second = event(2, Some("w"));
    dropped_at_each_poll(
        async || {
            let dir = tempdir().unwrap();
            (nearly_full(dir.path()).await, dir)
        },
        async |(log, _)| log.append(&second).await.unwrap(),
        async |_, _| (),
        async |(log, _), done| {
            log.append(&event(3, Some("w"))).await.unwrap();
            log.flush().await.unwrap();
            let all = ["id-1", "id-2", "id-3"];
            let expected: Vec<_> = all
                .into_iter()
                .filter(|&id| done.is_some() || id != "id-2")
                .collect();
            assert_eq!(ids(log, Some("w")), expected);
        },
    )
    .await;
}

#[tokio::test]
async fn flush_that_is_dropped_loses_nothing() {
    dropped_at_each_poll(
        async || {
            let dir = tempdir().unwrap();
            (nearly_full(dir.path()).await, dir)
        },
        async |(log, _)| log.flush().await.unwrap(),
        async |_, _| (),
        async |(log, _), _| {
            log.flush().await.unwrap();
            assert_eq!(ids(log, Some("w")), ["id-1"]);
        },
    )
    .await;
}
