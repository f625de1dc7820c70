use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use wfe::{models::PointerStatus, steps::Ctx, traits::StepCommit};
use wfe_core::executor::idempotency_key;
use wfe_core::sync::lock;

/// What steps did in the world outside, which no death of a process undoes: how often, by idempotency key.
#[derive(Debug, Clone, Default)]
pub struct Effects(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    counts: BTreeMap<String, usize>,
    /// The keys of the steps that are stored as completed: what they do must not happen again.
    settled: BTreeSet<String>,
    /// What happened all the same.
    again: BTreeSet<String>,
}

impl Effects {
    /// The body that runs here does what it is there for. Instances are told apart by their definitions and, of children, by
    /// their places; their ids are others in each story.
    pub fn happen(&self, ctx: &Ctx) {
        let key = ctx.idempotency_key();
        let place = key.split_once('/').map_or("", |(_, place)| place);
        let effect = format!("{}: {place}", ctx.definition_id());
        let mut seen = self.lock();
        // A body whose time is up may still be at it while another attempt has completed.
        if seen.settled.contains(&key) && !ctx.cancellation().is_cancelled() {
            seen.again.insert(effect.clone());
        }
        *seen.counts.entry(effect).or_default() += 1;
    }

    /// The store has taken this commit.
    pub(super) fn settle(&self, step: &StepCommit) {
        let completed =
            step.upserted.iter().chain(&step.finished).filter(|p| p.status == PointerStatus::Complete);
        let keys = completed.map(|pointer| idempotency_key(&step.instance_id, pointer));
        self.lock().settled.extend(keys);
    }

    /// How often each effect happened.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, usize> {
        self.lock().counts.clone()
    }

    /// The same effects as undisturbed, each as often or once more for each death; and none of a step that was stored as
    /// completed before.
    pub(super) fn must_equal(&self, whole: &Self, deaths: usize, after: usize) {
        let again = self.lock().again.clone();
        assert!(
            again.is_empty(),
            "when the process died after commit {after}, this happened again, although its steps were stored as completed: \
             {again:?}"
        );
        let (own, whole) = (self.counts(), whole.counts());
        let is_like = |(key, times): (&String, &usize)| {
            own.get(key).is_some_and(|n| (*times..=times + deaths).contains(n))
        };
        assert!(
            own.len() == whole.len() && whole.iter().all(is_like),
            "when the process died after commit {after}, this happened: {own:?}, but undisturbed this: {whole:?}"
        );
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        // Nothing panics while holding it.
        lock(&self.0)
    }
}
