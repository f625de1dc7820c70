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

/// An activity that this worker has, until its lease runs out. Dropped, it is free for others then;
/// [`release`](Self::release) frees it at once.
///
/// ```
/// use std::time::Duration;
/// use wfe::{WorkflowHost, steps::StepError};
///
/// async fn print_one(host: &WorkflowHost) -> wfe::Result<()> {
///     let claim = host.activities().claim("print", "printer 2", Duration::from_mins(1)).await?;
///     let Some(claim) = claim else { return Ok(()) };
///     match print(&claim.input::<String>()?) {
///         Ok(pages) => claim.succeed(&pages).await,
///         // Somebody else may have paper: back to where it was.
///         Err(Trouble::NoPaper) => claim.release().await,
///         // The step's retry policy says what follows; a fatal error is not tried again.
///         Err(Trouble::Unreadable) => claim.fail(&StepError::fatal("it cannot be read").with_code("unreadable")).await,
///     }
/// }
/// # enum Trouble { NoPaper, Unreadable }
/// # fn print(_: &str) -> Result<u32, Trouble> { Ok(1) }
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

    /// What is to be done.
    #[must_use]
    pub fn activity(&self) -> &OpenActivity {
        &self.activity
    }

    /// What the worker is given, typed.
    ///
    /// # Errors
    /// [`Serialization`](WfeError::Serialization): it is not an `I`.
    pub fn input<I: DeserializeOwned>(&self) -> Result<I> {
        Ok(I::deserialize(&self.activity.input)?)
    }

    /// As [`OpenActivity::idempotency_key`].
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        self.activity.idempotency_key.clone()
    }

    /// Proves the claim.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// When the lease runs out.
    #[must_use]
    pub fn expiry(&self) -> DateTime<Utc> {
        self.expiry
    }

    /// Renews the lease: it runs out `lease` from now.
    ///
    /// # Errors
    /// Stop working on the activity after one of these:
    /// * [`TaskCompleted`](WfeError::TaskCompleted): it was answered already.
    /// * [`TaskCancelled`](WfeError::TaskCancelled): its instance no longer waits for it.
    /// * [`LeaseExpired`](WfeError::LeaseExpired): the lease ran out and another worker has claimed it.
    pub async fn heartbeat(&mut self) -> Result<()> {
        self.expiry = self.renew().await?;
        Ok(())
    }

    /// Gives the new end of the lease.
    pub(in crate::external_tasks) async fn renew(&self) -> Result<DateTime<Utc>> {
        let shared = self.host.shared();
        let expiry = later(shared.now(), self.lease);
        let (wait, token) = (&self.wait.id, &self.token);
        let kept = shared.provider.set_subscription_token(wait, token, &self.worker, expiry).await;
        match shared.loss.seen(kept) {
            Ok(true) => Ok(expiry),
            Ok(false) | Err(WfeError::SubscriptionNotFound(_)) => {
                refused(shared, &self.wait, Some(token)).await
            }
            Err(error) => Err(error),
        }
    }

    /// Answers with a result; the instance goes on. After [`CommitUnknown`](WfeError::CommitUnknown) the same answer may
    /// be given again: it counts once.
    ///
    /// # Errors
    /// * [`TaskCompleted`](WfeError::TaskCompleted): it was answered already, by another worker or by this claim with
    ///   another result. This answer has no effect.
    /// * [`TaskCancelled`](WfeError::TaskCancelled): its instance no longer waits for it. The answer has no effect.
    /// * [`LeaseExpired`](WfeError::LeaseExpired): the lease ran out before the answer. The answer has no effect; the
    ///   activity can be claimed again.
    /// * [`Serialization`](WfeError::Serialization): the result does not fit JSON.
    pub async fn succeed(&self, result: &(impl Serialize + ?Sized + Sync)) -> Result<()> {
        self.answer(&WorkerAnswer::Success(to_value(result)?)).await
    }

    /// Answers that it could not be done. The step has failed, and its retry policy and error behaviour say what follows;
    /// a fatal error is not tried again.
    ///
    /// # Errors
    /// As [`succeed`](Self::succeed).
    pub async fn fail(&self, error: &StepError) -> Result<()> {
        self.answer(&WorkerAnswer::failure(error)).await
    }

    /// Gives it back: the next worker gets it at once.
    ///
    /// # Errors
    /// As [`heartbeat`](Self::heartbeat): it is no longer this worker's to give back.
    pub async fn release(self) -> Result<()> {
        self.give_back().await
    }

    pub(in crate::external_tasks) fn loss(&self) -> &Loss {
        &self.host.shared().loss
    }

    pub(in crate::external_tasks) async fn give_back(&self) -> Result<()> {
        let shared = self.host.shared();
        let cleared = shared.provider.clear_subscription_token(&self.wait.id, &self.token).await;
        match shared.loss.seen(cleared) {
            Ok(()) => {
                shared.post.work_is_there();
                Ok(())
            }
            Err(WfeError::SubscriptionNotFound(_)) => refused(shared, &self.wait, Some(&self.token)).await,
            Err(error) => Err(error),
        }
    }

    async fn answer(&self, answer: &WorkerAnswer) -> Result<()> {
        let event = answer_to(&self.wait, &self.token, to_value(answer)?);
        let shared = self.host.shared();
        match shared.store.answer_wait(&self.wait.id, Some(&self.token), &event).await {
            Ok(true) => {}
            Ok(false) => {
                let stored = shared.loss.seen(shared.provider.get_event(&event.id).await)?;
                if stored.event_data != event.event_data {
                    // The accepted answer stays: a success would let the worker believe that this one counts.
                    return Err(WfeError::TaskCompleted(self.wait.id.clone()));
                }
            }
            Err(WfeError::SubscriptionNotFound(_)) => {
                return refused(shared, &self.wait, Some(&self.token)).await;
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
