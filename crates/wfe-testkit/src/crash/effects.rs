use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use wfe::{models::PointerStatus, steps::Ctx, traits::StepCommit};
use wfe_core::executor::idempotency_key;
use wfe_core::sync::lock;

/// Records the side effects of steps in external systems, and how often each side effect happened. No crash reverts
/// them.
#[derive(Debug, Clone, Default)]
pub struct Effects(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    counts: BTreeMap<String, usize>,
    /// The idempotency keys of the steps that are stored as completed. The effects of these steps must not happen
    /// again.
    settled: BTreeSet<String>,
    /// The effects that happened again, although the steps that caused them were stored as completed.
    again: BTreeSet<String>,
}

impl Effects {
    /// Records the side effect of the body that runs with this context. Effects are counted separately for each
    /// definition and path of a step, because the ids of instances differ from run to run. In a child workflow, the
    /// path of a step includes the child's path in its parent.
    pub fn happen<A>(&self, ctx: &Ctx<A>) {
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

    /// Records the steps that were completed by this commit, which is stored.
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

    /// Asserts that each effect happened at least as often as in the undisturbed run, and at most once more per crash.
    /// Also asserts that no effect happened after its step was stored as completed.
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
