//! Compare and append.

use std::sync::Arc;

use reveille_backend::Backend;
use reveille_queue::{AppendError, AppendOptions};
use reveille_types::Position;

use super::{append, by, draft, everything, keyed, log_on, positions};

fn at(position: u64) -> AppendOptions {
    AppendOptions::default().expecting(Position(position))
}

/// An append that expects the log to end elsewhere stores nothing and is told where it ends. A
/// repeated append is answered whatever it expects.
///
/// # Panics
/// When the condition is not looked at, or is looked at too early.
pub async fn append_compares_the_expected_position(backend: Arc<dyn Backend>) {
    let log = log_on(backend).await;
    append(&log, vec![draft("a")]).await;
    for wrong in [0, 2, u64::MAX] {
        let Err(AppendError::PositionConflict { expected, actual }) =
            log.append([draft("b")], at(wrong)).await
        else {
            panic!("the log ends at 1, not at {wrong}");
        };
        assert_eq!((expected, actual), (Position(wrong), log.latest()));
    }
    let receipt = log.append([keyed("b", "k")], at(1)).await.unwrap();
    assert_eq!(positions(&receipt), [1]);
    let again = log.append([keyed("b", "k")], at(1)).await.unwrap();
    assert!(again.deduplicated());
    assert_eq!(everything(&log).len(), 2);
}

/// Of producers that append at the same expected position at once, exactly one succeeds.
///
/// # Panics
/// When it is none or several.
pub async fn of_concurrent_appends_at_one_position_one_wins(backend: Arc<dyn Backend>) {
    const ROUNDS: u64 = 100;
    let log = log_on(backend).await;
    for round in 0..ROUNDS {
        let producers = ["a", "b", "c", "d"].map(|name| {
            let log = log.clone();
            tokio::spawn(async move { log.append([by(name)], at(round)).await.is_ok() })
        });
        let mut won = 0;
        for producer in producers {
            won += usize::from(producer.await.unwrap());
        }
        assert_eq!(won, 1, "round {round}");
    }
    assert_eq!(everything(&log).len() as u64, ROUNDS);
}
