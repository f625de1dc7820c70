//! How often the engine calls the store.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::future::join_all;
use wfe::{
    Outcome, Result, WorkflowHost,
    definition::WorkflowBuilder,
    models::WorkflowInstance,
    traits::{Committed, Fence, Loaded, Owner, PersistenceProvider, Started, StepCommit, StepStore},
};
use wfe_sqlite::SqlitePersistenceProvider;
use wfe_testkit::{Layer, Layered};

/// A store that counts the calls that instances cause. Claims are not counted: their number depends on the time that passes.
struct Counting {
    below: Arc<dyn PersistenceProvider>,
    calls: Calls,
}

#[derive(Clone, Default)]
struct Calls(Arc<Mutex<BTreeMap<&'static str, usize>>>);

impl Calls {
    fn note(&self, call: &'static str) {
        *self.0.lock().unwrap().entry(call).or_default() += 1;
    }

    fn take(&self) -> Vec<(&'static str, usize)> {
        std::mem::take(&mut *self.0.lock().unwrap()).into_iter().collect()
    }
}

impl Counting {
    fn steps(&self, call: &'static str) -> Arc<dyn StepStore> {
        self.calls.note(call);
        self.below.clone().step_store().unwrap()
    }
}

#[async_trait]
impl Layer for Counting {
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.below
    }

    async fn start(&self, owner: Option<&Owner>, instance: &WorkflowInstance) -> Result<Started> {
        self.steps("start").start(owner, instance).await
    }

    async fn commit_step(&self, fence: Fence, step: &StepCommit) -> Result<Committed> {
        self.steps("commit").commit_step(fence, step).await
    }

    async fn load(&self, id: &str) -> Result<Loaded> {
        self.steps("load").load(id).await
    }

    async fn get_workflow_instance(&self, id: &str) -> Result<WorkflowInstance> {
        self.calls.note("get");
        self.below.get_workflow_instance(id).await
    }
}

#[tokio::test]
async fn a_flow_of_three_steps_is_one_start_and_three_commits_and_nothing_is_read() {
    for flows in [1, 64] {
        let calls = Calls::default();
        let below = Arc::new(SqlitePersistenceProvider::new(":memory:").await.unwrap());
        let store = Layered(Counting { below, calls: calls.clone() });
        let host = WorkflowHost::builder(store).poll_interval(Duration::from_hours(1)).build();
        let flow = WorkflowBuilder::<u64>::new("flow", 1)
            .then("one", async |_, _| Ok(()))
            .then("two", async |_, _| Ok(()))
            .then("three", async |_, _| Ok(()))
            .build();
        host.register(flow.unwrap()).unwrap();
        host.start().await.unwrap();
        host.idle().await.unwrap();
        calls.take();
        let all = join_all((0..flows).map(async |number: u64| {
            let id = host.start_workflow("flow", &number).await.unwrap();
            host.outcome::<u64>(&id).await.unwrap()
        }));
        for (number, outcome) in (0..).zip(all.await) {
            assert_eq!(outcome, Outcome::Completed(number));
        }
        let flows = usize::try_from(flows).unwrap();
        // The last commit of an instance also releases it. The caller gets the outcome without a read.
        assert_eq!(calls.take(), [("commit", 3 * flows), ("start", flows)]);
        host.stop().await.unwrap();
    }
}
