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

use crate::processes::lock_files::{Beside, Shared};

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
mod tests;
