//! Panics that no test sees, because they happen in tasks.
//!
//! A runtime keeps a panic in the task where it happens, and a server answers 500. The test goes on, and
//! passes. So whoever starts a server watches, and looks at the end.

use std::panic;
use std::sync::{Mutex, Once, PoisonError};

/// Where the product panicked, in this process.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Counts panics of the product from now on; the hook that was there still hears of all of them. What
/// panics in a folder `tests` is an assertion of a test, which fails that test already.
pub fn watch_for_panics() {
    static WATCHING: Once = Once::new();
    WATCHING.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            if !is_of_test(&place) {
                lock().push(place);
            }
            before(info);
        }));
    });
}

/// Where the product panicked since it has been watched.
#[must_use]
pub fn panics() -> Vec<String> {
    lock().clone()
}

fn is_of_test(place: &str) -> bool {
    place.starts_with("tests/") || place.contains("/tests/")
}

fn lock() -> std::sync::MutexGuard<'static, Vec<String>> {
    PANICS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_a_task_is_found_and_an_assertion_of_a_test_is_none() {
        watch_for_panics();
        let before = panics().len();
        let thread = std::thread::spawn(|| panic!("as in a task"));
        assert!(thread.join().is_err());
        let found = panics();
        assert!(
            found[before..]
                .iter()
                .any(|place| place.contains("panics.rs"))
        );
        assert!(is_of_test("tests/tests/stream.rs:1:1"));
        assert!(is_of_test("crates/reveille-client/tests/follow.rs:7:3"));
        assert!(!is_of_test("crates/reveille-gateway/src/read.rs:7:3"));
    }
}
