//! The host, with workflows of three empty steps.

use std::sync::Arc;

use wfe::{
    Outcome, WorkflowHost,
    definition::{Definition, WorkflowBuilder},
    models::WorkflowStatus,
    traits::WorkflowRepository,
};
use wfe_bench_workloads::{
    Done, Place,
    ability::{EndedFlows, Flows, Subject},
};
use wfe_sqlite::SqlitePersistenceProvider;

use super::{copies, tables};

pub struct FlowHost {
    store: Arc<SqlitePersistenceProvider>,
    place: Place,
    host: WorkflowHost,
}

impl Subject for FlowHost {
    async fn open(place: &Place) -> Done<Self> {
        let store = Arc::new(super::open(place).await?);
        let host = WorkflowHost::builder_shared(store.clone()).build();
        host.register(definition()?)?;
        host.start().await?;
        Ok(Self { store, place: place.clone(), host })
    }

    async fn close(&self) -> Done {
        self.host.stop().await?;
        super::close(&self.store, &self.place).await
    }
}

fn definition() -> wfe::Result<Definition<u64>> {
    WorkflowBuilder::<u64>::new("flow", 1)
        .then("one", async |_, _| Ok(()))
        .then("two", async |_, _| Ok(()))
        .then("three", async |_, _| Ok(()))
        .build()
}

impl Flows for FlowHost {
    async fn flow(&self, number: u64) -> Done<String> {
        let id = self.host.start_workflow("flow", &number).await?;
        match self.host.outcome::<u64>(&id).await? {
            Outcome::Completed(data) if data == number => Ok(id),
            other => Err(format!("flow {id} ended as {other:?}").into()),
        }
    }

    async fn is_completed(&self, id: &str, number: u64) -> Done<bool> {
        let found = self.store.get_workflow_instance(id).await?;
        Ok(found.status == WorkflowStatus::Complete && found.data == number)
    }
}

impl EndedFlows for FlowHost {
    fn multiply_ended(place: &Place, id: &str, copies: usize) -> Done {
        copies::multiply(place, id, copies, &tables::INSTANCES)
    }

    fn count_ended(place: &Place) -> Done<usize> {
        copies::count(place, "SELECT count(*) FROM workflows WHERE status = 'Complete'")
    }
}
