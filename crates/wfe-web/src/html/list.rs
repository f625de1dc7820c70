//! Sections, tables and pages of lists.

use maud::{Markup, html};

/// A section with a heading of this id, a number and a link beside it. It is no landmark: the table in it is one, and two of
/// one name cannot be told apart.
pub(crate) fn section(
    id: &str,
    heading: &str,
    number: Option<&str>,
    link: Option<(&str, &str)>,
    body: &Markup,
) -> Markup {
    html! {
        section.sec {
            div.sh {
                h2 id=(id) { (heading) }
                @if let Some(number) = number { span.num { (number) } }
                span.sp {}
                @if let Some((href, label)) = link { a href=(href) { (label) } }
            }
            (body)
        }
    }
}

/// A table that can scroll sideways, under the name that this id has. The heads of columns are hidden if `heads_hidden`.
pub(crate) fn table(label: &str, heads_hidden: bool, heads: &[&str], rows: &Markup) -> Markup {
    html! {
        div.tw tabindex="0" role="region" aria-label=(label) {
            table.t {
                thead.vh[heads_hidden] { tr { @for head in heads { th scope="col" { (head) } } } }
                tbody { (rows) }
            }
        }
    }
}

/// What stands where a list has nothing: that it is so, and the way on.
pub(crate) fn empty(what: &str, way_on: &Markup) -> Markup {
    html! { div.empty { b { (what) } (way_on) } }
}

/// The links below a list. Lists go on from a cursor, never from a number of rows.
pub(crate) struct Pager<'p> {
    /// What is shown, and what was looked at.
    pub(crate) says: String,
    /// The first page, if this is another one.
    pub(crate) first: Option<(String, &'p str)>,
    /// The next page.
    pub(crate) next: Option<(String, &'p str)>,
}

impl Pager<'_> {
    pub(crate) fn markup(&self) -> Markup {
        html! {
            nav.pager aria-label="Pages of the list" {
                @if let Some((href, label)) = &self.first { a href=(href) rel="first" { "‹ " (label) } }
                span { (self.says) }
                span.sp {}
                @if let Some((href, label)) = &self.next { a href=(href) rel="next" { (label) " ›" } }
            }
        }
    }
}
