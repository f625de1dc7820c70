use std::{fmt, time::Duration};

use chrono::{DateTime, Utc};
use serde::{Serialize, de::DeserializeOwned};
use wfe_core::{
    Result, WfeError,
    definition::to_value,
    limits::later,
    models::EventSubscription,
    steps::{StepError, WorkerAnswer},
};

use super::{OpenActivity, answer_to, refusal::refused};
use crate::{WorkflowHost, store::loss::Loss};

/// A claim of an activity. Other workers cannot claim the activity until the lease expires. Dropping the claim does
/// not release it early; [`release`](Self::release) does. [`Claim`](super::Claim) is the typed form.
///
/// ```
/// use std::time::Duration;
/// use wfe::WorkflowHost;
///
/// /// Does whatever activity has this name, by an external program.
/// async fn do_one(host: &WorkflowHost, name: &str) -> wfe::Result<()> {
///     let claim = host.activities().claim_by_name(name, "runner", Duration::from_mins(1)).await?;
///     let Some(claim) = claim else { return Ok(()) };
///     let input: serde_json::Value = claim.input()?;
///     claim.succeed(&run(name, &input)).await
/// }
/// # fn run(_: &str, input: &serde_json::Value) -> serde_json::Value { input.clone() }
/// ```
pub struct ActivityClaim {
    host: WorkflowHost,
    activity: OpenActivity,
    wait: EventSubscription,
    token: String,
    worker: String,
    lease: Duration,
    expiry: DateTime<Utc>,
}

impl ActivityClaim {
    pub(in crate::external_tasks) fn new(
        host: WorkflowHost,
        activity: OpenActivity,
        wait: EventSubscription,
        token: String,
        worker: &str,
        lease: Duration,
        expiry: DateTime<Utc>,
    ) -> Self {
        let worker = worker.to_owned();
        Self { host, activity, wait, token, worker, lease, expiry }
    }

    /// Returns the claimed activity.
    #[must_use]
    pub fn activity(&self) -> &OpenActivity {
        &self.activity
    }

    /// Returns the input for the worker, deserialized as `I`.
    ///
    /// # Errors
    /// [`Serialization`](WfeError::Serialization): the input does not deserialize as `I`.
    pub fn input<I: DeserializeOwned>(&self) -> Result<I> {
        Ok(I::deserialize(&self.activity.input)?)
    }

    /// Returns the [idempotency key](OpenActivity::idempotency_key) of the activity.
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        self.activity.idempotency_key.clone()
    }

    /// Returns the token that proves the claim.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Returns when the lease expires.
    #[must_use]
    pub fn expiry(&self) -> DateTime<Utc> {
        self.expiry
    }

    /// Renews the claim: its full lease starts again now.
    ///
    /// # Errors
    /// After one of these errors, stop working on the activity:
    /// * [`TaskCompleted`](WfeError::TaskCompleted): the activity has already been answered.
    /// * [`TaskCancelled`](WfeError::TaskCancelled): the instance does not wait for the activity any more.
    /// * [`LeaseExpired`](WfeError::LeaseExpired): the lease has expired, and another worker has claimed the
    ///   activity.
    pub async fn heartbeat(&mut self) -> Result<()> {
        self.expiry = self.renew().await?;
        Ok(())
    }

    /// Renews the claim and returns when the new lease expires.
    pub(in crate::external_tasks) async fn renew(&self) -> Result<DateTime<Utc>> {
        let store = self.host.store();
        let expiry = later(self.host.engine().now(), self.lease);
        let (wait, token) = (&self.wait.id, &self.token);
        let kept = store.provider.set_subscription_token(wait, token, &self.worker, expiry).await;
        match store.loss.seen(kept) {
            Ok(true) => Ok(expiry),
            Ok(false) | Err(WfeError::SubscriptionNotFound(_)) => {
                refused(&self.host, &self.wait, Some(token)).await
            }
            Err(error) => Err(error),
        }
    }

    /// Answers the activity with a result; the instance continues. After [`CommitUnknown`](WfeError::CommitUnknown)
    /// it is safe to give the same answer again: it counts once.
    ///
    /// # Errors
    /// * [`TaskCompleted`](WfeError::TaskCompleted): the activity has already been answered, by another worker or by
    ///   this claim with another answer. The new answer has no effect.
    /// * [`TaskCancelled`](WfeError::TaskCancelled): the instance does not wait for the activity any more. The answer
    ///   has no effect.
    /// * [`LeaseExpired`](WfeError::LeaseExpired): the lease has expired. The answer has no effect; the activity can
    ///   be claimed again.
    /// * [`Serialization`](WfeError::Serialization): the result cannot be represented as JSON.
    pub async fn succeed(&self, result: &(impl Serialize + ?Sized + Sync)) -> Result<()> {
        self.answer(&WorkerAnswer::Success(to_value(result)?)).await
    }

    /// Answers the activity with a failure. The attempt of the step has failed; the step's retry policy and
    /// [`OnFailure`](wfe_core::definition::OnFailure) decide what follows. Fatal errors are not retried.
    ///
    /// # Errors
    /// The errors of [`succeed`](Self::succeed).
    pub async fn fail(&self, error: &StepError) -> Result<()> {
        self.answer(&WorkerAnswer::failure(error)).await
    }

    /// Gives the activity back. The next worker can claim it at once.
    ///
    /// # Errors
    /// The errors of [`heartbeat`](Self::heartbeat): the claim is lost, so there is nothing to give back.
    pub async fn release(self) -> Result<()> {
        self.give_back().await
    }

    pub(in crate::external_tasks) fn host(&self) -> &WorkflowHost {
        &self.host
    }

    pub(in crate::external_tasks) fn loss(&self) -> &Loss {
        &self.host.store().loss
    }

    pub(in crate::external_tasks) async fn give_back(&self) -> Result<()> {
        let store = self.host.store();
        let cleared = store.provider.clear_subscription_token(&self.wait.id, &self.token).await;
        match store.loss.seen(cleared) {
            Ok(()) => {
                self.host.engine().tasks_changed();
                Ok(())
            }
            Err(WfeError::SubscriptionNotFound(_)) => {
                refused(&self.host, &self.wait, Some(&self.token)).await
            }
            Err(error) => Err(error),
        }
    }

    async fn answer(&self, answer: &WorkerAnswer) -> Result<()> {
        let event = answer_to(&self.wait, &self.token, to_value(answer)?);
        let store = self.host.store();
        match store.answer_wait(&self.wait.id, Some(&self.token), &event).await {
            Ok(true) => {}
            Ok(false) => {
                let stored = store.loss.seen(store.provider.get_event(&event.id).await)?;
                if stored.event_data != event.event_data {
                    // Another answer was accepted before and stays stored. `Ok` would hide that the new answer has no
                    // effect.
                    return Err(WfeError::TaskCompleted(self.wait.id.clone()));
                }
            }
            Err(WfeError::SubscriptionNotFound(_)) => {
                return refused(&self.host, &self.wait, Some(&self.token)).await;
            }
            Err(error) => return Err(error),
        }
        self.host.answer_was_stored();
        Ok(())
    }
}

impl fmt::Debug for ActivityClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActivityClaim")
            .field("activity", &self.activity)
            .field("worker", &self.worker)
            .field("expiry", &self.expiry)
            .finish_non_exhaustive()
    }
}
