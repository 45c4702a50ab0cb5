//! What the programs print, read into rows, and who is the best in each.

/// One thing that was measured.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) unit: String,
    /// Reveille's value.
    pub(super) own: f64,
    /// The others, in the order they were measured.
    pub(super) others: Vec<Other>,
    /// The most samples that one contender has.
    pub(super) samples: usize,
}

/// A contender that is not Reveille.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Other {
    pub(super) name: String,
    pub(super) value: f64,
    /// Whether it does the same work, so that it can be compared with.
    pub(super) compared: bool,
}

impl Row {
    /// Whether more is better.
    pub(super) fn is_rate(&self) -> bool {
        self.unit.ends_with("/s")
    }

    /// The best that does the same work.
    pub(super) fn best_peer(&self) -> Option<&Other> {
        let peers = self.others.iter().filter(|other| other.compared);
        if self.is_rate() {
            peers.max_by(|a, b| a.value.total_cmp(&b.value))
        } else {
            peers.min_by(|a, b| a.value.total_cmp(&b.value))
        }
    }

    /// The other contender with this name.
    pub(super) fn other(&self, name: &str) -> Option<&Other> {
        self.others.iter().find(|other| other.name == name)
    }

    /// Reveille over another, so that less than 1 is better for Reveille whatever the unit.
    /// Nothing where the other needs nothing at all and Reveille something.
    pub(super) fn ratio(&self, other: &Other) -> Option<f64> {
        let (own, other) = if self.is_rate() {
            (other.value, self.own)
        } else {
            (self.own, other.value)
        };
        if own == other {
            return Some(1.0);
        }
        Some(own / other).filter(|ratio| ratio.is_finite())
    }
}

/// Reads the lines: row, unit, contender, role and samples. A row has its first line's place.
pub(super) fn rows(lines: &[String]) -> Result<Vec<Row>, String> {
    let mut rows: Vec<Row> = Vec::new();
    let mut with_own: Vec<String> = Vec::new();
    for line in lines {
        let told = || format!("not a line of samples: {line:?}");
        let fields: Vec<_> = line.split('\t').collect();
        let &[name, unit, contender, role, samples] = fields.as_slice() else {
            return Err(told());
        };
        let samples: Vec<f64> = samples
            .split(' ')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map_err(|_| told())?;
        let value = median(&samples).ok_or_else(told)?;
        let index = rows.iter().position(|row| row.name == name);
        let index = index.unwrap_or_else(|| {
            rows.push(Row {
                name: name.into(),
                unit: unit.into(),
                own: 0.0,
                others: Vec::new(),
                samples: 0,
            });
            rows.len() - 1
        });
        let row = &mut rows[index];
        row.samples = row.samples.max(samples.len());
        if row.unit != unit {
            return Err(told());
        }
        match role {
            "own" if with_own.iter().any(|own| own == name) => return Err(told()),
            "own" => {
                row.own = value;
                with_own.push(name.into());
            }
            "peer" | "info" => row.others.push(Other {
                name: contender.into(),
                value,
                compared: role == "peer",
            }),
            _ => return Err(told()),
        }
    }
    match rows.iter().find(|row| !with_own.contains(&row.name)) {
        Some(row) => Err(format!("the row {} has no value of Reveille", row.name)),
        None => Ok(rows),
    }
}

/// The sample in the middle, or between the two in the middle; none of none.
fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted.len().checked_sub(1)? / 2, sorted.len() / 2);
    Some(f64::midpoint(sorted[low], sorted[high])).filter(|value| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Row>, String> {
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        rows(&lines)
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[9.0, 1.0, 3.0]), Some(3.0));
        assert_eq!(median(&[1.0, 9.0, 3.0, 5.0]), Some(4.0));
        assert_eq!(median(&[f64::NAN]), None);
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn lines_become_rows_with_the_best_peer_in_each() {
        let rows = read(
            "a\tns\treveille\town\t30 10 20\n\
             a\tns\tslow\tpeer\t80\n\
             b\tbytes\treveille\town\t0\n\
             a\tns\tfast\tpeer\t40\n\
             a\tns\tfloor\tinfo\t5\n",
        )
        .unwrap();
        assert_eq!(rows.len(), 2);
        let best = rows[0].best_peer().unwrap();
        assert_eq!((best.name.as_str(), rows[0].own), ("fast", 20.0));
        assert_eq!(rows[0].ratio(best), Some(0.5));
        assert_eq!(rows[0].samples, 3);
        assert_eq!(rows[1].best_peer(), None);
    }

    #[test]
    fn of_rates_the_highest_is_best_and_the_ratio_is_turned_round() {
        let rows = read(
            "a\tdeliveries/s\tone\tpeer\t10\n\
             a\tdeliveries/s\ttwo\tpeer\t20\n\
             a\tdeliveries/s\treveille\town\t40\n",
        )
        .unwrap();
        let best = rows[0].best_peer().unwrap();
        assert_eq!(best.name, "two");
        assert_eq!(rows[0].ratio(best), Some(0.5));
    }

    #[test]
    fn a_ratio_to_nothing_is_none_unless_both_are_nothing() {
        let rows = read(
            "a\tbytes\treveille\town\t3\na\tbytes\tx\tpeer\t0\n\
             b\tbytes\treveille\town\t0\nb\tbytes\tx\tpeer\t0\n",
        )
        .unwrap();
        assert_eq!(rows[0].ratio(&rows[0].others[0]), None);
        assert_eq!(rows[1].ratio(&rows[1].others[0]), Some(1.0));
    }

    #[test]
    fn what_is_no_line_of_samples_is_told() {
        for text in [
            "a\tns\treveille\town",
            "a\tns\treveille\town\t",
            "a\tns\treveille\town\t1 x",
            "a\tns\treveille\tjudge\t1",
            "a\tns\treveille\town\t1\na\tns\treveille\town\t1",
            "a\tns\treveille\town\t1\na\tbytes\tx\tpeer\t1",
            "a\tns\tx\tpeer\t1",
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }
}
