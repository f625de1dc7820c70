//! The public API of the engine. Each file holds the calls for one subject.

pub(crate) mod builder;
pub(crate) mod claim_count;
mod control;
pub(crate) mod failures;
mod idle;
mod publish;
mod query;
pub(crate) mod schedules;
mod start;
pub(crate) mod status;
mod workflow_host;

pub use crate::host::publish::PublishOptions;
pub use crate::host::start::StartOptions;
pub use crate::host::workflow_host::WorkflowHost;

pub(crate) use workflow_host::RESERVED;
