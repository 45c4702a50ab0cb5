//! Bounds on the shape of JSON, whatever is in it: how deep it is, and how many members an object has.
//!
//! What is deep costs nothing to skip and much to read: readers in other languages recurse. It is looked
//! at before anything is parsed.

use std::iter;

use axum::http::StatusCode;
use reveille_types::end_of_string;

use crate::problem::Refusal;

/// Most levels of objects and arrays in one event, or in another body.
pub(crate) const DEPTH: usize = 64;
/// Most members of one object.
pub(crate) const MEMBERS: usize = 10_000;
/// The fewest bytes that a member has: `"":0,`.
const LEAST: usize = 5;

/// Refuses JSON of more than `depth` levels, or with an object of too many members. Text that is no JSON
/// may pass: whoever parses it finds out.
pub(crate) fn check(json: &[u8], depth: usize) -> Result<(), Refusal> {
    let opened = json.iter().filter(|b| matches!(b, b'{' | b'[')).count();
    // Most bodies are small and flat, which is seen at once.
    if opened <= depth && json.len() < LEAST * MEMBERS {
        return Ok(());
    }
    let mut open: Vec<usize> = Vec::with_capacity(depth);
    for byte in outside_strings(json) {
        match byte {
            b'{' | b'[' if open.len() == depth => return Err(too_much("json_too_deep", depth)),
            b'{' | b'[' => open.push(0),
            b'}' | b']' => {
                open.pop();
            }
            // Outside of strings it stands in members alone.
            b':' => {
                if let Some(members) = open.last_mut() {
                    *members += 1;
                    if *members > MEMBERS {
                        return Err(too_much("json_too_many_members", MEMBERS));
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// How many members all objects have together.
pub(crate) fn members(json: &[u8]) -> usize {
    outside_strings(json).filter(|byte| *byte == b':').count()
}

/// The bytes that stand in no string, quotes aside.
fn outside_strings(json: &[u8]) -> impl Iterator<Item = u8> {
    let mut at = 0;
    iter::from_fn(move || {
        while json.get(at) == Some(&b'"') {
            at = end_of_string(json, at) + 1;
        }
        let byte = *json.get(at)?;
        at += 1;
        Some(byte)
    })
}

/// The rest is not counted: there may be any number.
fn too_much(code: &str, limit: usize) -> Refusal {
    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, code).limit(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(json: &str) -> Option<String> {
        let refused = check(json.as_bytes(), DEPTH).err()?;
        Some(refused.code().to_owned())
    }

    fn nested(depth: usize) -> String {
        format!("{}{}", "[".repeat(depth), "]".repeat(depth))
    }

    fn object(members: usize) -> String {
        let members: Vec<String> = (0..members).map(|n| format!("\"{n}\":0")).collect();
        format!("{{{}}}", members.join(","))
    }

    #[test]
    fn depth_is_bounded_and_brackets_in_strings_do_not_count() {
        assert_eq!(code(&nested(DEPTH)), None);
        assert_eq!(code(&nested(DEPTH + 1)).unwrap(), "json_too_deep");
        assert_eq!(code(&format!("[{}]", vec!["[]"; 1_000].join(","))), None);
        let text = "[".repeat(1_000);
        assert_eq!(code(&format!(r#"{{"a":"\"{text}"}}"#)), None);
        let after = format!(r#"["\\",{}]"#, nested(DEPTH));
        assert_eq!(code(&after).unwrap(), "json_too_deep");
    }

    #[test]
    fn members_are_counted_for_each_object() {
        assert_eq!(code(&object(MEMBERS)), None);
        assert_eq!(code(&object(MEMBERS + 1)).unwrap(), "json_too_many_members");
        let two = format!("[{},{}]", object(MEMBERS), object(MEMBERS));
        assert_eq!(code(&two), None);
        let colons = format!(r#"{{"a":"{}"}}"#, ":".repeat(2 * LEAST * MEMBERS));
        assert_eq!(code(&colons), None);
    }

    #[test]
    fn what_is_no_json_neither_panics_nor_loops() {
        for text in ["", "\"", "\"\\", "]]]]", "}:{", ":", "[[["] {
            let _ = check(text.as_bytes(), 1);
        }
    }
}
