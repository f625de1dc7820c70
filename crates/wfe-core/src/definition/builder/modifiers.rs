use std::time::Duration;

use super::Sequence;
use crate::{
    definition::{Data, Item, OnFailure, Retry, draft::Draft},
    program::ask,
};

/// What is said about the step just added. Before the first step, it is refused when the definition is built.
impl<D: Data, I: Item, At> Sequence<D, I, At> {
    /// What people call the step just added; by default its id.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.dress(|draft| draft.name = Some(name))
    }

    /// Whether and when the step just added is tried again after a failure; by default never. A wait, an activity or a
    /// child begins anew; a saga is undone first, and runs again from its beginning; a condition is asked again.
    ///
    /// Of an `if`, a `parallel`, a for-each and other containers, only their own failures count (a condition that panics, say).
    /// They do not catch those of steps inside, which have policies of their own: what fails as a whole is a
    /// [saga](Self::saga). After a fatal error nothing is tried again, a saga neither.
    ///
    /// ```
    /// use wfe_core::definition::{Retry, WorkflowBuilder, inline};
    ///
    /// let definition = WorkflowBuilder::<u32>::new("trip", 1)
    ///     .saga("book", |saga| {
    ///         saga.then("flight", inline(|_, _| async { Ok(()) }))
    ///             .compensate_with(|undo| undo.then("cancel-flight", inline(|_, _| async { Ok(()) })))
    ///             .then("hotel", inline(|_, _| async { Ok(()) }))
    ///     })
    ///     .retry(Retry::up_to(2))
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    #[must_use]
    pub fn retry(self, retry: Retry) -> Self {
        self.dress(|draft| draft.policy.retry = retry)
    }

    /// What happens when the step just added has failed for good; see [`OnFailure`]. Of a container other than a
    /// [saga](Self::saga) it does not catch the failures of steps inside, as [`retry`](Self::retry) does not.
    ///
    /// ```
    /// use wfe_core::definition::{OnFailure, WorkflowBuilder, event};
    ///
    /// let definition = WorkflowBuilder::<String>::new("w", 1)
    ///     .wait_for("answer", event("answered", |id: &String, _| id.clone()).fail_after(|_, _| std::time::Duration::from_hours(1)))
    ///     .on_failure(OnFailure::Suspend)
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    #[must_use]
    pub fn on_failure(self, behaviour: OnFailure) -> Self {
        self.dress(|draft| draft.policy.on_failure = Some(behaviour))
    }

    /// How long an attempt of the body of the step just added may take; as
    /// [`Task::timeout`](crate::definition::Task::timeout). Refused when the definition is built if the step runs no body:
    /// a wait is limited by its own `fail_after` or `timeout`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wfe_core::definition::{WorkflowBuilder, inline};
    ///
    /// let definition = WorkflowBuilder::<u32>::new("w", 1)
    ///     .then("call", inline(|_, _| async { Ok(()) }))
    ///     .timeout(Duration::from_secs(30))
    ///     .name("Call the slow service")
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    #[must_use]
    pub fn timeout(self, limit: Duration) -> Self {
        self.dress(|draft| draft.policy.timeout = Some(limit))
    }

    /// What runs in place of the step just added when it has failed for good; then the instance goes on behind it.
    /// Its steps see the failure in [`Ctx::failure`](crate::steps::Ctx::failure).
    ///
    /// It is no *catch* around a container: a step inside of an `if`, a `parallel` or a for-each that fails has its own
    /// behaviour, by default the end of the instance. A fallback for several steps together is that of a
    /// [saga](Self::saga) around them.
    ///
    /// ```
    /// use wfe_core::{definition::{WorkflowBuilder, inline}, steps::{Ctx, StepError}};
    ///
    /// let definition = WorkflowBuilder::<u32>::new("pay", 1)
    ///     .then("by-card", inline(|_, _| async { Err::<(), _>(StepError::fatal("the card was refused")) }))
    ///     .fallback(|instead| {
    ///         instead.then(
    ///             "by-invoice",
    ///             inline(|ctx: Ctx, _| async move { Ok(ctx.failure().map(|why| why.code.clone())) }),
    ///         )
    ///     })
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    #[must_use]
    pub fn fallback(mut self, body: impl FnOnce(Sequence<D, I>) -> Sequence<D, I>) -> Self {
        let drafts = self.body(body);
        self.once("fallbacks", |draft| draft.fallback.replace(drafts).is_some())
    }

    /// What undoes the step just added, once it has completed, when the [saga](Self::saga) around it fails or the
    /// instance is cancelled. Its steps see the newest data, the same item, and in
    /// [`Ctx::compensated`](crate::steps::Ctx::compensated) what the undone step answered and kept. For a container, this alone
    /// undoes it once it has completed; what is inside is undone one by one only while it has not.
    ///
    /// ```
    /// use wfe_core::{definition::{WorkflowBuilder, inline}, steps::Ctx};
    ///
    /// let definition = WorkflowBuilder::<u32>::new("buy", 1)
    ///     .saga("both", |saga| {
    ///         saga.then("pay", inline(|_, _| async { Ok("receipt 7") }))
    ///             .compensate_with(|undo| {
    ///                 undo.then("refund", inline(|ctx: Ctx, _| async move {
    ///                     let receipt = ctx.compensated().and_then(|step| step.outcome.clone());
    ///                     Ok(receipt)
    ///                 }))
    ///             })
    ///             .then("ship", inline(|_, _| async { Ok(()) }))
    ///     })
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    #[must_use]
    pub fn compensate_with(mut self, body: impl FnOnce(Sequence<D, I>) -> Sequence<D, I>) -> Self {
        let drafts = self.body(body);
        self.once("compensations", |draft| draft.compensation.replace(drafts).is_some())
    }

    /// Takes the step just added away, with all that is inside it, as soon as this holds; the instance goes on behind
    /// it. Asked when the step begins, and whenever the data has changed. If it panics, the step has failed.
    ///
    /// It is asked while the step's [fallback](Self::fallback) runs, too. If it panics then, that has failed, as if a
    /// step in it had: neither the step nor its fallback begins again.
    ///
    /// A saga is undone first. Sagas inside of another container that is taken away stay as they are, done or half
    /// undone; if a saga around them is undone later, it goes on with that: with the step of the compensation at which
    /// it stood, which begins anew with all that is inside of it; side branches of the compensation end there. While a
    /// cancelled instance undoes its sagas, what is around these is asked no more.
    ///
    /// ```
    /// use wfe_core::definition::{WorkflowBuilder, event};
    ///
    /// #[derive(Clone, serde::Serialize, serde::Deserialize)]
    /// struct Order { id: String, paid_in_cash: bool }
    ///
    /// let definition = WorkflowBuilder::<Order>::new("order", 1)
    ///     .wait_for("paid", event("payment-received", |order: &Order, _| order.id.clone()))
    ///     .cancel_when(|order, _| order.paid_in_cash)
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    #[must_use]
    pub fn cancel_when(self, holds: impl Fn(&D, &I) -> bool + Send + Sync + 'static) -> Self {
        let holds = ask("the step's cancel condition", holds);
        self.once("cancel conditions", |draft| draft.cancel_when.replace(holds).is_some())
    }

    /// Gives the step just added what it can have one of; `change` tells whether it had one.
    fn once(mut self, what: &str, change: impl FnOnce(&mut Draft) -> bool) -> Self {
        let mut twice = None;
        self = self.dress(|draft| twice = change(draft).then(|| draft.id.clone()));
        let problem = |id| format!("step {id:?}: it has two {what}; the first one would have no effect");
        self.problems.extend(twice.map(problem));
        self
    }
}
