use super::*;
use crate::file::sidecars::Sidecars;

/// Longer than any test.
const LATER: Duration = Duration::from_mins(1);

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.db"), "").unwrap();
        Self(folder)
    }

    fn lock_files(&self) -> Arc<LockFiles> {
        LockFiles::join(&Sidecars::of(&self.0.path().join("a.db")).unwrap(), LATER).unwrap()
    }

    fn fair_lock(&self) -> FairLock {
        FairLock::new(self.lock_files())
    }
}

/// Acquires the lock, and returns how long this took.
fn acquire(fair_lock: &mut FairLock) -> Duration {
    let start = Instant::now();
    fair_lock.acquire(start + LATER);
    start.elapsed()
}

#[test]
fn a_writer_alone_gets_the_lock_at_once_and_writes_no_stamp() {
    let folder = Folder::new();
    let mut alone = folder.fair_lock();
    let (start, rounds) = (Instant::now(), 1_000);
    for _ in 0..rounds {
        alone.acquire(start + LATER);
        assert!(alone.writer.is_held && !alone.entry.is_held);
        alone.release();
    }
    let mean = start.elapsed() / rounds;
    assert!(mean < Duration::from_micros(50), "{mean:?}");
    for lock_file in [alone.lock_files.entry_lock(), alone.lock_files.writer_lock()] {
        assert_eq!(lock_file.file.metadata().unwrap().len(), 0);
    }
}

#[test]
fn one_writer_at_a_time_holds_the_writer_lock() {
    let folder = Folder::new();
    let inside = std::sync::atomic::AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut fair_lock = folder.fair_lock();
                for _ in 0..200 {
                    fair_lock.acquire(Instant::now() + LATER);
                    assert!(fair_lock.writer.is_held && !fair_lock.entry.is_held);
                    assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                    inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    fair_lock.release();
                }
            });
        }
    });
}

#[test]
fn a_lock_whose_holder_is_stopped_delays_a_writer_once_and_again_after_its_stamp_changed() {
    for which in [Which::Entry, Which::Writer] {
        let folder = Folder::new();
        let (holder, mut passer) = (folder.fair_lock(), folder.fair_lock());
        let held = holder.file(which);
        held.file.lock().unwrap();
        assert!(acquire(&mut passer) >= STALL);
        passer.release();
        for _ in 0..20 {
            assert!(acquire(&mut passer) < STALL);
            // The other lock provides order meanwhile.
            assert_eq!(passer.entry.is_held, matches!(which, Which::Writer));
            assert_eq!(passer.writer.is_held, matches!(which, Which::Entry));
            passer.release();
        }
        // Another writer got the lock meanwhile.
        held.put(&7_u64.to_ne_bytes()).unwrap();
        assert!(acquire(&mut passer) >= STALL);
        passer.release();
        assert!(acquire(&mut passer) < STALL);
        passer.release();
        // The lock was free.
        held.file.unlock().unwrap();
        assert!(acquire(&mut passer) < STALL && passer.writer.is_held && !passer.entry.is_held);
        passer.release();
        held.file.lock().unwrap();
        assert!(acquire(&mut passer) >= STALL);
    }
}

#[test]
fn two_locks_whose_holders_are_stopped_cost_one_wait_together() {
    let folder = Folder::new();
    let (holder, mut passer) = (folder.fair_lock(), folder.fair_lock());
    holder.lock_files.entry_lock().file.lock().unwrap();
    holder.lock_files.writer_lock().file.lock().unwrap();
    let waited = acquire(&mut passer);
    assert!(waited >= STALL && waited < STALL * 2, "{waited:?}");
    passer.release();
    // Nor does it wait when the entry lock is free again: the stamp of the writer lock has not changed.
    holder.lock_files.entry_lock().file.unlock().unwrap();
    assert!(acquire(&mut passer) < STALL && passer.entry.is_held);
}

#[test]
fn a_lock_whose_stamp_changes_is_waited_for_until_the_time_is_over() {
    let folder = Folder::new();
    let (holder, mut passer) = (folder.fair_lock(), folder.fair_lock());
    holder.lock_files.entry_lock().file.lock().unwrap();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(std::sync::atomic::Ordering::SeqCst) {
                holder.lock_files.entry_lock().put(&holder.lock_files.stamp().to_ne_bytes()).unwrap();
                thread::yield_now();
            }
        });
        let start = Instant::now();
        passer.acquire(start + STALL * 2);
        is_over.store(true, std::sync::atomic::Ordering::SeqCst);
        assert!(start.elapsed() >= STALL * 2);
    });
}

#[test]
fn a_writer_that_had_to_wait_stamps_the_locks_that_it_gets() {
    let folder = Folder::new();
    let (holder, mut passer) = (folder.fair_lock(), folder.fair_lock());
    holder.lock_files.entry_lock().file.lock().unwrap();
    passer.acquire(Instant::now() + SHORTEST_SLEEP);
    assert!(passer.writer.is_held);
    assert_eq!(holder.lock_files.writer_lock().get::<8>().unwrap(), passer.writer.stamp);
    assert_ne!(passer.writer.stamp, [0; 8]);
    assert_eq!(holder.lock_files.entry_lock().get::<8>().unwrap(), [0; 8], "it did not get the entry lock");
}

#[test]
fn short_waits_add_up() {
    let folder = Folder::new();
    let (holder, mut passer) = (folder.fair_lock(), folder.fair_lock());
    holder.lock_files.entry_lock().file.lock().unwrap();
    let (start, short) = (Instant::now(), STALL / 10);
    while passer.entry.unchanged_for < STALL {
        passer.acquire(Instant::now() + short);
        passer.release();
        assert!(start.elapsed() < STALL * 5);
    }
    assert!(acquire(&mut passer) < STALL);
}
