//! The engine's own interface to the store.

use std::sync::Arc;

use wfe::{
    models::ExecutionPointer,
    traits::{Committed, Fence, Owner, PersistenceProvider, StepCommit, StepStore, WorkflowRepository},
};
use wfe_bench_workloads::{
    Done, Place,
    ability::{Steps, Subject},
};
use wfe_sqlite::SqlitePersistenceProvider;

use super::provider::{complete, draft, pointer};

/// A store, and an owner of instances in it.
pub struct Owners {
    store: Arc<SqlitePersistenceProvider>,
    place: Place,
    steps: Arc<dyn StepStore>,
    owner: Owner,
}

#[derive(Debug)]
pub struct Owned {
    id: String,
    fence: Fence,
    pointers: Vec<ExecutionPointer>,
}

impl Subject for Owners {
    async fn open(place: &Place) -> Done<Self> {
        let store = Arc::new(super::open(place).await?);
        let steps = store.clone().step_store().ok_or("the store has no interface for the engine")?;
        let owner = steps.register().await?;
        Ok(Self { store, place: place.clone(), steps, owner })
    }

    async fn close(&self) -> Done {
        super::close(&self.store, &self.place).await
    }
}

impl Steps for Owners {
    type Owned = Owned;

    async fn begin(&self, number: u64) -> Done<Owned> {
        let instance = draft(number);
        let started = self.steps.start(Some(&self.owner), &instance).await?;
        let fence = started.fence.ok_or("a start with an owner gave no fencing token")?;
        Ok(Owned { id: started.id, fence, pointers: instance.execution_pointers })
    }

    async fn commit(&self, owned: &mut Owned) -> Done {
        let step = owned.pointers.len();
        let mut last = owned.pointers[step - 1].clone();
        complete(&mut last, step as u64);
        let upserted = vec![last, pointer(step)];
        let commit = StepCommit {
            instance_id: owned.id.clone(),
            next_execution: Some(i64::try_from(step).ok()),
            upserted: upserted.clone(),
            ..StepCommit::default()
        };
        match self.steps.commit_step(owned.fence, &commit).await? {
            Committed::Done => {
                owned.pointers.pop();
                owned.pointers.extend(upserted);
                Ok(())
            }
            other => Err(format!("a commit was refused: {other:?}").into()),
        }
    }

    fn committed(owned: &Owned) -> usize {
        owned.pointers.len() - 1
    }

    async fn is_stored(&self, owned: &Owned, or_more: bool) -> Done<bool> {
        let found = self.store.get_workflow_instance(&owned.id).await?.execution_pointers;
        let (kept, _) = owned.pointers.split_at(owned.pointers.len() - 1);
        let is_next = found.len() == owned.pointers.len() + 1 && found.starts_with(kept);
        Ok(found == owned.pointers || (or_more && is_next))
    }
}
