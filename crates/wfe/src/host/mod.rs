//! The public API of the engine. Each file holds the calls for one subject.

pub(crate) mod builder;
pub(crate) mod claim_count;
mod control;
pub(crate) mod failures;
mod health;
mod idle;
mod instance;
mod publish;
mod query;
mod restart;
mod retry;
#[cfg(feature = "metrics")]
pub(crate) mod sampler;
pub(crate) mod schedules;
mod start;
pub(crate) mod status;
mod workflow_host;

pub use crate::{
    engine::{Idle, Retention},
    host::{builder::HostBuilder, failures::Failures},
    store::Guarantees,
};
pub use wfe_core::{
    executor::{Lifecycle, LifecycleEvent},
    traits::{Known, Published, Requested},
};

pub use crate::host::health::{Liveness, NotReady};
pub use crate::host::instance::Instance;
pub use crate::host::publish::Publish;
pub use crate::host::restart::Restarting;
pub use crate::host::start::{Started, Starting, Workflow};
pub use crate::host::workflow_host::WorkflowHost;

pub(crate) use control::{is_closing, nothing_to_skip};
pub(crate) use workflow_host::{RESERVED, refuse_empty_reference, refuse_reserved};
