//! Where the workspace is.

use std::env;
use std::path::PathBuf;

/// The root of the workspace this program belongs to.
pub(crate) fn workspace_root() -> PathBuf {
    // The variable at run time follows a checkout that has moved since the build.
    let manifest_dir =
        env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let mut root = PathBuf::from(manifest_dir);
    root.pop();
    root
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_root_holds_this_crate() {
        assert!(workspace_root().join("xtask/Cargo.toml").is_file());
    }
}
