//! The actions that external workers and people would take, for tests.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use wfe::{
    Result,
    external_tasks::{OpenActivity, OpenTask},
    steps::{StepError, UserAnswer},
};

use super::TestHost;

/// The maximum number of rows that one read of the store returns.
const PAGE: usize = 256;

impl TestHost {
    /// Returns the open activities with this name, oldest first.
    ///
    /// # Errors
    /// The errors of [`Activities::open`](wfe::external_tasks::Activities::open).
    pub async fn activities(&self, name: &str) -> Result<Vec<OpenActivity>> {
        let (activities, mut all, mut after) = (self.host().activities(), Vec::new(), None);
        loop {
            let page = activities.open(name, after, PAGE).await?;
            all.extend(page.rows);
            after = page.next;
            if after.is_none() {
                return Ok(all);
            }
        }
    }

    /// Returns the open user tasks, oldest first.
    ///
    /// # Errors
    /// The errors of [`UserTasks::open`](wfe::external_tasks::UserTasks::open).
    pub async fn user_tasks(&self) -> Result<Vec<OpenTask>> {
        let (tasks, mut all, mut after) = (self.host().user_tasks(), Vec::new(), None);
        loop {
            let page = tasks.open(None, after, PAGE).await?;
            all.extend(page.rows);
            after = page.next;
            if after.is_none() {
                return Ok(all);
            }
        }
    }

    /// Acts as an external worker: claims the oldest open activity with this name, passes its input to `work`, and
    /// answers the activity with the result. Returns the id of the instance that waited for the activity, or `None` if
    /// no activity was available.
    ///
    /// # Errors
    /// The errors of [`Activities::claim_by_name`](wfe::external_tasks::Activities::claim_by_name) and
    /// [`ActivityClaim::succeed`](wfe::external_tasks::ActivityClaim::succeed).
    pub async fn work<T: Serialize + Sync>(
        &self,
        name: &str,
        work: impl FnOnce(&Value) -> std::result::Result<T, StepError>,
    ) -> Result<Option<String>> {
        self.work_as("test", name, work).await
    }

    /// Does the same as [`work`](Self::work), as the worker of this name, which the claim shows.
    ///
    /// # Errors
    /// The same errors as [`work`](Self::work).
    pub async fn work_as<T: Serialize + Sync>(
        &self,
        worker: &str,
        name: &str,
        work: impl FnOnce(&Value) -> std::result::Result<T, StepError>,
    ) -> Result<Option<String>> {
        const LEASE: Duration = Duration::from_mins(1);
        let Some(claim) = self.host().activities().claim_by_name(name, worker, LEASE).await? else {
            return Ok(None);
        };
        match work(&claim.activity().input) {
            Ok(result) => claim.succeed(&result).await?,
            Err(error) => claim.fail(&error).await?,
        }
        Ok(Some(claim.activity().instance_id.clone()))
    }

    /// Answers a user task with this option, or with a [`UserAnswer`], which says who answers and has further data:
    /// `host.choose(&task.id, "yes")`, `host.choose(&task.id, UserAnswer::new("yes").by("ada"))`.
    ///
    /// # Errors
    /// The errors of [`UserTasks::answer`](wfe::external_tasks::UserTasks::answer).
    pub async fn choose(&self, task: &str, answer: impl Into<UserAnswer>) -> Result<()> {
        self.host().user_tasks().answer(task, &answer.into()).await
    }
}
