//! Cancel tokens, which share the locks and wait lists with signals but not the slots.

use loom::future::block_on;
use loom::thread;
use reveille_core::{CancelToken, ManualClock};

use super::model;

#[test]
fn token_cancelled_while_waited_for_wakes_and_reaches_a_child_being_made() {
    model(3, || {
        let token = CancelToken::new(std::sync::Arc::new(ManualClock::new()));
        let other = token.clone();
        let waiting = thread::spawn(move || block_on(other.child().cancelled()).reason);
        token.cancel(Some("stop"));
        assert_eq!(waiting.join().unwrap().as_deref(), Some("stop"));
    });
}
