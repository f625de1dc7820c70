//! Open waits.

use std::collections::{HashMap, HashSet};

/// The open waits of an instance, by their ids, each with the pointer that waits.
#[derive(Default)]
pub(in crate::executor) struct Waits {
    open: HashMap<String, String>,
    /// Waits for which the store accepts no answer any more.
    unanswerable: HashSet<String>,
}

impl Waits {
    /// The open waits that the store has: ids and pointers.
    pub fn stored(open: impl Iterator<Item = (String, String)>) -> Self {
        Self { open: open.collect(), unanswerable: HashSet::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub fn is_open(&self, wait: &str) -> bool {
        self.open.contains_key(wait)
    }

    /// The pointer that waits; `None`: the wait is not open.
    pub fn pointer_of(&self, wait: &str) -> Option<&str> {
        self.open.get(wait).map(String::as_str)
    }

    /// All open waits, with the pointers that wait.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.open.iter().map(|(wait, pointer)| (wait.as_str(), pointer.as_str()))
    }

    pub fn open(&mut self, wait: String, pointer: String) {
        self.open.insert(wait, pointer);
    }

    pub fn close(&mut self, wait: &str) {
        self.open.remove(wait);
    }

    /// Closes all waits, and gives their ids.
    pub fn close_all(&mut self) -> impl Iterator<Item = String> {
        std::mem::take(&mut self.open).into_keys()
    }

    /// Whether the store may still accept an answer for this wait.
    pub fn is_answerable(&self, wait: &str) -> bool {
        !self.unanswerable.contains(wait)
    }

    /// Notes what is stored: these waits accept no answer any more.
    pub fn take_no_answer(&mut self, waits: Vec<String>) {
        self.unanswerable.extend(waits);
    }
}
