//! Owners: how they register, and how they show that they are alive.

use std::hash::{BuildHasher, RandomState};

use wfe_core::{Result, traits::Owner};

use crate::{SqlitePersistenceProvider, connection::admission::Caller};

/// The name of the counter of owners.
const OWNERS: &str = "wfe:owner";

pub(super) async fn register(store: &SqlitePersistenceProvider) -> Result<Owner> {
    let id = owner_id(store.draw(Caller::Engine, OWNERS).await?);
    store.remove_dead_files(id).await?;
    store.owners.register(id)
}

/// Returns the id of the owner with this number. The id consists of this number, which makes it unique, and
/// 32 random bits. The id is part of the name of the owner's lock file. The random bits make this name
/// unpredictable, so that another user who can write to the folder cannot create the file before the owner
/// does.
fn owner_id(number: u64) -> u64 {
    // The hash keys are random each time.
    let chance = RandomState::new().hash_one(number) >> 32;
    (number & 0x7fff_ffff) << 32 | chance
}

pub(super) async fn heartbeat(store: &SqlitePersistenceProvider, owner: &Owner) -> Result<()> {
    store.check(true)?;
    store.owners.heartbeat(owner.id())
}

pub(super) async fn living_owners(store: &SqlitePersistenceProvider) -> Result<Option<usize>> {
    store.owners.living().map(Some)
}

pub(super) async fn verify(store: &SqlitePersistenceProvider) -> Result<()> {
    store.check(false)
}
