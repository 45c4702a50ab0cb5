//! `cargo xtask tidy`: the rules about the tree that neither the compiler nor clippy knows.
//!
//! The rules see the files known to git, committed or about to be. Each is a pure function over a
//! path and a text (or a length, or a manifest's dependencies) in the module of its group:
//! [`arrows`] which crate may use which, [`crates`] what every crate has, [`text`] what every file
//! looks like, [`tree`] which files are there at all. The test below makes `cargo test` the gate.

mod arrows;
mod crates;
mod text;
mod tree;

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

/// One broken rule: where, what is wrong and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    /// Counted from 1; 1 also stands for the file as a whole.
    line: usize,
    what: String,
    mend: String,
}

impl Finding {
    fn new(path: &str, line: usize, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            line,
            what: what.into(),
            mend: mend.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            line,
            what,
            mend,
        } = self;
        write!(f, "{path}:{line}: {what}; {mend}")
    }
}

/// A regular file known to git.
#[derive(Debug)]
struct File {
    /// Relative to the root, with `/` between its parts.
    path: String,
    /// Size in bytes.
    len: u64,
    /// Nothing for a file that is not text.
    text: Option<String>,
}

/// Checks the tree, prints the findings and says whether there are none.
pub(crate) fn run(root: &Path) -> bool {
    match findings(root) {
        Ok(findings) => {
            for finding in &findings {
                eprintln!("{finding}");
            }
            eprintln!("tidy: {} findings", findings.len());
            findings.is_empty()
        }
        Err(error) => {
            eprintln!("tidy: {error}");
            false
        }
    }
}

fn findings(root: &Path) -> Result<Vec<Finding>, String> {
    let files = files(root)?;
    let mut findings = arrows::check(root)?;
    findings.extend(crates::check(&files));
    for file in &files {
        findings.extend(tree::check(&file.path, file.len));
        if let Some(text) = &file.text {
            findings.extend(text::check(&file.path, text));
        }
    }
    findings.sort();
    Ok(findings)
}

fn files(root: &Path) -> Result<Vec<File>, String> {
    let listing = Command::new("git")
        .arg("-C")
        .arg(root)
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .output()
        .map_err(|error| format!("git: {error}"))?;
    if !listing.status.success() {
        return Err(format!(
            "git ls-files: {}",
            String::from_utf8_lossy(&listing.stderr).trim()
        ));
    }
    let listing = String::from_utf8(listing.stdout)
        .map_err(|_| "git ls-files: a file name is not UTF-8; rename the file".to_owned())?;
    let mut paths: Vec<_> = listing.split_terminator('\0').collect();
    // A file in conflict is listed once per side.
    paths.sort_unstable();
    paths.dedup();
    let files = paths
        .into_iter()
        .filter_map(|path| read(root, path).transpose());
    files.collect()
}

/// Reads a file; nothing where git still lists what is gone, or what is a link.
fn read(root: &Path, path: &str) -> Result<Option<File>, String> {
    let on_disk = root.join(path);
    match fs::symlink_metadata(&on_disk) {
        Ok(metadata) if metadata.is_file() => {
            let bytes = fs::read(&on_disk).map_err(|error| format!("{path}: {error}"))?;
            // What fuzzing begins with is data, to the byte.
            let text = String::from_utf8(bytes)
                .ok()
                .filter(|text| !text.contains('\0') && !path.starts_with("fuzz/seeds/"));
            Ok(Some(File {
                path: path.to_owned(),
                len: metadata.len(),
                text,
            }))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let findings = findings(&crate::process::workspace_root()).unwrap();
        let findings: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
    }

    #[test]
    fn the_tree_is_seen() {
        let files = files(&crate::process::workspace_root()).unwrap();
        let this = files
            .iter()
            .find(|file| file.path == "xtask/src/tidy/mod.rs")
            .unwrap();
        assert!(
            this.text
                .as_ref()
                .is_some_and(|text| text.contains("fn the_tree_is_seen"))
        );
    }

    #[test]
    fn a_folder_outside_git_is_an_error_not_a_tidy_tree() {
        assert!(files(Path::new("/nonexistent")).is_err());
    }

    #[test]
    fn a_finding_tells_the_place_the_fault_and_the_fix() {
        let finding = Finding::new("src/a.rs", 3, "a tab", "indent with spaces");
        assert_eq!(finding.to_string(), "src/a.rs:3: a tab; indent with spaces");
    }
}
