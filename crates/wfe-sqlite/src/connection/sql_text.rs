//! Joins statements into the query texts that are sent to SQLite.

use std::{collections::HashMap, sync::Arc};

use crate::request::Statement;

/// The maximum number of cached query texts. The cache of prepared statements in sqlx is even smaller.
const KEPT: usize = 1024;

pub(crate) const SAVEPOINT: &str = "SAVEPOINT r";
pub(crate) const RELEASE: &str = "RELEASE r";

/// What is rolled back after an error in a query text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Savepoints {
    /// An error rolls back the whole transaction.
    #[default]
    None,
    /// An error rolls back the whole query text.
    Whole,
    /// An error rolls back only the request in which the error occurs, because each copy of the statements has
    /// its own savepoint.
    Each,
}

/// The statements that a query text contains in addition to the statements of its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Frame {
    /// The query text begins with this statement.
    pub(crate) opens: Option<&'static str>,
    pub(crate) savepoints: Savepoints,
    /// The query text ends with COMMIT.
    pub(crate) closes: bool,
}

impl Frame {
    /// The number of statements before the statements of the first request.
    pub(crate) fn before(self) -> usize {
        usize::from(self.opens.is_some()) + usize::from(self.savepoints == Savepoints::Whole)
    }

    /// The number of statements for one request of `length` statements, including the statements of its
    /// savepoint.
    pub(crate) fn copy(self, length: usize) -> usize {
        length + if self.savepoints == Savepoints::Each { 2 } else { 0 }
    }

    /// The number of statements in the query text.
    pub(crate) fn text(self, copies: usize, length: usize) -> usize {
        let after = usize::from(self.savepoints == Savepoints::Whole) + usize::from(self.closes);
        self.before() + copies * self.copy(length) + after
    }
}

/// The query texts that have been joined so far.
#[derive(Default)]
pub(crate) struct Texts {
    joined: HashMap<(Vec<Statement>, usize, Frame), Arc<str>>,
}

impl Texts {
    /// The query text with `copies` copies of these statements within `frame`.
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
