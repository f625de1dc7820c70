//! The WFE host: registers workflows, runs their steps, and resumes them after a crash.
//!
//! A workflow is a typed struct of data and a [`Definition`](definition::Definition), built in Rust; a
//! [`WorkflowHost`] runs its instances on a store. All that a program needs beside a store is re-exported here;
//! authors of stores need `wfe_core` too.
//!
//! ```
//! use std::sync::Arc;
//! use serde::{Deserialize, Serialize};
//! use wfe::{Outcome, WorkflowHost, definition::{WorkflowBuilder, inline}};
//! use wfe_sqlite::SqlitePersistenceProvider;
//!
//! #[derive(Clone, Debug, Serialize, Deserialize)]
//! struct Greeting { name: String, text: String }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> wfe::Result<()> {
//! let greet = WorkflowBuilder::<Greeting>::new("greet", 1)
//!     .then(
//!         "write",
//!         inline(|_, greeting: Arc<Greeting>| async move { Ok(format!("hello, {}", greeting.name)) })
//!             .output(|text: &String, greeting: &mut Greeting| greeting.text = text.clone()),
//!     )
//!     .build()?;
//!
//! let provider = SqlitePersistenceProvider::new(":memory:").await?; // or "sqlite:///path/to/state.db"
//! let host = WorkflowHost::new(provider);
//! host.register(greet)?;
//! host.start().await?;
//! let id = host.start_workflow("greet", &Greeting { name: "world".into(), text: String::new() }).await?;
//! match host.outcome::<Greeting>(&id).await? {
//!     Outcome::Completed(greeting) => assert_eq!(greeting.text, "hello, world"),
//!     other => panic!("{other:?}"),
//! }
//! host.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Panics
//!
//! A panic in what you write for a workflow is a failure of the step or the instance that it belongs to; one in a `tracing`
//! subscriber (standard error on a full disk, say) loses the event, and nothing else happens. By Rust's own rules some end the
//! process all the same: any under `panic = "abort"`, one that leaves a `Drop` of yours while another panic unwinds, and
//! one in a panic hook.

mod engine;
mod external_tasks;
mod host;
mod store;

pub use engine::state::outcome::{Idle, Outcome};
pub use engine::steps::middleware::{
    Rest, StepDone, StepMiddleware, WorkflowEnd, WorkflowMiddleware, WorkflowStart,
};
pub use external_tasks::{Activities, ActivityClaim, ActivityCtx, OpenActivity, OpenTask, UserTasks, Worker};
pub use host::builder::HostBuilder;
pub use host::failures::Failures;
pub use host::schedules::{CatchUp, NewSchedule, ScheduleStatus, Schedules, Tick, Timetable};
pub use host::status::{Blocked, Held, InstanceStatus, Position, Waits};
pub use host::{PublishOptions, StartOptions, WorkflowHost};
pub use store::Guarantees;
pub use wfe_core::{
    Advice, BoxError, Family, Kind, Result, WfeError, clock, definition,
    executor::{ACTIVITY, CHILD_ENDED, ChildEnd, ForEachProgress, Lifecycle, LifecycleEvent, USER_TASK},
    models, redact, steps, traits,
};

/// The README's quick starts are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
