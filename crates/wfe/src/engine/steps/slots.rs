use std::{collections::HashMap, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The limits on concurrent instances per definition, and on concurrent bodies per step.
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

    /// The slots for instances of this definition. `None` means that there is no limit.
    pub fn instances(&self, definition: &str) -> Option<&Arc<Semaphore>> {
        self.instances.get(definition)
    }

    /// The slots for bodies of this step. `None` means that there is no limit.
    pub fn bodies(&self, definition: &str, step: &str) -> Option<&Arc<Semaphore>> {
        self.bodies.get(definition)?.get(step)
    }
}

/// A semaphore with at least one permit: without a permit, nothing would ever run.
pub(in crate::engine) fn semaphore(limit: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(limit.clamp(1, Semaphore::MAX_PERMITS)))
}

/// Takes as many of these slots as are free, at most `wanted`. `None` means that no slot is free.
pub(in crate::engine) fn take_slots(slots: &Arc<Semaphore>, wanted: usize) -> Option<OwnedSemaphorePermit> {
    loop {
        let free = u32::try_from(slots.available_permits().min(wanted)).unwrap_or(u32::MAX);
        if free == 0 {
            return None;
        }
        // This fails if another caller has taken a slot meanwhile.
        if let Ok(taken) = slots.clone().try_acquire_many_owned(free) {
            return Some(taken);
        }
    }
}
