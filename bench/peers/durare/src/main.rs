//! The subject `durare`: its engine on its `SQLite` backend, with the settings that it has by itself. These include
//! `synchronous = NORMAL`: it does not wait for the disk.

use std::{process::ExitCode, sync::Arc, time::Duration};

use durare::{DurableContext, DurableEngine, Error, STATUS_SUCCESS, SqliteProvider, WorkflowOptions};
use wfe_bench_workloads::{
    Done, Place, Work,
    ability::{Flows, Subject},
    run_requested, work,
    workload::Flow,
};

/// A workflow that is over needs less.
const GRACE: Duration = Duration::from_secs(5);

struct Engine(DurableEngine);

impl Subject for Engine {
    async fn open(place: &Place) -> Done<Self> {
        let provider = SqliteProvider::connect(&format!("sqlite://{}", place.on_disk()?.display())).await?;
        let mut engine = DurableEngine::new(Arc::new(provider)).await?;
        engine.register("flow", |context: DurableContext, number: u64| async move {
            for step in ["one", "two", "three"] {
                context.step(step, || async { Ok::<_, Error>(()) }).await?;
            }
            Ok::<_, Error>(number)
        });
        Ok(Self(engine))
    }

    async fn close(&self) -> Done {
        Ok(self.0.shutdown(GRACE).await?)
    }
}

impl Flows for Engine {
    async fn flow(&self, number: u64) -> Done<String> {
        let handle = self.0.start::<_, u64>("flow", number, WorkflowOptions::default()).await?;
        let id = handle.id().to_owned();
        let outcome = handle.result().await?;
        if outcome == number { Ok(id) } else { Err(format!("flow {id} ended with {outcome}").into()) }
    }

    async fn is_completed(&self, id: &str, number: u64) -> Done<bool> {
        let found = self.0.retrieve_workflow::<u64>(id).await?.get_status().await?;
        Ok(found.status == STATUS_SUCCESS && found.output == Some(number.into()))
    }
}

fn works(_subject: &str) -> Vec<Work> {
    vec![work::<Flow<Engine>>()]
}

fn main() -> ExitCode {
    match run_requested(works) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("durare: the benchmark's driver starts this program");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("durare: {error}");
            ExitCode::FAILURE
        }
    }
}
