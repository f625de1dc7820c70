use wfe_core::{Result, WfeError, traits::Reopened};

use super::workflow_host::WorkflowHost;
use crate::metrics;

impl WorkflowHost {
    /// Retries an instance that has failed or was cancelled: the instance continues from where it stood when it ended.
    ///
    /// * The step that has failed runs again, with all its attempts, as another execution pointer: it has another
    ///   [idempotency key](wfe_core::steps::Ctx::idempotency_key). State that its body has stored, and an event that it
    ///   has received, are kept.
    /// * A saga that was compensated begins another round: everything in it runs again from its start, with other keys. If
    ///   a step of a compensation had failed, the compensation continues with this step.
    /// * Branches that the end has cancelled continue. A body that was running runs again, with the same idempotency key.
    ///   Open waits, activities and user tasks are opened again; answers that workers give to the earlier ones are
    ///   refused. Due times stay; what became due in the meantime happens at once. Only the limit within which a worker
    ///   must [claim](crate::definition::Sequence::claim_within) an activity is moved by the time in which the instance
    ///   was ended. An event that was published in the meantime is delivered, and no event is delivered twice.
    /// * A step that was waiting for a child receives the result if the child has completed. Otherwise, it starts
    ///   another child, as soon as the first one, which the end of the instance has cancelled, has ended.
    /// * A [deadline](crate::definition::WorkflowBuilder::deadline) of the workflow counts from the retry.
    ///
    /// **Danger: a side effect can happen twice.** If the step failed because the answer to a request was lost, such as a
    /// charge, the external system may have done its work. The retry repeats the request with another key, so that system
    /// cannot recognise it. Find out what it has done before you retry. Definitions can avoid the danger in two ways:
    ///
    /// * The step has [`OnFailure::Suspend`](crate::definition::OnFailure::Suspend): its instance is suspended, not
    ///   failed, and [`resume`](Self::resume) runs the step again with the *same* key.
    /// * The step passes a key of its own to the external system, such as the number of the order, which no retry changes.
    ///
    /// The data is as it was at the end, and the failures stay stored. [`status`](Self::status) shows a running instance
    /// again, and a new call of [`outcome`](Self::outcome) waits for the next end. Subscribers receive
    /// [`Retried`](crate::host::Lifecycle::Retried). To begin at the first step instead, call
    /// [`restart`](Self::restart).
    ///
    /// Returns once the retry is stored. The retry is one transaction: after a crash or a dropped future, the instance
    /// has either ended as before, or is runnable. The definition need not be registered on this host: any host on which
    /// it is registered runs the instance. If two callers retry an instance at the same time, one of them gets an error.
    ///
    /// If the definition no longer has the step that has failed, the call succeeds too. The host that runs the instance
    /// then suspends it with the code `definition`: register a definition that has the step, and [`resume`](Self::resume).
    ///
    /// A body that ignores its cancellation may still be running in the process in which the instance ended. In this
    /// process, the next body of the step waits until that body has ended. Another process cannot know of it.
    ///
    /// # Errors
    /// * [`WorkflowNotFound`](WfeError::WorkflowNotFound): no instance has this id.
    /// * [`CannotRetry`](WfeError::CannotRetry): the instance has not ended, completed, was terminated or restarted, or
    ///   was cancelled and has compensated steps; or it is a child whose parent no longer waits for it;
    ///   or it belongs to the engine, as the instance of a schedule does. The [reason](crate::error::RetryRefusal) says
    ///   what to do.
    /// * [`Unsupported`](WfeError::Unsupported): the store implements only the base traits.
    /// * The errors of the store. After [`CommitUnknown`](WfeError::CommitUnknown), it is safe to call this again.
    ///
    /// # Examples
    /// ```
    /// use std::sync::atomic::{AtomicBool, Ordering};
    ///
    /// use wfe::prelude::*;
    ///
    /// static BANK_IS_OPEN: AtomicBool = AtomicBool::new(false);
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> wfe::Result<()> {
    /// let pays = WorkflowBuilder::<u32>::new("pays", 1)
    ///     .change("price", |cents| *cents += 500)
    ///     .call("pay", |_, _| match BANK_IS_OPEN.load(Ordering::Relaxed) {
    ///         true => Ok(()),
    ///         false => Err(StepError::fatal("the bank is closed")),
    ///     });
    /// let host = WorkflowHost::new(SqliteStore::new(":memory:").await?);
    /// let pays = host.register(pays.build()?)?;
    /// host.start().await?;
    /// let one = pays.start(&0).await?;
    /// assert!(one.outcome().await?.completed().is_err());
    ///
    /// BANK_IS_OPEN.store(true, Ordering::Relaxed);
    /// one.retry().await?;
    /// assert_eq!(one.outcome().await?.completed()?, 500); // the price is not added again
    /// # host.stop().await
    /// # }
    /// ```
    pub async fn retry(&self, id: &str) -> Result<()> {
        // The permit comes before the retry is stored: a call that is dropped while it waits has changed nothing.
        let permit = self.engine().permit().await;
        let store = self.store();
        let now = self.engine().now();
        let (revision, step) = store.reopening(id, now).await?;
        match store.reopen(revision, now, &step).await? {
            Reopened::Done => {
                metrics::requested("retry", "program");
                self.engine().wake(id, permit);
            }
            Reopened::Refused(reason) => return Err(WfeError::CannotRetry { id: id.to_owned(), reason }),
        }
        Ok(())
    }
}
