//! The host, with workflows that begin a step when something happens.

use std::sync::Arc;

use chrono::DateTime;
use serde::{Deserialize, Serialize};
use wfe::{
    WorkflowHost,
    definition::{Event, WorkflowBuilder},
    models::WorkflowStatus,
    steps::{Ctx, StepError},
    traits::WorkflowRepository,
};
use wfe_bench_workloads::{
    Done, Place,
    ability::{self, Host, OnStep, Subject},
};
use wfe_sqlite::SqlitePersistenceProvider;

use super::{copies, tables};

pub struct StepHost {
    store: Arc<SqlitePersistenceProvider>,
    place: Place,
    host: WorkflowHost,
}

/// The data of the workflows with one step.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Work {
    key: String,
    number: u64,
}

const COME: Event<u64> = Event::new("come");

/// The body of the step.
fn body(on_step: &OnStep) -> impl Fn(&Ctx, &Work) -> Result<(), StepError> + Send + Sync + 'static {
    let on_step = on_step.clone();
    move |_, work| {
        on_step(work.number);
        Ok(())
    }
}

fn register(host: &WorkflowHost, on_step: &OnStep) -> wfe::Result<()> {
    let once = WorkflowBuilder::<Work>::new("once", 1).call("step", body(on_step));
    let waiting = WorkflowBuilder::<Work>::new("waiting", 1)
        .wait_for("wait", COME, |work| work.key.clone())
        .output(|number, work| work.number = number)
        .call("step", body(on_step));
    let timer = WorkflowBuilder::<Work>::new("timer", 1)
        .delay_until("due", |work| DateTime::from_timestamp_nanos(work.number.cast_signed()))
        .call("step", body(on_step));
    for definition in [once.build()?, waiting.build()?, timer.build()?] {
        host.register(definition)?;
    }
    Ok(())
}

impl Subject for StepHost {
    async fn open(place: &Place) -> Done<Self> {
        Self::host(place, Arc::new(|_| ())).await
    }

    async fn close(&self) -> Done {
        self.host.stop().await?;
        super::close(&self.store, &self.place).await
    }
}

impl StepHost {
    async fn begin(&self, definition: &str, work: Work) -> Done<String> {
        Ok(self.host.start_workflow(definition, &work).await?)
    }
}

impl Host for StepHost {
    async fn host(place: &Place, on_step: OnStep) -> Done<Self> {
        let store = Arc::new(super::open(place).await?);
        let host = WorkflowHost::builder_shared(store.clone()).build();
        register(&host, &on_step)?;
        Ok(Self { store, place: place.clone(), host })
    }

    async fn run(&self) -> Done {
        Ok(self.host.start().await?)
    }

    async fn start(&self, number: u64) -> Done<String> {
        self.begin("once", Work { number, ..Work::default() }).await
    }

    async fn start_waiting(&self, key: u64) -> Done<String> {
        self.begin("waiting", Work { key: key.to_string(), number: 0 }).await
    }

    async fn start_timer(&self, due_ns: u64) -> Done<String> {
        self.begin("timer", Work { number: due_ns, ..Work::default() }).await
    }

    async fn publish(&self, key: u64, number: u64) -> Done {
        self.host.publish(COME, key.to_string(), number).await?;
        Ok(())
    }

    async fn idle(&self) -> Done {
        self.host.idle().await?;
        Ok(())
    }

    async fn outcome(&self, id: &str) -> Done<u64> {
        Ok(self.host.outcome::<Work>(id).await?.completed()?.number)
    }

    async fn stored(&self, id: &str) -> Done<Option<u64>> {
        let found = self.store.get_workflow_instance(id).await?;
        let work: Work = serde_json::from_value(found.data)?;
        Ok((found.status == WorkflowStatus::Complete).then_some(work.number))
    }
}

impl ability::Sleepers for StepHost {
    fn multiply_sleeping(place: &Place, id: &str, copies: usize) -> Done {
        copies::multiply(place, id, copies, &tables::INSTANCES)
    }

    fn count_sleeping(place: &Place) -> Done<usize> {
        copies::count(place, "SELECT count(*) FROM workflows WHERE status = 'Runnable'")
    }
}
