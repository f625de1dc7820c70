use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use crate::engine::state::outcome::End;

/// Who waits for the end of which instance, and which instances this host works on.
#[derive(Default)]
pub(crate) struct Waiters(Mutex<HashMap<String, Entry>>);

#[derive(Default)]
struct Entry {
    /// How many works of this host on the instance have not ended; more than one where an instance that another host took
    /// over came back.
    at_work: usize,
    waiting: Vec<oneshot::Sender<Arc<End>>>,
}

impl Waiters {
    /// This host works on the instance from now on.
    pub fn begin(&self, id: &str) {
        self.lock().entry(id.to_owned()).or_default().at_work += 1;
    }

    /// This host works on it no longer; with `end`, because it has ended.
    pub fn finish(&self, id: &str, end: Option<End>) {
        let mut map = self.lock();
        let Some(entry) = map.get_mut(id) else { return };
        entry.at_work = entry.at_work.saturating_sub(1);
        if let Some(end) = end {
            let end = Arc::new(end);
            for waiter in entry.waiting.drain(..) {
                // A waiter that has gone away needs no answer.
                let _gone = waiter.send(end.clone());
            }
        } else if entry.at_work == 0 {
            // Given back, or taken away by another host, which may have ended it by now: they shall look.
            entry.waiting.clear();
        }
        entry.waiting.retain(|w| !w.is_closed());
        if entry.at_work == 0 && entry.waiting.is_empty() {
            map.remove(id);
        }
    }

    /// Registers a waiter; `true`: this host works on the instance, so the end will come by itself. `false`: look into
    /// the store too.
    pub fn wait(&self, id: &str) -> (oneshot::Receiver<Arc<End>>, bool) {
        let (sender, receiver) = oneshot::channel();
        let mut map = self.lock();
        let entry = map.entry(id.to_owned()).or_default();
        entry.waiting.retain(|w| !w.is_closed());
        entry.waiting.push(sender);
        (receiver, entry.at_work > 0)
    }

    /// Forgets waiters that have gone away.
    pub fn tidy(&self, id: &str) {
        let mut map = self.lock();
        if let Some(entry) = map.get_mut(id) {
            entry.waiting.retain(|w| !w.is_closed());
            if entry.at_work == 0 && entry.waiting.is_empty() {
                map.remove(id);
            }
        }
    }

    /// The instances that somebody waits for.
    pub fn all(&self) -> Vec<String> {
        self.waited_for(|_| true)
    }

    /// The instances that somebody waits for, but this host does not work on.
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

    /// Those who wait for this instance shall look into the store.
    pub fn nudge(&self, id: &str) {
        if let Some(entry) = self.lock().get_mut(id) {
            entry.waiting.clear();
        }
    }

    /// The host has stopped: nobody is told anything any more.
    pub fn close(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        // Nothing panics while holding it; if it did, the map would still be whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
