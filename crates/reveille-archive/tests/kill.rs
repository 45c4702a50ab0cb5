//! What was acknowledged is there after the process was killed, at whatever moment.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]
#![expect(
    clippy::print_stdout,
    reason = "a child tells its parent what was acknowledged"
)]

mod common;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use common::{
    Random, append, archive, assert_dense, child, contents, dir_of_child, entry, key, log,
};
use reveille_archive::{ArchiveBackend, ArchiveDurability};
use reveille_backend::{Backend, ListOptions};
use reveille_types::{Seq, Tenant};
use tempfile::TempDir;

const LOGS: u64 = 3;
const WRITERS: u64 = 6;

/// How many times the child is killed.
fn rounds() -> u64 {
    let rounds = std::env::var("REVEILLE_ROUNDS").ok();
    rounds.and_then(|rounds| rounds.parse().ok()).unwrap_or(100)
}

/// Within how many lines of the child it is killed. `REVEILLE_FULL=1` lets it acknowledge a million events.
fn most_lines() -> u64 {
    match std::env::var_os("REVEILLE_FULL") {
        Some(_) => 20_000,
        None => 300,
    }
}

fn durability(round: u64) -> ArchiveDurability {
    match round % 2 {
        0 => ArchiveDurability::Fsync,
        _ => ArchiveDurability::Os,
    }
}

/// Appends to a few logs at once until it is killed, and prints every acknowledged event: log, position,
/// sequence number, id.
#[test]
#[ignore = "is started by the test below"]
fn child_appends() {
    let round: u64 = std::env::var("REVEILLE_TEST_ROUND")
        .unwrap()
        .parse()
        .unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let options = common::options(durability(round));
        let archive = ArchiveBackend::open(dir_of_child(), options).unwrap();
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| tokio::spawn(write(archive.clone(), round, writer)))
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
    });
}

async fn write(archive: ArchiveBackend, round: u64, writer: u64) {
    let name = format!("s{}", writer % LOGS);
    let log = log(&archive, &name).await;
    let mut random = Random(round * WRITERS + writer);
    for n in 0_u64.. {
        let ids: Vec<String> = (0..=random.below(4))
            .map(|at| format!("{round}-{writer}-{n}-{at}"))
            .collect();
        let size = usize::try_from(random.below(2000)).unwrap();
        let batch = ids.iter().map(|id| entry(id, size)).collect();
        let slots = append(&*log, batch).await.unwrap();
        let mut lines = String::new();
        for (id, slot) in ids.iter().zip(slots) {
            lines += &format!("ack {name} {} {} {id}\n", slot.position.0, slot.seq.0);
        }
        // One write: a line is there or not, but for the one at which the process is killed.
        std::io::stdout().write_all(lines.as_bytes()).unwrap();
    }
}

type Acknowledged = HashMap<(String, u64), (Seq, String)>;

fn parse(line: &str) -> Option<((String, u64), (Seq, String))> {
    let mut words = line
        .strip_suffix('\n')?
        .split(' ')
        .skip_while(|w| *w != "ack")
        .skip(1);
    let name = words.next()?.to_owned();
    let position = words.next()?.parse().ok()?;
    let seq = Seq(words.next()?.parse().ok()?);
    Some(((name, position), (seq, words.next()?.to_owned())))
}

#[test]
fn every_acknowledged_event_is_there_after_a_kill() {
    let mut random = Random(common::seed());
    let dir = TempDir::new().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut acknowledged = Acknowledged::new();
    for round in 0..rounds() {
        let mut child = child("child_appends", dir.path());
        child.env("REVEILLE_TEST_ROUND", round.to_string());
        let mut child = child.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut wanted = random.below(most_lines());
        let mut line = String::new();
        while lines.read_line(&mut line).unwrap() > 0 {
            acknowledged.extend(parse(&line));
            line.clear();
            wanted = wanted.saturating_sub(1);
            if wanted == 0 {
                // What was printed before comes out of the pipe still.
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        runtime.block_on(check(dir.path(), &acknowledged));
    }
    println!("{} events were acknowledged", acknowledged.len());
    assert!(acknowledged.len() as u64 > rounds());
}

/// Every acknowledged event is where it was acknowledged, batches are whole, positions dense.
async fn check(dir: &std::path::Path, acknowledged: &Acknowledged) {
    let archive = archive(dir);
    let tenant = Tenant::default_tenant();
    let listed = archive
        .list(&tenant, ListOptions::first(100))
        .await
        .unwrap();
    let mut seqs = Vec::new();
    let mut found = HashMap::new();
    for listed in listed.keys {
        let name = listed.id.as_str();
        assert_eq!(listed, key(name));
        let events = contents(&*log(&archive, name).await).await;
        assert_dense(&events, 0);
        assert!(events.is_sorted_by_key(|event| event.place().seq));
        for (at, event) in events.iter().enumerate() {
            // The last of a batch is followed by the first of another one, so that none is cut.
            let (batch, n) = event.id().as_str().rsplit_once('-').unwrap();
            let before = at.checked_sub(1).map(|at| events[at].id().as_str());
            let follows = format!("{batch}-{}", n.parse::<u64>().unwrap().wrapping_sub(1));
            assert!(
                n == "0" || before == Some(follows.as_str()),
                "{batch} is torn"
            );
            seqs.push(event.place().seq);
            let place = (name.to_owned(), event.position().0);
            found.insert(place, (event.place().seq, event.id().to_string()));
        }
    }
    for (place, event) in acknowledged {
        assert_eq!(found.get(place), Some(event), "{place:?} was acknowledged");
    }
    seqs.sort();
    let dense: Vec<_> = (1..=seqs.len() as u64).map(Seq).collect();
    assert!(seqs == dense, "sequence numbers have holes");
    assert_eq!(
        archive.last_seq(&tenant).await.unwrap(),
        Seq(seqs.len() as u64)
    );
}
