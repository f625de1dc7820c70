use wfe_core::{
    NoEffectReason, Result, WfeError,
    executor::view,
    models::{PointerStatus, WorkflowStatus},
    traits::{Control, Intervention, Loaded, Requested},
};

use super::workflow_host::WorkflowHost;
use crate::metrics;

impl WorkflowHost {
    /// Suspends an instance: no further steps start. Running steps finish, and their results are stored, while
    /// [`status`](Self::status) already shows `Suspended`. The cancellation tokens of running steps are not cancelled.
    /// Children of the instance are not suspended.
    ///
    /// Returns [`Accepted`](Requested::Accepted) once the request is stored: it takes effect with the next commit of the
    /// instance, no matter which host runs the instance, unless a later request replaces it before. Returns
    /// [`Redundant`](Requested::Redundant), and writes nothing, if the instance is suspended already or if the same
    /// request is already pending. A request to suspend replaces a pending request to resume.
    ///
    /// # Errors
    /// * [`WorkflowNotFound`](WfeError::WorkflowNotFound): no instance has this id.
    /// * [`NoEffect`](WfeError::NoEffect): the instance has [ended](NoEffectReason::Ended), or a pending request to
    ///   cancel or terminate it [takes precedence](NoEffectReason::Superseded). Nothing was written.
    /// * The errors of the store. After [`CommitUnknown`](WfeError::CommitUnknown) the request may or may not be
    ///   stored; it is safe to repeat the call.
    ///
    /// # Examples
    /// ```
    /// use wfe::prelude::*;
    ///
    /// const ANSWERED: Event<u32> = Event::new("answered");
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> wfe::Result<()> {
    /// let waits = WorkflowBuilder::<u32>::new("waits", 1)
    ///     .wait_for("answer", ANSWERED, |_| "k")
    ///     .output(|n, data| *data = n)
    ///     .build()?;
    /// let host = WorkflowHost::new(SqliteStore::new(":memory:").await?);
    /// let waits = host.register(waits)?;
    /// host.start().await?;
    /// let (first, second, third) = (waits.start(&0).await?, waits.start(&0).await?, waits.start(&0).await?);
    /// first.suspend().await?;
    /// second.cancel().await?; // compensates open sagas, if there are any
    /// third.terminate().await?; // compensates nothing
    /// host.publish(ANSWERED, "k", 7_u32).await?;
    /// first.resume().await?; // receives the event that was published while it was suspended
    /// assert_eq!(first.outcome().await?, Outcome::Completed(7));
    /// assert_eq!(second.outcome().await?, Outcome::Cancelled);
    /// assert_eq!(third.outcome().await?, Outcome::Terminated);
    /// # host.stop().await
    /// # }
    /// ```
    pub async fn suspend(&self, id: &str) -> Result<Requested> {
        self.request(id, Control::Suspend).await
    }

    /// Resumes a suspended instance. If the failure of a step suspended it, that step is tried again, with all its
    /// retries and with the same [idempotency key](wfe_core::steps::Ctx::idempotency_key) (a
    /// [`retry`](Self::retry) of a failed instance gives it another one). To continue without the failed step, use
    /// [`skip`](Self::skip) or [`resume_from`](Self::resume_from).
    ///
    /// The request is stored and takes effect as described for [`suspend`](Self::suspend). It is
    /// [`Redundant`](Requested::Redundant) if the same request is already pending. A request to resume replaces a
    /// pending request to suspend, even if the instance is not suspended yet.
    ///
    /// # Errors
    /// * The errors of [`suspend`](Self::suspend).
    /// * [`NoEffect`](WfeError::NoEffect) also if the instance is [not suspended](NoEffectReason::NotSuspended).
    pub async fn resume(&self, id: &str) -> Result<Requested> {
        self.request(id, Control::Resume).await
    }

    /// Resumes a suspended instance and skips its failed steps. The instance continues after each failed step as if
    /// that step had completed without an outcome. The outputs of a skipped step are not applied, and its failure stays
    /// stored. If the enclosing saga is compensated later, the `compensate_with` of the skipped step does not run, but its
    /// `compensate_even_if_failed` does. [`Intervention::Skip`] has the details.
    ///
    /// The request is stored and takes effect as described for [`suspend`](Self::suspend). It is
    /// [`Redundant`](Requested::Redundant) if the same request is already pending. It replaces a pending request to
    /// resume in another way.
    ///
    /// Whether a step has failed is checked before the request is stored. If another request resumes the failed step
    /// in between, the instance stays as it is, and the reason is stored among its [failures](Self::failures) with the
    /// code [`INTERVENTION`](wfe_core::steps::StepError::INTERVENTION).
    ///
    /// # Errors
    /// * The errors of [`suspend`](Self::suspend).
    /// * [`NoEffect`](WfeError::NoEffect) also if the instance is [not suspended](NoEffectReason::NotSuspended), or if
    ///   [none of its steps has failed](NoEffectReason::NothingFailed).
    /// * [`Unsupported`](WfeError::Unsupported): the store cannot store this request. Stores that implement only the
    ///   base traits (those of `PersistenceProvider`) cannot.
    ///
    /// # Examples
    /// ```
    /// use wfe::{status::State, prelude::*};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> wfe::Result<()> {
    /// let fails = WorkflowBuilder::<u32>::new("fails", 1)
    ///     .call("bad", |_, n| if *n == 0 { Err("nothing to do").fatal() } else { Ok(()) })
    ///     .on_failure(OnFailure::Suspend)
    ///     .change("good", |n| *n += 1)
    ///     .build()?;
    /// let host = WorkflowHost::new(SqliteStore::new(":memory:").await?);
    /// let fails = host.register(fails)?;
    /// host.start().await?;
    /// for from_a_step in [false, true] {
    ///     let instance = fails.start(&0).await?;
    ///     while instance.status().await?.state != State::Suspended {
    ///         tokio::task::yield_now().await;
    ///     }
    ///     if from_a_step { instance.resume_from("good").await? } else { instance.skip().await? };
    ///     assert_eq!(instance.outcome().await?.completed()?, 1);
    /// }
    /// # host.stop().await
    /// # }
    /// ```
    pub async fn skip(&self, id: &str) -> Result<Requested> {
        if self.store().inspect_sound(id).await?.is_some_and(|loaded| nothing_to_skip(&loaded)) {
            let request = Control::Resume.verb(Some(&Intervention::Skip));
            return Err(WfeError::NoEffect {
                id: id.to_owned(),
                request,
                reason: NoEffectReason::NothingFailed,
            });
        }
        self.intervene(id, &Intervention::Skip).await
    }

    /// Resumes a suspended instance from the step with this stable id, which starts over. The step must be on the main
    /// path, in the sequence in which a step has failed, or in an enclosing sequence. All other active steps in the
    /// step's sequence are cancelled first. A saga that is cancelled in this way is not compensated.
    /// [`Intervention::ResumeFrom`] has the details.
    ///
    /// No step needs to have failed: the call also resumes an instance that an operator suspended, or that the engine
    /// quarantined because it seemed to kill its process.
    ///
    /// The request is stored and takes effect as described for [`suspend`](Self::suspend). It is
    /// [`Redundant`](Requested::Redundant) if the same request is already pending. It replaces a pending request to
    /// resume in another way. If the instance cannot continue from the step, it stays suspended, and the reason is
    /// stored among its [failures](Self::failures) with the code
    /// [`INTERVENTION`](wfe_core::steps::StepError::INTERVENTION): whether it can is known only when the request is
    /// applied.
    ///
    /// # Errors
    /// The errors of [`skip`](Self::skip), except that a step need not have failed.
    pub async fn resume_from(&self, id: &str, step: &str) -> Result<Requested> {
        self.intervene(id, &Intervention::ResumeFrom(step.to_owned())).await
    }

    /// Cancels an instance: its open sagas are compensated, then it ends. Its children are cancelled too. The
    /// cancellation tokens of running steps are cancelled, but the cancellation of the instance does not wait for these
    /// steps to return. A step that ignores its token may still cause side effects that are not compensated
    /// ([`Ctx::cancellation`](wfe_core::steps::Ctx::cancellation)).
    ///
    /// The request is stored and takes effect as described for [`suspend`](Self::suspend). It is
    /// [`Redundant`](Requested::Redundant) if the instance already compensates its sagas in order to end, or if the same
    /// request is already pending. It replaces a pending request to suspend or to resume. If a compensating step with
    /// [`OnFailure::Suspend`](crate::definition::OnFailure::Suspend) fails, the instance is suspended with its
    /// compensation unfinished, and the cancellation stays in force: [`resume`](Self::resume) tries the compensating
    /// step again, [`skip`](Self::skip) continues after it, and [`terminate`](Self::terminate) ends the instance
    /// without the remaining compensations.
    ///
    /// # Errors
    /// The errors of [`suspend`](Self::suspend).
    pub async fn cancel(&self, id: &str) -> Result<Requested> {
        // An instance that is closing stays so until it ends.
        if self.store().inspect_sound(id).await?.is_some_and(|loaded| is_closing(&loaded)) {
            return Ok(Requested::Redundant);
        }
        self.request(id, Control::Cancel).await
    }

    /// Terminates an instance: it ends at once, and nothing is compensated. Its children and their children are
    /// terminated too. A child that is already being cancelled is not terminated: it still finishes its compensations.
    /// The cancellation tokens of running steps are cancelled, as for [`cancel`](Self::cancel).
    ///
    /// The request is stored and takes effect as described for [`suspend`](Self::suspend). It is
    /// [`Redundant`](Requested::Redundant) if the same request is already pending. It replaces every other request.
    ///
    /// # Errors
    /// The errors of [`suspend`](Self::suspend), except that no other request takes precedence.
    pub async fn terminate(&self, id: &str) -> Result<Requested> {
        self.request(id, Control::Terminate).await
    }

    async fn intervene(&self, id: &str, intervention: &Intervention) -> Result<Requested> {
        let action = Control::Resume.verb(Some(intervention));
        self.store_request(id, action, self.store().intervene(id, intervention)).await
    }

    async fn request(&self, id: &str, control: Control) -> Result<Requested> {
        self.store_request(id, control.verb(None), self.store().request(id, control)).await
    }

    /// Stores a request with this future, and has the engine apply it.
    async fn store_request(
        &self,
        id: &str,
        action: &'static str,
        store: impl Future<Output = Result<Requested>>,
    ) -> Result<Requested> {
        // The permit comes before the request is stored: a call that is dropped while it waits has requested nothing.
        let permit = self.engine().permit().await;
        let requested = store.await?;
        if requested == Requested::Accepted {
            metrics::requested(action, "program");
            self.engine().wake(id, permit);
        }
        Ok(requested)
    }
}

/// Whether the instance compensates its sagas in order to end, and no request is pending. If a request is pending, the
/// store decides.
pub(crate) fn is_closing(loaded: &Loaded) -> bool {
    loaded.control.is_none() && view::closing(&loaded.instance.execution_pointers).is_some()
}

/// Whether the instance is suspended without a failed step, and no request is pending. If a request is pending, the
/// store decides.
pub(crate) fn nothing_to_skip(loaded: &Loaded) -> bool {
    let mut pointers = loaded.instance.execution_pointers.iter();
    loaded.control.is_none()
        && loaded.instance.status == WorkflowStatus::Suspended
        && !pointers.any(|pointer| pointer.active && pointer.status == PointerStatus::Failed)
}
