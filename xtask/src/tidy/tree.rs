//! Which files are there at all: no build output, nothing large.

use super::Finding;

/// The largest file that belongs in the repository, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// Every rule of this group on one file.
pub(super) fn check(path: &str, len: u64) -> Vec<Finding> {
    [build_output(path), size(path, len)]
        .into_iter()
        .flatten()
        .collect()
}

fn build_output(path: &str) -> Option<Finding> {
    let (folders, _) = path.rsplit_once('/')?;
    folders
        .split('/')
        .any(|folder| folder == "target")
        .then(|| {
            let what = "a file in a `target` folder, which is for build output";
            Finding::new(path, 1, what, "`git rm --cached` it, or move it elsewhere")
        })
}

fn size(path: &str, len: u64) -> Option<Finding> {
    (len > MAX_BYTES).then(|| {
        let what = format!("{len} bytes, more than {MAX_BYTES}");
        Finding::new(
            path,
            1,
            what,
            "make it smaller, or generate it where it is needed",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_under_target_is_told() {
        for path in ["target/debug/a", "crates/a/target/b"] {
            assert!(build_output(path).is_some(), "{path}");
        }
        for path in ["src/target.rs", "crates/target-list/a.rs", "docs/target"] {
            assert_eq!(build_output(path), None, "{path}");
        }
    }

    #[test]
    fn a_large_file_is_told() {
        assert_eq!(check("a.bin", MAX_BYTES), []);
        assert_eq!(check("a.bin", MAX_BYTES + 1).len(), 1);
    }
}
