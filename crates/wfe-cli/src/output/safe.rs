//! Makes texts of programs harmless: names and payloads are printed, never interpreted by the terminal.

use std::fmt::Write as _;

/// Whether a terminal may act on this character, or show other characters elsewhere because of it: controls of both
/// sets (`U+0000` to `U+001F`, `U+007F` to `U+009F`), line and paragraph separators, and the marks that turn the direction
/// of writing.
fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
        )
}

/// The text in one line: each dangerous character is written as an escape of Rust, such as `\n` or `\u{1b}`.
pub(crate) fn one_line(text: &str) -> String {
    escaped(text, |_| false)
}

/// The text with its line breaks; all other dangerous characters are escaped.
pub(crate) fn block(text: &str) -> String {
    escaped(text, |c| c == '\n')
}

fn escaped(text: &str, keep: fn(char) -> bool) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if !is_dangerous(c) || keep(c) {
            safe.push(c);
        } else if c == '\n' || c == '\t' || c == '\r' {
            safe.extend(c.escape_default());
        } else {
            safe.extend(c.escape_unicode());
        }
    }
    safe
}

/// JSON in which the dangerous characters that JSON allows are escaped too. The value stays the same: such characters
/// can only stand in texts, and no number is touched.
pub(crate) fn json(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_dangerous(c) && c != '\n' {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                // Writing to a text cannot fail.
                let _ = write!(safe, "\\u{unit:04x}");
            }
        } else {
            safe.push(c);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json as value};

    use super::*;

    const HOSTILE: &str = "a\u{1b}[2Jb\u{9b}31mc\u{7}\u{202e}d\r\n\te\u{7f}";

    #[test]
    fn no_character_that_a_terminal_acts_on_is_left() {
        assert_eq!(one_line(HOSTILE), "a\\u{1b}[2Jb\\u{9b}31mc\\u{7}\\u{202e}d\\r\\n\\te\\u{7f}");
        assert_eq!(block("a\nb\u{1b}"), "a\nb\\u{1b}");
        assert_eq!(one_line("naïve ✓ 表"), "naïve ✓ 表");
    }

    #[test]
    fn escaped_json_is_the_same_value() {
        let before = value!({ "name": HOSTILE, HOSTILE: 1.5 });
        let text = json(&before.to_string());
        assert!(!text.chars().any(is_dangerous), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), before);
    }
}
