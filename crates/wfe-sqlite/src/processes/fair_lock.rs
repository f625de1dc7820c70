//! A fair lock for the writers of several processes.
//!
//! SQLite gives its write lock to waiting processes in no order. Of two processes that write without pause, one can get
//! every transaction and the other none. So a writer takes two locks on files before a transaction. It takes the *entry
//! lock* (`-gate`), then the *writer lock* (`-turn`), releases the entry lock, and runs its transaction. At any time
//! one writer writes, one waits for the writer lock, and all others wait for the entry lock. The entry lock is released
//! once for each transaction of any process. SQLite's own lock makes the transactions correct. The two locks on files
//! only make their order fair.
//!
//! The locks are polled. A thread that blocked on a lock could not give up when the holder of the lock is stopped
//! (SIGSTOP). Waiting writers have to distinguish a long queue from a stopped holder. So a writer that had to wait
//! writes a new stamp into the file of each lock that it gets. If the stamp of a lock does not change for [`STALL`],
//! waiting writers bypass that lock until its stamp changes again.

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
/// much longer than a transaction with its checkpoint takes. It is an acceptable delay for processes that share a
/// database with a stopped process.
const STALL: Duration = Duration::from_secs(1);
/// The interval at which a waiting writer reads the stamps. At this interval, the reads cost practically nothing, and
/// the time after which a lock is bypassed differs from [`STALL`] by only a few hundredths.
const OBSERVE_EVERY: Duration = Duration::from_millis(20);
/// The shortest sleep between two attempts. A thread's timer is some 50 µs late in any case, so a shorter sleep gains
/// nothing.
const SHORTEST_SLEEP: Duration = Duration::from_micros(20);
/// The longest sleep between two attempts. Even on the slowest disk, a waiting writer notices a released lock after at
/// most this time.
const LONGEST_SLEEP: Duration = Duration::from_millis(5);
/// The first estimate of how long a transaction takes, and of how long a writer waits for the entry lock. Each estimate
/// is used until the first transaction or wait has been measured.
const FIRST_ESTIMATE: Duration = Duration::from_micros(500);

/// The fair lock as one writer uses it.
pub(crate) struct FairLock {
    lock_files: Arc<LockFiles>,
    entry: LockState,
    writer: LockState,
    /// The moving average of the times of this writer's transactions.
    transaction_time: Duration,
    /// The moving average of the waits for the entry lock. Only acquisitions that have to wait are counted. The average
    /// grows with the number of writers. All writers share it: it is stored in the file of the entry lock, after the
    /// stamp. If each writer used only its own waits, a writer whose waits were short by chance would try more often
    /// than the others, and would keep this advantage.
    entry_wait: Duration,
    acquired: Instant,
    /// Whether this writer recently found a lock that another writer held.
    is_contended: bool,
    /// Whether writing a stamp failed. The failure was reported.
    is_stamp_failing: bool,
    /// Whether the locks cannot be used at all. The failure was reported, and the locks are not tried again.
    is_broken: bool,
}

/// The state of one of the two locks, as one writer knows it.
#[derive(Default)]
struct LockState {
    is_held: bool,
    /// The last stamp that was read.
    stamp: [u8; 8],
    /// The total time that this writer has waited since the stamp last changed.
    unchanged_for: Duration,
}

#[derive(Clone, Copy)]
enum Which {
    Entry,
    Writer,
}

/// The wait of one acquisition of the locks. The wait begins when a lock is not available at once.
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

    /// Waits until it is this writer's turn to write, or until the given time is reached. In both cases, the caller
    /// then takes SQLite's lock. When its transaction is over, the caller calls [`release`](Self::release).
    pub(crate) fn acquire(&mut self, until: Instant) {
        if !self.is_broken
            && let Err(error) = self.lock_both(until)
        {
            self.report(&error);
        }
        self.acquired = Instant::now();
    }

    /// Releases the locks, so that the next writer can take them.
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
        // A writer that returns while the entry lock is available would repeatedly be faster than all sleeping writers.
        // If another writer has taken the entry lock since, this writer therefore sleeps first, like the others.
        if self.is_contended && self.has_changed(Which::Entry, Duration::ZERO)? {
            let now = Instant::now();
            wait = Wait { since: Some(now), observed: now, ..wait };
            thread::sleep(self.sleep_time(Which::Entry, Duration::ZERO).min(until.duration_since(now)));
        } else {
            self.is_contended = false;
        }
        self.lock(Which::Entry, &mut wait)?;
        // If the writer lock was bypassed, the entry lock is kept instead. The entry lock alone still provides some
        // order.
        if self.lock(Which::Writer, &mut wait)? { self.unlock(Which::Entry) } else { Ok(()) }
    }

    /// Takes one of the locks. `false` means that the lock is bypassed, because its holder makes no progress or the
    /// time limit is over.
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
                    // The average is at most some seconds, so its nanoseconds fit into 64 bits.
                    let wait = u64::try_from(self.entry_wait.as_nanos()).unwrap_or(u64::MAX).to_ne_bytes();
                    self.stamp(which, [stamp, wait].as_flattened());
                }
                Which::Writer => self.stamp(which, &stamp),
            }
        }
        Ok(true)
    }

    /// Writes a stamp into a lock's file. The write may fail on a full disk. Other writers may then not see that the
    /// lock has a new holder, but this writer keeps the lock.
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

    /// Reads the stamps of both locks. `waited` is the time since they were last read.
    fn observe(&mut self, waited: Duration) -> io::Result<()> {
        self.has_changed(Which::Entry, waited)?;
        self.has_changed(Which::Writer, waited)?;
        Ok(())
    }

    /// Returns `true` if the stamp of this lock has changed since it was last read. `waited` is the time since the last
    /// read.
    fn has_changed(&mut self, which: Which, waited: Duration) -> io::Result<bool> {
        let stamp = self.read(which)?;
        let state = self.state_mut(which);
        let has_changed = state.stamp != stamp;
        state.stamp = stamp;
        state.unchanged_for = if has_changed { Duration::ZERO } else { state.unchanged_for + waited };
        Ok(has_changed)
    }

    /// Reads the stamp in a lock's file. For the entry lock, also reads the average wait.
    fn read(&mut self, which: Which) -> io::Result<[u8; 8]> {
        let mut halves = [[0; 8]; 2];
        halves.as_flattened_mut().copy_from_slice(&self.file(which).get::<16>()?);
        let [stamp, wait] = halves;
        if let Which::Entry = which {
            // An average that was never measured is zero. The limit protects against a value that another program has
            // written.
            let wait = Duration::from_nanos(u64::from_ne_bytes(wait)).min(STALL);
            self.entry_wait = if wait.is_zero() { FIRST_ESTIMATE } else { wait };
        }
        Ok(stamp)
    }

    /// How long to sleep before the next attempt.
    ///
    /// Only one writer waits for the writer lock, and this writer must be quick: until it has the lock, no process
    /// writes. A writer that waits for the entry lock at first tries about eight times within an average wait. If eight
    /// processes write, this is one attempt in each transaction. The longer a writer has waited, the more often it
    /// tries. So the writers that came first mostly get the lock first. With eight processes, the longest wait was
    /// about 7 times the median wait. For comparison: it was 10 times the median when all writers tried equally often,
    /// and 19 times when each writer tried less and less often.
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
    /// Releases the locks. So a writer that ends by a panic does not block other writers, although its provider still
    /// has the files open.
    fn drop(&mut self) {
        self.release();
    }
}

/// A moving average, on which one long transaction or one long wait has little effect.
fn average(before: Duration, new: Duration) -> Duration {
    (before * 7 + new.min(before * 8)) / 8
}

#[cfg(test)]
mod tests;
