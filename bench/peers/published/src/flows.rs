//! The published host, with workflows of three empty steps. The end of a workflow is observed through its lifecycle events,
//! which is quicker than to poll the store.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::{sync::oneshot, time::sleep};
use wfe::{WorkflowHost, WorkflowHostBuilder};
use wfe_bench_workloads::{
    Done, Place,
    ability::{Flows, Subject},
};
use wfe_core::{
    builder::WorkflowBuilder,
    models::{ExecutionResult, LifecycleEvent, LifecycleEventType, WorkflowStatus},
    test_support::{InMemoryLockProvider, InMemoryQueueProvider},
    traits::{
        LifecyclePublisher, WorkflowRepository,
        step::{StepBody, StepExecutionContext},
    },
};
use wfe_sqlite::SqlitePersistenceProvider;

/// How often a caller reads an instance whose end is reported but not stored.
const POLL: Duration = Duration::from_millis(1);
/// After so long, the store has refused the end.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct FlowHost {
    store: Arc<SqlitePersistenceProvider>,
    place: Place,
    host: WorkflowHost,
    ends: Arc<Ends>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Data {
    number: u64,
}

#[derive(Default)]
struct Nothing;

#[async_trait]
impl StepBody for Nothing {
    async fn run(&mut self, _context: &StepExecutionContext<'_>) -> wfe_core::Result<ExecutionResult> {
        Ok(ExecutionResult::next())
    }
}

/// The workflows that have ended, and the callers that wait for an end. An end may come before its caller knows the id.
#[derive(Default)]
struct Ends(Mutex<(HashSet<String>, HashMap<String, oneshot::Sender<()>>)>);

impl Ends {
    fn wait(&self, id: &str) -> oneshot::Receiver<()> {
        let (ended, end) = oneshot::channel();
        let (early, waiting) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if early.remove(id) {
            // The receiver is at hand.
            let _ = ended.send(());
        } else {
            waiting.insert(id.to_owned(), ended);
        }
        end
    }
}

#[async_trait]
impl LifecyclePublisher for Ends {
    async fn publish(&self, event: LifecycleEvent) -> wfe_core::Result<()> {
        if event.event_type == LifecycleEventType::Completed {
            let (early, waiting) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match waiting.remove(&event.workflow_instance_id) {
                // The receiver is gone if the caller has given up.
                Some(caller) => drop(caller.send(())),
                None => drop(early.insert(event.workflow_instance_id)),
            }
        }
        Ok(())
    }
}

impl Subject for FlowHost {
    async fn open(place: &Place) -> Done<Self> {
        let (store, ends) = (Arc::new(super::open(place).await?), Arc::new(Ends::default()));
        let host = WorkflowHostBuilder::new()
            .use_persistence(store.clone())
            .use_lock_provider(Arc::new(InMemoryLockProvider::new()))
            .use_queue_provider(Arc::new(InMemoryQueueProvider::new()))
            .use_lifecycle(ends.clone())
            .build()?;
        let definition = WorkflowBuilder::<Data>::new()
            .start_with::<Nothing>()
            .name("one")
            .then::<Nothing>()
            .name("two")
            .then::<Nothing>()
            .name("three")
            .end_workflow()
            .build("flow", 1);
        host.register_step::<Nothing>().await;
        host.register_workflow_definition(definition).await;
        host.start().await?;
        Ok(Self { store, place: place.clone(), host, ends })
    }

    async fn close(&self) -> Done {
        self.host.stop().await;
        super::close(&self.store, &self.place).await
    }
}

impl Flows for FlowHost {
    async fn flow(&self, number: u64) -> Done<String> {
        let data = serde_json::to_value(Data { number })?;
        let id = self.host.start_workflow("flow", 1, data).await?;
        self.ends.wait(&id).await?;
        // The event comes before the end is stored.
        let until = Instant::now() + PATIENCE;
        loop {
            match self.host.get_workflow(&id).await?.status {
                WorkflowStatus::Complete => return Ok(id),
                WorkflowStatus::Runnable if Instant::now() < until => sleep(POLL).await,
                other => return Err(format!("flow {id} ended as {other:?}").into()),
            }
        }
    }

    async fn is_completed(&self, id: &str, number: u64) -> Done<bool> {
        let found = self.store.get_workflow_instance(id).await?;
        Ok(found.status == WorkflowStatus::Complete && found.data["number"] == number)
    }
}
