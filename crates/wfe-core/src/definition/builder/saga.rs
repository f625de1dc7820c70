use super::Sequence;
use crate::{
    definition::{Data, Item},
    program::{Saga, Verb},
};

/// What can be undone.
impl<D: Data, I: Item, At> Sequence<D, I, At> {
    /// The steps of `body`, all or none: when one of them has failed for good, the other live branches of the saga are
    /// taken away, and then every step in it that has completed and has a
    /// [compensation](Self::compensate_with) is undone, however deep it stands, in reverse order of completion, one
    /// after the other.
    ///
    /// Then the saga is tried again if it has a [`retry`](Self::retry). If not, it has failed: inside another saga, that
    /// one is undone too; elsewhere the instance goes on behind it, with the failure as its outcome and the pointer
    /// `Compensated` ([`on_failure`](Self::on_failure) and [`fallback`](Self::fallback) say otherwise).
    ///
    /// A body that runs in a branch when that is taken away is told ([`Ctx::cancellation`](crate::steps::Ctx::cancellation)),
    /// neither awaited nor compensated: what it still does outside stays. It is dropped if it goes on for a second. Let it
    /// look at the token before its effect, and give its idempotency key along, so that the outside can tell.
    ///
    /// After a fatal error the saga is undone, and not tried again, unless the policy says so
    /// ([`Retry::even_if_fatal`](crate::definition::Retry::even_if_fatal)). The predicate of that retry policy sees
    /// the error of the failed step; after a failed saga inside this one, an error with the same code and messages.
    ///
    /// A cancelled instance, and one that has met its deadline, undoes its open sagas before it ends; a terminated one does
    /// not. Several open sagas that are not inside of each other are undone at once. Everything else is taken away
    /// first, what is around the sagas too: until the end, nothing but compensations is at work.
    ///
    /// The steps of a saga's own [`fallback`](Self::fallback) are not a part of it, because that is undone already; what
    /// they do belongs to the saga around it, if there is one.
    ///
    /// ```
    /// use wfe_core::definition::{OnFailure, WorkflowBuilder, inline};
    ///
    /// let definition = WorkflowBuilder::<u32>::new("order", 1)
    ///     .saga("fulfil", |saga| {
    ///         saga.then("pay", inline(|_, _| async { Ok(()) }))
    ///             .compensate_with(|undo| undo.then("refund", inline(|_, _| async { Ok(()) })))
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
