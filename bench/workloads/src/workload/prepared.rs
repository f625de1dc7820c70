//! Instances that are prepared once for all runs of a workload.

use std::fs;

use super::{check_instances, open};
use crate::{
    Done, Run,
    ability::{DueInstances, Instances},
};

/// How many pointers all instances of a file have at most: with large instances there are fewer of them than clients.
const POINTERS: usize = 16_000;
/// But there are so many instances at least.
const INSTANCES: usize = 4;

/// Stores instances with so many pointers, one for each client if they are not too large, and checks them.
pub async fn instances<S: Instances>(run: &Run, pointers: usize) -> Done {
    let store = open::<S>(&run.prepared()).await?;
    let mut created = Vec::new();
    for number in 0..run.clients.min(INSTANCES.max(POINTERS / pointers)) {
        let mut instance = S::draft(number as u64, pointers);
        store.create(&mut instance).await?;
        created.push(instance);
    }
    store.close().await?;
    drop(store);
    note(run, &created.iter().map(|instance| S::id(instance).to_owned()).collect::<Vec<_>>())?;
    let store = open::<S>(&run.prepared().without_copies()).await?;
    check_instances(&store, created.into_iter().map(|created| vec![created])).await?;
    store.close().await
}

/// Stores `due` instances that are due among `parked` ones for which nothing is scheduled, and checks their number.
pub async fn due_among<S: DueInstances>(run: &Run, due: usize, parked: usize) -> Done {
    let store = open::<S>(&run.prepared()).await?;
    let mut template = S::draft(0, 1);
    S::schedule_at(&mut template, None);
    store.create(&mut template).await?;
    let mut ids = Vec::new();
    for number in 1..=due as u64 {
        let mut instance = S::draft(number, 1);
        S::schedule_at(&mut instance, i64::try_from(number).ok());
        store.create(&mut instance).await?;
        ids.push(S::id(&instance).to_owned());
    }
    store.close().await?;
    drop(store);
    S::multiply(&run.prepared(), S::id(&template), parked - 1)?;
    note(run, &ids)?;
    let count = S::count(&run.prepared())?;
    if count == due + parked {
        Ok(())
    } else {
        Err(format!("{count} instances instead of {} were prepared", due + parked).into())
    }
}

/// Stores the ids of what was prepared beside it.
pub fn note(run: &Run, ids: &[String]) -> Done {
    Ok(fs::write(run.folder.join("ids.json"), serde_json::to_vec(ids)?)?)
}

pub fn ids(run: &Run) -> Done<Vec<String>> {
    Ok(serde_json::from_slice(&fs::read(run.folder.join("ids.json"))?)?)
}
