//! What a death at every commit finds: a store that says too early that it has stored something.

use std::sync::{Arc, Mutex, MutexGuard};

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::OnceCell;
use wfe_core::{
    Result, WfeError,
    definition::WorkflowName,
    models::WorkflowInstance,
    steps::Ctx,
    sync::lock,
    traits::{Claimed, Committed, Fence, Loaded, Owner, PersistenceProvider, StepCommit, StepStore},
};
use wfe_sqlite::SqlitePersistenceProvider;
use wfe_testkit::{
    Layer, Layered, TestHost, VirtualClock,
    conformance::Harness,
    crash::{Effects, Life, at_every_commit},
};

/// Answers that a commit is stored, and stores it when it is called the next time: what its process has answered last dies
/// with it.
struct Hasty {
    below: Arc<dyn PersistenceProvider>,
    held: Mutex<Option<(Fence, StepCommit)>>,
    is_sound: bool,
}

impl Hasty {
    fn held(&self) -> MutexGuard<'_, Option<(Fence, StepCommit)>> {
        lock(&self.held)
    }

    async fn stored(&self) -> Result<Arc<dyn StepStore>> {
        let steps = self.below.clone().step_store().expect("SQLite has one");
        let held = self.held().take();
        if let Some((fence, step)) = held {
            assert_eq!(steps.commit_step(fence, &step).await?, Committed::Done);
        }
        Ok(steps)
    }
}

#[async_trait::async_trait]
impl Layer for Hasty {
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.below
    }

    async fn commit_step(&self, fence: Fence, step: &StepCommit) -> Result<Committed> {
        let steps = self.stored().await?;
        if self.is_sound {
            return steps.commit_step(fence, step).await;
        }
        *self.held() = Some((fence, step.clone()));
        Ok(Committed::Done)
    }

    async fn claim(
        &self,
        owner: &Owner,
        definitions: &[(String, u32)],
        as_at: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<Claimed>> {
        self.stored().await?.claim(owner, definitions, as_at, limit).await
    }

    async fn acquire(
        &self,
        owner: &Owner,
        definitions: &[(String, u32)],
        id: &str,
        as_at: DateTime<Utc>,
    ) -> Result<Option<Claimed>> {
        self.stored().await?.acquire(owner, definitions, id, as_at).await
    }

    async fn load(&self, id: &str) -> Result<Loaded> {
        self.stored().await?.load(id).await
    }

    async fn ended(&self, ids: &[String]) -> Result<Vec<String>> {
        self.stored().await?.ended(ids).await
    }

    async fn get_workflow_instance(&self, id: &str) -> Result<WorkflowInstance> {
        self.stored().await?;
        self.below.get_workflow_instance(id).await
    }
}

/// In memory, which outlives those that open it: what one of them holds back, the next one does not find.
struct Places {
    is_sound: bool,
}

#[async_trait::async_trait]
impl Harness for Places {
    type Place = OnceCell<Arc<dyn PersistenceProvider>>;

    async fn place(&self) -> Result<Self::Place> {
        Ok(OnceCell::new())
    }

    async fn open(
        &self,
        place: &Self::Place,
        clock: Arc<VirtualClock>,
    ) -> Result<Arc<dyn PersistenceProvider>> {
        let new = async || {
            let new = SqlitePersistenceProvider::builder(":memory:").clock(clock).open().await?;
            Ok::<_, WfeError>(Arc::new(new) as Arc<dyn PersistenceProvider>)
        };
        let below = place.get_or_try_init(new).await?.clone();
        Ok(Arc::new(Layered(Hasty { below, held: Mutex::default(), is_sound: self.is_sound })))
    }

    fn lasts(&self) -> bool {
        true
    }
}

const W: WorkflowName<u32> = WorkflowName::new("w");

/// Two steps with effects in the world outside. The data tells nothing of how often they ran.
async fn story(life: Life) -> Result<Value> {
    let act = |ctx: &Ctx<Effects>, _: &u32| {
        ctx.app.happen(ctx);
        Ok(())
    };
    let definition = W.define(1).with(life.effects).call("mail", act).call("post", act).build()?;
    let host = TestHost::builder_shared(life.store, life.clock).define(definition).start().await?;
    let instance = host.workflow(W).start(&0).reference("it").await?;
    host.run_to_end::<u32>(instance.id()).await?;
    Ok(serde_json::to_value(instance.data().await?)?)
}

#[test]
fn a_sound_store_runs_no_step_again_that_has_completed() {
    assert!(at_every_commit(&Places { is_sound: true }, &story).unwrap() >= 3);
}

#[test]
#[should_panic(expected = "happened again, although their steps were stored as completed: {\"w: mail\"}")]
fn a_store_that_forgets_its_last_commit_is_found_by_a_step_that_runs_again() {
    at_every_commit(&Places { is_sound: false }, &story).unwrap();
}
