use wfe_core::{
    Result,
    traits::{Control, Intervention},
};

use super::workflow_host::WorkflowHost;
use crate::engine::command::Command;

impl WorkflowHost {
    /// Asks an instance to stand still: no step of it begins any more. Those that run are neither stopped nor told, and what
    /// comes of them is stored, while [`status`](Self::status) says `Suspended` already; its children go on. Returns
    /// once the request is stored: it will take effect, whoever runs the instance. After the end of the instance it
    /// changes nothing.
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
    /// host.cancel(&ids[1]).await?; // open sagas would be undone
    /// host.terminate(&third).await?; // nothing would be
    /// host.publish_event("answered", "k", &7_u32).await?;
    /// host.resume(&ids[0]).await?; // the event has not passed it by
    /// assert_eq!(host.outcome::<u32>(&ids[0]).await?, Outcome::Completed(7));
    /// assert_eq!(host.outcome::<u32>(&ids[1]).await?, Outcome::Cancelled);
    /// assert_eq!(host.outcome::<u32>(&third).await?, Outcome::Terminated);
    /// # host.stop().await
    /// # }
    /// ```
    pub async fn suspend(&self, id: &str) -> Result<()> {
        self.request(id, Control::Suspend).await
    }

    /// Asks a suspended instance to go on; as [`suspend`](Self::suspend). A step whose failure suspended it is tried
    /// again, with all its retries; [`skip`](Self::skip) and [`resume_from`](Self::resume_from) go on without it.
    ///
    /// # Errors
    /// [`WorkflowNotFound`](wfe_core::WfeError::WorkflowNotFound): no instance has this id.
    pub async fn resume(&self, id: &str) -> Result<()> {
        self.request(id, Control::Resume).await
    }

    /// Asks a suspended instance to go on behind each of its failed steps, as if that had completed without an outcome; as
    /// [`suspend`](Self::suspend). The outputs of a skipped step are not applied, and its failure stays stored. The saga
    /// around it takes it for a step that has done nothing: its compensation does not run
    /// ([`Intervention::Skip`] tells the rest).
    ///
    /// An instance that is not suspended when the request reaches it does not change. If none of its steps has failed, it
    /// stays suspended, and the reason is stored among its [failures](Self::failures), with the code
    /// [`INTERVENTION`](wfe_core::steps::StepError::INTERVENTION).
    ///
    /// # Errors
    /// * [`WorkflowNotFound`](wfe_core::WfeError::WorkflowNotFound): no instance has this id.
    /// * [`Unsupported`](wfe_core::WfeError::Unsupported): the store cannot keep such a request. One with the plain
    ///   traits alone cannot.
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

    /// Asks a suspended instance to go on from the step with this stable id, which begins anew; as
    /// [`suspend`](Self::suspend). It is a step of the main path, of the sequence in which a step has failed, or of one
    /// around that. What else is at work in its sequence is taken away; a saga among it is not undone
    /// ([`Intervention::ResumeFrom`] tells the rest). It works without a failed step too: for an instance that was suspended by
    /// hand, or because it seemed to kill its process.
    ///
    /// An instance that is not suspended when the request reaches it does not change. If it cannot go on from there, it
    /// stays suspended as it is, and the reason is stored as [`skip`](Self::skip) does it.
    ///
    /// # Errors
    /// Those of [`skip`](Self::skip).
    pub async fn resume_from(&self, id: &str, step: &str) -> Result<()> {
        self.intervene(id, &Intervention::ResumeFrom(step.to_owned())).await
    }

    /// Asks an instance to end before its end, undoing what it can; as [`suspend`](Self::suspend). Its children are cancelled
    /// too. Running steps get their cancellation token fired, and are not awaited: one that goes on all the same may still
    /// do outside what nothing undoes ([`Ctx::cancellation`](wfe_core::steps::Ctx::cancellation)). The open sagas are
    /// undone; then it ends.
    ///
    /// A second cancel changes nothing, nor does one of an instance that is on its way to its end already. If a compensation
    /// fails that is to [suspend](crate::definition::OnFailure::Suspend) the instance, the instance stands still, half
    /// undone, and the cancel stays in force: [`resume`](Self::resume) tries that compensation again,
    /// [`skip`](Self::skip) goes on behind it, [`terminate`](Self::terminate) gives up the rest.
    ///
    /// # Errors
    /// [`WorkflowNotFound`](wfe_core::WfeError::WorkflowNotFound): no instance has this id.
    pub async fn cancel(&self, id: &str) -> Result<()> {
        self.request(id, Control::Cancel).await
    }

    /// Asks an instance to end as it stands; as [`cancel`](Self::cancel), but nothing is undone. Its children are terminated
    /// too, and theirs; a child that it was cancelling already goes on undoing.
    ///
    /// # Errors
    /// [`WorkflowNotFound`](wfe_core::WfeError::WorkflowNotFound): no instance has this id.
    pub async fn terminate(&self, id: &str) -> Result<()> {
        self.request(id, Control::Terminate).await
    }

    async fn intervene(&self, id: &str, intervention: &Intervention) -> Result<()> {
        self.0.shared.store.intervene(id, intervention).await?;
        self.tell(Command::Wake(id.to_owned()));
        Ok(())
    }

    async fn request(&self, id: &str, control: Control) -> Result<()> {
        self.0.shared.store.request(id, control).await?;
        self.tell(Command::Wake(id.to_owned()));
        Ok(())
    }
}
