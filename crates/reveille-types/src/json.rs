//! JSON text as Reveille writes it: one line, and nothing that a line-based reader could cut.

use memchr::memchr2;
use serde::Serialize;
use serde_json::value::RawValue;

/// Whether `text` is one JSON value.
pub(crate) fn is_valid(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

/// The compact form of valid JSON: no white space between tokens, and the line ends of Unicode as
/// escapes. `None` when it is compact already.
pub(crate) fn compact(text: &str) -> Option<String> {
    let mut out = String::new();
    // Everything before it has been written.
    let mut begin = 0;
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = end_of_string(bytes, at),
            b' ' | b'\t' | b'\r' | b'\n' => {
                out.push_str(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    if begin == 0 {
        return has_line_ends(text).then(|| escape_line_ends(text.to_owned()));
    }
    out.push_str(&text[begin..]);
    Some(escape_line_ends(out))
}

/// Where the string whose quote is at `begin` ends in JSON text: the index of its other quote, or the
/// length of the text without one. For whoever looks through JSON without parsing it.
///
/// ```
/// # use reveille_types::end_of_string;
/// assert_eq!(end_of_string(br#"["\"", 1]"#, 1), 4);
/// ```
#[must_use]
pub fn end_of_string(bytes: &[u8], begin: usize) -> usize {
    let mut at = begin + 1;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        match bytes[at] {
            b'"' => return at,
            // Whatever is escaped is no end.
            _ => at += 2,
        }
    }
    bytes.len()
}

/// Whether there is anything to escape. Most text is ASCII, which is seen at once.
fn has_line_ends(text: &str) -> bool {
    !text.is_ascii() && text.contains(['\u{85}', '\u{2028}', '\u{2029}'])
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
    if !has_line_ends(&text) {
        return text;
    }
    text.replace('\u{85}', "\\u0085")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}
