//! What several pages say in the same way.

use maud::{Markup, html};
use wfe::{WfeError, traits::Cursor};

use crate::{
    ask::{Ask, segment},
    html::id,
    reply::Failure,
};

/// Where a list goes on, as the address says it.
pub(super) fn cursor(ask: &Ask) -> Result<Option<Cursor>, Failure> {
    let parse = |text: &str| {
        text.parse().map(Cursor).map_err(|_| Failure::wrong("The address has no cursor of a list."))
    };
    ask.query.get("after").map(parse).transpose()
}

/// The error of an action on something that may be over in the meantime.
pub(super) fn gone(error: WfeError, what: &str) -> Failure {
    match error {
        WfeError::SubscriptionNotFound(_) => Failure::missing(format!(
            "This {what} is not open any more: it was answered, its time was over, or it was given to somebody else."
        )),
        error => error.into(),
    }
}

/// The page of an instance.
pub(super) fn instance_page(ask: &Ask, id: &str) -> String {
    ask.to(&format!("instances/{}", segment(id)))
}

/// An instance, as a link to its page.
pub(super) fn instance(ask: &Ask, of: &str) -> Markup {
    html! { a href=(instance_page(ask, of)) { (id(of)) } }
}

/// A text, cut if it is long.
pub(super) fn short(text: &str) -> String {
    const LONGEST: usize = 500;
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or(text)),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(short("short"), "short");
        let cut = short(&"ä".repeat(10_000));
        assert_eq!(cut.chars().count(), 501);
    }
}
