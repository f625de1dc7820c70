//! One suspect at a time: what lets an instance that may kill its process run alone in it.
//!
//! Everything of the process, whichever host and store it belongs to, goes through [`PROCESS`]: a death says something of
//! an instance only if no other body ran. Each body enters before it begins. A suspect asks for its *turn*: then no other
//! body begins, those that run end, and the suspect has the process to itself until its next commit, which shows that it
//! is none.
//!
//! Nobody waits for ever:
//!
//! * Suspects come one after the other, and at most [`Pace::stretch`] of short ones in a row before bodies that wait begin,
//!   which then have the process for as long as it was closed to them ([`Pace::longest_rest`] at most).
//! * While bodies of instances that are no suspects go on for longer, others begin beside them: the process is closed for a
//!   while, open for as long, closed for twice as long, until it has emptied. A suspect never begins beside these.
//! * A suspect that takes long gives up its turn when others wait ([`allowance`]), and runs on. The next suspect waits for
//!   it for as long, and then has its turn beside it: their deaths say nothing of either alone, but whose turn it was
//!   comes first in the next process, and is alone there.

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};
use wfe_core::traits::Deaths;

/// The one of this process.
pub(crate) static PROCESS: Isolation = Isolation::new(Pace {
    stretch: Duration::from_secs(1),
    longest_rest: Duration::from_secs(10),
    first_closure: Duration::from_secs(1),
});

/// How long a suspect keeps others waiting, at least at first: long enough for nearly any body to end, short enough for many
/// suspects with long ones to be under way again in minutes. Each death beside others doubles it: so one that kills its
/// process only after hours is alone at last when it does. Real time: it is about a process, not about workflows.
pub(crate) fn allowance(deaths: Deaths) -> Duration {
    Duration::from_secs(10).saturating_mul(1_u32.checked_shl(deaths.beside).unwrap_or(u32::MAX))
}

/// How long parts of a process are kept waiting. Real time.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Suspects that come one after the other while bodies wait, together.
    stretch: Duration,
    /// The longest time that waiting bodies have before the next suspect.
    longest_rest: Duration,
    /// The first attempt to let the process get empty.
    first_closure: Duration,
}

pub(crate) struct Isolation {
    pace: Pace,
    state: Mutex<State>,
    /// Bodies may begin again.
    opened: Notify,
    /// A body has ended that somebody on his turn may wait for, or one that waited has begun.
    emptied: Notify,
    /// Somebody waits.
    wanted: Notify,
}

struct State {
    /// Bodies of instances that are no suspects.
    ordinary: usize,
    /// Bodies of suspects whose turn is over.
    lasting: usize,
    /// Bodies that wait until they may begin.
    waiting: usize,
    is_closed: bool,
    /// Since when no body but a suspect's has begun.
    closed: Option<Instant>,
    /// Until when the next turn waits for bodies that have waited.
    rest: Option<Instant>,
    /// Whose turn it is.
    turn: Option<u64>,
    queue: VecDeque<(u64, oneshot::Sender<()>)>,
    last: u64,
    suspects: BTreeMap<u64, Suspect>,
}

#[derive(Default)]
struct Suspect {
    bodies: usize,
    stand: Stand,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stand {
    /// It waits for its turn, or has it.
    #[default]
    Turn,
    /// Its turn is over, and it is a suspect still.
    Lasting,
    /// It is none any more, or nobody works on it; bodies may go on.
    Gone,
}

/// A body that runs, until it is dropped.
pub(crate) struct Running {
    isolation: &'static Isolation,
    suspect: Option<u64>,
}

/// A body that waits until it may begin.
pub(crate) struct Waiting(&'static Isolation);

/// A suspect from the moment it asks for its turn until it is no suspect, or nobody works on it any more.
pub(crate) struct Ticket {
    isolation: &'static Isolation,
    number: u64,
    called: Option<oneshot::Receiver<()>>,
}

impl Isolation {
    const fn new(pace: Pace) -> Self {
        let state = State {
            ordinary: 0,
            lasting: 0,
            waiting: 0,
            is_closed: false,
            closed: None,
            rest: None,
            turn: None,
            queue: VecDeque::new(),
            last: 0,
            suspects: BTreeMap::new(),
        };
        Self {
            pace,
            state: Mutex::new(state),
            opened: Notify::const_new(),
            emptied: Notify::const_new(),
            wanted: Notify::const_new(),
        }
    }

    /// A body begins, of the suspect of this number if it is one's. `None`: it may not now.
    pub fn enter(&'static self, suspect: Option<u64>) -> Option<Running> {
        let mut state = self.lock();
        // A number that is not known any more is that of an instance that came to a commit.
        let (stand, suspect) =
            match suspect.and_then(|number| state.suspects.get(&number).map(|of| (of.stand, number))) {
                None | Some((Stand::Gone, _)) => (Stand::Gone, None),
                Some((stand, number)) => (stand, Some(number)),
            };
        if state.is_closed && stand != Stand::Turn {
            return None;
        }
        match stand {
            Stand::Turn => {}
            Stand::Lasting => state.lasting += 1,
            Stand::Gone => state.ordinary += 1,
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
        self.wanted.notify_waiters();
        until(&self.opened, || (!self.lock().is_closed).then_some(())).await;
        waiting
    }

    /// Asks for a turn.
    pub fn ask(&'static self) -> Ticket {
        let (call, called) = oneshot::channel();
        let mut state = self.lock();
        state.last += 1;
        let number = state.last;
        state.suspects.insert(number, Suspect::default());
        state.queue.push_back((number, call));
        if state.turn.is_none() {
            self.call_next(&mut state);
        }
        drop(state);
        self.wanted.notify_waiters();
        Ticket { isolation: self, number, called: Some(called) }
    }

    /// The suspect of this number comes before all others that wait.
    pub fn hurry(&self, number: u64) {
        let mut state = self.lock();
        if let Some(at) = state.queue.iter().position(|(waits, _)| *waits == number)
            && let Some(place) = state.queue.remove(at)
        {
            state.queue.push_front(place);
        }
    }

    /// It is the next one's turn, if there is one. Bodies that wait begin before, if they have waited for long.
    fn call_next(&self, state: &mut State) {
        state.turn = None;
        while let Some((number, call)) = state.queue.pop_front() {
            if call.send(()).is_ok() {
                state.turn = Some(number);
                break;
            }
        }
        let closed = state.closed.map(|since| since.elapsed());
        if state.turn.is_none() {
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
        // Nothing panics while holding it; if it did, the numbers would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks again each time that it is notified.
async fn until<T>(notify: &Notify, mut is_so: impl FnMut() -> Option<T>) -> T {
    let mut notified = pin!(notify.notified());
    loop {
        // Before it is asked: else what happens in between would be missed.
        notified.as_mut().enable();
        if let Some(answer) = is_so() {
            return answer;
        }
        notified.as_mut().await;
        notified.set(notify.notified());
    }
}

/// What came of it until then; `None`: nothing.
async fn before<T>(end: Instant, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout_at(end, work).await.ok()
}

impl Ticket {
    /// By which its bodies [enter](Isolation::enter).
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Its turn has come, and no other body begins from here on. Whether none runs: suspects whose turn is over may run on,
    /// if they do so for longer than `patience`.
    pub async fn come(&mut self, patience: Duration) -> bool {
        let isolation = self.isolation;
        if let Some(called) = &mut self.called {
            // It fails only if somebody drops the call unsent, which nobody does.
            let _called = called.await;
            self.called = None;
        }
        let rest = isolation.lock().rest;
        if let Some(rest) = rest {
            let has_begun = until(&isolation.emptied, || {
                let state = isolation.lock();
                (state.ordinary == 0 && state.waiting == 0).then_some(())
            });
            before(rest, has_begun).await;
        }
        let give_up = Instant::now() + patience;
        let mut closure = isolation.pace.first_closure;
        loop {
            isolation.close();
            let end = Instant::now() + closure;
            let ordinary_ended = until(&isolation.emptied, || (isolation.lock().ordinary == 0).then_some(()));
            if before(end, ordinary_ended).await.is_some() {
                let all_ended = until(&isolation.emptied, || {
                    let state = isolation.lock();
                    (state.ordinary == 0 && state.lasting == 0).then_some(())
                });
                return before(give_up, all_ended).await.is_some();
            }
            isolation.open(&mut isolation.lock());
            let ordinary_ended = until(&isolation.emptied, || (isolation.lock().ordinary == 0).then_some(()));
            before(Instant::now() + closure, ordinary_ended).await;
            closure = closure.saturating_mul(2);
        }
    }
}

impl Isolation {
    /// Once somebody waits who cannot begin for the turn of another.
    pub async fn is_in_the_way(&self) {
        until(&self.wanted, || {
            let state = self.lock();
            (state.waiting > 0 || !state.queue.is_empty()).then_some(())
        })
        .await;
    }

    /// The turn of the suspect of this number is over, but it runs on.
    pub fn outlast(&self, number: u64) {
        self.part(number, Stand::Lasting);
    }

    /// The suspect of this number stands there from now on, and it is somebody else's turn.
    fn part(&self, number: u64, next: Stand) {
        let mut guard = self.lock();
        let state = &mut *guard;
        state.queue.retain(|(waits, _)| *waits != number);
        let Some(of) = state.suspects.get_mut(&number) else { return };
        let bodies = of.bodies;
        match std::mem::replace(&mut of.stand, next) {
            Stand::Turn => {}
            Stand::Lasting => state.lasting -= bodies,
            Stand::Gone => return of.stand = Stand::Gone,
        }
        match next {
            Stand::Turn => {}
            Stand::Lasting => state.lasting += bodies,
            Stand::Gone => state.ordinary += bodies,
        }
        if next == Stand::Gone && bodies == 0 {
            state.suspects.remove(&number);
        }
        if state.turn == Some(number) {
            self.call_next(state);
        }
        drop(guard);
        self.emptied.notify_waiters();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.isolation.part(self.number, Stand::Gone);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut guard = self.isolation.lock();
        let state = &mut *guard;
        let mut stand = Stand::Gone;
        if let Some(number) = self.suspect
            && let Some(of) = state.suspects.get_mut(&number)
        {
            of.bodies -= 1;
            stand = of.stand;
            if stand == Stand::Gone && of.bodies == 0 {
                state.suspects.remove(&number);
            }
        }
        match stand {
            Stand::Turn => {}
            Stand::Lasting => state.lasting -= 1,
            Stand::Gone => state.ordinary -= 1,
        }
        let somebody_waits = state.turn.is_some();
        drop(guard);
        if somebody_waits {
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

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Poll, Waker},
        thread,
    };

    use super::*;

    const LONG: Duration = Duration::from_mins(10);

    /// One of its own, in which nothing takes its turn by time alone.
    fn isolation(stretch: Duration, longest_rest: Duration, first_closure: Duration) -> &'static Isolation {
        Box::leak(Box::new(Isolation::new(Pace { stretch, longest_rest, first_closure })))
    }

    fn patient() -> &'static Isolation {
        isolation(LONG, LONG, LONG)
    }

    /// What it has come to by now.
    fn now<T>(work: Pin<&mut (impl Future<Output = T> + ?Sized)>) -> Option<T> {
        match work.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        }
    }

    /// A turn that comes at once.
    async fn alone(isolation: &'static Isolation) -> Ticket {
        let (turn, is_alone) = coming(isolation.ask(), LONG).await;
        assert!(is_alone);
        turn
    }

    /// The turn when it has come, and whether it is alone then.
    fn coming(mut turn: Ticket, patience: Duration) -> Pin<Box<dyn Future<Output = (Ticket, bool)> + Send>> {
        Box::pin(async move {
            let is_alone = turn.come(patience).await;
            (turn, is_alone)
        })
    }

    #[tokio::test]
    async fn a_suspect_waits_for_bodies_that_run_and_none_begins_until_its_turn_is_over() {
        let isolation = patient();
        let running = isolation.enter(None).unwrap();
        let mut comes = coming(isolation.ask(), LONG);
        assert!(now(comes.as_mut()).is_none());
        assert!(isolation.enter(None).is_none(), "it waits for a process without bodies");
        drop(running);
        let (turn, is_alone) = comes.await;
        assert!(is_alone && isolation.enter(None).is_none());
        let own = isolation.enter(Some(turn.number())).unwrap();
        let mut opened = pin!(isolation.opened(None));
        assert!(now(opened.as_mut()).is_none());
        drop(turn);
        let waiting = opened.await;
        let other = isolation.enter(None).unwrap();
        drop(waiting);
        // What it left running is a body like any other.
        let mut comes = coming(isolation.ask(), LONG);
        drop(other);
        assert!(now(comes.as_mut()).is_none());
        drop(own);
        assert!(comes.await.1);
    }

    #[tokio::test]
    async fn suspects_come_one_after_the_other_and_whoever_is_in_a_hurry_first() {
        let isolation = patient();
        let first = alone(isolation).await;
        let (second, third, dropped) = (isolation.ask(), isolation.ask(), isolation.ask());
        isolation.hurry(third.number());
        drop(dropped);
        let (mut second, mut third) = (coming(second, LONG), coming(third, LONG));
        assert!(now(second.as_mut()).is_none() && now(third.as_mut()).is_none());
        drop(first);
        let (third, is_alone) = third.await;
        assert!(is_alone && now(second.as_mut()).is_none());
        drop(third);
        let (second, is_alone) = second.await;
        assert!(is_alone);
        drop(second);
        assert!(isolation.enter(None).is_some());
    }

    #[tokio::test]
    async fn a_turn_that_is_dropped_unheard_is_the_next_ones() {
        let isolation = patient();
        let first = alone(isolation).await;
        let (second, third) = (isolation.ask(), isolation.ask());
        drop(first); // the second one is called
        drop(second);
        assert!(coming(third, LONG).await.1);
    }

    #[tokio::test]
    async fn bodies_that_waited_begin_before_the_next_suspect() {
        let isolation = isolation(Duration::ZERO, LONG, LONG);
        let (first, second) = (alone(isolation).await, isolation.ask());
        let mut opened = pin!(isolation.opened(None));
        assert!(now(opened.as_mut()).is_none());
        let long_ago = Instant::now().checked_sub(Duration::from_mins(1)).unwrap();
        isolation.lock().closed = Some(long_ago);
        drop(first);
        let mut second = coming(second, LONG);
        assert!(now(second.as_mut()).is_none(), "it leaves them their time");
        let waiting = opened.await;
        assert!(now(second.as_mut()).is_none(), "until they have begun");
        let running = isolation.enter(None).unwrap();
        drop(waiting);
        assert!(now(second.as_mut()).is_none());
        drop(running);
        assert!(second.await.1);
    }

    #[tokio::test]
    async fn suspects_follow_one_another_at_once_while_nobody_else_waits() {
        let isolation = isolation(Duration::ZERO, LONG, LONG);
        let (first, second) = (alone(isolation).await, isolation.ask());
        drop(first);
        assert!(isolation.enter(None).is_none());
        assert!(coming(second, LONG).await.1);
    }

    #[tokio::test]
    async fn others_begin_beside_a_long_body_while_a_suspect_waits_for_it() {
        let isolation = isolation(LONG, LONG, Duration::from_millis(1));
        let long = isolation.enter(None).unwrap();
        let waits = tokio::spawn(coming(isolation.ask(), LONG));
        // Again and again: in between it tries to be alone.
        for _ in 0..3 {
            while !isolation.lock().is_closed {
                tokio::task::yield_now().await;
            }
            let waiting = isolation.opened(None).await;
            drop((isolation.enter(None).unwrap(), waiting));
        }
        assert!(!waits.is_finished());
        drop(long);
        assert!(waits.await.unwrap().1);
    }

    #[tokio::test]
    async fn a_suspect_that_takes_long_lets_others_begin_and_the_next_one_comes_beside_it() {
        let isolation = patient();
        let long = alone(isolation).await;
        let body = isolation.enter(Some(long.number())).unwrap();
        let mut in_the_way = pin!(isolation.is_in_the_way());
        assert!(now(in_the_way.as_mut()).is_none());
        let next = isolation.ask();
        in_the_way.await;
        isolation.outlast(long.number());
        // It comes beside that one if it has not the patience …
        let (next, is_alone) = coming(next, Duration::ZERO).await;
        assert!(!is_alone && isolation.enter(None).is_none());
        drop(next);
        // … but never beside the body of an instance that is no suspect.
        let ordinary = isolation.enter(None).unwrap();
        let mut next = coming(isolation.ask(), Duration::ZERO);
        assert!(now(next.as_mut()).is_none());
        assert!(isolation.enter(Some(long.number())).is_none(), "its own next body waits as others do");
        drop(ordinary);
        let (next, is_alone) = next.await;
        assert!(!is_alone);
        drop(next);
        // It comes to a commit: from then on it is an instance like any other.
        drop(long);
        let mut next = coming(isolation.ask(), Duration::ZERO);
        assert!(now(next.as_mut()).is_none());
        drop(body);
        assert!(next.await.1);
    }

    #[test]
    fn each_death_beside_others_doubles_what_a_suspect_may_keep_others_waiting() {
        let of = |beside| allowance(Deaths { beside, ..Deaths::default() }).as_secs();
        assert_eq!((of(0), of(1), of(5)), (10, 20, 320));
        assert!(of(31) < of(32) && of(32) == of(u32::MAX));
    }

    /// Whatever comes when: bodies end, suspects are dropped in the midst, and at the end nothing is left.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_suspect_is_alone_whatever_goes_on_beside_it() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static BODIES: AtomicUsize = AtomicUsize::new(0);
        let isolation =
            isolation(Duration::from_micros(300), Duration::from_millis(1), Duration::from_micros(50));
        let ordinary = (0..40).map(|n| {
            tokio::spawn(async move {
                for _ in 0..25 {
                    let mut waiting = None;
                    let running = loop {
                        match isolation.enter(None) {
                            Some(running) => break running,
                            None => waiting = Some(isolation.opened(waiting.take()).await),
                        }
                    };
                    drop(waiting);
                    BODIES.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_micros(n * 7 % 90)).await;
                    BODIES.fetch_sub(1, Ordering::SeqCst);
                    drop(running);
                }
            })
        });
        let suspects = (0..60).map(|n| {
            tokio::spawn(async move {
                let mut turn = isolation.ask();
                if n % 3 == 0 {
                    // Not for long, perhaps.
                    let end = Instant::now() + Duration::from_micros(n * 13);
                    if before(end, turn.come(LONG)).await.is_none() {
                        return;
                    }
                } else {
                    assert!(turn.come(LONG).await);
                }
                let own = isolation.enter(Some(turn.number())).unwrap();
                assert_eq!(BODIES.load(Ordering::SeqCst), 0);
                thread::yield_now();
                assert_eq!(BODIES.load(Ordering::SeqCst), 0);
                drop((own, turn));
            })
        });
        let all: Vec<_> = ordinary.chain(suspects).collect();
        for one in all {
            one.await.unwrap();
        }
        let state = isolation.lock();
        assert_eq!((state.ordinary, state.lasting, state.waiting, state.turn), (0, 0, 0, None));
        assert!(state.suspects.is_empty() && state.queue.is_empty() && !state.is_closed);
    }
}
