//! Who owns instances, and whether they are still alive.
//!
//! An owner of a file holds a lock on a small file beside it (see [`owner_files`](crate::processes::owner_files)). In memory, where
//! owner and store share a process, a list does the same.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use wfe_core::{Result, sync::lock, traits::Owner};

use crate::{
    file::sidecars::Sidecars,
    processes::{
        freeze_detector::{Observer, Progress, Sign},
        owner_files::{Life, OwnerFiles},
    },
};

/// The owners of one store, as one provider sees them.
pub(crate) struct Owners {
    place: Place,
    /// The lease of those that are registered here.
    lease: Duration,
    observer: Mutex<Observer>,
}

enum Place {
    /// Each owner's heartbeats.
    Memory(Arc<Mutex<HashMap<u64, u64>>>),
    File(OwnerFiles),
}

impl Owners {
    pub(crate) fn in_memory(lease: Duration) -> Self {
        Self::at(Place::Memory(Arc::default()), lease)
    }

    pub(crate) fn beside(sidecars: Sidecars, lease: Duration) -> Self {
        Self::at(Place::File(OwnerFiles::new(sidecars)), lease)
    }

    fn at(place: Place, lease: Duration) -> Self {
        Self { place, lease, observer: Mutex::new(Observer::new(lease)) }
    }

    /// A new owner, alive until it is dropped.
    pub(crate) fn register(&self, id: u64) -> Result<Owner> {
        let owner = match &self.place {
            Place::Memory(alive) => {
                lock(alive).insert(id, 0);
                Owner::new(id, Listed { alive: Arc::clone(alive), id })
            }
            Place::File(files) => Owner::new(id, files.make(id, self.lease)?),
        };
        Ok(owner.with_lease(self.lease))
    }

    /// Whether an owner lives, and if not, how it ended. Nothing is removed: see [`bury`](Self::bury).
    pub(crate) fn life(&self, id: u64) -> Life {
        match &self.place {
            Place::Memory(alive) if lock(alive).contains_key(&id) => Life::Alive,
            Place::Memory(_) => Life::Left,
            Place::File(files) => files.life(id),
        }
    }

    /// Owners whose processes died, by the files that they left.
    pub(crate) fn dead(&self) -> Result<Vec<u64>> {
        match &self.place {
            Place::Memory(_) => Ok(Vec::new()),
            Place::File(files) => files.dead(),
        }
    }

    /// Removes what an owner left whose process died.
    pub(crate) fn bury(&self, id: u64) {
        if let Place::File(files) = &self.place {
            files.bury(id);
        }
    }

    /// Looks whether others can still see that an owner of this provider lives.
    ///
    /// # Errors
    /// [`OwnerLost`](wfe_core::WfeError::OwnerLost): they cannot, or could not at some time.
    pub(crate) fn look_after(&self, id: u64) -> Result<()> {
        match &self.place {
            Place::Memory(_) => Ok(()),
            Place::File(files) => files.look_after(id),
        }
    }

    /// As [`look_after`](Self::look_after), all owners of this provider; what is wrong is mended, and told.
    pub(crate) fn look_after_all(&self) {
        if let Place::File(files) = &self.place {
            files.look_after_all();
        }
    }

    /// One more heartbeat of an owner.
    pub(crate) fn beat(&self, id: u64) -> Result<()> {
        match &self.place {
            Place::Memory(alive) => {
                if let Some(beat) = lock(alive).get_mut(&id) {
                    *beat += 1;
                }
                Ok(())
            }
            Place::File(files) => files.beat(id, self.lease),
        }
    }

    /// Whether it is time to [`look`](Self::look).
    pub(crate) fn is_time_to_look(&self, now: Duration) -> bool {
        lock(&self.observer).is_due(now)
    }

    /// Looks at all owners that have something; gives those that are alive, but frozen.
    pub(crate) fn look(&self, now: Duration, owners: Vec<Progress>) -> Vec<Progress> {
        let with_sign = |progress: Progress| Some((progress, self.sign(progress.owner)?));
        let signs = owners.into_iter().filter_map(with_sign).collect();
        lock(&self.observer).look(now, signs)
    }

    /// `None`: it is dead, or was just born, or that cannot be told.
    fn sign(&self, id: u64) -> Option<Sign> {
        match &self.place {
            Place::Memory(alive) => lock(alive).get(&id).map(|beat| Sign { lease: self.lease, beat: *beat }),
            Place::File(files) => files.sign(id),
        }
    }
}

struct Listed {
    alive: Arc<Mutex<HashMap<u64, u64>>>,
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

    /// A folder with a database, and owners in memory and beside it.
    fn places() -> (tempfile::TempDir, [Owners; 2]) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.db"), "").unwrap();
        let sidecars = Sidecars::of(&folder.path().join("a.db")).unwrap();
        (folder, [Owners::in_memory(LEASE), Owners::beside(sidecars, LEASE)])
    }

    #[test]
    fn an_owner_lives_until_it_is_dropped() {
        let (folder, places) = places();
        for owners in places {
            let (one, other) = (owners.register(1).unwrap(), owners.register(2).unwrap());
            assert_eq!((owners.life(one.id()), owners.life(other.id())), (Life::Alive, Life::Alive));
            drop(one);
            assert!(owners.life(1) != Life::Alive && owners.life(2) == Life::Alive);
            assert!(owners.life(3) != Life::Alive);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left but the database");
    }

    #[test]
    fn an_owner_without_heartbeats_is_frozen_after_its_lease_and_one_with_them_is_not() {
        let (_folder, places) = places();
        for owners in places {
            let (still, beating) = (owners.register(1).unwrap(), owners.register(2).unwrap());
            assert_eq!(still.lease(), Some(LEASE));
            let has = |owner: u64| Progress { owner, rows: 1, fences: 1, revisions: 1 };
            let mut frozen = Vec::new();
            for second in 0..=16 {
                let now = Duration::from_secs(second);
                assert!(owners.is_time_to_look(now));
                owners.beat(beating.id()).unwrap();
                frozen = owners.look(now, vec![has(1), has(2), has(3)]);
                assert!(frozen.is_empty() || second == 16, "{second}");
            }
            assert_eq!(frozen, [has(1)]);
        }
    }
}
