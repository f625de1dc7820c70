use std::time::Duration;

use serde_json::Value;
use wfe_core::{
    Result, WfeError,
    executor::ACTIVITY,
    models::EventSubscription,
    traits::{Cursor, Page},
};

use super::{ActivityClaim, Worker, later, step_of};
use crate::{WorkflowHost, host::RESERVED, status::Held};

/// Activities for workers outside of the workflows; from [`WorkflowHost::activities`]. It works on a host that is not
/// started too: a worker's process needs no definitions.
///
/// A worker claims an activity by its name, for as long as its lease lasts, and answers it. A claim whose lease has run
/// out goes to the next worker, and the late answer of the first one is refused.
///
/// ```
/// use std::time::Duration;
/// use wfe::{Outcome, WorkflowHost, definition::{WorkflowBuilder, activity}};
/// use wfe_sqlite::SqlitePersistenceProvider;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> wfe::Result<()> {
/// let double = WorkflowBuilder::<u32>::new("double", 1)
///     .activity("ask", activity("double", |n: &u32, _| *n).output(|twice: &u32, n: &mut u32| *n = *twice))
///     .build()?;
/// let host = WorkflowHost::new(SqlitePersistenceProvider::new(":memory:").await?);
/// host.register(double)?;
/// host.start().await?;
/// let id = host.start_workflow("double", &21_u32).await?;
///
/// let worker = host.activities().worker("double", "worker 1");
/// tokio::spawn(worker.run(|n: u32, _| async move { Ok(2 * n) }));
///
/// assert_eq!(host.wait_for::<u32>(&id).await?, Outcome::Completed(42));
/// # host.stop().await
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Activities(WorkflowHost);

/// An activity that nobody has answered yet.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct OpenActivity {
    /// Its id: that of the wait. A retry of the step makes another one.
    pub id: String,
    /// The name by which workers find it.
    pub name: String,
    /// The instance that waits for it.
    pub instance_id: String,
    /// The stable id of the step.
    pub step: String,
    /// The step's pointer.
    pub pointer: String,
    /// What the worker is given.
    pub input: Value,
    /// Who has claimed it; `None`: nobody yet.
    pub held: Option<Held>,
}

impl OpenActivity {
    pub(super) fn of(wait: &EventSubscription) -> Self {
        Self {
            id: wait.id.clone(),
            name: wait.event_name.strip_prefix(ACTIVITY).unwrap_or_default().to_owned(),
            instance_id: wait.workflow_id.clone(),
            step: step_of(&wait.execution_pointer_id).to_owned(),
            pointer: wait.execution_pointer_id.clone(),
            input: wait.subscription_data.clone().unwrap_or_default(),
            held: Held::of(wait),
        }
    }
}

impl WorkflowHost {
    /// The activities that workers outside may do.
    #[must_use]
    pub fn activities(&self) -> Activities {
        Activities(self.clone())
    }
}

impl Activities {
    pub(super) fn host(&self) -> &WorkflowHost {
        &self.0
    }

    /// A page of the activities of this name that nobody has answered, oldest first; claimed ones too.
    ///
    /// # Errors
    /// * [`Invalid`](WfeError::Invalid): the name begins with `wfe.`, which is the engine's.
    /// * [`Unsupported`](WfeError::Unsupported): the store does not offer it.
    pub async fn open(&self, name: &str, after: Option<Cursor>, limit: usize) -> Result<Page<OpenActivity>> {
        let page = self.0.shared().store.open_waits(&event_name(name)?, after, limit).await?;
        Ok(Page { rows: page.rows.iter().map(OpenActivity::of).collect(), next: page.next })
    }

    /// Claims the oldest activity of this name that nobody has, or whose lease has run out; `None`: there is none now.
    /// `worker` is for people who ask who has it. A dropped future can leave a claim, which is free again after the lease.
    ///
    /// # Errors
    /// * [`Invalid`](WfeError::Invalid): the name begins with `wfe.`, or the lease is zero.
    /// * [`Unsupported`](WfeError::Unsupported): the store does not offer it.
    #[expect(clippy::disallowed_methods, reason = "unique in the world, so not repeatable")]
    pub async fn claim(&self, name: &str, worker: &str, lease: Duration) -> Result<Option<ActivityClaim>> {
        if lease.is_zero() {
            return Err(WfeError::Invalid("the lease of a claim is 0, it must be longer".to_owned()));
        }
        let (name, shared) = (event_name(name)?, self.0.shared());
        // Not from the host's own source of randomness: hosts with the same seed must not have the same tokens.
        let token = format!("{:032x}", fastrand::u128(..));
        let expiry = later(shared.now(), lease);
        let wait = shared.store.claim_wait(&name, &token, worker, expiry).await?;
        Ok(wait.map(|wait| ActivityClaim::new(self.0.clone(), wait, token, worker, lease, expiry)))
    }

    /// A worker in this process, which does the activities of this name one after the other, or several at once.
    #[must_use]
    pub fn worker(&self, name: impl Into<String>, worker: impl Into<String>) -> Worker {
        Worker::new(self.clone(), name.into(), worker.into())
    }
}

pub(super) fn event_name(name: &str) -> Result<String> {
    if name.starts_with(RESERVED) {
        return Err(WfeError::Invalid(format!(
            "the activity's name {name:?} begins with {RESERVED:?}, as those of the engine's own do"
        )));
    }
    Ok(format!("{ACTIVITY}{name}"))
}
