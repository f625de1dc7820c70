//! The subject `duroxide`: its runtime on its `SQLite` provider, with the settings that it has by itself.

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use duroxide::{
    ActivityContext, Client, OrchestrationContext, OrchestrationRegistry, OrchestrationStatus,
    providers::sqlite::SqliteProvider,
    runtime::{Runtime, registry::ActivityRegistry},
};
use wfe_bench_workloads::{
    Done, Place, Work,
    ability::{Flows, Subject},
    run_requested, work,
    workload::Flow,
};

/// How long a caller waits for the end of a workflow: longer than any run.
const PATIENCE: Duration = Duration::from_mins(5);
/// A workflow that is over needs less.
const GRACE_MS: u64 = 2_000;

struct Engine {
    client: Client,
    runtime: Arc<Runtime>,
    /// Callers name the workflows.
    started: AtomicU64,
}

impl Subject for Engine {
    async fn open(place: &Place) -> Done<Self> {
        let provider = match place.path() {
            Some(path) => {
                // The provider does not create the file.
                std::fs::OpenOptions::new().create(true).append(true).open(path)?;
                SqliteProvider::new(&format!("sqlite:{}", path.display()), None).await?
            }
            None => SqliteProvider::new_in_memory().await?,
        };
        let store = Arc::new(provider);
        let activities = ActivityRegistry::builder()
            .register("step", |_: ActivityContext, input: String| async move { Ok(input) })
            .build();
        let flow = |context: OrchestrationContext, input: String| async move {
            for _ in 0..3 {
                context.schedule_activity("step", "").await?;
            }
            Ok(input)
        };
        let flows = OrchestrationRegistry::builder().register("flow", flow).build();
        let runtime = Runtime::start_with_store(store.clone(), activities, flows).await;
        Ok(Self { client: Client::new(store), runtime, started: AtomicU64::new(0) })
    }

    async fn close(&self) -> Done {
        self.runtime.clone().shutdown(Some(GRACE_MS)).await;
        Ok(())
    }
}

impl Flows for Engine {
    async fn flow(&self, number: u64) -> Done<String> {
        let id = format!("flow-{}", self.started.fetch_add(1, Ordering::Relaxed));
        self.client.start_orchestration(&id, "flow", number.to_string()).await?;
        match self.client.wait_for_orchestration(&id, PATIENCE).await? {
            OrchestrationStatus::Completed { output, .. } if output == number.to_string() => Ok(id),
            other => Err(format!("flow {id} ended as {other:?}").into()),
        }
    }

    async fn is_completed(&self, id: &str, number: u64) -> Done<bool> {
        let found = self.client.get_orchestration_status(id).await?;
        Ok(matches!(found, OrchestrationStatus::Completed { output, .. } if output == number.to_string()))
    }
}

fn works(_subject: &str) -> Vec<Work> {
    vec![work::<Flow<Engine>>()]
}

fn main() -> ExitCode {
    match run_requested(works) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("duroxide: the benchmark's driver starts this program");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("duroxide: {error}");
            ExitCode::FAILURE
        }
    }
}
