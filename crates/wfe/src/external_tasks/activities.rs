use std::{collections::HashSet, time::Duration};

use serde_json::Value;
use wfe_core::{
    Result, WfeError,
    executor::{ACTIVITY, idempotency_key, idempotency_key_of_path, view::step_of},
    limits::later,
    models::EventSubscription,
    traits::{Cursor, Page},
};

use super::{ActivityClaim, Worker};
use crate::{
    WorkflowHost,
    engine::state::shared::Shared,
    host::{RESERVED, status::Held},
    store::check_own,
};

/// Activities for workers outside of the workflows; from [`WorkflowHost::activities`]. It works on a host that is not
/// started too: a worker's process needs no definitions.
///
/// A worker claims an activity by its name, for as long as its lease lasts, and answers it. A claim whose lease has run
/// out goes to the next worker, and the late answer of the first one is refused.
///
/// ```
/// use std::{collections::HashSet, time::Duration};
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
/// assert_eq!(host.outcome::<u32>(&id).await?, Outcome::Completed(42));
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
    /// The same for all claims and all attempts of this visit of the step, and after a crash; another one in each
    /// iteration of a loop and in each round of a saga. What the worker does outside can be made to happen once by it.
    /// It is what the step's own [`Ctx::idempotency_key`](wfe_core::steps::Ctx::idempotency_key) gives.
    pub idempotency_key: String,
    /// Who has claimed it; `None`: nobody yet.
    pub held: Option<Held>,
}

impl OpenActivity {
    /// Those that are done by ending these waits.
    async fn of_all(shared: &Shared, waits: &[EventSubscription]) -> Result<Vec<Self>> {
        let key =
            |wait: &EventSubscription| idempotency_key_of_path(&wait.workflow_id, &wait.execution_pointer_id);
        // Compensations: rare, so that a page costs one read more at most, and mostly none.
        let mut unknown: Vec<String> =
            waits.iter().filter(|wait| key(wait).is_none()).map(|wait| wait.workflow_id.clone()).collect();
        unknown.sort();
        unknown.dedup();
        let instances = if unknown.is_empty() {
            Vec::new()
        } else {
            shared.loss.seen(shared.provider.get_workflow_instances(&unknown).await)?
        };
        let stored = |wait: &EventSubscription| {
            let instance = instances.iter().find(|instance| instance.id == wait.workflow_id)?;
            let mut pointers = instance.execution_pointers.iter();
            let pointer = pointers.find(|pointer| pointer.id == wait.execution_pointer_id)?;
            Some(idempotency_key(&instance.id, pointer))
        };
        // Without its pointer it waits no longer, and nobody is to begin with it.
        Ok(waits
            .iter()
            .filter_map(|wait| Some(Self::of(wait, key(wait).or_else(|| stored(wait))?)))
            .collect())
    }

    fn of(wait: &EventSubscription, idempotency_key: String) -> Self {
        Self {
            idempotency_key,
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
    pub(in crate::external_tasks) fn host(&self) -> &WorkflowHost {
        &self.0
    }

    /// A page of the activities of this name that nobody has answered, oldest first; claimed ones too. One whose stored
    /// row contradicts itself is left out, and logged once: a page may be shorter than `limit` although others follow.
    ///
    /// # Errors
    /// * [`Invalid`](WfeError::Invalid): the name begins with `wfe.`, which is the engine's.
    /// * [`Unsupported`](WfeError::Unsupported): the store does not offer it.
    pub async fn open(&self, name: &str, after: Option<Cursor>, limit: usize) -> Result<Page<OpenActivity>> {
        let shared = self.0.shared();
        let page = shared.store.open_waits(&event_name(name)?, after, limit).await?;
        let mut waits = Vec::with_capacity(page.rows.len());
        for wait in page.rows {
            waits.extend(shared.sound(check_own(&wait).map(|()| wait))?);
        }
        Ok(Page { rows: OpenActivity::of_all(shared, &waits).await?, next: page.next })
    }

    /// Claims the oldest activity of this name that nobody has, or whose lease has run out; `None`: there is none now.
    /// One whose stored row contradicts itself is passed over, and logged once, as in [`open`](Self::open). `worker` is
    /// for people who ask who has it. A dropped future, and an error of the store, can leave a claim, which is free
    /// again after the lease.
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
        let mut passed_over = HashSet::new();
        while let Some(wait) = shared.store.claim_wait(&name, &token, worker, expiry).await? {
            let activity = match shared.sound(check_own(&wait))? {
                Some(()) => OpenActivity::of_all(shared, std::slice::from_ref(&wait)).await?.pop(),
                None => None,
            };
            if let Some(activity) = activity {
                return Ok(Some(ActivityClaim::new(
                    self.0.clone(),
                    activity,
                    wait,
                    token,
                    worker,
                    lease,
                    expiry,
                )));
            }
            // Its row contradicts itself, so that its instance would never hear of an answer; or its instance cannot be
            // read, or does not wait for it any more. It is held until the lease is over, so that the next one comes; a
            // lease that is over already leaves no other way than to give up.
            if !passed_over.insert(wait.id) {
                break;
            }
        }
        Ok(None)
    }

    /// A worker in this process, which does the activities of this name one after the other, or several at once.
    #[must_use]
    pub fn worker(&self, name: impl Into<String>, worker: impl Into<String>) -> Worker {
        Worker::new(self.clone(), name.into(), worker.into())
    }
}

pub(in crate::external_tasks) fn event_name(name: &str) -> Result<String> {
    if name.starts_with(RESERVED) {
        return Err(WfeError::Invalid(format!(
            "the activity's name {name:?} begins with {RESERVED:?}, as those of the engine's own do"
        )));
    }
    Ok(format!("{ACTIVITY}{name}"))
}
