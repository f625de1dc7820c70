//! Joins statements into the texts that are sent.

use std::{collections::HashMap, sync::Arc};

use crate::request::Statement;

/// The most texts that are kept; the cache of prepared statements in sqlx is smaller still.
const KEPT: usize = 1024;

pub(crate) const SAVEPOINT: &str = "SAVEPOINT r";
pub(crate) const RELEASE: &str = "RELEASE r";

/// What an error in a text rolls back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Savepoints {
    /// The transaction.
    #[default]
    None,
    /// The text.
    Whole,
    /// The copy in which it occurs.
    Each,
}

/// The statements around those of the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Frame {
    /// The text begins with this statement.
    pub(crate) opens: Option<&'static str>,
    pub(crate) savepoints: Savepoints,
    /// The text ends with COMMIT.
    pub(crate) closes: bool,
}

impl Frame {
    /// The number of statements before those of the copies.
    pub(crate) fn before(self) -> usize {
        usize::from(self.opens.is_some()) + usize::from(self.savepoints == Savepoints::Whole)
    }

    /// The number of statements in a copy of `length` statements.
    pub(crate) fn copy(self, length: usize) -> usize {
        length + if self.savepoints == Savepoints::Each { 2 } else { 0 }
    }

    /// The number of statements in the text.
    pub(crate) fn text(self, copies: usize, length: usize) -> usize {
        let after = usize::from(self.savepoints == Savepoints::Whole) + usize::from(self.closes);
        self.before() + copies * self.copy(length) + after
    }
}

/// The texts joined so far.
#[derive(Default)]
pub(crate) struct Texts {
    joined: HashMap<(Vec<Statement>, usize, Frame), Arc<str>>,
}

impl Texts {
    /// `copies` times these statements within `frame`.
    pub(crate) fn get(&mut self, statements: &[Statement], copies: usize, frame: Frame) -> Arc<str> {
        let key = (statements.to_vec(), copies, frame);
        if let Some(text) = self.joined.get(&key) {
            return Arc::clone(text);
        }
        let mut parts = Vec::from_iter(frame.opens);
        let mark = |parts: &mut Vec<_>, place, text| {
            if frame.savepoints == place {
                parts.push(text);
            }
        };
        mark(&mut parts, Savepoints::Whole, SAVEPOINT);
        for _ in 0..copies {
            mark(&mut parts, Savepoints::Each, SAVEPOINT);
            parts.extend(statements.iter().map(|statement| statement.text));
            mark(&mut parts, Savepoints::Each, RELEASE);
        }
        mark(&mut parts, Savepoints::Whole, RELEASE);
        if frame.closes {
            parts.push("COMMIT");
        }
        let text: Arc<str> = parts.join(";\n").into();
        if self.joined.len() == KEPT {
            self.joined.clear();
        }
        self.joined.insert(key, Arc::clone(&text));
        text
    }
}
