//! What the programs print, row by row: Reveille's value, the peers' values, and their ratio.

use serde_json::json;

/// The contender that the others are peers of.
const REVEILLE: &str = "reveille";

/// One row: what Reveille and its peers reached.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) unit: String,
    /// Reveille's.
    pub(super) value: f64,
    /// Names and values, in the order of the program.
    pub(super) peers: Vec<(String, f64)>,
}

/// The rows of an output whose lines are row, unit, contender and value with tabs between them.
/// Lines of one row need not follow each other.
pub(super) fn parse(output: &str) -> Result<Vec<Row>, String> {
    let mut rows: Vec<Row> = Vec::new();
    for line in output.lines() {
        let wrong = || format!("not a line of a benchmark: {line:?}");
        let mut fields = line.split('\t');
        let (Some(name), Some(unit), Some(contender), Some(value), None) = (
            fields.next(),
            fields.next(),
            fields.next(),
            fields.next(),
            fields.next(),
        ) else {
            return Err(wrong());
        };
        let value: f64 = value.parse().map_err(|_| wrong())?;
        if !value.is_finite() {
            return Err(wrong());
        }
        let known = rows.iter_mut().find(|row| row.name == name);
        match (known, contender) {
            (None, REVEILLE) => rows.push(Row {
                name: name.into(),
                unit: unit.into(),
                value,
                peers: Vec::new(),
            }),
            (Some(row), peer) if peer != REVEILLE => row.peers.push((peer.into(), value)),
            _ => return Err(format!("a row begins with {REVEILLE}, once: {line:?}")),
        }
    }
    Ok(rows)
}

impl Row {
    /// Whether more is better.
    fn is_rate(&self) -> bool {
        self.unit.ends_with("/s")
    }

    /// The best peer and its value; nothing if there is no peer.
    pub(super) fn fastest(&self) -> Option<&(String, f64)> {
        let by_value = |a: &&(String, f64), b: &&(String, f64)| a.1.total_cmp(&b.1);
        if self.is_rate() {
            self.peers.iter().max_by(by_value)
        } else {
            self.peers.iter().min_by(by_value)
        }
    }

    /// Reveille over the fastest peer: below 1 is better, also for rates, which are turned round.
    pub(super) fn ratio(&self) -> Option<f64> {
        self.ratio_over(self.fastest()?.1)
    }

    /// Reveille over the peer of this name.
    pub(super) fn ratio_to(&self, peer: &str) -> Option<f64> {
        let (_, value) = self.peers.iter().find(|(name, _)| name == peer)?;
        self.ratio_over(*value)
    }

    /// Nothing where the divisor is none.
    fn ratio_over(&self, peer: f64) -> Option<f64> {
        let ratio = if self.is_rate() {
            peer / self.value
        } else {
            self.value / peer
        };
        ratio.is_finite().then_some(ratio)
    }

    /// One object; what there is none of is null.
    pub(super) fn json(&self) -> String {
        let peer = self.fastest();
        json!({
            "row": self.name,
            "value": self.value,
            "unit": self.unit,
            "peer": peer.map(|(name, _)| name),
            "peer_value": peer.map(|(_, value)| value),
            "ratio": self.ratio(),
        })
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(text: &str) -> Row {
        let rows = parse(text).unwrap();
        assert_eq!(rows.len(), 1);
        rows[0].clone()
    }

    #[test]
    fn the_fastest_peer_of_a_time_has_the_least() {
        let row = row("r\tns\treveille\t10\nr\tns\ta\t20\nr\tns\tb\t8\n");
        assert_eq!(row.fastest(), Some(&("b".into(), 8.0)));
        assert_eq!(row.ratio(), Some(1.25));
    }

    #[test]
    fn the_fastest_peer_of_a_rate_has_the_most_and_the_ratio_is_turned_round() {
        let row = row("r\tevents/s\treveille\t10\nr\tevents/s\ta\t20\nr\tevents/s\tb\t8\n");
        assert_eq!(row.fastest(), Some(&("a".into(), 20.0)));
        assert_eq!(row.ratio(), Some(2.0));
    }

    #[test]
    fn rows_may_be_interleaved() {
        let rows =
            parse("a\tns\treveille\t1\nb\tns\treveille\t2\na\tns\tp\t3\nb\tns\tp\t4\n").unwrap();
        let peers: Vec<_> = rows.iter().map(|row| row.peers[0].1).collect();
        assert_eq!(peers, [3.0, 4.0]);
    }

    #[test]
    fn what_is_no_row_is_an_error() {
        for text in [
            "a\tns\treveille\n",
            "a\tns\treveille\t1\t2\n",
            "a\tns\treveille\tmany\n",
            "a\tns\treveille\tNaN\n",
            "a\tns\tpeer\t1\n",
            "a\tns\treveille\t1\na\tns\treveille\t1\n",
            "\n",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn json_has_exactly_the_six_keys() {
        let parsed = |row: Row| -> serde_json::Value { serde_json::from_str(&row.json()).unwrap() };
        assert_eq!(
            parsed(row("r\tns\treveille\t10\nr\tns\ta\t20\n")),
            json!({"row": "r", "value": 10.0, "unit": "ns", "peer": "a", "peer_value": 20.0, "ratio": 0.5})
        );
        assert_eq!(
            parsed(row("r\tbytes\treveille\t10\n")),
            json!({"row": "r", "value": 10.0, "unit": "bytes", "peer": null, "peer_value": null, "ratio": null})
        );
    }

    #[test]
    fn nothing_over_nothing_is_no_ratio() {
        assert_eq!(row("r\tns\treveille\t0\nr\tns\ta\t0\n").ratio(), None);
        assert_eq!(row("r\tns\treveille\t3\nr\tns\ta\t0\n").ratio(), None);
    }
}
