//! Text from a guest, made fit for errors and logs.

/// Bytes of a guest's text that are shown; the rest is cut.
const SHOWN_BYTES: usize = 16 << 10;

/// The text, cut, and with all that moves a terminal's cursor or hides text escaped: a newline
/// becomes `\n`.
pub(super) fn shown(text: &str) -> String {
    let end = text.floor_char_boundary(SHOWN_BYTES);
    let mut shown = String::with_capacity(end);
    for char in text[..end].chars() {
        if is_harmless(char) {
            shown.push(char);
        } else {
            shown.extend(char.escape_default());
        }
    }
    if end < text.len() {
        shown.push('…');
    }
    shown
}

/// Whether a character shows itself and does nothing else.
pub(super) fn is_harmless(char: char) -> bool {
    // Line and paragraph separators, and what turns the direction of writing, are no control
    // characters to Unicode.
    let directs =
        matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !char.is_control() && !directs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_long_text_is_cut() {
        assert_eq!(shown("21 °C, é漢"), "21 °C, é漢");
        assert_eq!(shown("a\nb\x1b[31m\u{202e}"), "a\\nb\\u{1b}[31m\\u{202e}");
        let long = shown(&"é".repeat(SHOWN_BYTES));
        assert_eq!(long.len(), SHOWN_BYTES + '…'.len_utf8());
    }
}
