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
    /// has failed. If it is inside another saga, that saga is compensated too. If not, the instance continues
    /// after the saga; the failure is the saga's outcome, and the status of its pointer is `Compensated`.
    /// [`on_failure`](Self::on_failure) and [`fallback`](Self::fallback) change this.
    ///
    /// **Fatal errors.** After a fatal error, the saga is compensated but not retried, unless
    /// [`Retry::even_if_fatal`](crate::definition::Retry::even_if_fatal) says so. The predicates of the saga's
    /// retry policy get the error of the failed step. If a saga inside this one failed, they get an error with
    /// the same code and messages.
    ///
    /// **Running bodies.** When a branch is cancelled, the [token](crate::steps::Ctx::cancellation) of each
    /// running body in it fires. The saga neither waits for such a body nor compensates its step, so side
    /// effects of the body are not compensated. Check the token before a side effect, and pass the idempotency
    /// key to the external system. The host drops an asynchronous body that is still running one second later.
    ///
    /// **Cancelled instances.** A cancelled instance, and one that has missed its deadline, compensates its
    /// open sagas before it ends. A terminated instance does not. All other steps are cancelled first, also
    /// those around the sagas, so that only compensations run until the end. Open sagas that are not inside
    /// each other are compensated at the same time.
    ///
    /// **Fallback.** The steps of the saga's own [`fallback`](Self::fallback) are not part of the saga. They
    /// belong to the saga around it, if there is one.
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
