//! Values of attributes as text that a header can carry.
//!
//! Specification: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md>,
//! section 3.1.3.2.

use crate::invalid::Invalid;

/// `text` as the value of a header: space, `"`, `%` and everything outside U+0021 to U+007E
/// percent-encoded, as UTF-8 and with upper-case digits.
///
/// ```
/// use reveille_types::cloudevents::{decode_header, encode_header};
///
/// let value = encode_header("Euro € 100%");
/// assert_eq!(value, "Euro%20%E2%82%AC%20100%25");
/// assert_eq!(decode_header(value.as_bytes())?, "Euro € 100%");
/// # Ok::<(), reveille_types::Invalid>(())
/// ```
#[must_use]
pub fn encode_header(text: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'"' | b'%' => {}
            b'!'..=b'~' => {
                out.push(char::from(byte));
                continue;
            }
            _ => {}
        }
        out.push('%');
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    out
}

/// The text of a header's value: out of its quotes if it stands in quotes as a whole, then decoded from
/// percent-encoding once. A `%` that begins no escape stands for itself, because there are producers
/// that write values as they are.
///
/// # Errors
/// [`Invalid`] when the value is not UTF-8.
pub fn decode_header(value: &[u8]) -> Result<String, Invalid> {
    let bytes = match unquote(value) {
        Some(unquoted) => percent_decode(&unquoted),
        None => percent_decode(value),
    };
    String::from_utf8(bytes).map_err(|_| Invalid::form("header", "is not UTF-8"))
}

/// What stands within the quotes (RFC 7230, section 3.2.6); none when the value is no quoted string.
fn unquote(value: &[u8]) -> Option<Vec<u8>> {
    let within = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let mut out = Vec::with_capacity(within.len());
    let mut bytes = within.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'"' => return None,
            // A backslash at the end escapes the last quote, so that none ends the string.
            b'\\' => out.push(*bytes.next()?),
            byte => out.push(byte),
        }
    }
    Some(out)
}

fn percent_decode(value: &[u8]) -> Vec<u8> {
    let digit = |at: usize| char::from(*value.get(at)?).to_digit(16);
    let mut out = Vec::with_capacity(value.len());
    let mut at = 0;
    while let Some(&byte) = value.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                // Two hexadecimal digits are one byte.
                out.push((high << 4 | low) as u8);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}
