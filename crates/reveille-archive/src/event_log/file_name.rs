//! A file name for every agent, and no name for two.

use std::fmt::Write;
use std::path::Path;

use reveille_types::Label;
use sha2::{Digest, Sha256};

const AGENT: &str = "agent-";
const NO_AGENT: &str = "no-agent";
const EXTENSION: &str = "jsonl";
/// File systems allow 255 bytes; the rest is for prefix, digest and extension.
const LONGEST: usize = 160;

/// The file of an agent. Lower-case letters, digits, `-` and `_` stand for themselves, and any other
/// byte is escaped, capitals, too, because there are file systems that do not tell them from small
/// letters. A name that becomes too long is cut, and ends with the digest of the whole.
pub(super) fn of(agent: Option<&Label>) -> String {
    let Some(agent) = agent else {
        return format!("{NO_AGENT}.{EXTENSION}");
    };
    let mut name = String::from(AGENT);
    for byte in agent.as_str().bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => name.push(byte.into()),
            // Writing to a string does not fail.
            _ => _ = write!(name, "%{byte:02x}"),
        }
    }
    if name.len() > LONGEST {
        name.truncate(LONGEST);
        // No short name has a `~`, which would be escaped.
        name.push('~');
        for byte in Sha256::digest(agent.as_str()).as_slice() {
            _ = write!(name, "{byte:02x}");
        }
    }
    name.push('.');
    name.push_str(EXTENSION);
    name
}

/// Whether a path looks like a file of the log.
pub(super) fn is_log(path: &Path) -> bool {
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    path.extension().is_some_and(|e| e == EXTENSION)
        && stem.is_some_and(|stem| stem == NO_AGENT || stem.starts_with(AGENT))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn name(agent: &str) -> String {
        of(Some(&Label::parse(agent).unwrap()))
    }

    #[test]
    fn names_are_readable_and_stay_in_the_directory() {
        assert_eq!(name("worker-1"), "agent-worker-1.jsonl");
        assert_eq!(name("feature/bug"), "agent-feature%2fbug.jsonl");
        assert_eq!(name(".."), "agent-%2e%2e.jsonl");
        assert_eq!(of(None), "no-agent.jsonl");
    }

    #[test]
    fn agents_that_look_alike_have_files_of_their_own() {
        let long = "/".repeat(200);
        let longer = "/".repeat(201);
        let agents = ["a/b", "a_b", "a%2fb", "A_b", "a\\b", &long, &longer];
        let names: BTreeSet<_> = agents.iter().map(|agent| name(agent)).collect();
        assert_eq!(names.len(), agents.len());
    }

    fn agents() -> impl Strategy<Value = Label> {
        "\\PC{1,64}".prop_filter_map("is no label", |text| Label::parse(&text).ok())
    }

    proptest! {
        #[test]
        fn every_agent_has_a_name_that_file_systems_take(agent in agents()) {
            let name = of(Some(&agent));
            prop_assert!(name.len() <= 255 && is_log(Path::new(&name)));
            prop_assert!(!name.contains(['/', '\\']) && !name.contains(char::is_uppercase));
        }

        #[test]
        fn different_agents_have_different_files(a in "[aA/_%.]{1,5}", b in "[aA/_%.]{1,5}") {
            prop_assert_eq!(a == b, name(&a) == name(&b));
        }
    }
}
