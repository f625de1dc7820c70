use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use wfe_core::{clock::Clock, steps::current_step};

/// A clock that moves only when the test moves it, so that a test of a thirty-day delay takes milliseconds.
///
/// A test moves the clock with [`advance`](Self::advance) or [`set`](Self::set). Before it moves the clock, the test
/// can wait until the code under test sleeps on the clock ([`wait_for_sleepers`](Self::wait_for_sleepers)).
///
/// Like every [`Clock`], a virtual clock consists of a wall clock and a monotonic clock. [`advance`](Self::advance)
/// lets time pass, so it moves both. [`set`](Self::set) makes only the wall clock jump, and no time passes.
///
/// Share it as `Arc<VirtualClock>`.
#[derive(Debug)]
pub struct VirtualClock {
    state: watch::Sender<State>,
}

#[derive(Debug)]
struct State {
    now: DateTime<Utc>,
    passed: Duration,
    /// The sleepers on the wall clock, in the order of their deadlines. Sleepers with the same deadline are in the
    /// order in which they began to sleep.
    sleepers: BTreeMap<(DateTime<Utc>, u64), Sleeper>,
    /// The sleepers on the monotonic clock, ordered in the same way.
    pauses: BTreeMap<(Duration, u64), Sleeper>,
    tickets: u64,
}

/// A future that sleeps.
#[derive(Debug)]
struct Sleeper {
    waker: Waker,
    /// The step in whose body the future sleeps, or `None` if it sleeps outside of bodies, as the engine does.
    step: Option<Arc<str>>,
}

impl Default for VirtualClock {
    /// Creates a clock that shows 2030-01-01T00:00:00Z. This differs widely from the real time, so that a test fails if
    /// some of its code uses the system clock by mistake.
    fn default() -> Self {
        /// The initial time, in seconds since the Unix epoch.
        const NEW_YEAR_2030: i64 = 1_893_456_000;
        Self::new(DateTime::<Utc>::UNIX_EPOCH + Duration::from_secs(NEW_YEAR_2030.unsigned_abs()))
    }
}

impl VirtualClock {
    /// Creates a clock that shows this time.
    #[must_use]
    pub fn new(now: DateTime<Utc>) -> Self {
        Self {
            state: watch::Sender::new(State {
                now,
                passed: Duration::ZERO,
                sleepers: BTreeMap::new(),
                pauses: BTreeMap::new(),
                tickets: 0,
            }),
        }
    }

    /// Advances the wall clock (at most to `MAX_UTC`) and the monotonic clock by `step`. Wakes the sleepers whose
    /// deadlines are reached, on each clock in the order of the deadlines.
    pub fn advance(&self, step: Duration) {
        self.change(|state| state.pass(step));
    }

    /// Sets the wall clock, forwards or backwards, as people and time servers do. No time passes, so sleepers that wait
    /// for a duration stay asleep. Sleepers that wait for a time on the wall clock wake if this time is reached.
    pub fn set(&self, time: DateTime<Utc>) {
        self.change(|state| state.now = time);
    }

    /// Advances the clock to the earliest deadline of all sleepers, wakes the sleepers of that deadline, and returns
    /// the new time. If there are no sleepers, the clock does not move and the method returns `None`.
    #[must_use = "without sleepers, the clock did not move"]
    pub fn advance_to_next(&self) -> Option<DateTime<Utc>> {
        let mut next = None;
        self.change(|state| {
            next = state.deadlines().first().copied();
            if let Some(next) = next {
                state.pass((next - state.now).to_std().unwrap_or_default()); // no sleeper's deadline is past
            }
        });
        next
    }

    /// Returns the deadlines of all sleepers, earliest first. For a sleeper that waits for a duration, this is the
    /// time at which that duration will be over.
    #[must_use]
    pub fn deadlines(&self) -> Vec<DateTime<Utc>> {
        self.state.borrow().deadlines()
    }

    /// Waits until at least `count` futures sleep on this clock. A future sleeps if it was polled and has not been
    /// woken since.
    pub async fn wait_for_sleepers(&self, count: usize) {
        self.wait_for(|deadlines| deadlines.len() >= count).await;
    }

    /// Waits until the deadlines of all sleepers, earliest first, meet `condition`.
    pub async fn wait_for(&self, mut condition: impl FnMut(&[DateTime<Utc>]) -> bool) {
        let mut changes = self.state.subscribe();
        // Fails only if the sender is dropped, and `self` holds the sender.
        let met = changes.wait_for(|state| condition(&state.deadlines())).await.is_ok();
        debug_assert!(met, "the clock outlives the borrow of it");
    }

    /// Returns the deadlines of the bodies of this step that sleep on the clock, earliest first. The sleepers of the
    /// engine, of the test, and of tasks that a body has started are left out.
    #[must_use]
    pub fn asleep(&self, step: &str) -> Vec<DateTime<Utc>> {
        self.state.borrow().deadlines_of(|sleeper| sleeper.step.as_deref() == Some(step))
    }

    /// Returns all bodies that sleep on the clock.
    pub(crate) fn all_asleep(&self) -> Asleep {
        let state = self.state.borrow();
        let walls = state.sleepers.iter().map(|((until, ticket), sleeper)| (*ticket, sleeper, *until));
        let pauses = state.pauses.iter().map(|((end, ticket), sleeper)| {
            (*ticket, sleeper, later(state.now, end.saturating_sub(state.passed)))
        });
        let of_body = |(ticket, sleeper, until): (u64, &Sleeper, DateTime<Utc>)| {
            Some((ticket, (sleeper.step.clone()?, until)))
        };
        Asleep { shown: (state.now, state.passed), bodies: walls.chain(pauses).filter_map(of_body).collect() }
    }

    /// Waits until at least `count` bodies of this step sleep on the clock. Returns their deadlines, earliest first.
    ///
    /// Use it where a body sleeps in an `await`, and the test then [advances](Self::advance) the clock: a body that has
    /// not begun to sleep when the clock moves would sleep until a later time.
    pub async fn wait_for_asleep(&self, step: &str, count: usize) -> Vec<DateTime<Utc>> {
        let is_step = |sleeper: &Sleeper| sleeper.step.as_deref() == Some(step);
        let mut changes = self.state.subscribe();
        // Fails only if the sender is dropped, and `self` holds the sender.
        let met = changes.wait_for(|state| state.deadlines_of(is_step).len() >= count).await;
        met.map(|state| state.deadlines_of(is_step)).unwrap_or_default()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut due = Vec::new();
        self.state.send_modify(|state| {
            change(state);
            while let Some(first) = state.sleepers.first_entry().filter(|s| s.key().0 <= state.now) {
                due.push(first.remove());
            }
            while let Some(first) = state.pauses.first_entry().filter(|p| p.key().0 <= state.passed) {
                due.push(first.remove());
            }
        });
        // Outside the lock: a woken task may read the clock at once.
        for sleeper in due {
            sleeper.waker.wake();
        }
    }
}

/// The bodies that sleep on a clock, at one moment.
#[derive(Debug)]
pub(crate) struct Asleep {
    /// What the wall clock and the monotonic clock show.
    shown: (DateTime<Utc>, Duration),
    /// The step of each body, and the time until which the body sleeps, by the number of the sleep.
    bodies: BTreeMap<u64, (Arc<str>, DateTime<Utc>)>,
}

impl Asleep {
    /// Returns whether a body sleeps that slept at the earlier moment too, and the clock has not moved since.
    pub(crate) fn is_stuck_since(&self, earlier: &Self) -> bool {
        self.shown == earlier.shown && self.bodies.keys().any(|sleep| earlier.bodies.contains_key(sleep))
    }

    /// Returns the steps whose bodies sleep, each with the earliest time until which one of its bodies sleeps.
    pub(crate) fn steps(&self) -> BTreeMap<&str, DateTime<Utc>> {
        let mut steps = BTreeMap::new();
        for (step, until) in self.bodies.values() {
            let earliest = steps.entry(&**step).or_insert(*until);
            *earliest = (*earliest).min(*until);
        }
        steps
    }
}

/// Returns `time` plus `step`, or the latest representable time if the sum would be later.
fn later(time: DateTime<Utc>, step: Duration) -> DateTime<Utc> {
    chrono::TimeDelta::from_std(step)
        .ok()
        .and_then(|step| time.checked_add_signed(step))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}

impl State {
    fn pass(&mut self, step: Duration) {
        self.now = later(self.now, step);
        self.passed = self.passed.saturating_add(step);
    }

    fn deadlines(&self) -> Vec<DateTime<Utc>> {
        self.deadlines_of(|_| true)
    }

    fn deadlines_of(&self, counts: impl Fn(&Sleeper) -> bool) -> Vec<DateTime<Utc>> {
        let pauses = self.pauses.iter().filter(|(_, sleeper)| counts(sleeper));
        let ends = pauses.map(|((end, _), _)| later(self.now, end.saturating_sub(self.passed)));
        let sleepers = self.sleepers.iter().filter(|(_, sleeper)| counts(sleeper));
        let mut deadlines: Vec<_> = sleepers.map(|((deadline, _), _)| *deadline).chain(ends).collect();
        deadlines.sort_unstable();
        deadlines
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> DateTime<Utc> {
        self.state.borrow().now
    }

    fn monotonic(&self) -> Duration {
        self.state.borrow().passed
    }

    fn sleep_until(&self, deadline: DateTime<Utc>) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(Sleep { clock: self, hand: WALL, deadline, ticket: None })
    }

    fn sleep(&self, pause: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let deadline = self.monotonic().saturating_add(pause);
        Box::pin(Sleep { clock: self, hand: MONOTONIC, deadline, ticket: None })
    }
}

/// One of the two clocks (wall clock or monotonic clock): the functions that return what it shows and its sleepers.
struct Hand<T> {
    shows: fn(&State) -> T,
    sleepers: fn(&mut State) -> &mut BTreeMap<(T, u64), Sleeper>,
}

const WALL: &Hand<DateTime<Utc>> = &Hand { shows: |state| state.now, sleepers: |state| &mut state.sleepers };
const MONOTONIC: &Hand<Duration> = &Hand { shows: |state| state.passed, sleepers: |state| &mut state.pauses };

struct Sleep<'a, T: Ord + Copy + 'static> {
    clock: &'a VirtualClock,
    hand: &'static Hand<T>,
    deadline: T,
    ticket: Option<u64>,
}

impl<T: Ord + Copy + Unpin> Future for Sleep<'_, T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Self { clock, hand, deadline, ticket } = &mut *self;
        let mut due = false;
        clock.state.send_if_modified(|state| {
            due = (hand.shows)(state) >= *deadline;
            if due {
                return false;
            }
            let ticket = *ticket.get_or_insert_with(|| {
                state.tickets += 1;
                state.tickets
            });
            let sleeper = Sleeper { waker: context.waker().clone(), step: current_step() };
            (hand.sleepers)(state).insert((*deadline, ticket), sleeper).is_none()
        });
        if due { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl<T: Ord + Copy> Drop for Sleep<'_, T> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let key = (self.deadline, ticket);
            self.clock.state.send_if_modified(|state| (self.hand.sleepers)(state).remove(&key).is_some());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::FutureExt;

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    #[tokio::test]
    async fn it_stands_still_until_it_is_moved() {
        let clock = VirtualClock::default();
        let start = clock.now();
        assert_eq!(start.to_rfc3339(), "2030-01-01T00:00:00+00:00");
        clock.advance(720 * HOUR);
        assert_eq!(clock.now(), start + chrono::TimeDelta::days(30));
        clock.set(start);
        assert_eq!(clock.now(), start);
        clock.advance(Duration::MAX);
        assert_eq!(clock.now(), DateTime::<Utc>::MAX_UTC);
    }

    #[tokio::test]
    async fn a_sleeper_wakes_at_its_deadline_and_not_before() {
        let clock = VirtualClock::default();
        let mut sleep = clock.sleep_until(clock.now() + HOUR);
        assert!(sleep.as_mut().now_or_never().is_none());
        clock.advance(Duration::from_nanos(3_600_000_000_000 - 1));
        assert!(sleep.as_mut().now_or_never().is_none());
        clock.advance(Duration::from_nanos(1));
        sleep.await;
        clock.sleep_until(clock.now()).await;
    }

    #[tokio::test]
    async fn a_jump_of_the_wall_clock_lets_no_time_pass() {
        let clock = VirtualClock::default();
        let (start, began) = (clock.now(), clock.monotonic());
        let mut pause = clock.sleep(HOUR);
        assert!(pause.as_mut().now_or_never().is_none());
        clock.set(start + 9 * HOUR);
        assert_eq!(clock.monotonic(), began);
        assert!(pause.as_mut().now_or_never().is_none());
        clock.set(start - 9 * HOUR);
        assert_eq!(clock.deadlines(), [start - 8 * HOUR], "an hour from now, whatever the time");
        assert_eq!(clock.advance_to_next(), Some(start - 8 * HOUR));
        pause.await;
        assert_eq!(clock.monotonic(), began + HOUR);
        drop(clock.sleep(HOUR));
        assert!(clock.deadlines().is_empty());
    }

    #[tokio::test]
    async fn sleepers_wake_in_the_order_of_their_deadlines() {
        let clock = Arc::new(VirtualClock::default());
        let woken = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for hours in [3_u32, 1, 2, 9] {
            let (clock, woken) = (Arc::clone(&clock), Arc::clone(&woken));
            let deadline = clock.now() + hours * HOUR;
            tasks.push(tokio::spawn(async move {
                clock.sleep_until(deadline).await;
                woken.lock().unwrap().push(hours);
            }));
            tokio::task::yield_now().await;
        }
        clock.wait_for_sleepers(4).await;
        clock.advance(3 * HOUR);
        assert_eq!(clock.deadlines().len(), 1);
        let last = tasks.pop().unwrap();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*woken.lock().unwrap(), [1, 2, 3]);
        assert_eq!(clock.advance_to_next(), Some(clock.now()));
        last.await.unwrap();
        assert_eq!(clock.advance_to_next(), None);
    }

    #[tokio::test]
    async fn a_dropped_sleep_is_forgotten() {
        let clock = VirtualClock::default();
        let mut sleep = clock.sleep_until(clock.now() + HOUR);
        assert!(sleep.as_mut().now_or_never().is_none());
        clock.wait_for_sleepers(1).await;
        drop(sleep);
        assert!(clock.deadlines().is_empty());
        assert!(clock.wait_for_sleepers(1).now_or_never().is_none());
    }

    #[test]
    fn a_body_is_stuck_if_it_sleeps_on_while_the_clock_stands_still() {
        let clock = VirtualClock::default();
        let body = |step: &str| (Arc::from(step), clock.now() + HOUR);
        let asleep = |shown: Duration, tickets: &[u64]| Asleep {
            shown: (clock.now(), shown),
            bodies: tickets.iter().map(|ticket| (*ticket, body("nap"))).collect(),
        };
        assert!(asleep(HOUR, &[1, 2]).is_stuck_since(&asleep(HOUR, &[2, 3])));
        assert!(!asleep(HOUR, &[1]).is_stuck_since(&asleep(HOUR, &[2])), "it slept anew");
        assert!(!asleep(2 * HOUR, &[1]).is_stuck_since(&asleep(HOUR, &[1])), "the clock has moved");
    }
}
