//! The retry of an ended instance, as the commit that makes it runnable.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use wfe_core::{
    Result, WfeError,
    executor::{Surroundings, reopen},
    traits::{Loaded, StepCommit},
};

use super::StoreAccess;

impl StoreAccess {
    /// The commit that retries the instance, and the revision at which the instance was read.
    ///
    /// # Errors
    /// * [`WorkflowNotFound`](WfeError::WorkflowNotFound): no instance has this id.
    /// * The errors of [`reopen`].
    pub async fn reopening(&self, id: &str, now: DateTime<Utc>) -> Result<(u64, StepCommit)> {
        let loaded = self.inspect(id).await?;
        let (waits, children) = Surroundings::wanted(&loaded)?;
        let mut surroundings = Surroundings { waits: HashMap::new(), children: HashMap::new() };
        for wait in waits {
            match self.loss.seen(self.provider.get_subscription(&wait).await) {
                Ok(closed) => drop(surroundings.waits.insert(wait, closed)),
                Err(WfeError::SubscriptionNotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        for child in children {
            match self.inspect(&child).await {
                Ok(stored) => drop(surroundings.children.insert(child, stored)),
                Err(WfeError::WorkflowNotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok((loaded.revision, reopen(&loaded, &surroundings, now)?))
    }

    /// The instance as it is stored now, or `None` if its rows are corrupt. A corrupt instance can still be cancelled
    /// and resumed.
    pub async fn inspect_sound(&self, id: &str) -> Result<Option<Loaded>> {
        match self.inspect(id).await {
            Ok(loaded) => Ok(Some(loaded)),
            Err(WfeError::Corrupt { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
