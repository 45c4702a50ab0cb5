//! Finds the public futures of the workspace, and what has no case.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Crates without a case. The futures of a backend are proven by the kit, by
/// `dropped_append_is_whole_or_nothing` and its scenarios of watches; those of the kit are tests.
const PROVEN_ELSEWHERE: &[&str] = &["reveille-backend", "reveille-testkit"];

/// Futures with a case in the tests of their crate, where the server or the directory is that they need.
const IN_THEIR_CRATES: &[&str] = &[
    "archive/src/event_log/mod.rs append",
    "archive/src/event_log/mod.rs flush",
    "nats/src/backend.rs connect",
    "nats/src/signals/hub.rs connect",
    "nats/src/signals/node.rs join",
    "nats/src/signals/node.rs leave",
    "nats/src/signals/node.rs status",
    "redis/src/backend.rs connect",
];

/// Futures that users write.
const OF_USERS: &[&str] = &[
    "bus/src/handlers.rs Handler::handle",
    "gateway/src/auth/authorizer.rs Authorizer::authenticate",
];

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

/// The name at the beginning.
fn name(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

/// The public futures in a source text: async functions, functions that give a future, async functions of
/// public traits, and public types that are a future or a stream.
fn futures(source: &str, is_public: impl Fn(&str) -> bool) -> Vec<String> {
    let source = source.split("#[cfg(test)]\nmod").next().unwrap_or_default();
    let mut found = Vec::new();
    let mut of_trait = None;
    let mut lines = source.lines().peekable();
    while let Some(line) = lines.next() {
        let code = line.trim_start();
        if line == "}" {
            of_trait = None;
        } else if let Some(rest) = line.strip_prefix("pub trait ") {
            of_trait = Some(name(rest));
        } else if let Some(rest) = code.strip_prefix("pub async fn ") {
            found.push(name(rest).to_owned());
        } else if let (Some(rest), Some(of_trait)) = (code.strip_prefix("async fn "), of_trait) {
            found.push(format!("{of_trait}::{}", name(rest)));
        } else if let Some(rest) = code.strip_prefix("pub fn ") {
            let mut signature = rest.to_owned();
            while !signature.contains(['{', ';'])
                && let Some(line) = lines.next()
            {
                signature.push_str(line.trim());
            }
            let is_future = ["-> impl Future", "-> BoxFuture", "-> Pin<Box<dyn Future"];
            if is_future.iter().any(|result| signature.contains(result)) {
                found.push(name(rest).to_owned());
            }
        } else if line.starts_with("impl")
            && let Some((_, of)) = ["Future for ", "Stream for "]
                .iter()
                .find_map(|it| line.split_once(it))
            && is_public(name(of))
        {
            found.push(name(of).to_owned());
        }
    }
    found
}

/// All public futures of the workspace.
fn public_futures() -> BTreeSet<String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let mut all = BTreeSet::new();
    for entry in fs::read_dir(&crates).unwrap() {
        let of_crate = entry.unwrap().path();
        let crate_name = of_crate.file_name().unwrap().to_str().unwrap().to_owned();
        if PROVEN_ELSEWHERE.contains(&&*crate_name) {
            continue;
        }
        let mut paths = Vec::new();
        files(&of_crate.join("src"), &mut paths);
        let sources: Vec<String> = paths
            .iter()
            .map(|p| fs::read_to_string(p).unwrap())
            .collect();
        let is_public = |of: &str| {
            let start = format!("\npub struct {of}");
            let is_here = |source: &String| {
                let mut after = source.split(&start).skip(1);
                after.any(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()))
            };
            sources.iter().any(is_here)
        };
        for (path, source) in paths.iter().zip(&sources) {
            let path = path.strip_prefix(&crates).unwrap().to_str().unwrap();
            let path = path.strip_prefix("reveille-").unwrap_or(path);
            let found = futures(source, is_public);
            all.extend(found.into_iter().map(|future| format!("{path} {future}")));
        }
    }
    all
}

#[test]
fn every_public_future_has_a_case_and_every_case_is_about_one() {
    let mut dropped: BTreeSet<String> = BTreeSet::new();
    for cases in [
        super::bus::DROPPED,
        super::bus_tasks::DROPPED,
        super::client::DROPPED,
        super::core::DROPPED,
        super::gateway::DROPPED,
        super::queue::DROPPED,
        super::signals::DROPPED,
        super::stored::DROPPED,
        super::stored_groups::DROPPED,
        IN_THEIR_CRATES,
        OF_USERS,
    ] {
        dropped.extend(cases.iter().map(|&case| case.to_owned()));
    }
    let public = public_futures();
    let without: Vec<_> = public.difference(&dropped).collect();
    assert_eq!(without, [""; 0], "these are dropped by no case");
    let unknown: Vec<_> = dropped.difference(&public).collect();
    assert_eq!(unknown, [""; 0], "these are there no more");
}

#[test]
fn futures_are_found_in_all_their_shapes() {
    let source = "
pub struct Named;
impl Future for Named {
}
impl<T> Stream for Named<T> {
}
impl Future for Hidden {
}
pub async fn plain() {
}
pub(crate) async fn hidden() {
}
impl Named {
    pub async fn method(&self) {
    }
    async fn private(&self) {
    }
    pub fn gives(
        &self,
    ) -> impl Future<Output = ()> + Send {
    }
    pub fn takes(&self, until: impl Future<Output = ()>) -> u32 {
    }
}
pub trait Open {
    async fn of_trait(&self);
}
trait Closed {
    async fn of_hidden_trait(&self);
}
#[cfg(test)]
mod tests {
    pub async fn of_tests() {
    }
}
";
    let found = futures(source, |of| of == "Named");
    let shapes = [
        "Named",
        "Named",
        "plain",
        "method",
        "gives",
        "Open::of_trait",
    ];
    assert_eq!(found, shapes);
}
