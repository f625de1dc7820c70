use std::{collections::HashSet, fmt, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use wfe_core::{
    Result, WfeError,
    definition::Activity,
    executor::{idempotency_key, idempotency_key_of_path, view},
    limits::later,
    models::EventSubscription,
    traits::{Cursor, Page},
};

use super::{ActivityClaim, Claim, Worker};
use crate::{
    WorkflowHost,
    host::{refuse_reserved, status::Held},
    metrics,
    store::{StoreAccess, check_own},
};

/// Lists and claims activities, which external workers do for workflows. [`WorkflowHost::activities`] returns this
/// type.
///
/// The host need not be started, and the process of a worker needs no definitions. A worker claims an activity by its
/// name, does it, and answers it before the lease of the claim expires. Once the lease has expired, another worker
/// can claim the activity; the first worker's late answer is then refused.
///
/// ```
/// use wfe::prelude::*;
///
/// const DOUBLE: Activity<u32, u32> = Activity::new("double");
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> wfe::Result<()> {
/// let double = WorkflowBuilder::<u32>::new("double", 1)
///     .activity("ask", DOUBLE, |n| *n)
///     .output(|twice, n| *n = twice)
///     .build()?;
/// let host = WorkflowHost::new(SqliteStore::new(":memory:").await?);
/// let double = host.register(double)?;
/// host.start().await?;
/// let instance = double.start(&21).await?;
///
/// tokio::spawn(host.activities().worker(DOUBLE, "worker 1").run(async |n, _| Ok(2 * n)));
///
/// assert_eq!(instance.outcome().await?.completed()?, 42);
/// # host.stop().await
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Activities(WorkflowHost);

/// An activity that has not been answered yet.
///
/// Its text is one line: `activity "pack" ("0193…") of step pack in instance "0192…", not claimed`. Its JSON, in which
/// `held` is left out if no worker has claimed the activity, and `until` is in RFC 3339:
///
/// ```json
/// {
///   "id": "0193…", "name": "pack", "instance_id": "0192…", "step": "pack", "pointer": "pack",
///   "input": { "sku": 17 }, "idempotency_key": "0192…/pack",
///   "held": { "worker": "worker 1", "until": "2026-01-05T08:00:00Z" }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct OpenActivity {
    /// The id of the activity. A retry of the step creates a new activity with another id.
    pub id: String,
    /// The name under which workers claim the activity.
    pub name: String,
    /// The id of the instance that waits for the activity.
    pub instance_id: String,
    /// The stable id of the step that waits.
    pub step: String,
    /// The id of the step's execution pointer.
    pub pointer: String,
    /// The input for the worker.
    pub input: Value,
    /// The idempotency key of the activity. Pass it to external systems to make side effects idempotent. It is the
    /// same for all claims and all attempts, also after a crash. Each iteration of a loop and each round of a saga
    /// has its own key. The key also changes when the step starts over, by a go-to or by
    /// [`resume_from`](WorkflowHost::resume_from). It equals the step's
    /// [`Ctx::idempotency_key`](wfe_core::steps::Ctx::idempotency_key).
    pub idempotency_key: String,
    /// The current claim. `None` means that no worker has claimed the activity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
}

impl fmt::Display for OpenActivity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, name, instance_id, step, held, .. } = self;
        write!(
            f,
            "activity {name:?} ({id:?}) of step {} in instance {instance_id:?}, ",
            step.escape_debug()
        )?;
        match held {
            Some(held) => write!(f, "claimed by {}", held.by("worker")),
            None => f.write_str("not claimed"),
        }
    }
}

impl OpenActivity {
    /// The activities to which these subscriptions belong.
    async fn of_all(store: &StoreAccess, waits: &[EventSubscription]) -> Result<Vec<Self>> {
        let key =
            |wait: &EventSubscription| idempotency_key_of_path(&wait.workflow_id, &wait.execution_pointer_id);
        // The idempotency keys of compensations are stored in the instance. Compensations are rare: most pages need no
        // further read, and no page needs more than one.
        let mut unknown: Vec<String> =
            waits.iter().filter(|wait| key(wait).is_none()).map(|wait| wait.workflow_id.clone()).collect();
        unknown.sort();
        unknown.dedup();
        let instances = if unknown.is_empty() {
            Vec::new()
        } else {
            store.loss.seen(store.provider.get_workflow_instances(&unknown).await)?
        };
        let stored = |wait: &EventSubscription| {
            let instance = instances.iter().find(|instance| instance.id == wait.workflow_id)?;
            let mut pointers = instance.execution_pointers.iter();
            let pointer = pointers.find(|pointer| pointer.id == wait.execution_pointer_id)?;
            Some(idempotency_key(&instance.id, pointer))
        };
        // If the pointer no longer exists, the instance does not wait any more, and no worker should start the
        // activity.
        Ok(waits
            .iter()
            .filter_map(|wait| Some(Self::of(wait, key(wait).or_else(|| stored(wait))?)))
            .collect())
    }

    fn of(wait: &EventSubscription, idempotency_key: String) -> Self {
        Self {
            idempotency_key,
            id: wait.id.clone(),
            name: view::activity_name(&wait.event_name).unwrap_or_default().to_owned(),
            instance_id: wait.workflow_id.clone(),
            step: view::step_of(&wait.execution_pointer_id).to_owned(),
            pointer: wait.execution_pointer_id.clone(),
            input: view::activity_input(wait),
            held: Held::of(wait),
        }
    }
}

impl WorkflowHost {
    /// Returns the activities, which external workers do for workflows.
    #[must_use]
    pub fn activities(&self) -> Activities {
        Activities(self.clone())
    }
}

impl Activities {
    pub(in crate::external_tasks) fn host(&self) -> &WorkflowHost {
        &self.0
    }

    /// Returns a page of the open activities with this name, oldest first, including claimed ones. An activity whose
    /// stored row contradicts itself is left out and logged once, so that a page may have fewer than `limit` rows
    /// although more follow.
    ///
    /// # Errors
    /// * [`Invalid`](WfeError::Invalid): the name begins with `wfe.`, which is reserved for the engine.
    /// * [`Unsupported`](WfeError::Unsupported): the store cannot list open activities.
    pub async fn open(&self, name: &str, after: Option<Cursor>, limit: usize) -> Result<Page<OpenActivity>> {
        let store = self.0.store();
        let page = store.open_waits(&event_name(name)?, after, limit).await?;
        let mut waits = Vec::with_capacity(page.rows.len());
        for wait in page.rows {
            waits.extend(store.sound(check_own(&wait).map(|()| wait))?);
        }
        Ok(Page { rows: OpenActivity::of_all(store, &waits).await?, next: page.next })
    }

    /// Claims the oldest available one of these activities, with typed input and result. Otherwise like
    /// [`claim_by_name`](Self::claim_by_name), which has the rules.
    ///
    /// # Errors
    /// The errors of [`claim_by_name`](Self::claim_by_name).
    pub async fn claim<I, O>(
        &self,
        activity: Activity<I, O>,
        worker: &str,
        lease: Duration,
    ) -> Result<Option<Claim<I, O>>>
    where
        I: DeserializeOwned,
        O: Serialize + Sync,
    {
        Ok(self.claim_by_name(activity.name(), worker, lease).await?.map(Claim::new))
    }

    /// Claims the oldest available activity with this name. An activity is available if it is not claimed, or if the
    /// lease of its claim has expired. Returns `None` if no activity is available now. An activity whose stored row
    /// contradicts itself is skipped and logged once, as in [`open`](Self::open). `worker` is shown to people who
    /// look up who holds the claim.
    ///
    /// If the future is dropped or the store fails, the activity may be claimed all the same. It is available again
    /// when the lease expires.
    ///
    /// # Errors
    /// * [`Invalid`](WfeError::Invalid): the name begins with `wfe.`, which is reserved for the engine; or the lease
    ///   is zero.
    /// * [`Unsupported`](WfeError::Unsupported): the store does not support claims.
    #[expect(clippy::disallowed_methods, reason = "unique in the world, so not repeatable")]
    pub async fn claim_by_name(
        &self,
        name: &str,
        worker: &str,
        lease: Duration,
    ) -> Result<Option<ActivityClaim>> {
        if lease.is_zero() {
            return Err(WfeError::Invalid("the lease of a claim is 0; it must be longer".to_owned()));
        }
        let (name, store) = (event_name(name)?, self.0.store());
        // The token does not come from the host's own random number generator: hosts with the same seed must not have
        // the same tokens.
        let token = format!("{:032x}", fastrand::u128(..));
        let expiry = later(self.0.engine().now(), lease);
        let mut skipped = HashSet::new();
        while let Some(wait) = store.claim_wait(&name, &token, worker, expiry).await? {
            let activity = match store.sound(check_own(&wait))? {
                Some(()) => OpenActivity::of_all(store, std::slice::from_ref(&wait)).await?.pop(),
                None => None,
            };
            if let Some(activity) = activity {
                metrics::activity_claimed(&activity.name, &wait.id, || self.0.engine().now());
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
            // Either the row contradicts itself, so that an answer would never reach the instance, or the instance
            // cannot be read, or the instance does not wait for the activity any more. The claim stays until its lease
            // expires, so that the loop gets the next activity. If the store returns the same activity again, its lease
            // has already expired: give up.
            if !skipped.insert(wait.id) {
                break;
            }
        }
        Ok(None)
    }

    /// Creates a worker in this process that does the activities with this name, one at a time or
    /// [several at once](Worker::concurrent). `worker` is its name in claims.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "callers write a constant: `worker(PACK, …)`")]
    pub fn worker<I, O>(&self, activity: Activity<I, O>, worker: impl Into<String>) -> Worker<I, O>
    where
        I: DeserializeOwned + 'static,
        O: Serialize + Sync + 'static,
    {
        Worker::new(self.clone(), activity.name().to_owned(), worker.into())
    }
}

pub(in crate::external_tasks) fn event_name(name: &str) -> Result<String> {
    refuse_reserved("activity", "name", name)?;
    Ok(view::activity_event(name))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_open_activity_has_a_text_and_a_json() {
        let open = OpenActivity {
            id: "a".to_owned(),
            name: "pack".to_owned(),
            instance_id: "i".to_owned(),
            step: "ask".to_owned(),
            pointer: "each/1/ask".to_owned(),
            input: json!({ "sku": 17 }),
            idempotency_key: "i/each/1/ask".to_owned(),
            held: None,
        };
        let text = "activity \"pack\" (\"a\") of step ask in instance \"i\"";
        assert_eq!(open.to_string(), format!("{text}, not claimed"));
        let mut json = json!({
            "id": "a", "name": "pack", "instance_id": "i", "step": "ask", "pointer": "each/1/ask",
            "input": { "sku": 17 }, "idempotency_key": "i/each/1/ask",
        });
        assert_eq!(serde_json::to_value(&open).unwrap(), json);
        let held = Held { worker: Some("worker 1".to_owned()), until: Some(DateTime::UNIX_EPOCH) };
        let open = OpenActivity { held: Some(held), ..open };
        let lease = "lease until 1970-01-01 00:00:00 UTC";
        assert_eq!(open.to_string(), format!("{text}, claimed by worker \"worker 1\" ({lease})"));
        json["held"] = json!({ "worker": "worker 1", "until": "1970-01-01T00:00:00Z" });
        assert_eq!(serde_json::to_value(&open).unwrap(), json);
    }
}
