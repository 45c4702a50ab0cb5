//! JSON text as Reveille writes it: one line, and nothing that a line-based reader could cut.

use serde::Serialize;
use serde_json::value::RawValue;

/// Whether `text` is one JSON value.
pub(crate) fn is_valid(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

/// The compact form of valid JSON: no white space between tokens, and the line ends of Unicode as
/// escapes. `None` when it is compact already.
pub(crate) fn compact(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    for c in text.chars() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if c == '"' {
            in_string = true;
        } else if matches!(c, ' ' | '\t' | '\r' | '\n') {
            continue;
        }
        out.push(c);
    }
    let dense = escape_line_ends(out);
    (dense != text).then_some(dense)
}

/// `value` as one line of JSON that no line-based reader cuts: without line ends, and with U+0085, U+2028
/// and U+2029 escaped. `null` for a value that JSON cannot express (a map with keys that are no
/// strings).
#[must_use]
pub fn json_line(value: &impl Serialize) -> String {
    serde_json::to_string(value).map_or_else(|_| "null".to_owned(), escape_line_ends)
}

/// Writes U+0085, U+2028 and U+2029 as escapes, because readers exist that end a line there. In valid
/// JSON they stand inside strings only, so the meaning is kept.
pub(crate) fn escape_line_ends(text: String) -> String {
    if !text.contains(['\u{85}', '\u{2028}', '\u{2029}']) {
        return text;
    }
    text.replace('\u{85}', "\\u0085")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}
