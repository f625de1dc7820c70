//! A fair lock for the writers of several processes.
//!
//! SQLite gives its write lock to waiting processes in no order: of two processes that write without pause, one can get
//! every transaction and the other none. So a writer takes two locks on files before a transaction. It takes the *entry
//! lock* (`-gate`), then the *writer lock* (`-turn`), releases the entry lock, and runs its transaction. At any time one
//! writer writes, one waits for the writer lock, and all others wait for the entry lock, which becomes free once for each
//! transaction, whichever process wrote. Transactions are correct because of SQLite's own lock; these files only make
//! them fair.
//!
//! The locks are polled, because a blocked thread could not stop waiting when the holder has been stopped (SIGSTOP).
//! Waiting writers have to tell a long queue apart from a stopped holder. So a writer that had to wait writes a new stamp
//! into each lock file that it gets. If a stamp does not change for [`STALL`], waiting writers bypass this lock until the
//! stamp changes again.

use std::{
    fs::TryLockError,
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use wfe_core::logging;

use crate::processes::lock_files::{LockFile, LockFiles};

/// How long the stamp of a lock must stay unchanged, while a writer waits, before the writer bypasses the lock. This is
/// much longer than a transaction takes, checkpoint included, and bearable for processes that share a database with a
/// stopped one.
const STALL: Duration = Duration::from_secs(1);
/// How often a waiting writer reads the stamps: rarely enough to cost nothing, and often enough for [`STALL`] to be exact
/// within a few hundredths.
const OBSERVE_EVERY: Duration = Duration::from_millis(20);
/// The shortest sleep between two attempts. A thread's timer is some 50 µs late in any case, so less gains nothing.
const SHORTEST_SLEEP: Duration = Duration::from_micros(20);
/// The longest sleep between two attempts: on the slowest disk, a free lock stays unnoticed for at most this time.
const LONGEST_SLEEP: Duration = Duration::from_millis(5);
/// The estimate of a transaction's time and of a wait's until the first one was measured.
const FIRST_ESTIMATE: Duration = Duration::from_micros(500);

/// One writer's side of the fair lock.
pub(crate) struct FairLock {
    lock_files: Arc<LockFiles>,
    entry: LockState,
    writer: LockState,
    /// The moving average of the times of this writer's transactions.
    transaction_time: Duration,
    /// The moving average of the waits for the entry lock when it is not free at once: it grows with the number of
    /// writers. The lock's file holds it for all writers, after the stamp. If each writer went by its own waits, one that
    /// was lucky once would stay so.
    entry_wait: Duration,
    acquired: Instant,
    /// Another writer waited, too, not long ago.
    is_contended: bool,
    /// Writing a stamp failed, which was reported.
    is_stamp_failing: bool,
    /// The locks cannot be used at all. This was reported, and they are not tried again.
    is_broken: bool,
}

/// What a writer knows of one of the two locks.
#[derive(Default)]
struct LockState {
    is_held: bool,
    /// The last stamp that was read.
    stamp: [u8; 8],
    /// How long this writer has waited, in all, since the stamp last changed.
    unchanged_for: Duration,
}

#[derive(Clone, Copy)]
enum Which {
    Entry,
    Writer,
}

/// The waiting of one acquisition; it begins when a lock is not free at once.
struct Wait {
    until: Instant,
    since: Option<Instant>,
    observed: Instant,
}

impl FairLock {
    pub(crate) fn new(lock_files: Arc<LockFiles>) -> Self {
        Self {
            lock_files,
            entry: LockState::default(),
            writer: LockState::default(),
            transaction_time: FIRST_ESTIMATE,
            entry_wait: FIRST_ESTIMATE,
            acquired: Instant::now(),
            is_contended: false,
            is_stamp_failing: false,
            is_broken: false,
        }
    }

    /// Waits until this writer may write, at most until the given time. In any case the caller then takes SQLite's lock,
    /// and calls [`release`](Self::release) when its transaction is over.
    pub(crate) fn acquire(&mut self, until: Instant) {
        if !self.is_broken
            && let Err(error) = self.lock_both(until)
        {
            self.report(&error);
        }
        self.acquired = Instant::now();
    }

    /// Lets the next writer in.
    pub(crate) fn release(&mut self) {
        if self.writer.is_held {
            self.transaction_time = average(self.transaction_time, self.acquired.elapsed());
        }
        if let Err(error) = self.unlock(Which::Writer).and_then(|()| self.unlock(Which::Entry)) {
            self.report(&error);
        }
    }

    fn lock_both(&mut self, until: Instant) -> io::Result<()> {
        let mut wait = Wait { until, since: None, observed: Instant::now() };
        // A writer that comes back just when the entry lock is free would be faster than all sleeping writers, again and
        // again. As long as other writers got the entry lock since, it sleeps first, as they do.
        if self.is_contended && self.has_changed(Which::Entry, Duration::ZERO)? {
            let now = Instant::now();
            wait = Wait { since: Some(now), observed: now, ..wait };
            thread::sleep(self.sleep_time(Which::Entry, Duration::ZERO).min(until.duration_since(now)));
        } else {
            self.is_contended = false;
        }
        self.lock(Which::Entry, &mut wait)?;
        // If the writer lock was bypassed, the entry lock is kept instead: alone, it still provides some order.
        if self.lock(Which::Writer, &mut wait)? { self.unlock(Which::Entry) } else { Ok(()) }
    }

    /// Takes one of the locks. `false`: it is bypassed, since its holder makes no progress or the time is over.
    fn lock(&mut self, which: Which, wait: &mut Wait) -> io::Result<bool> {
        loop {
            match self.file(which).file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
            self.is_contended = true;
            let now = Instant::now();
            let since = *wait.since.get_or_insert(now);
            if since == now || now.duration_since(wait.observed) >= OBSERVE_EVERY {
                let waited = if since == now { Duration::ZERO } else { now.duration_since(wait.observed) };
                wait.observed = now;
                self.observe(waited)?;
            }
            if self.state(which).unchanged_for >= STALL || now >= wait.until {
                return Ok(false);
            }
            thread::sleep(
                self.sleep_time(which, now.duration_since(since)).min(wait.until.duration_since(now)),
            );
        }
        let state = self.state_mut(which);
        state.is_held = true;
        state.unchanged_for = Duration::ZERO;
        if let Some(since) = wait.since {
            let stamp = self.lock_files.stamp().to_ne_bytes();
            self.state_mut(which).stamp = stamp;
            match which {
                Which::Entry => {
                    self.read(Which::Entry)?;
                    self.entry_wait = average(self.entry_wait, since.elapsed());
                    // The average is a matter of seconds, so its nanoseconds fit.
                    let wait = u64::try_from(self.entry_wait.as_nanos()).unwrap_or(u64::MAX).to_ne_bytes();
                    self.stamp(which, [stamp, wait].as_flattened());
                }
                Which::Writer => self.stamp(which, &stamp),
            }
        }
        Ok(true)
    }

    /// Writes a stamp into a lock's file. On a full disk this may fail: other writers may then not see that the lock
    /// changes hands, but this writer keeps the lock.
    fn stamp(&mut self, which: Which, bytes: &[u8]) {
        match self.file(which).put(bytes) {
            Ok(()) => self.is_stamp_failing = false,
            Err(error) => {
                if !std::mem::replace(&mut self.is_stamp_failing, true) {
                    logging::warn!(%error, "cannot write a stamp into a lock file of the writers; other processes may bypass the lock");
                }
            }
        }
    }

    /// Reads the stamps of both locks after a wait of this length.
    fn observe(&mut self, waited: Duration) -> io::Result<()> {
        self.has_changed(Which::Entry, waited)?;
        self.has_changed(Which::Writer, waited)?;
        Ok(())
    }

    /// Returns `true` if the stamp of this lock has changed since it was last read; `waited` is the time since then.
    fn has_changed(&mut self, which: Which, waited: Duration) -> io::Result<bool> {
        let stamp = self.read(which)?;
        let state = self.state_mut(which);
        let has_changed = state.stamp != stamp;
        state.stamp = stamp;
        state.unchanged_for = if has_changed { Duration::ZERO } else { state.unchanged_for + waited };
        Ok(has_changed)
    }

    /// Reads the stamp in a lock's file, and in that of the entry lock also the average wait.
    fn read(&mut self, which: Which) -> io::Result<[u8; 8]> {
        let mut halves = [[0; 8]; 2];
        halves.as_flattened_mut().copy_from_slice(&self.file(which).get::<16>()?);
        let [stamp, wait] = halves;
        if let Which::Entry = which {
            // An average that was never measured is zero. One that another program has written is bounded.
            let wait = Duration::from_nanos(u64::from_ne_bytes(wait)).min(STALL);
            self.entry_wait = if wait.is_zero() { FIRST_ESTIMATE } else { wait };
        }
        Ok(stamp)
    }

    /// How long to sleep before the next attempt.
    ///
    /// Only one writer waits for the writer lock, and it must be quick: until it has the lock, no process writes. For the
    /// entry lock, the newest writer tries about eight times in an average wait (once in a transaction, if eight processes
    /// write), and then the more often the longer it has waited. So the writers that came first mostly get in first: with
    /// eight processes, the longest wait was about 7 medians, against 10 where all try equally often, and 19 where they try
    /// less and less often.
    fn sleep_time(&self, which: Which, waited: Duration) -> Duration {
        let pause = match which {
            Which::Writer => self.transaction_time / 16,
            Which::Entry => {
                let eighth = self.entry_wait / 8;
                let eighths = waited.as_nanos() / eighth.as_nanos().max(1);
                eighth / u32::try_from(eighths + 1).unwrap_or(u32::MAX)
            }
        };
        pause.clamp(SHORTEST_SLEEP, LONGEST_SLEEP)
    }

    fn unlock(&mut self, which: Which) -> io::Result<()> {
        if std::mem::take(&mut self.state_mut(which).is_held) {
            self.file(which).file.unlock()
        } else {
            Ok(())
        }
    }

    fn report(&mut self, error: &io::Error) {
        self.is_broken = true;
        logging::warn!(%error, "the lock files of the writers do not work; writers no longer get equal shares");
    }

    fn file(&self, which: Which) -> &LockFile {
        match which {
            Which::Entry => self.lock_files.entry_lock(),
            Which::Writer => self.lock_files.writer_lock(),
        }
    }

    fn state(&self, which: Which) -> &LockState {
        match which {
            Which::Entry => &self.entry,
            Which::Writer => &self.writer,
        }
    }

    fn state_mut(&mut self, which: Which) -> &mut LockState {
        match which {
            Which::Entry => &mut self.entry,
            Which::Writer => &mut self.writer,
        }
    }
}

impl Drop for FairLock {
    /// A writer that ends by a panic blocks no other, although its provider still has the files open.
    fn drop(&mut self) {
        self.release();
    }
}

/// A moving average that one long transaction or wait changes little.
fn average(before: Duration, new: Duration) -> Duration {
    (before * 7 + new.min(before * 8)) / 8
}

#[cfg(test)]
mod tests;
