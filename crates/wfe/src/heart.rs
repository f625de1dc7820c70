use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;
use wfe_core::{
    clock::Clock,
    traits::{Owner, StepStore},
};

/// Ticks in a lease. A work that has not come to a commit for two ticks, a third of the lease, needs a heartbeat; the
/// first one comes after half of the lease at the latest, which leaves the other half to a busy machine.
const TICKS: u32 = 6;
/// Ticks without a commit after which a heartbeat is due.
const STILL: u64 = 2;

/// The works under way in this host. Commits are signs of life to other processes; where a work comes to none for long,
/// because its step takes long, a heartbeat says that its owner lives. While works are short, or none is under way,
/// nothing is written.
#[derive(Default)]
pub(crate) struct Heart {
    works: Mutex<Works>,
    /// There is a work again, after there was none.
    some: Notify,
}

#[derive(Default)]
struct Works {
    made: u64,
    under_way: BTreeMap<u64, Arc<Work>>,
}

struct Work {
    owner: Arc<Owner>,
    commits: AtomicU64,
    /// The commits counted at the last tick, and the ticks since then without one. Only the ticker touches them.
    counted: AtomicU64,
    still: AtomicU64,
}

/// A work under way, until it is dropped.
pub(crate) struct Beating {
    heart: Arc<Heart>,
    number: u64,
    work: Arc<Work>,
}

impl Heart {
    /// This owner works on something from now on.
    pub fn begin(self: &Arc<Self>, owner: Arc<Owner>) -> Beating {
        let work = Arc::new(Work {
            owner,
            commits: AtomicU64::new(0),
            counted: AtomicU64::new(0),
            still: AtomicU64::new(0),
        });
        let mut works = self.lock();
        works.made += 1;
        let number = works.made;
        works.under_way.insert(number, work.clone());
        if works.under_way.len() == 1 {
            self.some.notify_one();
        }
        drop(works);
        Beating { heart: self.clone(), number, work }
    }

    /// Sends the heartbeats that are due, for ever; while nothing is under way it rests. By the monotonic clock: a wall
    /// clock that is set must not make the host look dead.
    pub async fn run(&self, lease: Duration, clock: &dyn Clock, store: &dyn StepStore) {
        loop {
            while self.lock().under_way.is_empty() {
                self.some.notified().await;
            }
            clock.sleep(lease / TICKS).await;
            for owner in self.tick() {
                if let Err(error) = store.heartbeat(&owner).await {
                    tracing::warn!(owner = owner.id(), %error, "a heartbeat failed; others may take over what runs here");
                }
            }
        }
    }

    /// The owners of which a heartbeat is due.
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
        // Nothing panics while holding it; if it did, the map would still be whole.
        self.works.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Beating {
    /// The work came to a commit.
    pub fn committed(&self) {
        self.work.commits.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Beating {
    fn drop(&mut self) {
        self.heart.lock().under_way.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_work_that_takes_long_needs_heartbeats() {
        let heart = Arc::new(Heart::default());
        let owner = |id| Arc::new(Owner::new(id, ()));
        let ids = |owners: Vec<Arc<Owner>>| owners.iter().map(|owner| owner.id()).collect::<Vec<_>>();
        let (slow, quick) = (heart.begin(owner(1)), heart.begin(owner(2)));
        let also_slow = heart.begin(owner(1));
        assert!(heart.tick().is_empty());
        for _ in 0..3 {
            quick.committed();
            assert_eq!(ids(heart.tick()), [1]);
        }
        slow.committed();
        drop(also_slow);
        assert!(heart.tick().is_empty());
        assert_eq!(ids(heart.tick()), [2], "it was the last tick with a commit before");
        drop(quick);
        assert_eq!(ids(heart.tick()), [1]);
        drop(slow);
        assert!(heart.tick().is_empty());
    }
}
