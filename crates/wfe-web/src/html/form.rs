//! Forms, and the page that asks before something is done.

use maud::{Markup, html};

use super::Page;
use crate::ask::Fields;

/// A field of a form, with its label above it.
pub(crate) struct Field<'f> {
    pub(crate) name: &'f str,
    pub(crate) label: &'f str,
    pub(crate) hint: &'f str,
    pub(crate) required: bool,
}

impl Field<'_> {
    pub(crate) fn markup(&self) -> Markup {
        html! {
            label.f { (self.label) input name=(self.name) placeholder=(self.hint) required[self.required] autocomplete="off"; }
        }
    }
}

/// Asks before something is done: what will happen, to how many, and with which examples.
///
/// The page sends the same form again, with the field `sure`. So it works without a script.
pub(crate) struct Sure<'s> {
    /// `Resume 4 instances`: stands on the button too.
    pub(crate) verb: String,
    /// What happens, and what stays.
    pub(crate) what: Markup,
    /// Links to some of what it happens to.
    pub(crate) examples: Vec<Markup>,
    /// The form that is sent again.
    pub(crate) fields: &'s Fields,
    /// Where the form is sent to, from this page.
    pub(crate) action: String,
    /// Where *Back* leads.
    pub(crate) back: String,
    /// Whether it ends or deletes something.
    pub(crate) ends: bool,
    /// The number that has to be typed.
    pub(crate) typed: Option<u64>,
    /// More fields, for what has to be said.
    pub(crate) more: Markup,
    /// Why the question is asked again.
    pub(crate) again: Option<String>,
}

impl Default for Sure<'_> {
    /// A question about nothing: the base for the fields that a page does not need.
    fn default() -> Self {
        Self {
            verb: String::new(),
            what: html! {},
            examples: Vec::new(),
            fields: const { &Fields(Vec::new()) },
            action: String::new(),
            back: String::new(),
            ends: false,
            typed: None,
            more: html! {},
            again: None,
        }
    }
}

impl Sure<'_> {
    pub(crate) fn page(self) -> Page {
        let Self { verb, what, examples, fields, action, back, ends, typed, more, again } = self;
        let class = if ends { "b end" } else { "b go" };
        let asked = ["sure", "reason", "typed"];
        Page::new(format!("{verb}?")).body(html! {
            @if let Some(again) = again { div.note.fail role="alert" { (super::icon("warn")) p { (again) } } }
            form.sure method="post" action=(action) {
                p { (what) }
                @if !examples.is_empty() {
                    p.q { "For example " @for (at, example) in examples.iter().enumerate() { @if at > 0 { ", " } (example) } "." }
                }
                @for (name, value) in fields.0.iter().filter(|(name, _)| !asked.contains(&name.as_str())) {
                    input type="hidden" name=(name) value=(value);
                }
                input type="hidden" name="sure" value="1";
                div.form {
                    (more)
                    (Field { name: "reason", label: "Reason, for the audit", hint: "Why", required: false }.markup())
                    @if let Some(number) = typed {
                        (Field { name: "typed", label: &format!("Type {number} to go on"), hint: "", required: true }.markup())
                    }
                    div.bs { button class=(class) { (verb) } a.b href=(back) { "Back" } }
                }
            }
        })
    }
}
