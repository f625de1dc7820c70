use std::{collections::HashMap, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many instances of some definitions are worked on at once, and how many bodies of some steps.
#[derive(Default)]
pub(crate) struct Limits {
    instances: HashMap<String, Arc<Semaphore>>,
    bodies: HashMap<String, HashMap<String, Arc<Semaphore>>>,
}

impl Limits {
    pub fn set_instances(&mut self, definition: String, limit: usize) {
        self.instances.insert(definition, semaphore(limit));
    }

    pub fn set_bodies(&mut self, definition: String, step: String, limit: usize) {
        self.bodies.entry(definition).or_default().insert(step, semaphore(limit));
    }

    /// The places for instances of this definition; `None`: as many as come.
    pub fn instances(&self, definition: &str) -> Option<&Arc<Semaphore>> {
        self.instances.get(definition)
    }

    /// The places for bodies of this step; `None`: as many as come.
    pub fn bodies(&self, definition: &str, step: &str) -> Option<&Arc<Semaphore>> {
        self.bodies.get(definition)?.get(step)
    }
}

/// At least one: with none, nothing would ever move.
pub(crate) fn semaphore(limit: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(limit.clamp(1, Semaphore::MAX_PERMITS)))
}

/// As many of these places as are free, at most `wanted`.
pub(crate) fn take_places(places: &Arc<Semaphore>, wanted: usize) -> Option<OwnedSemaphorePermit> {
    loop {
        let free = u32::try_from(places.available_permits().min(wanted)).unwrap_or(u32::MAX);
        if free == 0 {
            return None;
        }
        // It fails if somebody took one meanwhile.
        if let Ok(taken) = places.clone().try_acquire_many_owned(free) {
            return Some(taken);
        }
    }
}
