//! The state of an instance: a symbol, a word and a colour.

use maud::{Markup, html};
use wfe::traits::InstanceState;

use super::icon;
use crate::picture::State;

/// The class and the symbol of a state.
pub(crate) fn class(state: InstanceState) -> &'static str {
    State::from(state).class()
}

/// The name of the state, as a word at the beginning of a line.
pub(crate) fn word(state: InstanceState) -> String {
    let name = state.name();
    name.get(..1).map(str::to_uppercase).unwrap_or_default() + name.get(1..).unwrap_or_default()
}

/// Only what needs an operator colours its word.
fn loud(class: &str) -> &'static str {
    if State::ALL.iter().any(|state| state.is_loud() && state.class() == class) { " loud" } else { "" }
}

/// A state, with this text for its word.
pub(crate) fn symbol(class: &str, word: &str) -> Markup {
    html! { span class={ "st " (class) (loud(class)) } { (icon(class)) (word) } }
}

/// A state in a list.
pub(crate) fn state(state: InstanceState) -> Markup {
    symbol(class(state), &word(state))
}
