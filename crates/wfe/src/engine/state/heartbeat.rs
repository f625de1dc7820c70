use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use tokio::sync::Notify;
use wfe_core::{clock::Clock, sync::lock, traits::Owner};

use crate::store::{StoreAccess, loss::warn_unless_fault};

/// The number of ticks in a lease. Work that has not committed for two ticks (a third of the lease) needs a heartbeat.
/// The first heartbeat is sent after half of the lease at the latest, which leaves the other half for delays on a busy
/// machine.
const TICKS: u32 = 6;
/// The number of ticks without a commit after which a heartbeat is due.
const STILL: u64 = 2;
/// The shortest tick. A shorter tick would have no effect, because timers are not more precise. The limit also keeps
/// heartbeats from occupying a whole core if the lease of a store is very short.
const SHORTEST_TICK: Duration = Duration::from_millis(1);

/// The work in progress on this host. For other processes, a commit is a sign of life of the owner. If work does not
/// commit for a while because its step is slow, a heartbeat shows that the owner is alive. No heartbeat is written
/// while all work is short or no work is in progress.
#[derive(Default)]
pub(in crate::engine) struct Heartbeats {
    works: Mutex<Works>,
    steady: Mutex<Option<Steady>>,
    /// Notified when work begins while no other work is in progress.
    some: Notify,
}

/// The time since when the ticks have been on time, and the time of the last tick. Both are readings of the monotonic
/// clock. If successive ticks are less than two tick lengths apart, three ticks take less time than the lease. After
/// three ticks there is always a sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Steady {
    since: Duration,
    last: Duration,
}

impl Steady {
    /// Updates the state at a tick. `before` is the state after the last tick.
    fn tick(before: Option<Self>, now: Duration, lease: Duration) -> Self {
        let since = before.filter(|before| before.is_in_time(now, lease)).map_or(now, |before| before.since);
        Self { since, last: now }
    }

    fn is_in_time(self, now: Duration, lease: Duration) -> bool {
        now.saturating_sub(self.last) < lease / TICKS * 2
    }
}

#[derive(Default)]
struct Works {
    made: u64,
    under_way: BTreeMap<u64, Arc<Counters>>,
}

struct Counters {
    owner: Arc<Owner>,
    commits: AtomicU64,
    /// The number of commits at the last tick, and the number of ticks without a commit since then. Only the ticker
    /// accesses these two counters.
    counted: AtomicU64,
    still: AtomicU64,
}

/// Marks work as in progress until this guard is dropped.
pub(in crate::engine) struct OngoingWork {
    heartbeats: Arc<Heartbeats>,
    number: u64,
    counters: Arc<Counters>,
}

impl Heartbeats {
    /// Records that this owner has work in progress from now on.
    pub fn begin(self: &Arc<Self>, owner: Arc<Owner>) -> OngoingWork {
        let counters = Arc::new(Counters {
            owner,
            commits: AtomicU64::new(0),
            counted: AtomicU64::new(0),
            still: AtomicU64::new(0),
        });
        let mut works = self.lock();
        works.made += 1;
        let number = works.made;
        works.under_way.insert(number, counters.clone());
        if works.under_way.len() == 1 {
            self.some.notify_one();
        }
        drop(works);
        OngoingWork { heartbeats: self.clone(), number, counters }
    }

    /// Runs `work`. It may assign instances to this owner, and it then reads these instances. If `work` takes longer
    /// than a tick, it counts as work in progress of the owner. Otherwise the owner could be considered unresponsive,
    /// and other hosts could take over the instances that were assigned to it by then.
    pub async fn during<T>(
        self: &Arc<Self>,
        owner: &Arc<Owner>,
        clock: &dyn Clock,
        work: impl Future<Output = T>,
    ) -> T {
        let Some(lease) = owner.lease() else { return work.await };
        tokio::pin!(work);
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = clock.sleep(tick(lease)) => {}
        }
        let _beating = self.begin(owner.clone());
        work.await
    }

    /// Sends due heartbeats for ever, and rests while no work is in progress. Uses the monotonic clock, because a
    /// change of the wall clock must not make the host look dead.
    pub async fn run(&self, lease: Duration, clock: &dyn Clock, store: &StoreAccess) {
        loop {
            while self.lock().under_way.is_empty() {
                self.some.notified().await;
                // A claim is a sign of life, so the host counts as steady from here on.
                self.set_steady(Some(Steady::tick(None, clock.monotonic(), lease)));
            }
            clock.sleep(tick(lease)).await;
            let now = clock.monotonic();
            let mut lives = true;
            let owners = self.tick();
            // The heartbeats are sent concurrently, so that a slow heartbeat does not delay the others.
            let beats = join_all(owners.iter().map(|owner| store.heartbeat(owner))).await;
            for (owner, beat) in owners.iter().zip(beats) {
                if let Err(error) = beat {
                    warn_unless_fault!(
                        store.loss,
                        error,
                        owner = owner.id(),
                        "a heartbeat failed; others may take over what runs here"
                    );
                    lives = false;
                }
            }
            let before = *lock(&self.steady);
            self.set_steady(lives.then(|| Steady::tick(before, now, lease)));
        }
    }

    /// Whether this host has shown that it is alive, without interruption from `seen` until `now`. `lease` is the lease
    /// of the host's owners. `false` means that the host was unresponsive, or that it is unknown whether it was.
    pub fn is_steady(&self, seen: Duration, now: Duration, lease: Duration) -> bool {
        lock(&self.steady).is_some_and(|steady| {
            steady.is_in_time(now, lease) && steady.since.saturating_sub(seen) < lease / TICKS * 2
        })
    }

    fn set_steady(&self, steady: Option<Steady>) {
        *lock(&self.steady) = steady;
    }

    /// Counts a tick, and returns the owners for which a heartbeat is due.
    fn tick(&self) -> Vec<Arc<Owner>> {
        let mut owners = BTreeMap::new();
        for work in self.lock().under_way.values() {
            let commits = work.commits.load(Ordering::Relaxed);
            if work.counted.swap(commits, Ordering::Relaxed) != commits {
                work.still.store(0, Ordering::Relaxed);
            } else if work.still.fetch_add(1, Ordering::Relaxed) + 1 >= STILL {
                owners.insert(work.owner.id(), work.owner.clone());
            }
        }
        owners.into_values().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Works> {
        lock(&self.works)
    }
}

/// The time between two ticks.
fn tick(lease: Duration) -> Duration {
    (lease / TICKS).max(SHORTEST_TICK)
}

impl OngoingWork {
    /// Records that the work has committed.
    pub fn committed(&self) {
        self.counters.commits.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for OngoingWork {
    fn drop(&mut self) {
        self.heartbeats.lock().under_way.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_work_that_takes_long_needs_heartbeats() {
        let heartbeats = Arc::new(Heartbeats::default());
        let owner = |id| Arc::new(Owner::new(id, ()));
        let ids = |owners: Vec<Arc<Owner>>| owners.iter().map(|owner| owner.id()).collect::<Vec<_>>();
        let (slow, quick) = (heartbeats.begin(owner(1)), heartbeats.begin(owner(2)));
        let also_slow = heartbeats.begin(owner(1));
        assert!(heartbeats.tick().is_empty());
        for _ in 0..3 {
            quick.committed();
            assert_eq!(ids(heartbeats.tick()), [1]);
        }
        slow.committed();
        drop(also_slow);
        assert!(heartbeats.tick().is_empty());
        assert_eq!(ids(heartbeats.tick()), [2], "it was the last tick with a commit before");
        drop(quick);
        assert_eq!(ids(heartbeats.tick()), [1]);
        drop(slow);
        assert!(heartbeats.tick().is_empty());
    }

    #[test]
    fn heartbeats_of_the_shortest_lease_come_no_faster_than_a_timer_and_those_of_the_longest_lease_come() {
        for lease in [Duration::ZERO, Duration::from_nanos(1)] {
            assert_eq!(tick(lease), SHORTEST_TICK);
        }
        assert_eq!(tick(Duration::from_secs(6)), Duration::from_secs(1));
        assert_eq!(tick(Duration::MAX), Duration::MAX / TICKS);
    }

    #[test]
    fn a_host_is_steady_from_what_was_seen_on_unless_a_tick_was_late_since() {
        let (lease, seconds) = (Duration::from_secs(6), Duration::from_secs);
        let ticks = |times: &[u64]| {
            let tick = |before, time: &u64| Some(Steady::tick(before, seconds(*time), lease));
            let heartbeats = Heartbeats::default();
            heartbeats.set_steady(times.iter().fold(None, tick));
            move |seen, now| heartbeats.is_steady(seconds(seen), seconds(now), lease)
        };
        let steady = ticks(&[10, 11, 12, 13]);
        assert!(steady(10, 14) && steady(9, 14));
        assert!(!steady(8, 14), "it was seen before the first tick");
        assert!(!steady(12, 15), "the last tick was long ago");
        let late = ticks(&[10, 11, 13, 14]);
        assert!(late(13, 15) && late(12, 15));
        assert!(!late(11, 15), "it was frozen");
        assert!(!ticks(&[])(1, 1));
    }
}
