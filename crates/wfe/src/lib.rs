//! WFE is an embedded, durable workflow engine: it runs the steps of workflows and resumes them after a crash.
//!
//! A workflow consists of a data type and a [`Definition`](definition::Definition), both written in Rust. A
//! [`WorkflowHost`] runs the instances of workflows and keeps their state in a store. With the feature `sqlite`, which
//! is on by default, this crate has a store on SQLite. Authors of stores also need `wfe_core`.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use wfe::prelude::*;
//!
//! #[derive(Clone, Serialize, Deserialize)]
//! struct Greeting { name: String, text: String }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Error> {
//! let greet = WorkflowBuilder::<Greeting>::new("greet", 1)
//!     .then("write", async |_, greeting| Ok(format!("hello, {}", greeting.name)))
//!     .output(|text, greeting| greeting.text = text)
//!     .build()?;
//!
//! let host = WorkflowHost::new(SqliteStore::new(":memory:").await?); // or "sqlite:///path/to/state.db"
//! let greet = host.register(greet)?;
//! host.start().await?;
//! let instance = greet.start(&Greeting { name: "world".into(), text: String::new() }).await?;
//! assert_eq!(instance.outcome().await?.completed()?.text, "hello, world");
//! host.stop().await
//! # }
//! ```
//!
//! | module | what it has |
//! |---|---|
//! | [`prelude`] | what most programs need: `use wfe::prelude::*` |
//! | [`definition`] | the builder of definitions, typed names, retry policies |
//! | [`steps`] | what bodies use: context, results, failures |
//! | [`host`] | what a program calls: starting, publishing, control, lifecycle events |
//! | [`status`] | what an instance is doing |
//! | [`operator`] | what an operator can ask and do, without a host |
//! | [`external_tasks`] | workers, activities, user tasks |
//! | [`schedules`] | workflows that start at set times |
//! | [`middleware`] | code around steps and workflows |
//! | `metrics` | metrics for Prometheus and others, with the feature `metrics` |
//! | [`error`] | what errors are about and what to do |
//! | [`models`], [`traits`], [`clock`] | what stores and tests use |
//!
//! # Panics
//!
//! A panic in the code of a workflow (a step body, a closure, a middleware) fails the step or the instance to which
//! the code belongs. A panic in a `tracing` subscriber (for example, because standard error goes to a full disk)
//! loses the log event and has no other effect. Three kinds of panic still abort the process, because Rust itself
//! does so: every panic under `panic = "abort"`, a panic that leaves a `Drop` implementation while another panic
//! unwinds, and a panic in a panic hook.

mod engine;
pub mod external_tasks;
pub mod guide;
pub mod host;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(not(feature = "metrics"))]
#[path = "metrics/off.rs"]
mod metrics;
pub mod operator;
pub mod prelude;
mod store;

pub use engine::Outcome;
pub use host::WorkflowHost;
pub use operator::Operator;
/// The error of every call of the host.
pub use wfe_core::WfeError as Error;
pub use wfe_core::{Result, WfeError, clock, definition, models, redact, steps, traits};

/// What an instance is doing, and why it waits.
pub mod status {
    pub use crate::host::status::{Blocked, Held, InstanceStatus, Position, State, Waits};
    pub use wfe_core::executor::{ACTIVITY, CHILD_ENDED, ChildEnd, ForEachProgress, USER_TASK};
}

/// Workflows that start at set times.
pub mod schedules {
    pub use crate::{
        engine::{CatchUp, Tick, Timetable},
        host::schedules::{Change, NewSchedule, ScheduleStatus, Schedules, Scheduling, Updating},
    };
}

/// Code that runs around steps and workflows.
pub mod middleware {
    pub use crate::engine::{Rest, StepDone, StepMiddleware, WorkflowEnd, WorkflowMiddleware, WorkflowStart};
}

/// What an error is about, and what the caller can do.
pub mod error {
    pub use wfe_core::{Advice, BoxError, Family, Kind, NoEffectReason, RetryRefusal};
}

/// The store on SQLite.
#[cfg(feature = "sqlite")]
pub mod sqlite {
    pub use wfe_sqlite::{
        BUSY_TIMEOUT, CACHE_BYTES, LEASE, SqliteOptions, SqlitePersistenceProvider, is_sidecar,
    };

    /// The short name of [`SqlitePersistenceProvider`].
    pub type SqliteStore = SqlitePersistenceProvider;
}

/// Compiles and runs the code in the README.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
