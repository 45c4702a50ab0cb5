//! The document of the figures: one section per benchmark, each replaced by its next run.

use super::figures;
use super::rows::Row;

/// What stands before the sections.
const HEAD: &str = "\
# Benchmarks

Written by `cargo xtask bench`, a section at a time; not by hand. Read ratios, not absolutes: all \
contenders of a row are measured in turn in the same run, and a value is the median of its samples. \
A ratio is Reveille's value over the fastest peer's (for rates the other way round), so that below 1 \
is better.
";

/// When, with what and on what a section was measured.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) date: String,
    pub(super) rustc: String,
    pub(super) cpus: usize,
    /// Names with versions.
    pub(super) peers: Vec<String>,
    pub(super) quick: bool,
}

/// `name version` for each of the packages that the lock file has.
pub(super) fn versions(lock: &str, packages: &[&str]) -> Vec<String> {
    let version = |package: &&str| {
        let name = format!("name = \"{package}\"");
        let mut lines = lock.lines().skip_while(|line| *line != name).skip(1);
        let version = lines.next()?.strip_prefix("version = ")?;
        Some(format!("{package} {}", version.trim_matches('"')))
    };
    packages.iter().filter_map(version).collect()
}

/// The section of these rows, from its heading to the end of its last table.
pub(super) fn section(name: &str, rows: &[Row], setting: &Setting) -> String {
    let Setting {
        date, rustc, cpus, ..
    } = setting;
    let peers = setting.peers.join(", ");
    let quick = if setting.quick {
        " A quick run with few samples: for a first look only."
    } else {
        ""
    };
    let mut text = format!("## {name}\n\n{date}, {rustc}, {cpus} CPUs. Peers: {peers}.{quick}\n\n");
    text += "| row | Reveille | unit | fastest peer | its value | ratio | to reach | met |\n";
    text += "|---|---:|---|---|---:|---:|---|---|\n";
    for row in rows {
        text += &compared(row);
    }
    text += "\nEvery peer:\n\n| row | unit | values |\n|---|---|---|\n";
    for row in rows {
        let values: Vec<_> = row
            .peers
            .iter()
            .map(|(name, value)| format!("{name} {}", number(*value)))
            .collect();
        text += &format!("| {} | {} | {} |\n", row.name, row.unit, values.join(", "));
    }
    text
}

fn compared(row: &Row) -> String {
    const NONE: &str = "-";
    let peer = row.fastest();
    let figure = figures::of(&row.name);
    let met = match figure.and_then(|figure| figure.met(row)) {
        Some(true) => "yes",
        Some(false) => "no",
        None => NONE,
    };
    format!(
        "| {} | {} | {} | {} | {} | {} | {} | {met} |\n",
        row.name,
        number(row.value),
        row.unit,
        peer.map_or(NONE, |(name, _)| name),
        peer.map_or(NONE.into(), |(_, value)| number(*value)),
        row.ratio()
            .map_or(NONE.into(), |ratio| format!("{ratio:.2}")),
        figure.map_or(NONE.into(), |figure| figure.to_string()),
    )
}

/// Three digits or more, without a fraction where it says nothing.
fn number(value: f64) -> String {
    if value.fract() == 0.0 || value >= 1000.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// The document with this section in the place of the one of the same name, or at the end.
pub(super) fn replaced(old: &str, name: &str, section: &str) -> String {
    let old = if old.is_empty() { HEAD } else { old };
    let heading = format!("## {name}");
    let (mut before, mut after) = (String::new(), String::new());
    let mut seen = false;
    let mut inside = false;
    for line in old.lines() {
        if line.starts_with("## ") {
            inside = line == heading;
            seen |= inside;
        }
        if !inside {
            let side = if seen { &mut after } else { &mut before };
            side.push_str(line);
            side.push('\n');
        }
    }
    let parts = [before.trim(), section.trim(), after.trim()];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("\n\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::rows::parse;

    fn setting() -> Setting {
        Setting {
            date: "2000-01-02".into(),
            rustc: "rustc 1.0.0".into(),
            cpus: 3,
            peers: vec!["velo 0.1.0".into(), "tokio 1.2.3".into()],
            quick: false,
        }
    }

    #[test]
    fn a_section_tells_setting_comparison_figure_and_every_peer() {
        let output = "\
hot_wake\tns\treveille\t12\nhot_wake\tns\ttokio oneshot\t10\nhot_wake\tns\tvelo\t1024.5
allocs_ready\tallocations\treveille\t0\nallocs_ready\tallocations\tvelo\t0
other\tbytes\treveille\t99.96\n";
        let text = section("core", &parse(output).unwrap(), &setting());
        let expected = "\
## core

2000-01-02, rustc 1.0.0, 3 CPUs. Peers: velo 0.1.0, tokio 1.2.3.

| row | Reveille | unit | fastest peer | its value | ratio | to reach | met |
|---|---:|---|---|---:|---:|---|---|
| hot_wake | 12 | ns | tokio oneshot | 10 | 1.20 | <= 1.1x tokio oneshot | no |
| allocs_ready | 0 | allocations | velo | 0 | - | <= 0 | yes |
| other | 100.0 | bytes | - | - | - | - | - |

Every peer:

| row | unit | values |
|---|---|---|
| hot_wake | ns | tokio oneshot 10, velo 1024 |
| allocs_ready | allocations | velo 0 |
| other | bytes |  |
";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_quick_run_says_so() {
        let quick = Setting {
            quick: true,
            ..setting()
        };
        assert!(section("core", &[], &quick).contains("quick"));
        assert!(!section("core", &[], &setting()).contains("quick"));
    }

    #[test]
    fn a_section_replaces_its_own_and_leaves_the_others() {
        let old = "# B\n\nHead.\n\n## a\n\nold a\n\n### part\n\n## core\n\nold\n\n## z\n\nold z\n";
        assert_eq!(
            replaced(old, "core", "## core\n\nnew\n"),
            "# B\n\nHead.\n\n## a\n\nold a\n\n### part\n\n## core\n\nnew\n\n## z\n\nold z\n"
        );
        assert_eq!(
            replaced(old, "a", "## a\n\nnew\n"),
            "# B\n\nHead.\n\n## a\n\nnew\n\n## core\n\nold\n\n## z\n\nold z\n"
        );
    }

    #[test]
    fn a_new_section_goes_to_the_end_and_a_new_document_has_a_head() {
        assert_eq!(
            replaced("# B\n\n## core queue\n\nx\n", "core", "## core\n\nnew\n"),
            "# B\n\n## core queue\n\nx\n\n## core\n\nnew\n"
        );
        let new = replaced("", "core", "## core\n\nnew\n");
        assert!(new.starts_with("# Benchmarks\n"));
        assert!(new.ends_with("\n\n## core\n\nnew\n"));
        assert_eq!(replaced(&new, "core", "## core\n\nnew\n"), new);
    }

    #[test]
    fn versions_come_from_the_lock_file() {
        let lock = "\
[[package]]\nname = \"tokio-util\"\nversion = \"9.9.9\"\n
[[package]]\nname = \"tokio\"\nversion = \"1.2.3\"\n";
        assert_eq!(versions(lock, &["tokio", "absent"]), ["tokio 1.2.3"]);
    }
}
