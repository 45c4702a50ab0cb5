//! Where the programs of servers are that tests start.

use std::env;
use std::path::PathBuf;

/// The program of a server: where the environment says, where `cargo xtask preflight` puts it
/// (`target/FOLDER/bin`), or on the search path.
///
/// # Panics
/// If it is nowhere; says what to do.
#[must_use]
pub fn program(variable: &str, folder: &str, name: &str) -> PathBuf {
    if let Some(named) = env::var_os(variable) {
        return named.into();
    }
    // The test is at `TARGET/debug/deps/NAME`.
    let test = env::current_exe().unwrap();
    let target = test.ancestors().nth(3);
    let installed = target.map(|target| target.join(folder).join("bin"));
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders = installed.into_iter().chain(env::split_paths(&path));
    let found = folders.find_map(|folder| Some(folder.join(name)).filter(|path| path.is_file()));
    found.unwrap_or_else(|| {
        panic!("there is no {name}: run `cargo xtask preflight`, or set {variable} to one")
    })
}
