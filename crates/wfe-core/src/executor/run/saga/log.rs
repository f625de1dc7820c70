//! Entries of sagas' logs that are being read.

use std::collections::{BTreeSet, HashMap};

/// What the sagas of an instance that are being undone wait for.
#[derive(Default)]
pub(in crate::executor) struct SagaLog {
    /// Entries that were asked for, by the containers that they are stored as.
    reading: HashMap<String, Reading>,
    /// Sagas whose next compensation waits until a body of the step has ended.
    held: BTreeSet<String>,
}

/// An entry that is being read. Of each there is one read under way at most, however many sagas look at it.
#[derive(Debug, Default)]
struct Reading {
    /// Those that look at it; those that were taken away meanwhile do no longer.
    sagas: BTreeSet<String>,
    /// It was undone since it was asked for: what comes may be older than that.
    is_stale: bool,
}

impl SagaLog {
    /// Whether no entry is being read.
    pub fn is_idle(&self) -> bool {
        self.reading.is_empty()
    }

    /// Whether this entry is being read.
    pub fn reads(&self, entry: &str) -> bool {
        self.reading.contains_key(entry)
    }

    /// The saga looks at this entry. Whether it has to be asked for.
    pub fn look(&mut self, entry: String, saga: &str) -> bool {
        let is_new = !self.reads(&entry);
        self.reading.entry(entry).or_default().sagas.insert(saga.to_owned());
        is_new
    }

    /// The entry is changed: what is being read of it may be older.
    pub fn change(&mut self, entry: &str) {
        if let Some(reading) = self.reading.get_mut(entry) {
            reading.is_stale = true;
        }
    }

    /// The entry is here. Whether it has to be asked for once more, because it was changed since.
    pub fn came(&mut self, entry: &str) -> bool {
        let Some(reading) = self.reading.get_mut(entry) else { return false };
        let is_again = reading.is_stale && !reading.sagas.is_empty();
        reading.is_stale &= !is_again;
        is_again
    }

    /// The next saga that looks at the entry; `None`: no further one does, and its read is over.
    pub fn next_saga(&mut self, entry: &str) -> Option<String> {
        let saga = self.reading.get_mut(entry).and_then(|reading| reading.sagas.pop_first());
        if saga.is_none() {
            self.reading.remove(entry);
        }
        saga
    }

    /// The saga looks at no entry any more, and is not held.
    pub fn forget(&mut self, saga: &str) {
        self.held.remove(saga);
        for reading in self.reading.values_mut() {
            reading.sagas.remove(saga);
        }
    }

    /// No entry is read any more.
    pub fn stop(&mut self) {
        self.reading.clear();
    }

    /// The saga's next compensation waits until a body has ended.
    pub fn hold(&mut self, saga: &str) {
        self.held.insert(saga.to_owned());
    }

    pub fn held(&self) -> impl Iterator<Item = &String> {
        self.held.iter()
    }

    pub fn take_held(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.held)
    }
}
