//! WFE is an embedded, durable workflow engine: it runs the steps of workflows and resumes them after a crash.
//!
//! A workflow consists of a data type and a [`Definition`](definition::Definition), both written in Rust. A
//! [`WorkflowHost`] runs the instances of workflows and keeps their state in a store. This crate re-exports
//! everything that a program needs besides a store. Authors of stores also need `wfe_core`.
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
//! A panic in the code of a workflow (a step body, a closure, a middleware) fails the step or the instance to which
//! the code belongs. A panic in a `tracing` subscriber (for example, because standard error goes to a full disk)
//! loses the log event and has no other effect. Three kinds of panic still abort the process, because Rust itself
//! does so: every panic under `panic = "abort"`, a panic that leaves a `Drop` implementation while another panic
//! unwinds, and a panic in a panic hook.

mod engine;
mod external_tasks;
mod host;
mod store;

pub use engine::{
    CatchUp, Idle, Outcome, Rest, StepDone, StepMiddleware, Tick, Timetable, WorkflowEnd, WorkflowMiddleware,
    WorkflowStart,
};
pub use external_tasks::{Activities, ActivityClaim, ActivityCtx, OpenActivity, OpenTask, UserTasks, Worker};
pub use host::builder::HostBuilder;
pub use host::failures::Failures;
pub use host::schedules::{NewSchedule, ScheduleStatus, Schedules};
pub use host::status::{Blocked, Held, InstanceStatus, Position, Waits};
pub use host::{PublishOptions, StartOptions, WorkflowHost};
pub use store::Guarantees;
pub use wfe_core::{
    Advice, BoxError, Family, Kind, Result, WfeError, clock, definition,
    executor::{ACTIVITY, CHILD_ENDED, ChildEnd, ForEachProgress, Lifecycle, LifecycleEvent, USER_TASK},
    models, redact, steps, traits,
};

/// Compiles and runs the code in the README.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
