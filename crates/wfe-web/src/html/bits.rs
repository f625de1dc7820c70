//! The smallest parts.

use maud::{Markup, html};
use serde_json::Value;
use wfe::operator::hidden;

use super::num;

/// A size in the unit that fits: `812 MB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KB", "MB", "GB", "TB"];
    let (mut rest, mut unit) = (bytes, 0);
    while rest >= 10_000 && unit + 1 < UNITS.len() {
        rest = (rest + 500) / 1_000;
        unit += 1;
    }
    format!("{} {}", num(rest), UNITS.get(unit).copied().unwrap_or_default())
}

/// An id, cut in the middle if it is long.
pub(crate) fn id(id: &str) -> Markup {
    html! { span.id title=(id) { (middle(id)) } }
}

/// The first eight and the last four characters of a long text.
pub(crate) fn middle(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    match (chars.get(..8), chars.len().checked_sub(4).and_then(|at| chars.get(at..))) {
        (Some(first), Some(last)) if chars.len() > 14 => {
            format!("{}…{}", first.iter().collect::<String>(), last.iter().collect::<String>())
        }
        _ => text.to_owned(),
    }
}

/// The first characters of a long text.
pub(crate) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A button that sends its form with `do` and this value.
pub(crate) fn button(class: &str, value: &str, label: &str) -> Markup {
    html! { button class={ "b " (class) } name="do" value=(value) { (label) } }
}

/// A text of a program: control characters are shown, and no direction of writing leaves it.
pub(crate) fn text(text: &str) -> Markup {
    let shown: String =
        text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect();
    html! { bdi { (shown) } }
}

/// The longest text of a value on a page, in bytes.
const MAX_JSON: usize = 64 * 1024;

/// A stored value, as it is stored: no browser rounds its numbers. What is hidden is marked as hidden.
pub(crate) fn json(value: &Value) -> Markup {
    if *value == hidden() {
        return html! { span.hid { "hidden" } };
    }
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    let whole = text.len();
    if whole > MAX_JSON {
        let at = (0..=MAX_JSON).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(at);
    }
    html! {
        pre { (text) }
        @if text.len() < whole { p.q { "The first " (size(text.len() as u64)) " of " (size(whole as u64)) "." } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ids_are_shown_as_people_read_them() {
        assert_eq!([size(900), size(12_345), size(812_000_000)], ["900 bytes", "12 KB", "812 MB"]);
        assert_eq!(middle("0199f3c2-8d41-7a60-9c1e-5f0d2c417be1"), "0199f3c2…7be1");
        assert_eq!([cut("ünï", 3), cut("ünïx", 3)], ["ünï", "ünï…"]);
        assert_eq!([middle(""), middle("order-17")], ["", "order-17"]);
    }

    #[test]
    fn texts_of_others_are_no_markup() {
        let shown = text("<script>alert(1)</script>\u{1b}[31m").into_string();
        assert_eq!(shown, "<bdi>&lt;script&gt;alert(1)&lt;/script&gt;\u{fffd}[31m</bdi>");
        let shown =
            json(&serde_json::json!({ "</pre><img src=x>": 12_345_678_901_234_567_890_u64 })).into_string();
        assert!(
            shown.contains("&lt;/pre&gt;&lt;img src=x&gt;") && shown.contains("12345678901234567890"),
            "{shown}"
        );
    }
}
