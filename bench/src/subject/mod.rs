//! The subject `wfe`: the store and the host of this repository.

mod copies;
mod flows;
mod host;
mod items;
mod provider;
mod steps;
mod tables;

use wfe_bench_workloads::{
    Done, Place, Work, work,
    workload::{
        CommitStep, Create, Event, FanIn, Flow, ForEach, Growth, Load, Mixed, Persist, Processes, Runnable,
        RunnableEvents, Schedule, Sleepers, Soak, StepCycle, Timers, Wake,
    },
};

use self::{flows::FlowHost, host::StepHost, items::ItemHost, provider::Store, steps::Owners};

/// What `provider.rs` uses, which another subject takes from its own crates.
mod api {
    pub use wfe::{
        models::{Event, ExecutionPointer, PointerStatus, ScheduledCommand, WorkflowInstance},
        traits::{EventRepository, ScheduledCommandRepository, WorkflowRepository},
    };
    pub use wfe_sqlite::SqlitePersistenceProvider;
}

/// The workloads of this subject.
pub fn works() -> Vec<Work> {
    vec![
        work::<Create<Store>>(),
        work::<Persist<Store>>(),
        work::<Load<Store>>(),
        work::<StepCycle<Store>>(),
        work::<CommitStep<Owners>>(),
        work::<Event<Store>>(),
        work::<Schedule<Store>>(),
        work::<Runnable<Store>>(),
        work::<RunnableEvents<Store>>(),
        work::<Mixed<Store>>(),
        work::<Flow<FlowHost>>(),
        work::<ForEach<ItemHost>>(),
        work::<FanIn<StepHost>>(),
        work::<Wake<StepHost>>(),
        work::<Growth<FlowHost>>(),
        work::<Sleepers<StepHost>>(),
        work::<Timers<StepHost>>(),
        work::<Processes<Store>>(),
        work::<Soak<FlowHost>>(),
    ]
}

async fn open(place: &Place) -> Done<api::SqlitePersistenceProvider> {
    let options = match place.path() {
        Some(path) => api::SqlitePersistenceProvider::file(path),
        None => api::SqlitePersistenceProvider::builder(":memory:"),
    };
    let options = if place.keeps_copies() { options } else { options.cache_bytes(0) };
    Ok(options.open().await?)
}

async fn close(store: &api::SqlitePersistenceProvider, _place: &Place) -> Done {
    store.close().await;
    Ok(())
}
