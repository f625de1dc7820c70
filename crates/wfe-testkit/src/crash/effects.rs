use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use wfe::steps::Ctx;

/// What steps did in the world outside, which no death of a process undoes: how often, by idempotency key.
#[derive(Debug, Clone, Default)]
pub struct Effects(Arc<Mutex<BTreeMap<String, usize>>>);

impl Effects {
    /// The body that runs here does what it is there for. Instances are told apart by their definitions and, of children, by
    /// their places; their ids are others in each story.
    pub fn happen(&self, ctx: &Ctx) {
        let key = ctx.idempotency_key();
        let place = key.split_once('/').map_or("", |(_, place)| place);
        *self.lock().entry(format!("{}: {place}", ctx.definition_id())).or_default() += 1;
    }

    /// How often each effect happened.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, usize> {
        self.lock().clone()
    }

    /// The same effects as undisturbed, each as often or once more for each death.
    pub(super) fn must_equal(&self, whole: &Self, deaths: usize, after: usize) {
        let (own, whole) = (self.counts(), whole.counts());
        let is_like = |(key, times): (&String, &usize)| {
            own.get(key).is_some_and(|n| (*times..=times + deaths).contains(n))
        };
        assert!(
            own.len() == whole.len() && whole.iter().all(is_like),
            "when the process died after commit {after}, this happened: {own:?}, but undisturbed this: {whole:?}"
        );
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        // Nothing panics while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
