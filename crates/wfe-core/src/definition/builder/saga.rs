use super::Sequence;
use crate::{
    definition::{Data, Item},
    program::{Saga, Verb},
};

/// Sagas.
impl<D: Data, I: Item, At> Sequence<D, I, At> {
    /// Runs the steps of `body` as a saga: if one of them fails for good, the completed steps are compensated.
    ///
    /// **Compensation.** First, the branches of the saga that are still running are cancelled. Then every
    /// completed step with a [compensation](Self::compensate_with) is compensated, at any depth inside the
    /// saga. The compensations run one after the other, in reverse order of completion.
    ///
    /// **After the compensation.** A saga with a [`retry`](Self::retry) policy runs again. Otherwise the saga
    /// has failed. If the failed saga is inside another saga, the outer saga is compensated too. Otherwise, the
    /// instance continues after the failed saga. The failure is then the saga's outcome, and the status of the
    /// saga's pointer is `Compensated`. [`on_failure`](Self::on_failure) and [`fallback`](Self::fallback)
    /// change this default behaviour.
    ///
    /// **Fatal errors.** After a fatal error, the saga is compensated. It is retried only if
    /// [`Retry::even_if_fatal`](crate::definition::Retry::even_if_fatal) allows it. The predicates of the
    /// saga's retry policy get the error of the failed step. If an inner saga failed, the predicates get an
    /// error with the code and the messages of the inner saga's error.
    ///
    /// **Running bodies.** When a branch is cancelled, the [token](crate::steps::Ctx::cancellation) of each
    /// body that is running in the branch is cancelled. The saga neither waits for a cancelled body nor
    /// compensates its step, so side effects of the body are not compensated. In the body, check the token
    /// before each side effect, and pass the idempotency key to the external system. The host drops an
    /// asynchronous body that is still running one second after its token was cancelled.
    ///
    /// **Cancelled instances.** An instance that was cancelled or has missed its deadline compensates its open
    /// sagas before it ends. A terminated instance does not compensate its sagas. Before the compensation, all
    /// other steps are cancelled, including containers that enclose the sagas, so that only compensations run
    /// until the end. Open sagas that are not nested in each other are compensated concurrently.
    ///
    /// **Fallback.** The steps of the saga's own [`fallback`](Self::fallback) are not part of the saga. These
    /// steps belong to the enclosing saga, if there is one.
    ///
    /// ```
    /// use wfe_core::definition::{OnFailure, WorkflowBuilder, inline};
    ///
    /// let definition = WorkflowBuilder::<u32>::new("order", 1)
    ///     .saga("fulfil", |saga| {
    ///         saga.then("pay", inline(|_, _| async { Ok(()) }))
    /// .compensate_with(|refund| refund.then("refund", inline(|_, _| async { Ok(()) })))
    ///             .then("ship", inline(|_, _| async { Ok(()) }))
    ///     })
    ///     .on_failure(OnFailure::Fail)
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    #[must_use]
    pub fn saga(self, id: impl Into<String>, body: impl FnOnce(Sequence<D, I>) -> Sequence<D, I>) -> Self {
        self.container(id, Verb::Saga(Saga), body)
    }
}
