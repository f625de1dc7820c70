use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::sync::oneshot;
use wfe_core::sync::lock;

use crate::engine::state::outcome::End;

/// Records which callers wait for the end of which instance, and which instances this host works on.
#[derive(Default)]
pub(in crate::engine) struct Completions(Mutex<HashMap<String, Entry>>);

#[derive(Default)]
struct Entry {
    /// How many actors of this host work on the instance. There may be several actors if another host took over the
    /// instance and this host then took it back.
    at_work: usize,
    waiting: Vec<oneshot::Sender<Arc<End>>>,
}

impl Completions {
    /// Records that this host works on the instance from now on.
    pub fn begin(&self, id: &str) {
        self.lock().entry(id.to_owned()).or_default().at_work += 1;
    }

    /// Records that this host no longer works on the instance. `end` is the end of the instance, if it has ended.
    pub fn finish(&self, id: &str, end: Option<End>) {
        let mut map = self.lock();
        let Some(entry) = map.get_mut(id) else { return };
        entry.at_work = entry.at_work.saturating_sub(1);
        if let Some(end) = end {
            let end = Arc::new(end);
            for waiter in entry.waiting.drain(..) {
                // Sending fails if the caller no longer waits.
                let _gone = waiter.send(end.clone());
            }
        } else if entry.at_work == 0 {
            // The instance was released or taken over by another host, which may already have ended it. The callers
            // read the store.
            entry.waiting.clear();
        }
        entry.waiting.retain(|w| !w.is_closed());
        if entry.at_work == 0 && entry.waiting.is_empty() {
            map.remove(id);
        }
    }

    /// Registers a caller that waits for the end of an instance. The returned flag is `true` if this host works on the
    /// instance, so that the end arrives automatically. If the flag is `false`, the caller must also read the store. If
    /// the receiver returns an error, the caller must read the store and wait again.
    pub fn wait(&self, id: &str) -> (oneshot::Receiver<Arc<End>>, bool) {
        let (sender, receiver) = oneshot::channel();
        let mut map = self.lock();
        let entry = map.entry(id.to_owned()).or_default();
        entry.waiting.retain(|w| !w.is_closed());
        entry.waiting.push(sender);
        (receiver, entry.at_work > 0)
    }

    /// Returns a guard for a caller that waits for the end of the instance. When the guard is dropped, it removes the
    /// entry of this caller.
    pub fn tidy<'a>(&'a self, id: &'a str) -> Tidy<'a> {
        Tidy { completions: self, id }
    }

    /// The ids of the instances that callers wait for.
    pub fn all(&self) -> Vec<String> {
        self.waited_for(|_| true)
    }

    /// The ids of those instances that callers wait for and that this host does not work on.
    pub fn elsewhere(&self) -> Vec<String> {
        self.waited_for(|entry| entry.at_work == 0)
    }

    fn waited_for(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<String> {
        let mut map = self.lock();
        let entries = map.iter_mut().filter(|(_, entry)| wanted(entry));
        entries
            .filter_map(|(id, entry)| {
                entry.waiting.retain(|w| !w.is_closed());
                (!entry.waiting.is_empty()).then(|| id.clone())
            })
            .collect()
    }

    /// Makes the callers that wait for this instance read the store.
    pub fn look(&self, id: &str) {
        if let Some(entry) = self.lock().get_mut(id) {
            entry.waiting.clear();
        }
    }

    /// Ends all waits, because the host has stopped and will not report the end of any further instance.
    pub fn close(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        lock(&self.0)
    }
}

/// A caller's wait for the end of an instance.
pub(in crate::engine) struct Tidy<'a> {
    completions: &'a Completions,
    id: &'a str,
}

impl Drop for Tidy<'_> {
    fn drop(&mut self) {
        let mut map = self.completions.lock();
        if let Some(entry) = map.get_mut(self.id) {
            entry.waiting.retain(|w| !w.is_closed());
            if entry.at_work == 0 && entry.waiting.is_empty() {
                map.remove(self.id);
            }
        }
    }
}
