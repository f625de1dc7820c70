//! Starts the instances of schedules.

use std::sync::Weak;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use wfe_core::{Kind, WfeError, steps::StepError};

use super::{Door, Handle};
use crate::engine::schedule::{definition::Starter, spec::Spec, tick::Tick};

/// Starts instances for ticks, as long as the host exists.
pub(super) struct Ticks(pub Weak<Door>);

impl Starter for Ticks {
    fn now(&self) -> Option<DateTime<Utc>> {
        self.0.upgrade().map(|door| door.shared.now())
    }

    fn start<'a>(&'a self, spec: &'a Spec, tick: Tick) -> BoxFuture<'a, Result<bool, StepError>> {
        Box::pin(async move {
            let door = self.0.upgrade().ok_or_else(|| StepError::retryable("the host has ended"))?;
            match Handle(door).start_scheduled(spec, tick.instance_name(), tick.reference()).await {
                // The schedule was changed to another definition, and an instance of the former one was started.
                Err(WfeError::AlreadyExists { kind: Kind::WorkflowName, .. }) => Ok(false),
                Err(error @ (WfeError::Invalid(_) | WfeError::DefinitionNotFound { .. })) => {
                    Err(StepError::retryable(error).with_code(StepError::DEFINITION))
                }
                started => started.map(|started| started.is_new).map_err(StepError::retryable),
            }
        })
    }
}
