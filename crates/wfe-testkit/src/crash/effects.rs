use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use wfe::{models::PointerStatus, steps::Ctx, traits::StepCommit};
use wfe_core::executor::idempotency_key;
use wfe_core::sync::lock;

/// Records the side effects of steps in external systems, and how often each one happened. No crash reverts them.
#[derive(Debug, Clone, Default)]
pub struct Effects(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    counts: BTreeMap<String, usize>,
    /// The idempotency keys of the steps that are stored as completed: their effects must not happen again.
    settled: BTreeSet<String>,
    /// The effects that happened again although their steps were stored as completed.
    again: BTreeSet<String>,
}

impl Effects {
    /// Records the side effect of the body that runs with this context. Effects are counted by the definition and the
    /// path of the step, because the ids of instances differ from run to run. For a step of a child workflow, the path
    /// in its parent counts too.
    pub fn happen(&self, ctx: &Ctx) {
        let key = ctx.idempotency_key();
        let place = key.split_once('/').map_or("", |(_, place)| place);
        let effect = format!("{}: {place}", ctx.definition_id());
        let mut seen = self.lock();
        // A body that timed out may still run after another attempt has completed.
        if seen.settled.contains(&key) && !ctx.cancellation().is_cancelled() {
            seen.again.insert(effect.clone());
        }
        *seen.counts.entry(effect).or_default() += 1;
    }

    /// Records which steps this stored commit has completed.
    pub(super) fn settle(&self, step: &StepCommit) {
        let completed =
            step.upserted.iter().chain(&step.finished).filter(|p| p.status == PointerStatus::Complete);
        let keys = completed.map(|pointer| idempotency_key(&step.instance_id, pointer));
        self.lock().settled.extend(keys);
    }

    /// Returns how often each effect happened.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, usize> {
        self.lock().counts.clone()
    }

    /// Asserts that each effect happened as often as in the undisturbed run, or up to once more per crash. Also asserts
    /// that no effect happened after its step was stored as completed.
    pub(super) fn must_equal(&self, whole: &Self, deaths: usize, after: usize) {
        let again = self.lock().again.clone();
        assert!(
            again.is_empty(),
            "when the process died after commit {after}, these effects happened again, although their steps were stored as \
             completed: {again:?}"
        );
        let (own, whole) = (self.counts(), whole.counts());
        let is_like = |(key, times): (&String, &usize)| {
            own.get(key).is_some_and(|n| (*times..=times + deaths).contains(n))
        };
        assert!(
            own.len() == whole.len() && whole.iter().all(is_like),
            "when the process died after commit {after}, the effects were {own:?}, but undisturbed {whole:?}"
        );
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        // No code panics while it holds this lock.
        lock(&self.0)
    }
}
