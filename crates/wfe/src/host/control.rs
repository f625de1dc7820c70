use wfe_core::{
    Result,
    traits::{Control, Intervention},
};

use super::workflow_host::WorkflowHost;

impl WorkflowHost {
    /// Suspends an instance: no further steps start. Running steps finish, and their results are stored, while
    /// [`status`](Self::status) already shows `Suspended`. The cancellation tokens of running steps are not cancelled.
    /// Children of the instance are not suspended.
    ///
    /// Returns once the request is stored; from then on, the request takes effect no matter which host runs the
    /// instance. A request for an instance that has ended changes nothing.
    ///
    /// # Errors
    /// [`WorkflowNotFound`](wfe_core::WfeError::WorkflowNotFound): no instance has this id.
    ///
    /// # Examples
    /// ```
    /// use wfe::{Outcome, WorkflowHost, definition::{WorkflowBuilder, event}};
    /// use wfe_sqlite::SqlitePersistenceProvider;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> wfe::Result<()> {
    /// let waits = WorkflowBuilder::<u32>::new("waits", 1)
    ///     .wait_for("answer", event("answered", |_: &u32, ()| "k").output(|n: &u32, data| *data = *n))
    ///     .build()?;
    /// let host = WorkflowHost::new(SqlitePersistenceProvider::new(":memory:").await?);
    /// host.register(waits)?;
    /// host.start().await?;
    /// let ids = [host.start_workflow("waits", &0_u32).await?, host.start_workflow("waits", &0_u32).await?];
    /// let third = host.start_workflow("waits", &0_u32).await?;
    /// host.suspend(&ids[0]).await?;
    /// host.cancel(&ids[1]).await?; // compensates open sagas, if there are any
    /// host.terminate(&third).await?; // compensates nothing
    /// host.publish_event("answered", "k", &7_u32).await?;
    /// host.resume(&ids[0]).await?; // receives the event that was published while it was suspended
    /// assert_eq!(host.outcome::<u32>(&ids[0]).await?, Outcome::Completed(7));
    /// assert_eq!(host.outcome::<u32>(&ids[1]).await?, Outcome::Cancelled);
    /// assert_eq!(host.outcome::<u32>(&third).await?, Outcome::Terminated);
    /// # host.stop().await
    /// # }
    /// ```
    pub async fn suspend(&self, id: &str) -> Result<()> {
        self.request(id, Control::Suspend).await
    }

    /// Resumes a suspended instance. If the failure of a step suspended it, that step is tried again, with all its
    /// retries. To continue without the failed step, use [`skip`](Self::skip) or [`resume_from`](Self::resume_from).
    ///
    /// The request is stored and takes effect as described for [`suspend`](Self::suspend).
    ///
    /// # Errors
    /// [`WorkflowNotFound`](wfe_core::WfeError::WorkflowNotFound): no instance has this id.
    pub async fn resume(&self, id: &str) -> Result<()> {
        self.request(id, Control::Resume).await
    }

    /// Resumes a suspended instance and skips its failed steps. The instance continues after each failed step as if
    /// that step had completed without an outcome. The outputs of a skipped step are not applied, and its failure stays
    /// stored. If the enclosing saga is compensated later, the compensation of the skipped step does not run.
    /// [`Intervention::Skip`] has the details.
    ///
    /// The request is stored and takes effect as described for [`suspend`](Self::suspend). It changes nothing if the
    /// instance is not suspended when the request is applied. If no step of the suspended instance has failed, the
    /// instance stays suspended, and the reason is stored among its [failures](Self::failures) with the code
    /// [`INTERVENTION`](wfe_core::steps::StepError::INTERVENTION).
    ///
    /// # Errors
    /// * [`WorkflowNotFound`](wfe_core::WfeError::WorkflowNotFound): no instance has this id.
    /// * [`Unsupported`](wfe_core::WfeError::Unsupported): the store cannot store this request. Stores that implement
    ///   only the base traits (those of `PersistenceProvider`) cannot.
    ///
    /// # Examples
    /// ```
    /// use wfe::{
    ///     Outcome, WorkflowHost,
    ///     definition::{OnFailure, WorkflowBuilder, inline},
    ///     models::WorkflowStatus,
    ///     steps::StepError,
    /// };
    /// use wfe_sqlite::SqlitePersistenceProvider;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> wfe::Result<()> {
    /// let fails = WorkflowBuilder::<u32>::new("fails", 1)
    ///     .then("bad", inline(|_, n| async move { if *n == 0 { Err(StepError::fatal("nothing to do")) } else { Ok(()) } }))
    ///     .on_failure(OnFailure::Suspend)
    ///     .then("good", inline(|_, _| async { Ok(()) }).output(|(), n| *n += 1))
    ///     .build()?;
    /// let host = WorkflowHost::new(SqlitePersistenceProvider::new(":memory:").await?);
    /// host.register(fails)?;
    /// host.start().await?;
    /// for from_a_step in [false, true] {
    ///     let id = host.start_workflow("fails", &0_u32).await?;
    ///     while host.status(&id).await?.status != WorkflowStatus::Suspended {
    ///         tokio::task::yield_now().await;
    ///     }
    ///     if from_a_step { host.resume_from(&id, "good").await? } else { host.skip(&id).await? }
    ///     assert_eq!(host.outcome::<u32>(&id).await?, Outcome::Completed(1));
    /// }
    /// # host.stop().await
    /// # }
    /// ```
    pub async fn skip(&self, id: &str) -> Result<()> {
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
    /// The request is stored and takes effect as described for [`suspend`](Self::suspend). It changes nothing if the
    /// instance is not suspended when the request is applied. If the instance cannot continue from the step, it stays
    /// suspended, and the reason is stored among its failures, as for [`skip`](Self::skip).
    ///
    /// # Errors
    /// The errors of [`skip`](Self::skip).
    pub async fn resume_from(&self, id: &str, step: &str) -> Result<()> {
        self.intervene(id, &Intervention::ResumeFrom(step.to_owned())).await
    }

    /// Cancels an instance: its open sagas are compensated, then it ends. Its children are cancelled too. The
    /// cancellation tokens of running steps are cancelled, but the cancellation of the instance does not wait for these
    /// steps to return. A step that ignores its token may still cause side effects that are not compensated
    /// ([`Ctx::cancellation`](wfe_core::steps::Ctx::cancellation)).
    ///
    /// The request is stored and takes effect as described for [`suspend`](Self::suspend). It changes nothing if the
    /// instance is already ending. If a compensating step with
    /// [`OnFailure::Suspend`](crate::definition::OnFailure::Suspend) fails, the instance is suspended with its
    /// compensation unfinished, and the cancellation stays in force: [`resume`](Self::resume) tries the compensating
    /// step again, [`skip`](Self::skip) continues after it, and [`terminate`](Self::terminate) ends the instance
    /// without the remaining compensations.
    ///
    /// # Errors
    /// [`WorkflowNotFound`](wfe_core::WfeError::WorkflowNotFound): no instance has this id.
    pub async fn cancel(&self, id: &str) -> Result<()> {
        self.request(id, Control::Cancel).await
    }

    /// Terminates an instance: it ends at once, and nothing is compensated. Its children and their children are
    /// terminated too. A child that is already being cancelled is not terminated: it still finishes its compensations.
    /// The cancellation tokens of running steps are cancelled, as for [`cancel`](Self::cancel).
    ///
    /// The request is stored and takes effect as described for [`suspend`](Self::suspend).
    ///
    /// # Errors
    /// [`WorkflowNotFound`](wfe_core::WfeError::WorkflowNotFound): no instance has this id.
    pub async fn terminate(&self, id: &str) -> Result<()> {
        self.request(id, Control::Terminate).await
    }

    async fn intervene(&self, id: &str, intervention: &Intervention) -> Result<()> {
        // The permit comes before the request is stored: a call that is dropped while it waits has requested nothing.
        let permit = self.engine().permit().await;
        self.store().intervene(id, intervention).await?;
        self.engine().wake(id, permit);
        Ok(())
    }

    async fn request(&self, id: &str, control: Control) -> Result<()> {
        let permit = self.engine().permit().await; // as above
        self.store().request(id, control).await?;
        self.engine().wake(id, permit);
        Ok(())
    }
}
