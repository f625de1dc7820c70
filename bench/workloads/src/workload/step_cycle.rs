use std::marker::PhantomData;

use super::{check_instances, open, reopen};
use crate::{
    Done, Measured, Place, Run, Workload,
    ability::Instances,
    clients::{self, Client},
};

const POINTERS: usize = 11;

/// `step-cycle`. An operation loads an instance, completes its last pointer, adds a pointer, and persists the instance. Each
/// client has an instance of its own, which grows from 1 to 11 pointers; then the client continues with a new instance. Each
/// instance is read back and compared.
pub struct StepCycle<S>(PhantomData<S>);

impl<S: Instances> Workload for StepCycle<S> {
    const NAME: &'static str = "step-cycle";

    async fn run(run: &Run) -> Done<Measured> {
        let folder = run.scratch()?;
        measure::<S>(run, &Place::file(folder.path().join("run.db"))).await
    }
}

/// The workload on a file that other processes may use too.
pub async fn measure<S: Instances>(run: &Run, place: &Place) -> Done<Measured> {
    let store = open::<S>(place).await?;
    let (measured, stored) = clients::measure(run, |mut client| {
        let store = store.clone();
        async move {
            let mut stored = Vec::new();
            while client.goes_on() {
                let number = client.numbered(stored.len());
                stored.extend(grow(&mut client, &*store, number).await);
            }
            Ok((client, stored))
        }
    })
    .await?;
    let store = reopen(store, place).await?;
    check_instances(&store, stored.into_iter().flatten()).await?;
    store.close().await?;
    Ok(measured)
}

/// Lets one instance grow. Returns the states in which it may be stored, or `None` if it could not be created.
async fn grow<S: Instances>(client: &mut Client, store: &S, number: u64) -> Option<Vec<S::Instance>> {
    let mut instance = S::draft(number, 1);
    client.beforehand(store.create(&mut instance)).await?;
    while S::pointers(&instance) < POINTERS && client.goes_on() {
        let mut attempted = None;
        let cycle = client.operation(async {
            let loaded = attempted.insert(store.current(&instance).await?);
            S::step(loaded);
            store.persist(loaded).await
        });
        let is_acknowledged = cycle.await.is_some();
        let Some(stepped) = attempted else { return Some(vec![instance]) };
        if !is_acknowledged {
            return Some(vec![instance, stepped]);
        }
        instance = stepped;
    }
    Some(vec![instance])
}
