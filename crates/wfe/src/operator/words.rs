//! The words of filters, the same in every face: on the command line (`--waits event:paid`) and on pages (`waits:event:paid`).
//!
//! Each function refuses a text that is no such word with a [`WrongWord`], which says what would be right.

use std::fmt;

use serde_json::Value;
use wfe_core::traits::{InstanceState, TextMatch, WaitFilter};

/// A text is no word of a filter. Its message says which words would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongWord(String);

impl fmt::Display for WrongWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongWord {}

type Result<T, E = WrongWord> = std::result::Result<T, E>;

fn wrong<T>(text: String) -> Result<T> {
    Err(WrongWord(text))
}

/// The states that a word stands for: the name of a state, `open` or `ended`.
///
/// # Errors
/// [`WrongWord`]: the word is another one.
pub fn states(word: &str) -> Result<Vec<InstanceState>> {
    match word {
        "open" => Ok(InstanceState::OPEN.to_vec()),
        "ended" => Ok(InstanceState::ENDED.to_vec()),
        _ => {
            let state = InstanceState::ALL.into_iter().find(|state| state.name() == word);
            state.map(|state| vec![state]).ok_or_else(|| {
                let names = InstanceState::ALL.map(InstanceState::name).join(", ");
                WrongWord(format!("no state {word:?}; say {names}, open or ended"))
            })
        }
    }
}

/// A definition and a version of it: `order`, or `order@3`. `None` stands for every version. What follows the last `@` is a
/// version if it consists of digits.
///
/// # Errors
/// [`WrongWord`]: the definition has no name, or the version is larger than a version can be.
pub fn definition(text: &str) -> Result<(String, Option<u32>)> {
    let (id, version) = match text.rsplit_once('@') {
        Some((id, version)) if version.bytes().all(|byte| byte.is_ascii_digit()) => match version.parse() {
            Ok(version) => (id, Some(version)),
            Err(_) => return wrong(format!("{version:?} is not a version")),
        },
        _ => (text, None),
    };
    if id.is_empty() {
        return wrong("name a definition, as in order or order@3".to_owned());
    }
    Ok((id.to_owned(), version))
}

/// A reference, or with `*` at its end, the beginning of one.
#[must_use]
pub fn reference(text: &str) -> TextMatch {
    match text.strip_suffix('*') {
        Some(prefix) => TextMatch::Prefix(prefix.to_owned()),
        None => TextMatch::Exact(text.to_owned()),
    }
}

/// An attribute: `KEY=VALUE`. The value is a number, a boolean or a text in quotation marks if JSON reads it as one, otherwise
/// a text as it stands.
///
/// # Errors
/// [`WrongWord`]: there is no `=`, or no key before it.
pub fn attribute(text: &str) -> Result<(String, Value)> {
    let Some((key, value)) = text.split_once('=').filter(|(key, _)| !key.is_empty()) else {
        return wrong(format!("{text:?} is not an attribute; write KEY=VALUE"));
    };
    let value = match serde_json::from_str(value) {
        Ok(value @ (Value::Number(_) | Value::Bool(_) | Value::String(_))) => value,
        _ => Value::from(value),
    };
    Ok((key.to_owned(), value))
}

/// What an instance waits for: `event:NAME`, `event:NAME/KEY`, `activity:NAME`, `task`, `timer`, `child` or `nobody`.
///
/// # Errors
/// [`WrongWord`]: the text is another one.
pub fn waits(text: &str) -> Result<WaitFilter> {
    Ok(match text.split_once(':').unwrap_or((text, "")) {
        ("event", event) if !event.is_empty() => match event.split_once('/') {
            Some((name, key)) => WaitFilter::Event { name: name.to_owned(), key: Some(key.to_owned()) },
            None => WaitFilter::Event { name: event.to_owned(), key: None },
        },
        ("activity", name) if !name.is_empty() => WaitFilter::Activity { name: name.to_owned() },
        _ => match text {
            "task" => WaitFilter::Task,
            "timer" => WaitFilter::Timer,
            "child" => WaitFilter::Child,
            "nobody" => WaitFilter::Nobody,
            _ => {
                return wrong(format!(
                    "{text:?} is nothing to wait for; say event:NAME[/KEY], activity:NAME, task, timer, child or nobody"
                ));
            }
        },
    })
}
