//! Turns for the writers of several processes.
//!
//! SQLite serves those who wait for its write lock in no order: of two processes that write all the time, one can get
//! all and the other nothing. So before a transaction a writer passes two locks on files: it takes the *gate*, then
//! the *turn*, lets go of the gate, and runs its transaction. At any time one writes, one waits for the turn, and all
//! others wait for the gate, which is free once for each transaction, whoever just wrote. SQLite's lock remains what
//! makes the transactions correct; without these files they would only be unfair.
//!
//! The locks are polled: whoever is blocked in one could not stop waiting for it when its holder has been stopped. So
//! that those who wait can tell a long queue from a stopped holder, whoever had to wait writes a fresh stamp into each
//! file that it gets. A lock on which nothing moves for [`STALL`] is passed by from then on, until it moves again.

use std::{
    fs::TryLockError,
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use wfe_core::logging;

use crate::beside::{Beside, Shared};

/// How long a lock must stand still, while somebody waits for it, to be passed by: much longer than a transaction
/// takes, checkpoint included, and bearable for whoever shares a database with a process that was stopped.
const STALL: Duration = Duration::from_secs(1);
/// How often those who wait look at the stamps: rarely enough to cost nothing, and often enough for [`STALL`] to be
/// exact within a few hundredths.
const LOOK: Duration = Duration::from_millis(20);
/// The shortest pause between two tries. A thread's timer is some 50 µs late in any case, so less gains nothing.
const SHORTEST: Duration = Duration::from_micros(20);
/// The longest pause: on the slowest disk, nobody sleeps through more than this of a free lock.
const LONGEST: Duration = Duration::from_millis(5);
/// What a transaction and a wait take until the first one was measured.
const USUAL: Duration = Duration::from_micros(500);

/// One writer's way through gate and turn.
pub(crate) struct Turnstile {
    beside: Arc<Beside>,
    gate: Lane,
    turn: Lane,
    /// What one of this writer's transactions takes, about.
    pace: Duration,
    /// How long one waits at the gate, about, when it is not free at once: it grows with the crowd. The gate's file
    /// holds it for all, after the stamp: were each to go by its own waits, whoever is lucky once would stay so.
    usual_wait: Duration,
    entered: Instant,
    /// Somebody else waited, too, not long ago.
    is_crowded: bool,
    /// A stamp could not be put, which was reported.
    is_unstamped: bool,
    /// Locks that cannot be used at all were reported, and are not tried again.
    is_broken: bool,
}

/// What a writer knows of one of the two locks.
#[derive(Default)]
struct Lane {
    is_held: bool,
    /// The last stamp seen in it.
    stamp: [u8; 8],
    /// How long this writer has waited, in all, since the lock last moved.
    stood: Duration,
}

#[derive(Clone, Copy)]
enum Which {
    Gate,
    Turn,
}

/// The waiting of one passage; it begins where a lock is not to be had at once.
struct Wait {
    until: Instant,
    since: Option<Instant>,
    looked: Instant,
}

impl Turnstile {
    pub(crate) fn new(beside: Arc<Beside>) -> Self {
        Self {
            beside,
            gate: Lane::default(),
            turn: Lane::default(),
            pace: USUAL,
            usual_wait: USUAL,
            entered: Instant::now(),
            is_crowded: false,
            is_unstamped: false,
            is_broken: false,
        }
    }

    /// Waits for this writer's turn, at most until then. However it ends, the caller goes on to SQLite's lock, and
    /// [leaves](Self::leave) when its transaction is over.
    pub(crate) fn enter(&mut self, until: Instant) {
        if !self.is_broken
            && let Err(error) = self.pass(until)
        {
            self.report(&error);
        }
        self.entered = Instant::now();
    }

    /// Lets the next one in.
    pub(crate) fn leave(&mut self) {
        if self.turn.is_held {
            self.pace = average(self.pace, self.entered.elapsed());
        }
        if let Err(error) = self.release(Which::Turn).and_then(|()| self.release(Which::Gate)) {
            self.report(&error);
        }
    }

    fn pass(&mut self, until: Instant) -> io::Result<()> {
        let mut wait = Wait { until, since: None, looked: Instant::now() };
        // Whoever comes back just when the gate is free would be faster than all who sleep, time and again: as long as
        // others got the gate since, it sleeps first, as they do.
        if self.is_crowded && self.has_moved(Which::Gate, Duration::ZERO)? {
            let now = Instant::now();
            wait = Wait { since: Some(now), looked: now, ..wait };
            thread::sleep(self.pause(Which::Gate, Duration::ZERO).min(until.duration_since(now)));
        } else {
            self.is_crowded = false;
        }
        self.take(Which::Gate, &mut wait)?;
        // With the turn passed by, the gate keeps some order alone, and is held instead.
        if self.take(Which::Turn, &mut wait)? { self.release(Which::Gate) } else { Ok(()) }
    }

    /// Takes one of the locks, or passes it by: it stands still, or the time is over.
    fn take(&mut self, which: Which, wait: &mut Wait) -> io::Result<bool> {
        loop {
            match self.shared(which).file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
            self.is_crowded = true;
            let now = Instant::now();
            let since = *wait.since.get_or_insert(now);
            if since == now || now.duration_since(wait.looked) >= LOOK {
                let waited = if since == now { Duration::ZERO } else { now.duration_since(wait.looked) };
                wait.looked = now;
                self.look(waited)?;
            }
            if self.lane(which).stood >= STALL || now >= wait.until {
                return Ok(false);
            }
            thread::sleep(self.pause(which, now.duration_since(since)).min(wait.until.duration_since(now)));
        }
        let lane = self.lane_mut(which);
        lane.is_held = true;
        lane.stood = Duration::ZERO;
        if let Some(since) = wait.since {
            let stamp = self.beside.stamp().to_ne_bytes();
            self.lane_mut(which).stamp = stamp;
            match which {
                Which::Gate => {
                    self.read(Which::Gate)?;
                    self.usual_wait = average(self.usual_wait, since.elapsed());
                    // An average of at most a second each: it fits.
                    let wait = u64::try_from(self.usual_wait.as_nanos()).unwrap_or(u64::MAX).to_ne_bytes();
                    self.stamp(which, [stamp, wait].as_flattened());
                }
                Which::Turn => self.stamp(which, &stamp),
            }
        }
        Ok(true)
    }

    /// Puts a stamp into a lock's file, if there is room for it: a full disk may keep others from seeing that the lock moves,
    /// but costs nobody the turn.
    fn stamp(&mut self, which: Which, bytes: &[u8]) {
        match self.shared(which).put(bytes) {
            Ok(()) => self.is_unstamped = false,
            Err(error) => {
                if !std::mem::replace(&mut self.is_unstamped, true) {
                    logging::warn!(%error, "a lock beside the database could not be stamped; others may pass it by");
                }
            }
        }
    }

    /// Looks whether the locks moved, after having waited for so long.
    fn look(&mut self, waited: Duration) -> io::Result<()> {
        self.has_moved(Which::Gate, waited)?;
        self.has_moved(Which::Turn, waited)?;
        Ok(())
    }

    /// Whether this lock moved since it was last looked at, so long ago.
    fn has_moved(&mut self, which: Which, waited: Duration) -> io::Result<bool> {
        let stamp = self.read(which)?;
        let lane = self.lane_mut(which);
        let has_moved = lane.stamp != stamp;
        lane.stamp = stamp;
        lane.stood = if has_moved { Duration::ZERO } else { lane.stood + waited };
        Ok(has_moved)
    }

    /// Reads the stamp in a lock's file, and in the gate's also the usual wait.
    fn read(&mut self, which: Which) -> io::Result<[u8; 8]> {
        let mut halves = [[0; 8]; 2];
        halves.as_flattened_mut().copy_from_slice(&self.shared(which).get::<16>()?);
        let [stamp, wait] = halves;
        if let Which::Gate = which {
            // What was never measured is zero, and what a file left by something else says is bounded.
            let wait = Duration::from_nanos(u64::from_ne_bytes(wait)).min(STALL);
            self.usual_wait = if wait.is_zero() { USUAL } else { wait };
        }
        Ok(stamp)
    }

    /// How long to wait before the next try.
    ///
    /// For the turn there is only one who waits, and it is to be quick: until it comes, nobody writes. At the gate,
    /// whoever came last tries about eight times in a usual wait (once in a transaction, where eight processes write),
    /// and then the more often the longer it has waited. So those who came first mostly get in first: of eight
    /// processes, the longest wait was about 7 medians, against 10 where all try equally often, and 19 where they try
    /// less and less often.
    fn pause(&self, which: Which, waited: Duration) -> Duration {
        let pause = match which {
            Which::Turn => self.pace / 16,
            Which::Gate => {
                let eighth = self.usual_wait / 8;
                let eighths = waited.as_nanos() / eighth.as_nanos().max(1);
                eighth / u32::try_from(eighths + 1).unwrap_or(u32::MAX)
            }
        };
        pause.clamp(SHORTEST, LONGEST)
    }

    fn release(&mut self, which: Which) -> io::Result<()> {
        if std::mem::take(&mut self.lane_mut(which).is_held) {
            self.shared(which).file.unlock()
        } else {
            Ok(())
        }
    }

    fn report(&mut self, error: &io::Error) {
        self.is_broken = true;
        logging::warn!(%error, "the locks beside the database do not work; its writers take no turns any more");
    }

    fn shared(&self, which: Which) -> &Shared {
        match which {
            Which::Gate => self.beside.gate(),
            Which::Turn => self.beside.turn(),
        }
    }

    fn lane(&self, which: Which) -> &Lane {
        match which {
            Which::Gate => &self.gate,
            Which::Turn => &self.turn,
        }
    }

    fn lane_mut(&mut self, which: Which) -> &mut Lane {
        match which {
            Which::Gate => &mut self.gate,
            Which::Turn => &mut self.turn,
        }
    }
}

impl Drop for Turnstile {
    /// A writer that ends by a panic keeps nobody waiting, though its provider still has the files open.
    fn drop(&mut self) {
        self.leave();
    }
}

/// A moving average, in which one long transaction or wait says little about the next.
fn average(before: Duration, new: Duration) -> Duration {
    (before * 7 + new.min(before * 8)) / 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sidecars::Sidecars;

    /// Longer than any test.
    const LATER: Duration = Duration::from_mins(1);

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("a.db"), "").unwrap();
            Self(folder)
        }

        fn beside(&self) -> Arc<Beside> {
            Beside::join(&Sidecars::of(&self.0.path().join("a.db")).unwrap(), LATER).unwrap()
        }

        fn turnstile(&self) -> Turnstile {
            Turnstile::new(self.beside())
        }
    }

    /// How long it takes to enter.
    fn enter(turnstile: &mut Turnstile) -> Duration {
        let start = Instant::now();
        turnstile.enter(start + LATER);
        start.elapsed()
    }

    #[test]
    fn one_alone_enters_and_leaves_at_once_and_writes_nothing() {
        let place = Place::new();
        let mut alone = place.turnstile();
        let (start, rounds) = (Instant::now(), 1_000);
        for _ in 0..rounds {
            alone.enter(start + LATER);
            assert!(alone.turn.is_held && !alone.gate.is_held);
            alone.leave();
        }
        let mean = start.elapsed() / rounds;
        assert!(mean < Duration::from_micros(50), "{mean:?}");
        for shared in [alone.beside.gate(), alone.beside.turn()] {
            assert_eq!(shared.file.metadata().unwrap().len(), 0);
        }
    }

    #[test]
    fn only_one_has_the_turn_and_one_the_gate() {
        let place = Place::new();
        let inside = std::sync::atomic::AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut turnstile = place.turnstile();
                    for _ in 0..200 {
                        turnstile.enter(Instant::now() + LATER);
                        assert!(turnstile.turn.is_held && !turnstile.gate.is_held);
                        assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                        inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                        turnstile.leave();
                    }
                });
            }
        });
    }

    #[test]
    fn a_lock_that_stands_still_is_waited_for_once_and_again_after_it_moved() {
        for which in [Which::Gate, Which::Turn] {
            let place = Place::new();
            let (holder, mut passer) = (place.turnstile(), place.turnstile());
            let held = holder.shared(which);
            held.file.lock().unwrap();
            assert!(enter(&mut passer) >= STALL);
            passer.leave();
            for _ in 0..20 {
                assert!(enter(&mut passer) < STALL);
                // The other lock keeps order meanwhile.
                assert_eq!(passer.gate.is_held, matches!(which, Which::Turn));
                assert_eq!(passer.turn.is_held, matches!(which, Which::Gate));
                passer.leave();
            }
            // Somebody else got it meanwhile.
            held.put(&7_u64.to_ne_bytes()).unwrap();
            assert!(enter(&mut passer) >= STALL);
            passer.leave();
            assert!(enter(&mut passer) < STALL);
            passer.leave();
            // It was free.
            held.file.unlock().unwrap();
            assert!(enter(&mut passer) < STALL && passer.turn.is_held && !passer.gate.is_held);
            passer.leave();
            held.file.lock().unwrap();
            assert!(enter(&mut passer) >= STALL);
        }
    }

    #[test]
    fn gate_and_turn_that_stand_still_cost_one_wait_together() {
        let place = Place::new();
        let (holder, mut passer) = (place.turnstile(), place.turnstile());
        holder.beside.gate().file.lock().unwrap();
        holder.beside.turn().file.lock().unwrap();
        let waited = enter(&mut passer);
        assert!(waited >= STALL && waited < STALL * 2, "{waited:?}");
        passer.leave();
        // Not even when the gate is free again: the turn has not moved.
        holder.beside.gate().file.unlock().unwrap();
        assert!(enter(&mut passer) < STALL && passer.gate.is_held);
    }

    #[test]
    fn as_long_as_it_moves_it_is_waited_for_and_at_most_until_the_time_is_over() {
        let place = Place::new();
        let (holder, mut passer) = (place.turnstile(), place.turnstile());
        holder.beside.gate().file.lock().unwrap();
        let is_over = std::sync::atomic::AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(std::sync::atomic::Ordering::SeqCst) {
                    holder.beside.gate().put(&holder.beside.stamp().to_ne_bytes()).unwrap();
                    thread::yield_now();
                }
            });
            let start = Instant::now();
            passer.enter(start + STALL * 2);
            is_over.store(true, std::sync::atomic::Ordering::SeqCst);
            assert!(start.elapsed() >= STALL * 2);
        });
    }

    #[test]
    fn whoever_had_to_wait_leaves_a_stamp_in_what_it_gets() {
        let place = Place::new();
        let (holder, mut passer) = (place.turnstile(), place.turnstile());
        holder.beside.gate().file.lock().unwrap();
        passer.enter(Instant::now() + SHORTEST);
        assert!(passer.turn.is_held);
        assert_eq!(holder.beside.turn().get::<8>().unwrap(), passer.turn.stamp);
        assert_ne!(passer.turn.stamp, [0; 8]);
        assert_eq!(holder.beside.gate().get::<8>().unwrap(), [0; 8], "it did not get this one");
    }

    #[test]
    fn short_waits_add_up() {
        let place = Place::new();
        let (holder, mut passer) = (place.turnstile(), place.turnstile());
        holder.beside.gate().file.lock().unwrap();
        let (start, short) = (Instant::now(), STALL / 10);
        while passer.gate.stood < STALL {
            passer.enter(Instant::now() + short);
            passer.leave();
            assert!(start.elapsed() < STALL * 5);
        }
        assert!(enter(&mut passer) < STALL);
    }
}
