//! Bounded texts: reasons and names are kept, so they must not be of any length.

use std::sync::Arc;

/// What stands at the end of a text that was cut.
const ELLIPSIS: &str = "…";

/// `text` cut to at most `bytes_max` bytes, on a character boundary, with an ellipsis if cut.
pub(crate) fn clip(text: Arc<str>, bytes_max: usize) -> Arc<str> {
    if text.len() <= bytes_max {
        return text;
    }
    let end = text.floor_char_boundary(bytes_max.saturating_sub(ELLIPSIS.len()));
    Arc::from(format!("{}{ELLIPSIS}", &text[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_text_is_kept_as_it_is() {
        let text: Arc<str> = Arc::from("short");
        assert!(Arc::ptr_eq(&clip(Arc::clone(&text), 5), &text));
    }

    #[test]
    fn long_text_is_cut_on_a_character_boundary() {
        let clipped = clip(Arc::from("ääääääää"), 10);
        assert_eq!(&*clipped, "äää…");
        assert!(clipped.len() <= 10);
    }
}
