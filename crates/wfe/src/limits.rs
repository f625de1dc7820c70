use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Utc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use wfe_core::executor::Job;

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

/// Where the bodies stand that this host has taken up.
#[derive(Default)]
pub(crate) struct AtHand(Mutex<HashMap<String, HashMap<String, Hand>>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stand {
    /// It waits for a place.
    Waits,
    Runs(DateTime<Utc>),
}

struct Hand {
    job: u64,
    stand: Stand,
    token: CancellationToken,
}

impl AtHand {
    /// Stands for an instance where the id of a pointer would be.
    pub const WHOLE: &str = "";

    pub fn set(&self, instance: &str, job: &Job, stand: Stand) {
        let hand = Hand { job: job.number(), stand, token: job.token().clone() };
        self.lock().entry(instance.to_owned()).or_default().insert(job.pointer().to_owned(), hand);
    }

    /// The instance waits as a whole: it may kill its process, and others run before it.
    pub fn set_aside(&self, instance: &str) {
        let hand = Hand { job: 0, stand: Stand::Waits, token: CancellationToken::new() };
        self.lock().entry(instance.to_owned()).or_default().insert(Self::WHOLE.to_owned(), hand);
    }

    /// The body of this job has ended. One that was begun after it at the same pointer stays.
    pub fn remove(&self, instance: &str, pointer: &str, job: u64) {
        let mut all = self.lock();
        let Some(of_instance) = all.get_mut(instance) else { return };
        if of_instance.get(pointer).is_some_and(|hand| hand.job == job) {
            of_instance.remove(pointer);
        }
        if of_instance.is_empty() {
            all.remove(instance);
        }
    }

    /// Those of the instance that are wanted: where the body of one that is not goes on, its pointer is further than that.
    pub fn of(&self, instance: &str) -> HashMap<String, Stand> {
        let all = self.lock();
        let of_instance = all.get(instance).into_iter().flatten();
        let wanted = of_instance.filter(|(_, hand)| !hand.token.is_cancelled());
        wanted.map(|(pointer, hand)| (pointer.clone(), hand.stand)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, HashMap<String, Hand>>> {
        // Nothing panics while holding it; if it did, the map would still be whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
