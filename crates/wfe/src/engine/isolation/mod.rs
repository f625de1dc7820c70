//! One suspect at a time: what lets an instance that may kill its process run alone in it.
//!
//! All bodies of the process, whichever host and store they belong to, go through [`PROCESS`]: a death says something of an
//! instance only if no other body ran. Each body enters before it begins. A suspect requests a *trial*: then no other body
//! begins, those that run end, and the suspect has the process to itself until its next commit, which shows that it is no
//! suspect.
//!
//! No body and no suspect waits for ever:
//!
//! * Trials come one after the other, and at most [`Pace::stretch`] of short ones in a row before bodies that wait begin,
//!   which then have the process for as long as it was closed to them ([`Pace::longest_rest`] at most).
//! * While bodies go on for long, others begin beside them: the process is closed for a while, open for as long, closed for
//!   twice as long, up to [`Pace::longest_rest`], until it has emptied.
//! * The trial of a suspect that takes long is over when others wait ([`allowance`]), and the suspect runs on. The next one
//!   waits for it for as long, and then has its trial beside it. It has its trial beside other bodies, too, that go on for
//!   longer than that and than a closure of the longest kind. Deaths then say nothing of one instance alone, but the one on
//!   trial comes first in the next process, and waits for twice as long there before it begins beside others.

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

/// The one of this process.
pub(in crate::engine) static PROCESS: Isolation = Isolation::new(Pace {
    stretch: Duration::from_secs(1),
    longest_rest: Duration::from_secs(10),
    first_closure: Duration::from_secs(1),
});

/// How long a trial lasts while others wait, and how long a suspect waits before it has its trial beside others, at least at
/// first: long enough for nearly any body to end, short enough for many suspects with long ones to be under way again in
/// minutes. Each death beside others doubles it: so one that kills its
/// process only after hours is alone at last when it does. Real time: it is about a process, not about workflows.
pub(in crate::engine) fn allowance(deaths: Deaths) -> Duration {
    Duration::from_secs(10).saturating_mul(1_u32.checked_shl(deaths.beside).unwrap_or(u32::MAX))
}

/// How long parts of a process are kept waiting. Real time.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Suspects that come one after the other while bodies wait, together.
    stretch: Duration,
    /// The longest time that waiting bodies have before the next suspect, and that they are kept out at a time until what
    /// runs has ended.
    longest_rest: Duration,
    /// The first attempt to let the process get empty.
    first_closure: Duration,
}

pub(in crate::engine) struct Isolation {
    pace: Pace,
    state: Mutex<State>,
    /// Bodies may begin again.
    opened: Notify,
    /// A body has ended that a suspect on trial may wait for, or one that waited has begun.
    emptied: Notify,
    /// A body or a suspect waits.
    requested: Notify,
}

struct State {
    /// Bodies of instances that are no suspects.
    ordinary: usize,
    /// Bodies of suspects whose trial is over.
    lasting: usize,
    /// Bodies that wait until they may begin.
    waiting: usize,
    is_closed: bool,
    /// Since when no body but a suspect's has begun.
    closed: Option<Instant>,
    /// Until when the next trial waits for bodies that have waited.
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
    /// It waits for its trial, or has it.
    #[default]
    Trial,
    /// Its trial is over, and it is a suspect still.
    Lasting,
    /// It is none any more, or this process does not work on it any more; bodies may go on.
    Cleared,
}

/// A body that runs, until it is dropped.
pub(in crate::engine) struct Running {
    isolation: &'static Isolation,
    suspect: Option<u64>,
}

/// A body that waits until it may begin.
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

    /// A body begins, of the suspect of this number if it is one's. `None`: it may not now.
    pub fn enter(&'static self, suspect: Option<u64>) -> Option<Running> {
        let mut state = self.lock();
        // A number that is not known any more is that of an instance that came to a commit.
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

    /// Once bodies may begin. Kept until the body has begun, so that the next suspect waits for it.
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

    /// The suspect of this number comes before all others that wait.
    pub fn prioritize(&self, number: u64) {
        let mut state = self.lock();
        if let Some(at) = state.queue.iter().position(|(waits, _)| *waits == number)
            && let Some(first) = state.queue.remove(at)
        {
            state.queue.push_front(first);
        }
    }

    /// The next trial begins, if a suspect waits. Bodies that wait begin before, if they have waited for long.
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
    /// Once no body runs of an instance that is no suspect, and none waits.
    async fn has_emptied(&self) {
        until(&self.emptied, || {
            let state = self.lock();
            (state.ordinary == 0 && state.waiting == 0).then_some(())
        })
        .await;
    }

    /// Waits until a body or a suspect waits that cannot begin for the trial of another.
    pub async fn keeps_others_waiting(&self) {
        until(&self.requested, || {
            let state = self.lock();
            (state.waiting > 0 || !state.queue.is_empty()).then_some(())
        })
        .await;
    }

    /// The trial of the suspect of this number is over, but the suspect runs on.
    pub fn end_trial(&self, number: u64) {
        self.change(number, SuspectState::Lasting);
    }

    /// The suspect of this number is in that state from now on; its trial is over.
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

/// A suspect from the moment it requests its trial until it is no suspect, or this process does not work on it any more.
pub(in crate::engine) struct Ticket {
    isolation: &'static Isolation,
    number: u64,
    called: Option<oneshot::Receiver<()>>,
}

impl Ticket {
    /// By which its bodies [enter](Isolation::enter).
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Waits for the trial to begin: no other body begins from here on. Whether none runs: those that go on for longer than
    /// `patience` run on beside it; those of instances that are no suspects only if they were waited for as long as the
    /// process may be closed at a time.
    pub async fn begin(&mut self, patience: Duration) -> bool {
        let isolation = self.isolation;
        if let Some(called) = &mut self.called {
            // It fails only if the sender is dropped unsent, which never happens.
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
            // For as long, unless what waits has begun and ended, and with it what was waited for.
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
