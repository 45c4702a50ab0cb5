//! What every crate under `crates/` has: the workspace's lints, and a root file that is a map.

use super::text::module_doc_lines;
use super::{File, Finding};

/// The least number of doc lines in which a crate's root file can tell what the crate is.
const MAP_LINES: usize = 5;

/// Every rule of this group on every crate among the files.
pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for manifest in files {
        let Some(folder) = crate_folder(&manifest.path) else {
            continue;
        };
        findings.extend(lints(
            &manifest.path,
            manifest.text.as_deref().unwrap_or_default(),
        ));
        let root = ["lib.rs", "main.rs"].iter().find_map(|name| {
            let path = format!("{folder}/src/{name}");
            files.iter().find(|file| file.path == path)
        });
        findings.extend(match root {
            Some(root) => map(&root.path, root.text.as_deref().unwrap_or_default()),
            None => Some(Finding::new(
                &manifest.path,
                1,
                "the crate has neither `src/lib.rs` nor `src/main.rs`",
                "give it one whose module doc says what the crate is and never does",
            )),
        });
    }
    findings
}

/// `crates/<name>` for `crates/<name>/Cargo.toml`.
fn crate_folder(path: &str) -> Option<&str> {
    let folder = path.strip_suffix("/Cargo.toml")?;
    let name = folder.strip_prefix("crates/")?;
    (!name.contains('/')).then_some(folder)
}

fn lints(path: &str, manifest: &str) -> Option<Finding> {
    let mut in_section = false;
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            in_section = line == "[lints]";
        } else if in_section && line.replace(' ', "") == "workspace=true" {
            return None;
        }
    }
    let what = "the crate does not take the workspace's lints";
    Some(Finding::new(
        path,
        1,
        what,
        "add a `[lints]` section with `workspace = true`",
    ))
}

fn map(path: &str, text: &str) -> Option<Finding> {
    let lines = module_doc_lines(text).count();
    (lines < MAP_LINES).then(|| {
        Finding::new(
            path,
            1,
            format!("the crate's module doc has {lines} lines, fewer than {MAP_LINES}"),
            "make it a map: what the crate is, what it never does, its central types",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "//! One.\n//!\n//! Two.\n//! Three.\n//! Four.\n\nmod a;\n";
    const MANIFEST: &str = "[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n";

    fn file(path: &str, text: &str) -> File {
        File {
            path: path.into(),
            len: text.len() as u64,
            text: Some(text.into()),
        }
    }

    #[test]
    fn a_crate_with_lints_and_a_map_has_no_findings() {
        let files = [
            file("crates/a/Cargo.toml", MANIFEST),
            file("crates/a/src/lib.rs", MAP),
            file("crates/a/src/main.rs", "//! The program.\n"),
            file("crates/b/Cargo.toml", MANIFEST),
            file("crates/b/src/main.rs", MAP),
        ];
        assert_eq!(check(&files), []);
    }

    #[test]
    fn a_crate_without_the_lints_is_told() {
        for manifest in [
            "[package]\nname = \"a\"\n",
            "[lints]\n",
            "[lints]\nworkspace = false\n",
            "[lints.clippy]\nworkspace = true\n",
            "[lints]\n[dependencies]\nworkspace = true\n",
            "[lints]\n# workspace = true\n",
        ] {
            assert!(
                lints("crates/a/Cargo.toml", manifest).is_some(),
                "{manifest}"
            );
        }
    }

    #[test]
    fn a_crate_whose_doc_is_no_map_is_told() {
        let files = [
            file("crates/a/Cargo.toml", MANIFEST),
            file(
                "crates/a/src/lib.rs",
                "//! One.\n//! Two.\n//! Three.\n//! Four.\n\n//! Five.\n",
            ),
        ];
        let findings = check(&files);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].path, "crates/a/src/lib.rs");
    }

    #[test]
    fn a_crate_without_a_root_file_is_told() {
        let files = [
            file("crates/a/Cargo.toml", MANIFEST),
            file("crates/a/src/other.rs", MAP),
        ];
        let findings = check(&files);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].path, "crates/a/Cargo.toml");
    }

    #[test]
    fn manifests_elsewhere_are_left_alone() {
        let files = [
            file("Cargo.toml", ""),
            file("crates/a/tests/fixture/Cargo.toml", ""),
        ];
        assert_eq!(check(&files), []);
    }
}
