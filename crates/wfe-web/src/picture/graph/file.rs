//! Writes a picture as a file of its own.

use maud::{PreEscaped, html};

use super::{Graph, svg};
use crate::picture::icons;

/// The colours of the pages' style sheet as plain values, because few programs that show a file know variables.
const STYLE: &str = include_str!("file.css");

pub(super) fn write(graph: &Graph<'_>) -> String {
    let around = html! {
        style { (PreEscaped(STYLE)) }
        defs { @for name in icons::names() { (icons::symbol(name)) } }
        rect.page width="100%" height="100%" {}
    };
    svg::write(graph, &|_| None, &svg::Frame::File(around)).into_string()
}
