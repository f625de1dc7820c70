//! Owners: how they register, and how they show that they are alive.

use std::{
    hash::{BuildHasher, RandomState},
    time::{Duration, Instant},
};

use wfe_core::{
    Result,
    traits::{Host, HostCard, Owner},
};

use crate::{SqlitePersistenceProvider, codec::Fields, connection::admission::Caller, request::Script, sql};

/// The name of the counter of owners.
const OWNERS: &str = "wfe:owner";
/// The time between two looks whether the hosts have written their cards. A look reads one small file for each host that
/// has not.
const BETWEEN_READS: Duration = Duration::from_millis(5);

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

pub(super) async fn describe(
    store: &SqlitePersistenceProvider,
    owner: &Owner,
    card: &HostCard,
) -> Result<()> {
    store.check(true)?;
    let mut card = card.clone();
    if card.machine.is_none() {
        // The name is only for people: without it, the card is still of use.
        card.machine = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    }
    store.owners.describe(owner.id(), &card)
}

pub(super) async fn hosts(store: &SqlitePersistenceProvider, fresh: Duration) -> Result<Vec<Host>> {
    if !fresh.is_zero() {
        refresh(store, fresh).await?;
    }
    // The rows are read first: an owner that registers after that, and takes an instance, is not taken for dead. No owner has
    // the id 0, so no owner is left out.
    let mut script = Script::default();
    script.add(&sql::ownership::OWNERS, [0_i64.into()]);
    let done = store.read(script).await?;
    let owners = done.iter().flat_map(|done| &done.rows);
    let with_instances: Vec<u64> =
        store.sound(owners.map(|row| Fields::new(row, "workflows", "").number("owner")))?;
    let mut all = store.owners.all()?;
    for owner in with_instances {
        if all.iter().all(|(id, _)| *id != owner) {
            all.push((owner, Some(false)));
        }
    }
    all.sort_unstable();
    Ok(all
        .into_iter()
        .map(|(id, is_alive)| {
            let mut host = Host::new(id);
            host.is_alive = is_alive;
            host.card = store.owners.card(id).map(|stored| stored.card);
            host
        })
        .collect())
}

/// Asks the hosts for fresh cards, and waits until those that are alive and have a card have written another one, but no
/// longer than `longest`. A host without a card does not answer: it runs an earlier version of WFE, or is just being
/// started.
async fn refresh(store: &SqlitePersistenceProvider, longest: Duration) -> Result<()> {
    let began = Instant::now();
    let alive = store.owners.all()?.into_iter().filter(|(_, is_alive)| *is_alive == Some(true));
    let mut waiting: Vec<_> = alive.filter_map(|(id, _)| Some((id, store.owners.card(id)?.number))).collect();
    if !store.change_signal.ask() {
        return Ok(());
    }
    loop {
        // An owner that has ended has no card any more.
        waiting.retain(|(id, before)| store.owners.card(*id).is_some_and(|stored| stored.number == *before));
        let left = longest.saturating_sub(began.elapsed());
        if waiting.is_empty() || left.is_zero() {
            return Ok(());
        }
        store.pause(left.min(BETWEEN_READS)).await;
    }
}

pub(super) async fn verify(store: &SqlitePersistenceProvider) -> Result<()> {
    store.check(false)
}
