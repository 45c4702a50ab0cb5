//! What is to be reached, row by row: as a bound of the value, or beside a peer of the same run.

use std::fmt;

use super::rows::Row;

/// What one row is to reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Figure {
    /// At most this, in the row's unit.
    AtMost(f64),
    /// At most this many times the fastest peer's value.
    OfFastest(f64),
    /// At most this many times the named contender's value.
    Of(f64, &'static str),
}

use Figure::{AtMost, Of, OfFastest};

const FIGURES: &[(&str, Figure)] = &[
    ("signal_ready", Of(1.0, "tokio oneshot")),
    ("signal_pending", Of(1.0, "tokio oneshot")),
    ("signal_ready_2t", Of(1.2, "tokio oneshot")),
    ("signal_pending_2t", Of(1.2, "tokio oneshot")),
    ("merge_2", OfFastest(0.8)),
    ("merge_10", OfFastest(0.8)),
    ("merge_100", OfFastest(0.5)),
    ("merge_1000", OfFastest(0.5)),
    ("merge_10000", OfFastest(0.5)),
    ("merge_100000", OfFastest(0.5)),
    ("memory_pending", AtMost(56.0)),
    ("memory_waiting", AtMost(96.0)),
    // Given back: no more is left than a tenth of what a waiting one may hold.
    ("memory_after_peak", AtMost(9.6)),
    ("hot_wake", Of(1.1, "tokio oneshot")),
    ("allocs_ready", AtMost(0.0)),
    ("allocs_pending", AtMost(0.0)),
    ("allocs_merge_1000", AtMost(4.0)),
    ("append_take_1", AtMost(200.0)),
    ("append_take_1000", AtMost(200.0)),
    ("append_take_queued_100000", AtMost(200.0)),
    // The same cost, as far as caches and noise let it be seen.
    ("wait_at_tail_growth", AtMost(1.2)),
    ("memory_idle_session", AtMost(1023.0)),
    ("memory_waiter", AtMost(199.0)),
    // At least 0.8 of the bare engine's rate.
    ("archive_append_fsync", Of(1.25, "sqlite")),
    ("archive_append_os", Of(1.25, "sqlite")),
    ("archive_commit", Of(2.0, "fdatasync")),
    // At least the bare client's rate, and 0.8 of it.
    ("nats_publish_256", Of(1.0, "async-nats")),
    ("nats_publish_256_logs", Of(1.0, "async-nats")),
    ("redis_publish_256", Of(1.25, "redis")),
    ("redis_publish_256_logs", Of(1.25, "redis")),
    // A million a second.
    ("archive_replay", AtMost(1000.0)),
    ("sse_100", Of(1.0, "nchan")),
    ("sse_1000", Of(0.8, "nchan")),
    ("sse_5000", Of(0.8, "nchan")),
    ("sse_10000", Of(0.8, "nchan")),
    // When frames can share a write.
    ("sse_loaded_100", AtMost(1.0)),
    ("sse_loaded_1000", AtMost(1.0)),
    ("latency_p50", Of(1.2, "raw server")),
    ("latency_p99", Of(1.2, "raw server")),
    ("session_p50", Of(1.2, "raw server")),
    ("session_p99", Of(1.2, "raw server")),
    ("publish", AtMost(10.0)),
    ("publish_batched", AtMost(1.0)),
    ("connection_memory", AtMost(8.0)),
    ("sse_fan_out_10000", AtMost(500.0)),
    // A rate: not below the channel's.
    ("fan_out_100", Of(1.0, "tokio broadcast")),
    ("fan_out_1000", Of(1.0, "tokio broadcast")),
    // 100 ns, and 2 ns for each of the three that match.
    ("matching_10", AtMost(106.0)),
    ("matching_1000", AtMost(106.0)),
    ("matching_100000", AtMost(106.0)),
];

/// What this row is to reach; nothing for a row that only tells.
pub(super) fn of(row: &str) -> Option<Figure> {
    let found = FIGURES.iter().find(|(name, _)| *name == row);
    found.map(|(_, figure)| *figure)
}

impl Figure {
    /// Whether the row reaches it; nothing when who it is measured by is not in the row.
    pub(super) fn met(self, row: &Row) -> Option<bool> {
        Some(match self {
            AtMost(most) => row.value <= most,
            OfFastest(most) => row.ratio()? <= most,
            Of(most, name) => row.ratio_to(name)? <= most,
        })
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AtMost(most) => write!(f, "<= {most}"),
            OfFastest(most) => write!(f, "<= {most}x the fastest"),
            Of(most, name) => write!(f, "<= {most}x {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_met_at_its_bound_and_not_beyond() {
        let text = "r\tns\treveille\t10\nr\tns\ta\t8\nr\tns\tb\t20\n";
        let row = &super::super::rows::parse(text).unwrap()[0];
        for (figure, met) in [
            (AtMost(10.0), Some(true)),
            (AtMost(9.9), Some(false)),
            (OfFastest(1.25), Some(true)),
            (OfFastest(1.2), Some(false)),
            (Of(0.5, "b"), Some(true)),
            (Of(0.4, "b"), Some(false)),
            (Of(1.0, "absent"), None),
        ] {
            assert_eq!(figure.met(row), met, "{figure}");
        }
    }
}
