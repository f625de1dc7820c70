//! Texts of programs as they stand in pictures: harmless, cut to their room, and reckoned for a wide font, because a
//! server cannot measure.

use std::time::Duration;

/// The most characters of a name that are looked at, however long the name is.
const LONGEST: usize = 300;

/// The text without what no picture can show: control characters, and marks that turn the direction of writing, become
/// U+FFFD. A text of more than 300 characters is cut, and ends in an ellipsis.
#[must_use]
pub fn clean(text: &str) -> String {
    let mut chars = text.chars();
    let mut shown: String =
        chars.by_ref().take(LONGEST).map(|c| if is_harmless(c) { c } else { '\u{fffd}' }).collect();
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

fn is_harmless(c: char) -> bool {
    let turns = matches!(
        c,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
    );
    // XML cannot name the last two.
    !c.is_control() && !turns && !matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// The number with a thin space between its thousands, never rounded: `1 004 119`.
#[must_use]
pub fn spaced(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3 * 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// The width of a text in pixels, for a font of this size that is wider than most.
pub(super) fn wide(text: &str, px: i32) -> i32 {
    (text.chars().map(hundredths).sum::<i32>() * px + 99) / 100
}

fn hundredths(c: char) -> i32 {
    match c {
        'i' | 'j' | 'l' | 'I' | '|' | '!' | '.' | ',' | ':' | ';' | '\'' | ' ' | '\u{202f}' => 33,
        'f' | 't' | 'r' | '(' | ')' | '-' | '/' | '[' | ']' => 41,
        'c' | 'k' | 's' | 'v' | 'x' | 'y' | 'z' => 58,
        'A'..='L' | 'N'..='V' | 'X'..='Z' => 72,
        'w' => 82,
        'm' | 'M' | 'W' | '@' | '%' | '\u{2000}'.. => 100,
        _ => 64,
    }
}

/// The text, harmless, and cut to a room in pixels. If not even its first letter fits, it is empty.
pub(super) fn cut(text: &str, px: i32, room: i32) -> String {
    let text = clean(text);
    if wide(&text, px) <= room {
        return text;
    }
    let (mut kept, mut width) = (String::new(), px);
    for c in text.chars() {
        width += (hundredths(c) * px + 99) / 100;
        if width > room {
            break;
        }
        kept.push(c);
    }
    if kept.is_empty() { kept } else { kept.trim_end().to_owned() + "…" }
}

/// A span of time in its two largest units: `12 ms`, `4.1 s`, `2 d 2 h`.
#[must_use]
pub fn took(span: Duration) -> String {
    let (millis, seconds) = (span.as_millis(), span.as_secs());
    let pair = |large: u64, name: &str, small: u64, smaller: &str| match small {
        0 => format!("{} {name}", spaced(large)),
        small => format!("{} {name} {small} {smaller}", spaced(large)),
    };
    match seconds {
        0 if millis == 0 => "0 ms".to_owned(),
        0 => format!("{millis} ms"),
        1..10 if millis % 1000 >= 100 => format!("{seconds}.{} s", millis % 1000 / 100),
        1..60 => format!("{seconds} s"),
        60..3600 => pair(seconds / 60, "min", if seconds < 600 { seconds % 60 } else { 0 }, "s"),
        3600..86_400 => pair(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => pair(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hostile_becomes_harmless_and_what_is_long_is_cut() {
        assert_eq!(clean("a\u{1b}[31m\u{202e}b\0"), "a\u{fffd}[31m\u{fffd}b\u{fffd}");
        assert_eq!(clean(&"x".repeat(10_000_000)).chars().count(), LONGEST + 1);
        assert_eq!(cut("short", 13, 200), "short");
        let cut = cut("a name that is too long for its box", 13, 100);
        assert!(cut.ends_with('…') && wide(&cut, 13) <= 100, "{cut}");
        assert_eq!(super::cut("wide", 13, 5), "");
    }

    #[test]
    fn spans_have_two_units_at_most() {
        let shown = |ms| took(Duration::from_millis(ms));
        for (ms, expected) in [
            (0, "0 ms"),
            (12, "12 ms"),
            (4_120, "4.1 s"),
            (2_050, "2 s"),
            (59_900, "59 s"),
            (60_000, "1 min"),
            (61_000, "1 min 1 s"),
            (659_000, "10 min"),
            (7_260_000, "2 h 1 min"),
            (180_000_000, "2 d 2 h"),
        ] {
            assert_eq!(shown(ms), expected);
        }
    }

    #[test]
    fn numbers_are_written_whole() {
        assert_eq!(spaced(0), "0");
        assert_eq!(spaced(999), "999");
        assert_eq!(spaced(1_004_119), "1\u{202f}004\u{202f}119");
        assert_eq!(spaced(u64::MAX).chars().filter(char::is_ascii_digit).count(), 20);
    }
}
