use std::{marker::PhantomData, sync::Arc};

use tokio::sync::Mutex;

use super::{check_instances, open, prepared, reopen};
use crate::{Done, Measured, Run, Workload, ability::Instances, clients};

/// `persist/POINTERS`. An operation persists an instance of which one pointer has changed. A client has an instance of its
/// own; where the instances are so large that there are fewer instances than clients, clients take turns, and the wait for
/// the turn is not measured. Each instance is read back and compared.
pub struct Persist<S>(PhantomData<S>);

/// An instance, and the clients that work on it in turn.
struct Shared<I> {
    instance: I,
    /// How often a pointer was changed.
    changes: u64,
    /// States that may be stored instead, because nothing was acknowledged since.
    before: Vec<I>,
}

impl<S: Instances> Workload for Persist<S> {
    const NAME: &'static str = "persist";

    async fn prepare(run: &Run) -> Done {
        prepared::instances::<S>(run, run.number(1)?).await
    }

    async fn run(run: &Run) -> Done<Measured> {
        let folder = run.scratch()?;
        let place = run.prepared().copied_into(folder.path())?;
        let store = open::<S>(&place).await?;
        let mut instances = Vec::new();
        for id in prepared::ids(run)?.iter().take(run.clients) {
            let instance = store.load(id).await?;
            instances.push(Mutex::new(Shared { instance, changes: 0, before: Vec::new() }));
        }
        let instances = Arc::new(instances);
        let (measured, _) = clients::measure(run, |mut client| {
            let (store, instances) = (store.clone(), instances.clone());
            async move {
                while client.goes_on() {
                    let shared = &mut *instances[client.number % instances.len()].lock().await;
                    if !client.goes_on() {
                        break;
                    }
                    let (pointer, replaced) = shared.change::<S>();
                    if client.operation(store.persist(&mut shared.instance)).await.is_some() {
                        shared.before.clear();
                    } else {
                        let mut before = shared.instance.clone();
                        S::set(&mut before, pointer, replaced);
                        shared.before.push(before);
                    }
                }
                Ok((client, ()))
            }
        })
        .await?;
        let store = reopen(store, &place).await?;
        let instances = Arc::into_inner(instances).ok_or("a client still works")?;
        let allowed = instances.into_iter().map(Mutex::into_inner).map(|mut shared| {
            shared.before.insert(0, shared.instance);
            shared.before
        });
        check_instances(&store, allowed).await?;
        store.close().await?;
        Ok(measured)
    }
}

impl<I> Shared<I> {
    /// Changes the next pointer. Returns which one, and the result that it had.
    fn change<S: Instances<Instance = I>>(&mut self) -> (usize, u64) {
        let pointers = S::pointers(&self.instance) as u64;
        let pointer = usize::try_from(self.changes % pointers).unwrap_or_default();
        let replaced = (self.changes + 1).saturating_sub(pointers);
        self.changes += 1;
        S::set(&mut self.instance, pointer, self.changes);
        (pointer, replaced)
    }
}
