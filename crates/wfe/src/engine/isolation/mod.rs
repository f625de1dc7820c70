//! Isolation of suspects. An instance that may crash its process runs alone in the process. Only one such instance runs
//! at a time.
//!
//! All bodies of the process go through [`PROCESS`], whichever host and store they belong to. The reason is that a
//! crash incriminates an instance only if no body of another instance was running. Each body calls
//! [`enter`](Isolation::enter) before it starts. A suspect requests a *trial*. During a trial, no other body starts,
//! and the bodies that already run come to their end. The suspect then has the process to itself until its next commit.
//! This commit shows that it is not a suspect any more.
//!
//! No body and no suspect waits for ever:
//!
//! * Trials run one after the other. Short trials may follow one another for [`Pace::stretch`] at most before waiting
//!   bodies start. These bodies then have the process for as long as it was closed to them, and for
//!   [`Pace::longest_rest`] at most.
//! * While long bodies keep running, the process is closed to other bodies for some time, and then open to them for the
//!   same time. Each closure is twice as long as the previous closure, up to [`Pace::longest_rest`], until no body
//!   runs.
//! * A long trial ends when others wait ([`allowance`]), but its suspect continues to run. The next suspect waits
//!   until no body of the running suspect is left, but no longer than this allowance. If some are still left then, the
//!   trial of the next suspect takes place alongside them. Likewise, a trial takes place alongside ordinary bodies that outlast
//!   both this time and the longest closure. A crash during such a trial does not show which instance has caused it.
//!   However, the instance on trial is the first to run in the next process, and waits there for twice as long before
//!   its trial takes place alongside others.

mod wait;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};
use wfe_core::{sync::lock, traits::Deaths};

use self::wait::{before, until};

/// The isolation of this process.
pub(in crate::engine) static PROCESS: Isolation = Isolation::new(Pace {
    stretch: Duration::from_secs(1),
    longest_rest: Duration::from_secs(10),
    first_closure: Duration::from_secs(1),
});

/// How long a trial lasts while others wait. A suspect also waits for at least this time before it has its trial
/// alongside others. The initial time is long enough for nearly any body to end. The initial time is also short enough
/// that many suspects with long bodies all run again within minutes. Each crash during a trial alongside others doubles
/// the time. An instance that crashes its process only after hours therefore eventually runs alone when the crash
/// happens. The time is real time, because it concerns a process and not workflows.
pub(in crate::engine) fn allowance(deaths: Deaths) -> Duration {
    Duration::from_secs(10).saturating_mul(1_u32.checked_shl(deaths.beside).unwrap_or(u32::MAX))
}

/// How long bodies and suspects of a process have to wait. All times are real time.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// The total time for which trials may follow one another while bodies wait.
    stretch: Duration,
    /// The longest time that waiting bodies get before the next trial. This is also the maximum length of one closure,
    /// during which a trial waits for the running bodies to end.
    longest_rest: Duration,
    /// The length of the first closure, during which a trial waits for the running bodies to end.
    first_closure: Duration,
}

pub(in crate::engine) struct Isolation {
    pace: Pace,
    state: Mutex<State>,
    /// Notified when bodies may start again.
    opened: Notify,
    /// Notified when a body has ended and the suspect on trial may have waited for this, or when a waiting body has
    /// started.
    emptied: Notify,
    /// Notified when a body or a suspect begins to wait.
    requested: Notify,
}

struct State {
    /// The number of running bodies of instances that are not suspects.
    ordinary: usize,
    /// The number of running bodies of suspects whose trial is over.
    lasting: usize,
    /// The number of bodies that wait until they may start.
    waiting: usize,
    is_closed: bool,
    /// Since when the process is closed to all bodies except those of the suspect on trial. A short opening between two
    /// closures resets this time.
    closed: Option<Instant>,
    /// The next trial waits until this time at most, so that bodies that have waited can run first.
    rest: Option<Instant>,
    /// The suspect on trial.
    trial: Option<u64>,
    queue: VecDeque<(u64, oneshot::Sender<()>)>,
    last: u64,
    suspects: BTreeMap<u64, Suspect>,
}

#[derive(Default)]
struct Suspect {
    bodies: usize,
    state: SuspectState,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum SuspectState {
    /// The suspect waits for its trial or is on trial.
    #[default]
    Trial,
    /// The trial is over, but the instance is still a suspect.
    Lasting,
    /// The instance is not a suspect any more, or this process no longer works on it. The bodies of the instance may
    /// still run.
    Cleared,
}

/// Marks a body as running until this guard is dropped.
pub(in crate::engine) struct Running {
    isolation: &'static Isolation,
    suspect: Option<u64>,
}

/// Marks a body as waiting until this guard is dropped.
pub(in crate::engine) struct Waiting(&'static Isolation);

impl Isolation {
    const fn new(pace: Pace) -> Self {
        let state = State {
            ordinary: 0,
            lasting: 0,
            waiting: 0,
            is_closed: false,
            closed: None,
            rest: None,
            trial: None,
            queue: VecDeque::new(),
            last: 0,
            suspects: BTreeMap::new(),
        };
        Self {
            pace,
            state: Mutex::new(state),
            opened: Notify::const_new(),
            emptied: Notify::const_new(),
            requested: Notify::const_new(),
        }
    }

    /// Lets a body start. `suspect` is the number of the suspect to which the body belongs, if any. Returns `None` if
    /// the body may not start now.
    pub fn enter(&'static self, suspect: Option<u64>) -> Option<Running> {
        let mut state = self.lock();
        // A number that is no longer known belongs to an instance that has committed, so the instance is not a suspect.
        let (in_state, suspect) =
            match suspect.and_then(|number| state.suspects.get(&number).map(|of| (of.state, number))) {
                None | Some((SuspectState::Cleared, _)) => (SuspectState::Cleared, None),
                Some((in_state, number)) => (in_state, Some(number)),
            };
        if state.is_closed && in_state != SuspectState::Trial {
            return None;
        }
        match in_state {
            SuspectState::Trial => {}
            SuspectState::Lasting => state.lasting += 1,
            SuspectState::Cleared => state.ordinary += 1,
        }
        if let Some(of) = suspect.and_then(|number| state.suspects.get_mut(&number)) {
            of.bodies += 1;
        }
        Some(Running { isolation: self, suspect })
    }

    /// Waits until bodies may start. The caller keeps the returned guard until the body has started, so that the next
    /// suspect waits for the body.
    pub async fn opened(&'static self, waiting: Option<Waiting>) -> Waiting {
        let waiting = waiting.unwrap_or_else(|| {
            self.lock().waiting += 1;
            Waiting(self)
        });
        self.requested.notify_waiters();
        until(&self.opened, || (!self.lock().is_closed).then_some(())).await;
        waiting
    }

    /// Requests a trial.
    pub fn request(&'static self) -> Ticket {
        let (call, called) = oneshot::channel();
        let mut state = self.lock();
        state.last += 1;
        let number = state.last;
        state.suspects.insert(number, Suspect::default());
        state.queue.push_back((number, call));
        if state.trial.is_none() {
            self.next_trial(&mut state);
        }
        drop(state);
        self.requested.notify_waiters();
        Ticket { isolation: self, number, called: Some(called) }
    }

    /// Moves the suspect with this number to the front of the queue.
    pub fn prioritize(&self, number: u64) {
        let mut state = self.lock();
        if let Some(at) = state.queue.iter().position(|(waits, _)| *waits == number)
            && let Some(first) = state.queue.remove(at)
        {
            state.queue.push_front(first);
        }
    }

    /// Ends the current trial, and starts the next trial if a suspect waits. If bodies have waited for a long time,
    /// they start before the next suspect does.
    fn next_trial(&self, state: &mut State) {
        state.trial = None;
        while let Some((number, call)) = state.queue.pop_front() {
            if call.send(()).is_ok() {
                state.trial = Some(number);
                break;
            }
        }
        let closed = state.closed.map(|since| since.elapsed());
        if state.trial.is_none() {
            self.open(state);
        } else if let Some(closed) = closed.filter(|closed| *closed >= self.pace.stretch && state.waiting > 0)
        {
            state.rest = Some(Instant::now() + closed.min(self.pace.longest_rest));
            self.open(state);
        }
    }

    fn open(&self, state: &mut State) {
        (state.is_closed, state.closed) = (false, None);
        self.opened.notify_waiters();
    }

    fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        state.closed.get_or_insert_with(Instant::now);
        state.rest = None;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Isolation {
    /// Waits until no body of an ordinary instance (one that is not a suspect) is running or waiting.
    async fn has_emptied(&self) {
        until(&self.emptied, || {
            let state = self.lock();
            (state.ordinary == 0 && state.waiting == 0).then_some(())
        })
        .await;
    }

    /// Waits until a body or a suspect is waiting because of the trial of another suspect.
    pub async fn keeps_others_waiting(&self) {
        until(&self.requested, || {
            let state = self.lock();
            (state.waiting > 0 || !state.queue.is_empty()).then_some(())
        })
        .await;
    }

    /// Ends the trial of the suspect with this number; the suspect continues to run.
    pub fn end_trial(&self, number: u64) {
        self.change(number, SuspectState::Lasting);
    }

    /// Changes the state of the suspect with this number, and ends its trial.
    fn change(&self, number: u64, next: SuspectState) {
        let mut guard = self.lock();
        let state = &mut *guard;
        state.queue.retain(|(waits, _)| *waits != number);
        let Some(of) = state.suspects.get_mut(&number) else { return };
        let bodies = of.bodies;
        match std::mem::replace(&mut of.state, next) {
            SuspectState::Trial => {}
            SuspectState::Lasting => state.lasting -= bodies,
            SuspectState::Cleared => return of.state = SuspectState::Cleared,
        }
        match next {
            SuspectState::Trial => {}
            SuspectState::Lasting => state.lasting += bodies,
            SuspectState::Cleared => state.ordinary += bodies,
        }
        if next == SuspectState::Cleared && bodies == 0 {
            state.suspects.remove(&number);
        }
        if state.trial == Some(number) {
            self.next_trial(state);
        }
        drop(guard);
        self.emptied.notify_waiters();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut guard = self.isolation.lock();
        let state = &mut *guard;
        let mut in_state = SuspectState::Cleared;
        if let Some(number) = self.suspect
            && let Some(of) = state.suspects.get_mut(&number)
        {
            of.bodies -= 1;
            in_state = of.state;
            if in_state == SuspectState::Cleared && of.bodies == 0 {
                state.suspects.remove(&number);
            }
        }
        match in_state {
            SuspectState::Trial => {}
            SuspectState::Lasting => state.lasting -= 1,
            SuspectState::Cleared => state.ordinary -= 1,
        }
        let suspect_waits = state.trial.is_some();
        drop(guard);
        if suspect_waits {
            self.isolation.emptied.notify_waiters();
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
        self.0.emptied.notify_waiters();
    }
}

/// Represents a suspect from its request for a trial until it is no longer a suspect, or until this process no longer
/// works on it.
pub(in crate::engine) struct Ticket {
    isolation: &'static Isolation,
    number: u64,
    called: Option<oneshot::Receiver<()>>,
}

impl Ticket {
    /// The number that the suspect's bodies pass to [`enter`](Isolation::enter).
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Waits for the trial to begin. From then on, no other body starts. Returns `true` if no other body runs either.
    /// Bodies that run for longer than `patience` continue alongside the trial. For the bodies of ordinary instances,
    /// the trial waits at least as long as the longest closure lasts.
    pub async fn begin(&mut self, patience: Duration) -> bool {
        let isolation = self.isolation;
        if let Some(called) = &mut self.called {
            // Receiving fails only if the sender is dropped without sending, which never happens.
            let _called = called.await;
            self.called = None;
        }
        let rest = isolation.lock().rest;
        if let Some(rest) = rest {
            before(rest, isolation.has_emptied()).await;
        }
        let give_up = Instant::now() + patience;
        let Pace { first_closure, longest_rest, .. } = isolation.pace;
        let mut closure = first_closure.min(longest_rest);
        loop {
            isolation.close();
            let closed = Instant::now();
            let ordinary_ended = until(&isolation.emptied, || (isolation.lock().ordinary == 0).then_some(()));
            let may_begin = if before(closed + closure, ordinary_ended).await.is_some() {
                let all_ended = until(&isolation.emptied, || {
                    let state = isolation.lock();
                    (state.ordinary == 0 && state.lasting == 0).then_some(())
                });
                if before(give_up.min(closed + longest_rest), all_ended).await.is_some() {
                    return true;
                }
                true
            } else {
                closure >= longest_rest
            };
            if may_begin && Instant::now() >= give_up {
                return false;
            }
            isolation.open(&mut isolation.lock());
            // The process is open for as long as it was closed, or until all ordinary bodies have ended, including
            // those that waited.
            before(Instant::now() + closed.elapsed(), isolation.has_emptied()).await;
            closure = closure.saturating_mul(2).min(longest_rest);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.isolation.change(self.number, SuspectState::Cleared);
    }
}

#[cfg(test)]
mod tests;
