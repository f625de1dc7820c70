//! The public face of the engine. What a program asks of it is told apart by what it is about, one file each.

pub(crate) mod builder;
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
