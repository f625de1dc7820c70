use std::time::Duration;

use super::Sequence;
use crate::{
    definition::{Data, Item, OnFailure, Retry, draft::Draft},
    program::ask,
};

/// Settings of the last added step. [`build`](Sequence::build) refuses a setting that comes before the first
/// step.
impl<D: Data, I: Item, At> Sequence<D, I, At> {
    /// Sets the display name of the last added step. By default, the name is the step's id.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.modify_last(|draft| draft.name = Some(name))
    }

    /// Sets the retry policy of the last added step. By default, a step is not retried.
    ///
    /// A retry runs a body again, evaluates a condition again, or starts a new wait, a new activity or a new
    /// child workflow. A saga is first compensated, and then runs again from its beginning.
    ///
    /// The policy of an `if`, a `parallel`, a for-each or another container covers only the container's own
    /// failures, such as a condition that panics. The steps inside the container have their own policies. To
    /// retry several steps together, put them in a [saga](Self::saga). Fatal errors, including those in a saga,
    /// are retried only if [`Retry::even_if_fatal`] allows it.
    ///
    /// ```
    /// use wfe_core::definition::{Retry, WorkflowBuilder, inline};
    ///
    /// let definition = WorkflowBuilder::<u32>::new("trip", 1)
    ///     .saga("book", |saga| {
    ///         saga.then("flight", inline(|_, _| async { Ok(()) }))
    /// .compensate_with(|cancel| cancel.then("cancel-flight", inline(|_, _| async { Ok(()) })))
    ///             .then("hotel", inline(|_, _| async { Ok(()) }))
    ///     })
    ///     .retry(Retry::up_to(2))
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    #[must_use]
    pub fn retry(self, retry: Retry) -> Self {
        self.modify_last(|draft| draft.policy.retry = retry)
    }

    /// Sets what happens when the last added step has failed for good; [`OnFailure`] describes the default.
    ///
    /// On a [saga](Self::saga), the setting covers the failure of the steps inside the saga. On any other
    /// container, it covers only the container's own failures.
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
        self.modify_last(|draft| draft.policy.on_failure = Some(behaviour))
    }

    /// Limits the time of each attempt of the last added step, as
    /// [`Task::timeout`](crate::definition::Task::timeout) does.
    ///
    /// [`build`](Sequence::build) refuses a timeout of a step without a body. To limit the time of a wait, use
    /// `fail_after` or `timeout` of its event, activity, child or user task.
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
        self.modify_last(|draft| draft.policy.timeout = Some(limit))
    }

    /// Sets a fallback: steps that run when the last added step has failed for good. When the fallback has
    /// ended, the instance continues with the next step. The steps of the fallback read the failure with
    /// [`Ctx::failure`](crate::steps::Ctx::failure).
    ///
    /// The fallback of an `if`, a `parallel`, a for-each or another container does not catch the failures of
    /// the steps inside the container. Those steps have their own settings, and by default their failure fails
    /// the instance. To give several steps a common fallback, put them in a [saga](Self::saga) and give the
    /// saga a fallback.
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

    /// Sets the compensation of the last added step: steps that run if the step has completed and then its
    /// [saga](Self::saga) fails or the instance is cancelled.
    ///
    /// The compensating steps get the newest data and the same item as the completed step. They read the
    /// outcome and the stored state of the completed step with
    /// [`Ctx::compensated`](crate::steps::Ctx::compensated).
    ///
    /// A completed container that has a compensation is compensated by that compensation alone. If the
    /// container has not completed, the completed steps inside it are compensated one by one.
    ///
    /// ```
    /// use wfe_core::{definition::{WorkflowBuilder, inline}, steps::Ctx};
    ///
    /// let definition = WorkflowBuilder::<u32>::new("buy", 1)
    ///     .saga("both", |saga| {
    ///         saga.then("pay", inline(|_, _| async { Ok("receipt 7") }))
    /// .compensate_with(|refund| { refund.then("refund", inline(|ctx: Ctx, _| async move {
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

    /// Sets a cancel condition: as soon as the condition holds, the last added step is cancelled with all steps
    /// inside it, and the instance continues with the next step.
    ///
    /// The condition is evaluated when the step starts and whenever the data has changed, including while the
    /// step's [fallback](Self::fallback) runs. If the condition panics, the step fails. If the condition panics
    /// while the fallback runs, the fallback fails, as if one of its steps had failed. After that, neither the
    /// step nor the fallback is retried.
    ///
    /// **Sagas.** A saga is compensated when its own cancel condition holds. If any other container is
    /// cancelled, the sagas inside that container are cancelled but not compensated, and a compensation that is
    /// running inside the container is interrupted.
    ///
    /// If a saga that encloses the container is compensated later, it also compensates the completed steps of
    /// the sagas inside the container. An interrupted compensation then continues with the step at which it was
    /// interrupted. The interrupted step starts again from its beginning, and side branches of the compensation
    /// are dropped.
    ///
    /// While a cancelled instance compensates its sagas, the cancel conditions of the containers that enclose
    /// these sagas are not evaluated.
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

    /// Makes a setting that a step can have only once. `change` makes the setting on the last added step, and
    /// returns whether the step already had this setting.
    fn once(mut self, what: &str, change: impl FnOnce(&mut Draft) -> bool) -> Self {
        let mut twice = None;
        self = self.modify_last(|draft| twice = change(draft).then(|| draft.id.clone()));
        let problem = |id| format!("step {id:?}: it has two {what}; the first one would have no effect");
        self.problems.extend(twice.map(problem));
        self
    }
}
