//! Joins statements into the texts that are sent.

use std::{collections::HashMap, sync::Arc};

use crate::script::Statement;

/// More texts than this are not kept: sqlx's own cache of prepared statements is smaller still.
const KEPT: usize = 1024;

/// What stands around the statements of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Frame {
    /// Begins with this statement.
    pub(crate) opens: Option<&'static str>,
    /// Each copy stands in a savepoint of its own.
    pub(crate) savepoints: bool,
    /// Ends with COMMIT.
    pub(crate) closes: bool,
}

impl Frame {
    /// How many statements come before those of the copies.
    pub(crate) fn before(self) -> usize {
        usize::from(self.opens.is_some())
    }

    /// How many statements a copy of `length` statements takes.
    pub(crate) fn copy(self, length: usize) -> usize {
        length + if self.savepoints { 2 } else { 0 }
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
        for _ in 0..copies {
            if frame.savepoints {
                parts.push("SAVEPOINT r");
            }
            parts.extend(statements.iter().map(|statement| statement.text));
            if frame.savepoints {
                parts.push("RELEASE r");
            }
        }
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
