//! The open subscriptions of an instance.

use std::collections::{HashMap, HashSet};

/// The open subscriptions of an instance. The map assigns to the id of each subscription the pointer that waits.
#[derive(Default)]
pub(in crate::executor) struct Waits {
    open: HashMap<String, String>,
    /// The subscriptions for which the store accepts no more answers.
    unanswerable: HashSet<String>,
    /// The subscriptions that a stored commit has closed to answers unless they were claimed. The store knows which.
    undecided: HashSet<String>,
}

impl Waits {
    /// Creates the collection from the stored subscriptions. Each subscription is given by its id and the pointer that
    /// waits.
    pub fn stored(open: impl Iterator<Item = (String, String)>) -> Self {
        Self { open: open.collect(), ..Self::default() }
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub fn is_open(&self, wait: &str) -> bool {
        self.open.contains_key(wait)
    }

    /// The pointer that waits, or `None` if the subscription is not open.
    pub fn pointer_of(&self, wait: &str) -> Option<&str> {
        self.open.get(wait).map(String::as_str)
    }

    /// All open subscriptions, each with the pointer that waits.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.open.iter().map(|(wait, pointer)| (wait.as_str(), pointer.as_str()))
    }

    pub fn open(&mut self, wait: String, pointer: String) {
        self.open.insert(wait, pointer);
    }

    pub fn close(&mut self, wait: &str) {
        self.open.remove(wait);
    }

    /// Closes all subscriptions, and returns their ids.
    pub fn close_all(&mut self) -> impl Iterator<Item = String> {
        std::mem::take(&mut self.open).into_keys()
    }

    /// Whether the store may still accept an answer for this subscription.
    pub fn is_answerable(&self, wait: &str) -> bool {
        !self.unanswerable.contains(wait)
    }

    /// Notes that the store accepts no more answers for these subscriptions.
    pub fn take_no_answer(&mut self, waits: Vec<String>) {
        self.unanswerable.extend(waits);
    }

    /// Notes that the store accepts no more answers for these subscriptions, unless they were claimed.
    pub fn take_no_answer_unless_claimed(&mut self, waits: Vec<String>) {
        self.undecided.extend(waits);
    }

    /// The subscriptions of which it is not known whether the store still accepts answers.
    pub fn undecided(&self) -> Vec<String> {
        self.undecided.iter().filter(|wait| self.is_open(wait)).cloned().collect()
    }

    /// Notes which of the undecided subscriptions accept no more answers, and returns the others.
    pub fn decide(&mut self, closed: &[String]) -> Vec<String> {
        let (closed, claimed): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.undecided).into_iter().partition(|wait| closed.contains(wait));
        self.unanswerable.extend(closed);
        claimed
    }
}
