//! The symbols of states, kinds of steps and controls. Each is drawn once, in the colour of the text around it, and used by
//! its name.

use maud::{Markup, PreEscaped, html};

/// The names of the symbols, and what they consist of: 16 x 16, in `currentColor`.
const SYMBOLS: [(&str, &str); 32] = [
    ("run", r#"<circle cx="8" cy="8" r="5.5" fill="currentColor"/>"#),
    ("due", r#"<path fill="currentColor" d="M3.5 2h9v2L9.2 8l3.3 4v2h-9v-2l3.3-4L3.5 4z"/>"#),
    (
        "sleep",
        r#"<g fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round"><circle cx="8" cy="8" r="5.7"/><path d="M8 4.8V8l2.2 1.6"/></g>"#,
    ),
    (
        "wait",
        r#"<circle cx="8" cy="8" r="5.7" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round"/><path fill="currentColor" d="M8 8V2.3A5.7 5.7 0 0 1 13.7 8z"/>"#,
    ),
    (
        "retry",
        r#"<path fill="currentColor" stroke="currentColor" stroke-width="1.4" stroke-linejoin="round" d="M8 2.8 13.8 13H2.2z"/>"#,
    ),
    ("susp", r#"<rect x="3" y="3" width="10" height="10" rx="1.5" fill="currentColor"/>"#),
    (
        "done",
        r#"<path fill="none" stroke="currentColor" stroke-width="2.1" stroke-linecap="round" stroke-linejoin="round" d="m2.8 8.6 3.4 3.6 7-8.2"/>"#,
    ),
    (
        "fail",
        r#"<path fill="none" stroke="currentColor" stroke-width="2.3" stroke-linecap="round" stroke-linejoin="round" d="m3.6 3.6 8.8 8.8m0-8.8-8.8 8.8"/>"#,
    ),
    (
        "cancel",
        r#"<g fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round"><circle cx="8" cy="8" r="5.7"/><path d="m4.2 11.8 7.6-7.6"/></g>"#,
    ),
    (
        "term",
        r#"<rect x="2.8" y="2.8" width="10.4" height="10.4" rx="2" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round"/><rect x="5.8" y="5.8" width="4.4" height="4.4" fill="currentColor"/>"#,
    ),
    (
        "step",
        r#"<rect x="2.5" y="4.5" width="11" height="7" rx="1.5" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round"/>"#,
    ),
    (
        "event",
        r#"<g fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round"><circle cx="8" cy="8" r="1.6"/><path d="M4.8 4.8a4.5 4.5 0 0 0 0 6.4m6.4 0a4.5 4.5 0 0 0 0-6.4M2.6 2.9a7.2 7.2 0 0 0 0 10.2m10.8 0a7.2 7.2 0 0 0 0-10.2"/></g>"#,
    ),
    (
        "task",
        r#"<g fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round"><circle cx="8" cy="5.2" r="2.6"/><path d="M2.8 13.4a5.2 5.2 0 0 1 10.4 0"/></g>"#,
    ),
    (
        "act",
        r#"<path fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" d="M5.5 2v3m5-3v3M3.8 5h8.4v2.6a4.2 4.2 0 0 1-8.4 0zM8 11.8V14"/>"#,
    ),
    (
        "loop",
        r#"<path fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" d="M13 8a5 5 0 1 1-1.6-3.7M13 2v3h-3"/>"#,
    ),
    (
        "undo",
        r#"<path fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" d="M3 5.5h6.5a3.7 3.7 0 0 1 0 7.4H6M5.5 3 3 5.5 5.5 8"/>"#,
    ),
    (
        "branch",
        r#"<path fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" d="M8 2.2 13.8 8 8 13.8 2.2 8z"/>"#,
    ),
    (
        "saga",
        r#"<path fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" d="M4 3h8M4 8h8M4 13h8"/>"#,
    ),
    (
        "child",
        r#"<path fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" d="M2.5 2.5h6v6h-6zM8.5 5.5h5v8h-8v-5"/>"#,
    ),
    (
        "warn",
        r#"<g fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round"><circle cx="8" cy="8" r="5.7"/><path d="M8 5v3.4m0 2.4v.1"/></g>"#,
    ),
    (
        "mark",
        r#"<g fill="none" stroke="currentColor" stroke-width="1.9" stroke-linecap="round" stroke-linejoin="round"><path d="M2 4.5h5.5a3.5 3.5 0 0 1 0 7H5"/><circle cx="12.7" cy="4.5" r="1.4" fill="currentColor"/><circle cx="3.2" cy="11.5" r="1.4" fill="currentColor"/></g>"#,
    ),
    (
        "search",
        r#"<path fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" d="M7 2.5a4.5 4.5 0 1 1 0 9 4.5 4.5 0 0 1 0-9zM10.3 10.3 14 14"/>"#,
    ),
    (
        "theme",
        r#"<circle cx="8" cy="8" r="5.7" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round"/><path fill="currentColor" d="M8 2.3v11.4A5.7 5.7 0 0 0 8 2.3z"/>"#,
    ),
    (
        "help",
        r#"<path fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" d="M5.3 5.6a2.7 2.7 0 1 1 4 2.4C8.4 8.5 8 9 8 9.9M8 13v.1"/>"#,
    ),
    (
        "pause",
        r#"<path fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round" d="M5.5 3.5v9m5-9v9"/>"#,
    ),
    (
        "star",
        r#"<path fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" d="m8 2 1.8 3.9 4.2.5-3.1 2.9.8 4.2L8 11.4l-3.7 2.1.8-4.2L2 6.4l4.2-.5z"/>"#,
    ),
    (
        "save",
        r#"<path fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" d="M8 2.5v7.5m-3-3 3 3 3-3M2.8 13.5h10.4"/>"#,
    ),
    (
        "chev",
        r#"<path fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" d="m4.5 6.5 3.5 3.5 3.5-3.5"/>"#,
    ),
    (
        "copy",
        r#"<path fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" d="M5.5 5.5h8v8h-8zM10.5 2.5h-8v8"/>"#,
    ),
    (
        "x",
        r#"<path fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round" d="m3.5 3.5 9 9m0-9-9 9"/>"#,
    ),
    (
        "goto",
        r#"<path fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" d="M2.5 8h11m-4-4 4 4-4 4"/>"#,
    ),
    (
        "end",
        r#"<circle cx="8" cy="8" r="5.7" fill="none" stroke="currentColor" stroke-width="1.6"/><circle cx="8" cy="8" r="2.6" fill="currentColor"/>"#,
    ),
];

/// All symbols and the hatching of waits, hidden. Each page has them once, before anything that uses a symbol.
#[must_use]
pub fn sprite() -> Markup {
    html! {
        svg.sprite aria-hidden="true" focusable="false" {
            @for (name, _) in SYMBOLS { (symbol(name)) }
            pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                rect.hatchbg width="6" height="6" {}
                path.hatch d="M0 0v6" {}
            }
        }
    }
}

/// A symbol before a word. It says nothing by itself: the word does.
#[must_use]
pub fn icon(name: &str) -> Markup {
    html! { svg.i aria-hidden="true" { use href={ "#i-" (name) } {} } }
}

/// The definition of one symbol; nothing if there is none with this name.
pub(super) fn symbol(name: &str) -> Markup {
    let found = SYMBOLS.iter().find(|symbol| symbol.0 == name);
    html! { @if let Some((name, shape)) = found { symbol id={ "i-" (name) } viewBox="0 0 16 16" { (PreEscaped(shape)) } } }
}

/// The names of all symbols.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    SYMBOLS.iter().map(|symbol| symbol.0)
}
