//! Registers the owners of instances, and finds out whether they are still alive.
//!
//! An owner of a database file holds a lock on a small file beside the database (see
//! [`owner_files`](crate::processes::owner_files)). For a database in memory, whose owners are all in this process, a
//! list serves the same purpose.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use wfe_core::{
    Result,
    sync::lock,
    traits::{HostCard, Owner},
};

use crate::{
    file::sidecars::Sidecars,
    processes::{
        freeze_detector::{Observer, Progress, Sign},
        host_card::StoredCard,
        owner_files::{Liveness, OwnerFiles},
    },
};

/// The owners of one store, as one provider sees them.
pub(crate) struct Owners {
    backing: Backing,
    /// The lease of the owners that this provider registers.
    lease: Duration,
    observer: Mutex<Observer>,
}

enum Backing {
    /// The living owners.
    Memory(Arc<Mutex<HashMap<u64, InMemory>>>),
    File(OwnerFiles),
}

/// What an owner of a database in memory has shown of itself.
#[derive(Default)]
struct InMemory {
    /// The number of heartbeats.
    beats: u64,
    card: Option<StoredCard>,
}

impl Owners {
    pub(crate) fn in_memory(lease: Duration) -> Self {
        Self::at(Backing::Memory(Arc::default()), lease)
    }

    pub(crate) fn of_file(sidecars: Sidecars, lease: Duration) -> Self {
        Self::at(Backing::File(OwnerFiles::new(sidecars)), lease)
    }

    fn at(backing: Backing, lease: Duration) -> Self {
        Self { backing, lease, observer: Mutex::new(Observer::new(lease)) }
    }

    /// Registers a new owner, which is alive until it is dropped.
    pub(crate) fn register(&self, id: u64) -> Result<Owner> {
        let owner = match &self.backing {
            Backing::Memory(alive) => {
                lock(alive).insert(id, InMemory::default());
                Owner::new(id, Listed { alive: Arc::clone(alive), id })
            }
            Backing::File(files) => Owner::new(id, files.make(id, self.lease)?),
        };
        Ok(owner.with_lease(self.lease))
    }

    /// Whether an owner is alive, and if not, how it ended. This function does not remove the owner's lock file; see
    /// [`remove_lock_file`](Self::remove_lock_file).
    pub(crate) fn liveness(&self, id: u64) -> Liveness {
        match &self.backing {
            Backing::Memory(alive) if lock(alive).contains_key(&id) => Liveness::Alive,
            Backing::Memory(_) => Liveness::Left,
            Backing::File(files) => files.liveness(id),
        }
    }

    /// The owners whose processes died, found by the files that they left behind.
    pub(crate) fn dead(&self) -> Result<Vec<u64>> {
        match &self.backing {
            Backing::Memory(_) => Ok(Vec::new()),
            Backing::File(files) => files.dead(),
        }
    }

    /// The number of owners that are alive.
    pub(crate) fn living(&self) -> Result<usize> {
        match &self.backing {
            Backing::Memory(alive) => Ok(lock(alive).len()),
            Backing::File(files) => files.living(),
        }
    }

    /// Removes the lock file of an owner whose process died.
    pub(crate) fn remove_lock_file(&self, id: u64) {
        if let Backing::File(files) = &self.backing {
            files.remove_lock_file(id);
        }
    }

    /// Checks that other processes can still see that an owner of this provider is alive.
    ///
    /// # Errors
    /// [`OwnerLost`](wfe_core::WfeError::OwnerLost): if other processes cannot see that the owner is alive, or if they
    /// could not see it at some earlier time.
    pub(crate) fn check_lock_file(&self, id: u64) -> Result<()> {
        match &self.backing {
            Backing::Memory(_) => Ok(()),
            Backing::File(files) => files.check_lock_file(id),
        }
    }

    /// Like [`check_lock_file`](Self::check_lock_file), but for all owners of this provider. Missing lock files are
    /// put back and reported.
    pub(crate) fn check_lock_files(&self) {
        if let Backing::File(files) = &self.backing {
            files.check_lock_files();
        }
    }

    /// Writes one more heartbeat of an owner.
    pub(crate) fn heartbeat(&self, id: u64) -> Result<()> {
        match &self.backing {
            Backing::Memory(alive) => {
                if let Some(owner) = lock(alive).get_mut(&id) {
                    owner.beats += 1;
                }
                Ok(())
            }
            Backing::File(files) => files.heartbeat(id, self.lease),
        }
    }

    /// Stores the card of an owner.
    pub(crate) fn describe(&self, id: u64, card: &HostCard) -> Result<()> {
        match &self.backing {
            Backing::Memory(alive) => {
                if let Some(owner) = lock(alive).get_mut(&id) {
                    let number = owner.card.as_ref().map_or(0, |before| before.number).wrapping_add(1);
                    owner.card = Some(StoredCard { number, card: card.clone() });
                }
                Ok(())
            }
            Backing::File(files) => files.describe(id, card),
        }
    }

    /// The card of an owner. `None` means that it has no complete card, or that reading failed.
    pub(crate) fn card(&self, id: u64) -> Option<StoredCard> {
        match &self.backing {
            Backing::Memory(alive) => lock(alive).get(&id)?.card.clone(),
            Backing::File(files) => files.card(id),
        }
    }

    /// The owners that live, and those whose processes died and left their files, each with whether it is alive, in the
    /// order of their ids. `None` means that this cannot be found out.
    pub(crate) fn all(&self) -> Result<Vec<(u64, Option<bool>)>> {
        match &self.backing {
            Backing::Memory(alive) => {
                let mut all: Vec<_> = lock(alive).keys().map(|id| (*id, Some(true))).collect();
                all.sort_unstable();
                Ok(all)
            }
            Backing::File(files) => files.all(),
        }
    }

    /// Whether the next [`find_frozen`](Self::find_frozen) is due.
    pub(crate) fn is_observation_due(&self, now: Duration) -> bool {
        lock(&self.observer).is_due(now)
    }

    /// Observes all owners that own instances, and returns those that are alive but frozen.
    pub(crate) fn find_frozen(&self, now: Duration, owners: Vec<Progress>) -> Vec<Progress> {
        let with_sign = |progress: Progress| Some((progress, self.sign(progress.owner)?));
        let signs = owners.into_iter().filter_map(with_sign).collect();
        lock(&self.observer).find_frozen(now, signs)
    }

    /// The sign of life of an owner. `None` means that the owner is dead or has just registered, or that reading
    /// failed.
    fn sign(&self, id: u64) -> Option<Sign> {
        match &self.backing {
            Backing::Memory(alive) => {
                lock(alive).get(&id).map(|owner| Sign { lease: self.lease, beat: owner.beats })
            }
            Backing::File(files) => files.sign(id),
        }
    }
}

struct Listed {
    alive: Arc<Mutex<HashMap<u64, InMemory>>>,
    id: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        lock(&self.alive).remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(16);

    /// Creates a folder with a database. Returns the folder and two sets of owners: one in memory, and one with lock
    /// files beside the database.
    fn both_backings() -> (tempfile::TempDir, [Owners; 2]) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.db"), "").unwrap();
        let sidecars = Sidecars::of(&folder.path().join("a.db")).unwrap();
        (folder, [Owners::in_memory(LEASE), Owners::of_file(sidecars, LEASE)])
    }

    #[test]
    fn an_owner_lives_until_it_is_dropped() {
        let (folder, both) = both_backings();
        for owners in both {
            assert_eq!(owners.living().unwrap(), 0);
            let (one, other) = (owners.register(1).unwrap(), owners.register(2).unwrap());
            assert_eq!(owners.living().unwrap(), 2);
            assert_eq!(
                (owners.liveness(one.id()), owners.liveness(other.id())),
                (Liveness::Alive, Liveness::Alive)
            );
            drop(one);
            assert!(owners.liveness(1) != Liveness::Alive && owners.liveness(2) == Liveness::Alive);
            assert_eq!(owners.living().unwrap(), 1);
            assert!(owners.liveness(3) != Liveness::Alive);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left but the database");
    }

    #[test]
    fn an_owner_without_heartbeats_is_frozen_after_its_lease_and_one_with_them_is_not() {
        let (_folder, both) = both_backings();
        for owners in both {
            let (silent, beating) = (owners.register(1).unwrap(), owners.register(2).unwrap());
            assert_eq!(silent.lease(), Some(LEASE));
            let has = |owner: u64| Progress { owner, rows: 1, fences: 1, revisions: 1 };
            let mut frozen = Vec::new();
            for second in 0..=16 {
                let now = Duration::from_secs(second);
                assert!(owners.is_observation_due(now));
                owners.heartbeat(beating.id()).unwrap();
                frozen = owners.find_frozen(now, vec![has(1), has(2), has(3)]);
                assert!(frozen.is_empty() || second == 16, "{second}");
            }
            assert_eq!(frozen, [has(1)]);
        }
    }
}
