use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Utc};
use tokio::sync::{Notify, watch};
use wfe_core::traits::{OWN_NAMES, StepCommit};

/// What has become of events, for the engine to look after. Whoever stores an event, or a step that consumes one, puts
/// it here once that is durable; the dispatcher delivers, the event sweeper marks as processed.
#[derive(Default)]
pub(crate) struct Post {
    state: Mutex<State>,
    /// Something may be deliverable now, or becomes so at a time that is not known yet.
    pub arrived: Notify,
    /// Something may be marked as processed.
    pub handled: Notify,
    /// There is work for outsiders. All who do such work in this process listen.
    work: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    /// Each once, however many instances have taken it.
    handled: BTreeSet<String>,
    sweep: bool,
    due: Vec<i64>,
    asked: Vec<String>,
    woken: Vec<String>,
}

/// What was stored here for others.
pub(crate) struct Arrived {
    /// When events become due, in milliseconds.
    pub due: Vec<i64>,
    /// Instances that something was asked of.
    pub asked: Vec<String>,
    /// Instances that have something to do. Those that nobody works on are found by looking for what is due.
    pub woken: Vec<String>,
}

impl Post {
    /// An event was stored.
    pub fn stored(&self, id: &str, time: DateTime<Utc>, now: DateTime<Utc>) {
        let mut state = self.lock();
        if time > now {
            state.due.push(millis_rounded_up(time));
        } else {
            state.handled.insert(id.to_owned());
        }
        drop(state);
        self.arrived.notify_one();
        self.handled.notify_one();
    }

    /// A commit is stored: others may want at once what it holds for them.
    pub fn committed(&self, step: &StepCommit) {
        let (took, gave) = (
            !step.consumed.is_empty() || !step.unsubscribed.is_empty(),
            !step.published.is_empty() || !step.created.is_empty() || !step.requested.is_empty(),
        );
        if step.subscribed.iter().any(|wait| wait.event_name.starts_with(OWN_NAMES)) {
            self.work_is_there();
        }
        if !took && !gave {
            return;
        }
        let mut state = self.lock();
        state.handled.extend(step.consumed.iter().map(|consumed| consumed.event_id.clone()));
        state.handled.extend(step.published.iter().map(|event| event.id.clone()));
        state.sweep |= !step.unsubscribed.is_empty();
        state.asked.extend(step.requested.iter().map(|(id, _)| id.clone()));
        drop(state);
        self.handled.notify_one();
        if gave {
            self.arrived.notify_one();
        }
    }

    /// A commit that is stored has given these instances something to do.
    pub fn woken(&self, ids: Vec<String>) {
        if !ids.is_empty() {
            self.lock().woken.extend(ids);
            self.arrived.notify_one();
        }
    }

    /// Whoever does work for workflows shall look whether there is some, or whether the host has stopped.
    pub fn work_is_there(&self) {
        self.work.send_replace(());
    }

    /// Tells of work, from now on.
    pub fn work(&self) -> watch::Receiver<()> {
        self.work.subscribe()
    }

    /// An answer of an outsider was stored. Whoever takes it marks it.
    pub fn answered(&self) {
        self.arrived.notify_one();
    }

    /// It is not known which events nobody waits for any more: a wait was closed without one, a dated one has become due,
    /// the host starts.
    pub fn sweep(&self) {
        self.lock().sweep = true;
        self.handled.notify_one();
    }

    /// What has arrived since this was called last.
    pub fn take_arrived(&self) -> Arrived {
        let State { due, asked, woken, .. } = &mut *self.lock();
        Arrived { due: std::mem::take(due), asked: std::mem::take(asked), woken: std::mem::take(woken) }
    }

    /// The events that may be marked as processed, and whether all have to be looked through.
    pub fn take_handled(&self) -> (Vec<String>, bool) {
        let mut state = self.lock();
        (std::mem::take(&mut state.handled).into_iter().collect(), std::mem::take(&mut state.sweep))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while holding it; if it did, the state would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A time in milliseconds, never earlier than the time itself.
pub(crate) fn millis_rounded_up(time: DateTime<Utc>) -> i64 {
    let millis = time.timestamp_millis();
    if time.timestamp_subsec_nanos().is_multiple_of(1_000_000) { millis } else { millis.saturating_add(1) }
}
