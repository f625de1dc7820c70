//! The looks of a state: a symbol, a word and a colour, so that each of the three is enough.

use anstyle::{AnsiColor, Style};
use wfe::traits::InstanceState;

/// The symbol of a state. The symbols differ in shape, so that they can be told apart without colours.
pub(crate) fn symbol(state: InstanceState) -> char {
    match state {
        InstanceState::Running => '●',
        InstanceState::Due => '⧗',
        InstanceState::Asleep => '◷',
        InstanceState::Waiting => '◔',
        InstanceState::Suspended => '■',
        InstanceState::Completed => '✓',
        InstanceState::Failed => '✕',
        InstanceState::Cancelled => '⊘',
        InstanceState::Terminated => '⏹',
        _ => '?',
    }
}

pub(crate) fn style(state: InstanceState) -> Style {
    let colour = match state {
        InstanceState::Running | InstanceState::Completed => AnsiColor::Green,
        InstanceState::Due | InstanceState::Suspended => AnsiColor::Yellow,
        InstanceState::Asleep | InstanceState::Waiting => AnsiColor::Cyan,
        InstanceState::Failed => AnsiColor::Red,
        _ => AnsiColor::Magenta,
    };
    colour.on_default()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_state_has_a_symbol_of_its_own() {
        let symbols: HashSet<char> = InstanceState::ALL.into_iter().map(symbol).collect();
        assert_eq!(symbols.len(), InstanceState::ALL.len());
        assert!(!symbols.contains(&'?'));
    }
}
