//! The document of all benchmarks: one section for each subject, between two marks.

/// What stands above the sections of a new document.
const HEAD: &str = "\
# Benchmarks

Each section is written by `cargo xtask bench <subject>`, which measures Reveille and its peers in one run, and is replaced by the next run; nothing is written by hand. The peers take their samples in turn with Reveille, so read the ratios: the figures themselves are those of one machine on one day.
";

/// The line that ends any section.
const END: &str = "<!-- end of bench -->";

/// The line that begins the section of a subject.
fn begin(subject: &str) -> String {
    format!("<!-- bench: {subject} -->")
}

/// The document with this section in the place of the one that it has for the subject, or at its
/// end. Everything else stays as it is.
pub(super) fn with_section(text: &str, subject: &str, section: &str) -> Result<String, String> {
    let begin = begin(subject);
    let section = format!("{begin}\n{}\n{END}\n", section.trim_end());
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    let Some(first) = lines.iter().position(|line| line.trim_end() == begin) else {
        let text = if text.is_empty() { HEAD } else { text };
        return Ok(format!("{}\n\n{section}", text.trim_end()));
    };
    let rest = &lines[first..];
    let Some(length) = rest.iter().position(|line| line.trim_end() == END) else {
        return Err(format!("the section after `{begin}` has no `{END}`"));
    };
    let (before, after) = (lines[..first].concat(), rest[length + 1..].concat());
    Ok(format!("{before}{section}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_document_has_a_head_and_the_section() {
        let text = with_section("", "core", "## Signals\n").unwrap();
        let section = "<!-- bench: core -->\n## Signals\n<!-- end of bench -->\n";
        assert_eq!(text, format!("{HEAD}\n{section}"));
    }

    #[test]
    fn a_section_is_replaced_and_the_others_stay() {
        let text = with_section("", "core", "old\n").unwrap();
        let text = with_section(&text, "queue", "queue\n").unwrap();
        let text = with_section(&text, "core", "new\nlonger\n").unwrap();
        let sections = "<!-- bench: core -->\nnew\nlonger\n<!-- end of bench -->\n\n\
                        <!-- bench: queue -->\nqueue\n<!-- end of bench -->\n";
        assert_eq!(text, format!("{HEAD}\n{sections}"));
        assert_eq!(with_section(&text, "core", "new\nlonger\n").unwrap(), text);
    }

    #[test]
    fn words_between_the_sections_stay() {
        let text = "# Mine\n\n<!-- bench: a -->\nold\n<!-- end of bench -->\n\nwords\n";
        let text = with_section(text, "a", "new").unwrap();
        assert_eq!(
            text,
            "# Mine\n\n<!-- bench: a -->\nnew\n<!-- end of bench -->\n\nwords\n"
        );
    }

    #[test]
    fn a_section_without_an_end_is_told_and_nothing_is_cut() {
        let error = with_section("<!-- bench: a -->\nold\nwords\n", "a", "new").unwrap_err();
        assert!(error.contains("has no `<!-- end of bench -->`"), "{error}");
    }
}
