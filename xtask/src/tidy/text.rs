//! What every file looks like: module docs, no markers of unfinished work, length, whitespace.

use super::Finding;

/// More lines than this in one `.rs` file need a stated reason.
const MAX_LINES: usize = 600;

/// The line of a module doc that excuses a long file; the reason follows.
const LONG_BECAUSE: &str = "//! tidy: long because ";

/// Markers of unfinished work, in pieces so that this file does not hold them itself.
const MARKERS: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("dbg", "!("),
    concat!("to", "do!("),
    concat!("unimpl", "emented!("),
];

/// Every rule of this group on one file.
pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let rules = [
        module_doc,
        markers,
        length,
        trailing_whitespace,
        last_newline,
        tabs,
    ];
    rules.iter().flat_map(|rule| rule(path, text)).collect()
}

/// The leading `//!` lines of a file.
pub(super) fn module_doc_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().take_while(|line| line.starts_with("//!"))
}

fn module_doc(path: &str, text: &str) -> Vec<Finding> {
    let first = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("//!"))
        .unwrap_or_default();
    if !path.ends_with(".rs") || !first.trim().is_empty() {
        return Vec::new();
    }
    vec![Finding::new(
        path,
        1,
        "the file does not begin with a module doc",
        "make its first line a `//!` sentence that says what the file is for",
    )]
}

fn markers(path: &str, text: &str) -> Vec<Finding> {
    if ![".rs", ".toml", ".md"]
        .iter()
        .any(|extension| path.ends_with(extension))
    {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for marker in MARKERS.iter().filter(|marker| holds_word(line, marker)) {
            findings.push(Finding::new(
                path,
                index + 1,
                format!("`{marker}` marks unfinished work"),
                "finish it, or delete it",
            ));
        }
    }
    findings
}

/// Whether `word` stands in `line` and is not part of a longer word.
fn holds_word(line: &str, word: &str) -> bool {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(start, _)| {
        let (before, after) = (&line[..start], &line[start + word.len()..]);
        let goes_on = word.ends_with(in_word) && after.starts_with(in_word);
        !before.ends_with(in_word) && !goes_on
    })
}

fn length(path: &str, text: &str) -> Vec<Finding> {
    let lines = text.lines().count();
    let excused = module_doc_lines(text)
        .filter_map(|line| line.strip_prefix(LONG_BECAUSE))
        .any(|reason| !reason.trim().is_empty());
    if !path.ends_with(".rs") || lines <= MAX_LINES || excused {
        return Vec::new();
    }
    vec![Finding::new(
        path,
        MAX_LINES + 1,
        format!("{lines} lines, more than {MAX_LINES}"),
        format!("split the file by idea, or add `{LONG_BECAUSE}<reason>` to its module doc"),
    )]
}

fn trailing_whitespace(path: &str, text: &str) -> Vec<Finding> {
    // Split at the line feed alone, so that a carriage return before it counts too.
    text.split('\n')
        .enumerate()
        .filter(|(_, line)| line.ends_with(char::is_whitespace))
        .map(|(index, _)| Finding::new(path, index + 1, "trailing whitespace", "remove it"))
        .collect()
}

fn last_newline(path: &str, text: &str) -> Vec<Finding> {
    let last = text.split('\n').count();
    if text.is_empty() || (text.ends_with('\n') && !text.ends_with("\n\n") && text != "\n") {
        Vec::new()
    } else if text.ends_with('\n') {
        vec![Finding::new(
            path,
            last - 1,
            "blank line at the end",
            "end with one newline",
        )]
    } else {
        vec![Finding::new(
            path,
            last,
            "no newline at the end",
            "end with one newline",
        )]
    }
}

fn tabs(path: &str, text: &str) -> Vec<Finding> {
    if !path.ends_with(".rs") {
        return Vec::new();
    }
    text.lines()
        .enumerate()
        .filter(|(_, line)| line.contains('\t'))
        .map(|(index, _)| {
            let mend = "indent with spaces, and write `\\t` in literals";
            Finding::new(path, index + 1, "a tab", mend)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(findings: &[Finding]) -> Vec<usize> {
        findings.iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_clean_file_has_no_findings() {
        assert_eq!(check("a.rs", "//! A file.\n\nfn f() {}\n"), []);
    }

    #[test]
    fn a_rust_file_without_a_leading_module_doc_is_told() {
        for text in [
            "",
            "fn f() {}\n",
            "#![no_std]\n//! Late.\n",
            "//!\n//! Late.\n",
            "\n//! L.\n",
        ] {
            assert_eq!(lines(&module_doc("a.rs", text)), [1], "{text:?}");
        }
        assert_eq!(module_doc("a.md", "# Title\n"), []);
    }

    #[test]
    fn every_marker_is_told_in_every_kind_of_file() {
        for marker in MARKERS {
            for path in ["a.rs", "a.toml", "a.md"] {
                let text = format!("first\nsecond {marker} rest\n");
                assert_eq!(lines(&markers(path, &text)), [2], "{marker} in {path}");
            }
            assert_eq!(markers("a.json", marker), []);
        }
    }

    #[test]
    fn a_marker_inside_a_longer_word_is_none() {
        let text = format!(
            "{0}X {0}_LIST mas{1} my_{2}x)\n",
            MARKERS[2], MARKERS[0], MARKERS[3]
        );
        assert_eq!(markers("a.rs", &text), []);
    }

    #[test]
    fn a_long_file_is_told_unless_its_doc_gives_a_reason() {
        let body = "fn f() {}\n".repeat(MAX_LINES - 1);
        assert_eq!(length("a.rs", &format!("//! A.\n{body}")), []);
        assert_eq!(
            lines(&length("a.rs", &format!("//! A.\n\n{body}"))),
            [MAX_LINES + 1]
        );
        let excused = format!("//! A.\n{LONG_BECAUSE}it is one table.\n{body}");
        assert_eq!(length("a.rs", &excused), []);
        let no_reason = format!("//! A.\n{LONG_BECAUSE} \n{body}");
        assert_eq!(length("a.rs", &no_reason).len(), 1);
        let not_in_the_doc = format!("//! A.\n\n{LONG_BECAUSE}late\n{body}");
        assert_eq!(length("a.rs", &not_in_the_doc).len(), 1);
        assert_eq!(length("a.md", &"line\n".repeat(MAX_LINES * 2)), []);
    }

    #[test]
    fn trailing_whitespace_is_told_by_line() {
        assert_eq!(
            lines(&trailing_whitespace("a.md", "a \nb\nc\t\nd\r\n")),
            [1, 3, 4]
        );
    }

    #[test]
    fn a_file_ends_with_exactly_one_newline() {
        assert_eq!(last_newline("a", ""), []);
        assert_eq!(last_newline("a", "a\nb\n"), []);
        assert_eq!(lines(&last_newline("a", "a\nb")), [2]);
        assert_eq!(lines(&last_newline("a", "a\n\n")), [2]);
        assert_eq!(lines(&last_newline("a", "\n")), [1]);
    }

    #[test]
    fn a_tab_in_a_rust_file_is_told() {
        assert_eq!(lines(&tabs("a.rs", "a\n\tb\n")), [2]);
        assert_eq!(tabs("Makefile", "a\n\tb\n"), []);
    }
}
