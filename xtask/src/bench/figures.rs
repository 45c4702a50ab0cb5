//! The subjects, and the figure to reach in each row of them.

use super::samples::Row;

/// What one run measures.
#[derive(Debug)]
pub(super) struct Subject {
    /// As on the command line.
    pub(super) name: &'static str,
    /// The heading of its section.
    pub(super) title: &'static str,
    /// What is done in the rows, for the reader of the section.
    pub(super) about: &'static str,
    /// The rows that must be there, with what to reach in them.
    pub(super) figures: &'static [Figure],
}

/// The figure to reach in one row.
#[derive(Debug)]
pub(super) struct Figure {
    pub(super) row: &'static str,
    pub(super) reach: Reach,
}

/// How Reveille's value is judged.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reach {
    /// At most this much of the fastest peer in the same run.
    OfBest(f64),
    /// At most this much of the peer with this name in the same run.
    Of(f64, &'static str),
    /// At most this much in the row's unit, or at least this much of a rate.
    Value(f64),
    /// Nothing: the row is shown for what it tells.
    Nothing,
}

impl Reach {
    /// Whether the row reaches it; nothing if there is nothing to reach or to compare with.
    pub(super) fn is_met(self, row: &Row) -> Option<bool> {
        match self {
            Self::OfBest(limit) => {
                let peer = row.best_peer()?;
                Some(row.ratio(peer).is_some_and(|ratio| ratio <= limit))
            }
            Self::Of(limit, name) => {
                let peer = row.other(name)?;
                Some(row.ratio(peer).is_some_and(|ratio| ratio <= limit))
            }
            Self::Value(limit) if row.is_rate() => Some(row.own >= limit),
            Self::Value(limit) => Some(row.own <= limit),
            Self::Nothing => None,
        }
    }
}

const fn figure(row: &'static str, reach: Reach) -> Figure {
    Figure { row, reach }
}

/// Every subject.
const SUBJECTS: &[Subject] = &[Subject {
    name: "core",
    title: "Signals",
    about: "\
`ready` creates, triggers and awaits one signal; `pending` polls it once before the trigger; `2t` \
does that in two threads at a time, of which each has its own signals, and Reveille's and velo's \
share one system. `merge_N` creates N signals, merges them, triggers all and awaits the merge. \
`hot_wake` is one wake between two tokio tasks on two workers that pass the turn to and fro. \
`memory` counts the bytes of each of 1 000 000 signals with what the caller keeps of them: \
pending, pending with one registered waiter, and what stays when all are gone. `allocs` counts \
the allocations of one operation once everything is warm.",
    figures: &[
        figure("signal_ready", Reach::Of(1.0, ONESHOT)),
        figure("signal_pending", Reach::Of(1.0, ONESHOT)),
        figure("signal_ready_2t", Reach::Of(1.2, ONESHOT)),
        figure("signal_pending_2t", Reach::Of(1.2, ONESHOT)),
        figure("merge_2", Reach::OfBest(0.8)),
        figure("merge_10", Reach::OfBest(0.8)),
        figure("merge_100", Reach::OfBest(0.5)),
        figure("merge_1000", Reach::OfBest(0.5)),
        figure("merge_10000", Reach::OfBest(0.5)),
        figure("merge_100000", Reach::OfBest(0.5)),
        figure("hot_wake", Reach::Of(1.1, ONESHOT)),
        figure("allocs_ready", Reach::Value(0.0)),
        figure("allocs_pending", Reach::Value(0.0)),
        figure("allocs_merge_1000", Reach::Value(4.0)),
        figure("memory_pending", Reach::Value(56.0)),
        figure("memory_waiting", Reach::Value(96.0)),
        figure("memory_after_peak", Reach::Value(1.0)),
        figure("rss_after_peak", Reach::Nothing),
    ],
}];

const ONESHOT: &str = "tokio oneshot";

/// The subject with this name.
pub(super) fn subject(name: &str) -> Option<&'static Subject> {
    SUBJECTS.iter().find(|subject| subject.name == name)
}

impl Subject {
    /// What to reach in a row; nothing in a row without a figure.
    pub(super) fn reach(&self, row: &str) -> Reach {
        let figure = self.figures.iter().find(|figure| figure.row == row);
        figure.map_or(Reach::Nothing, |figure| figure.reach)
    }

    /// A row that has a figure and was not measured.
    pub(super) fn missing(&self, rows: &[Row]) -> Option<&'static str> {
        let measured = |figure: &&Figure| rows.iter().any(|row| row.name == figure.row);
        let missing = self.figures.iter().find(|figure| !measured(figure));
        missing.map(|figure| figure.row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::samples::Other;

    fn row(unit: &str, own: f64, peers: &[(&str, f64)]) -> Row {
        let others = peers.iter().map(|&(name, value)| Other {
            name: name.into(),
            value,
            compared: true,
        });
        Row {
            name: "a".into(),
            unit: unit.into(),
            own,
            others: others.collect(),
            samples: 1,
        }
    }

    #[test]
    fn a_figure_is_met_at_its_limit_and_not_beyond() {
        let peers = [("fast", 10.0), ("slow", 20.0)];
        let met = |reach: Reach, own| reach.is_met(&row("ns", own, &peers));
        assert_eq!(met(Reach::OfBest(0.5), 5.0), Some(true));
        assert_eq!(met(Reach::OfBest(0.5), 5.1), Some(false));
        assert_eq!(met(Reach::Of(1.0, "slow"), 20.0), Some(true));
        assert_eq!(met(Reach::Of(1.0, "slow"), 20.1), Some(false));
        assert_eq!(met(Reach::Of(1.0, "absent"), 1.0), None);
        assert_eq!(met(Reach::Value(7.0), 7.0), Some(true));
        assert_eq!(met(Reach::Value(7.0), 7.1), Some(false));
        assert_eq!(met(Reach::Nothing, 1.0), None);
    }

    #[test]
    fn a_rate_must_reach_its_figure_from_below() {
        let met = |own| Reach::Value(7.0).is_met(&row("events/s", own, &[]));
        assert_eq!((met(6.9), met(7.0)), (Some(false), Some(true)));
    }

    #[test]
    fn a_row_that_was_not_measured_is_missed() {
        let core = subject("core").unwrap();
        assert_eq!(core.missing(&[]), Some("signal_ready"));
        let rows: Vec<_> = core
            .figures
            .iter()
            .map(|figure| Row {
                name: figure.row.into(),
                ..row("ns", 1.0, &[])
            })
            .collect();
        assert_eq!(core.missing(&rows), None);
        assert_eq!(
            core.missing(&rows[..rows.len() - 1]),
            Some("rss_after_peak")
        );
    }
}
