//! The subject `published`: wfe-sqlite 1.11.4 as it was published, and its host.

#[path = "../../../src/subject/copies.rs"]
mod copies;
mod flows;
// The same source as for the store of this repository.
#[path = "../../../src/subject/provider.rs"]
mod provider;
mod tables;

use std::{process::ExitCode, time::Duration};

use wfe_bench_workloads::{
    Done, Place, Work, run_requested, work,
    workload::{
        Create, Event, Flow, Load, Mixed, Persist, Processes, Runnable, RunnableEvents, Schedule, StepCycle,
    },
};

use self::{flows::FlowHost, provider::Store};

/// What `provider.rs` uses.
mod api {
    pub use wfe_core::{
        models::{Event, ExecutionPointer, PointerStatus, ScheduledCommand, WorkflowInstance},
        traits::{EventRepository, ScheduledCommandRepository, WorkflowRepository},
    };
    pub use wfe_sqlite::SqlitePersistenceProvider;
}

/// How long readers and writers of the store may keep the log.
const PATIENCE: Duration = Duration::from_secs(10);

fn works(_subject: &str) -> Vec<Work> {
    vec![
        work::<Create<Store>>(),
        work::<Persist<Store>>(),
        work::<Load<Store>>(),
        work::<StepCycle<Store>>(),
        work::<Event<Store>>(),
        work::<Schedule<Store>>(),
        work::<Runnable<Store>>(),
        work::<RunnableEvents<Store>>(),
        work::<Mixed<Store>>(),
        work::<Flow<FlowHost>>(),
        work::<Processes<Store>>(),
    ]
}

async fn open(place: &Place) -> Done<api::SqlitePersistenceProvider> {
    let url = match place.path() {
        Some(path) => format!("sqlite://{}", path.display()),
        None => ":memory:".to_owned(),
    };
    // The error cannot be sent to another thread.
    let opened = api::SqlitePersistenceProvider::new(&url).await.map_err(|error| error.to_string());
    Ok(opened?)
}

/// The store has no call that closes it: its connections are closed some time after it is dropped. So everything is moved from
/// the log into the file here.
#[expect(clippy::unused_async, reason = "that of the store of this repository is async")]
async fn close(_store: &api::SqlitePersistenceProvider, place: &Place) -> Done {
    let Some(path) = place.path() else { return Ok(()) };
    let file = rusqlite::Connection::open(path)?;
    file.busy_timeout(PATIENCE)?;
    Ok(file.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
}

fn main() -> ExitCode {
    match run_requested(works) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("published: the benchmark's driver starts this program");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("published: {error}");
            ExitCode::FAILURE
        }
    }
}
