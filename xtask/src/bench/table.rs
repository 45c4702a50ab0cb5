//! Rows as tables for people, and as JSON for programs.

use super::figures::{Reach, Subject};
use super::samples::Row;

/// When, where and with what it was measured.
pub(super) struct Setting {
    pub(super) date: String,
    pub(super) compiler: String,
    pub(super) processors: usize,
    /// Each with its version.
    pub(super) crates: Vec<String>,
}

/// The section of a subject, without the marks around it.
pub(super) fn section(subject: &Subject, setting: &Setting, rows: &[Row]) -> String {
    let samples = rows.iter().map(|row| row.samples).max().unwrap_or_default();
    let Subject {
        name, title, about, ..
    } = subject;
    let Setting {
        date,
        compiler,
        processors,
        crates,
    } = setting;
    let crates = crates.join(", ");
    let mut text = format!(
        "## {title}\n\n\
         `cargo xtask bench {name}` on {date}: {compiler}, {processors} CPUs; {crates}.\n\n\
         {about}\n\n\
         Times are medians of {samples} samples. The ratio is Reveille over the best peer of the \
         row: less than 1 is better for Reveille, whatever the unit.\n\n"
    );
    text.push_str(&verdicts(subject, rows));
    text.push_str("\nWhat everybody needs; what is in brackets does less or something else, and is not compared with.\n");
    for group in groups(rows) {
        text.push('\n');
        text.push_str(&values(&group));
    }
    text
}

/// Reveille and the best peer in each row, against the figure to reach.
fn verdicts(subject: &Subject, rows: &[Row]) -> String {
    let mut cells = vec![
        [
            "row",
            "unit",
            "Reveille",
            "best peer",
            "its value",
            "ratio",
            "to reach",
            "reached",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    for row in rows {
        let peer = row.best_peer();
        let ratio = peer.and_then(|peer| row.ratio(peer));
        let reach = subject.reach(&row.name);
        let met = match reach.is_met(row) {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => NOTHING,
        };
        cells.push(vec![
            row.name.clone(),
            row.unit.clone(),
            number(row.own),
            peer.map_or(NOTHING.into(), |peer| peer.name.clone()),
            peer.map_or(NOTHING.into(), |peer| number(peer.value)),
            ratio.map_or(NOTHING.into(), times),
            to_reach(reach, row),
            met.into(),
        ]);
    }
    table(&cells)
}

/// The figure in words, with the ratio to the peer that it names.
fn to_reach(reach: Reach, row: &Row) -> String {
    match reach {
        Reach::OfBest(limit) => format!("<= {} best peer", times(limit)),
        Reach::Of(limit, name) => {
            let now = row.other(name).and_then(|peer| row.ratio(peer));
            let now = now.map_or(NOTHING.into(), times);
            format!("<= {} {name} (is {now})", times(limit))
        }
        Reach::Value(limit) if row.is_rate() => format!(">= {}", number(limit)),
        Reach::Value(limit) => format!("<= {}", number(limit)),
        Reach::Nothing => NOTHING.into(),
    }
}

/// The rows with the same contenders, which share a table.
fn groups(rows: &[Row]) -> Vec<Vec<&Row>> {
    let names =
        |row: &Row| -> Vec<String> { row.others.iter().map(|other| other.name.clone()).collect() };
    let mut groups: Vec<Vec<&Row>> = Vec::new();
    for row in rows {
        match groups
            .iter_mut()
            .find(|group| names(group[0]) == names(row))
        {
            Some(group) => group.push(row),
            None => groups.push(vec![row]),
        }
    }
    groups
}

/// The values of all contenders in rows that have the same ones.
fn values(rows: &[&Row]) -> String {
    let mut head = vec!["row".to_owned(), "unit".into(), "Reveille".into()];
    if let Some(row) = rows.first() {
        head.extend(row.others.iter().map(|other| match other.compared {
            true => other.name.clone(),
            false => format!("({})", other.name),
        }));
    }
    let mut cells = vec![head];
    for row in rows {
        let mut line = vec![row.name.clone(), row.unit.clone(), number(row.own)];
        line.extend(row.others.iter().map(|other| number(other.value)));
        cells.push(line);
    }
    table(&cells)
}

/// A Markdown table whose columns also line up as plain text; the first line is its head.
fn table(cells: &[Vec<String>]) -> String {
    let columns = cells.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let widths = cells.iter().map(|line| line[column].chars().count());
        widths.max().unwrap_or_default()
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (index, line) in cells.iter().enumerate() {
        for (cell, width) in line.iter().zip(&widths) {
            text.push_str(&format!("| {cell:<width$} "));
        }
        text.push_str("|\n");
        if index == 0 {
            for width in &widths {
                text.push_str(&format!("|{}", "-".repeat(width + 2)));
            }
            text.push_str("|\n");
        }
    }
    text
}

const NOTHING: &str = "-";

/// A value with three digits that count, and all digits of large numbers.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size.fract() == 0.0 || size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

fn times(ratio: f64) -> String {
    format!("{ratio:.2}x")
}

/// One JSON object a line, one for each row.
pub(super) fn json(rows: &[Row]) -> String {
    rows.iter().map(json_line).collect()
}

fn json_line(row: &Row) -> String {
    let peer = row.best_peer();
    format!(
        "{{\"row\":{},\"value\":{},\"unit\":{},\"peer\":{},\"peer_value\":{},\"ratio\":{}}}\n",
        json_string(&row.name),
        row.own,
        json_string(&row.unit),
        peer.map_or(NULL.into(), |peer| json_string(&peer.name)),
        peer.map_or(NULL.into(), |peer| peer.value.to_string()),
        peer.and_then(|peer| row.ratio(peer))
            .map_or(NULL.into(), |ratio| ratio.to_string()),
    )
}

const NULL: &str = "null";

fn json_string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::figures::Figure;
    use crate::bench::samples;

    const SUBJECT: Subject = Subject {
        name: "core",
        title: "Signals",
        about: "What is done.",
        figures: &[
            Figure {
                row: "fast",
                reach: Reach::Of(1.0, "slow peer"),
            },
            Figure {
                row: "large",
                reach: Reach::Value(56.0),
            },
        ],
    };

    fn rows() -> Vec<Row> {
        let lines = [
            "fast\tns\treveille\town\t50 51 49",
            "fast\tns\tslow peer\tpeer\t200",
            "fast\tns\tquick\tpeer\t40",
            "large\tbytes\treveille\town\t284.97552",
            "large\tbytes\tslow peer\tpeer\t0",
            "large\tbytes\tquick\tpeer\t40",
            "other\tns\treveille\town\t1",
            "other\tns\tfloor\tinfo\t0.5",
        ];
        samples::rows(&lines.map(str::to_owned)).unwrap()
    }

    #[test]
    fn the_section_tells_setting_verdicts_and_all_values() {
        let setting = Setting {
            date: "2026-01-02".into(),
            compiler: "rustc 1.95.0".into(),
            processors: 2,
            crates: vec!["tokio 1.0.0".into(), "velo 0.1.0".into()],
        };
        let expected = "\
## Signals

`cargo xtask bench core` on 2026-01-02: rustc 1.95.0, 2 CPUs; tokio 1.0.0, velo 0.1.0.

What is done.

Times are medians of 3 samples. The ratio is Reveille over the best peer of the row: less than 1 is better for Reveille, whatever the unit.

| row   | unit  | Reveille | best peer | its value | ratio | to reach                      | reached |
|-------|-------|----------|-----------|-----------|-------|-------------------------------|---------|
| fast  | ns    | 50       | quick     | 40        | 1.25x | <= 1.00x slow peer (is 0.25x) | yes     |
| large | bytes | 285      | slow peer | 0         | -     | <= 56                         | **no**  |
| other | ns    | 1        | -         | -         | -     | -                             | -       |

What everybody needs; what is in brackets does less or something else, and is not compared with.

| row   | unit  | Reveille | slow peer | quick |
|-------|-------|----------|-----------|-------|
| fast  | ns    | 50       | 200       | 40    |
| large | bytes | 285      | 0         | 40    |

| row   | unit | Reveille | (floor) |
|-------|------|----------|---------|
| other | ns   | 1        | 0.50    |
";
        assert_eq!(section(&SUBJECT, &setting, &rows()), expected);
    }

    #[test]
    fn json_has_one_object_a_line_with_the_six_fields() {
        let expected = r#"{"row":"fast","value":50,"unit":"ns","peer":"quick","peer_value":40,"ratio":1.25}
{"row":"large","value":284.97552,"unit":"bytes","peer":"slow peer","peer_value":0,"ratio":null}
{"row":"other","value":1,"unit":"ns","peer":null,"peer_value":null,"ratio":null}
"#;
        assert_eq!(json(&rows()), expected);
    }

    #[test]
    fn json_strings_are_escaped() {
        assert_eq!(json_string("a\"b\\c\n"), r#""a\"b\\c\u000a""#);
    }

    #[test]
    fn numbers_have_three_digits_that_count() {
        let texts = [0.0, 0.126, 7.0, 9.994, 12.34, 123.4, 51_372.15].map(number);
        assert_eq!(texts, ["0", "0.13", "7", "9.99", "12.3", "123", "51372"]);
    }
}
