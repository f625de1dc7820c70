//! Modifiers: settings of the step that was added last.

use std::time::Duration;

use super::{After, App, Branch, Covers, Each, HasBody, Loop, Main, Sequence};
use crate::{
    definition::{
        Data, Item, OnFailure, Retry,
        draft::{Draft, RETRY},
    },
    program::{CancelCondition, ForEach, Verb, ask},
};

/// Modifiers of every step. [`build`](Sequence::build) refuses a second call of the same modifier for one step.
impl<D: Data, P, A: App, L> Sequence<D, P, A, L> {
    /// Sets the display name of the last added step. By default, the name is the step's id.
    pub fn name(self, name: impl Into<String>) -> Self
    where
        L: After,
    {
        self.once("`name`", |draft| draft.name = Some(name.into()))
    }

    /// Sets the retry policy of the last added step. By default, a step gets one attempt: only the author of a step
    /// knows whether it may run twice, and a body that must not run twice is the more dangerous one to forget. The
    /// definition can set another default for all its steps ([`retry_steps`](Self::retry_steps)).
    ///
    /// [`Retry::exponential`] allows 5 attempts. [`Retry::every`] has no limit, unless [`Retry::attempts`] sets one.
    /// After the last failed attempt, the step has failed for good, and [`on_failure`](Self::on_failure) decides.
    ///
    /// A retry runs a body again, evaluates a condition again, or starts a new wait, a new activity or a new
    /// child workflow. A saga is first compensated, and then runs again from its beginning.
    ///
    /// The policy of an `if`, a `while`, a for-each or another container with a closure covers only the container's own
    /// failures, such as a condition that panics. The steps inside the container have their own policies.
    /// [`build`](Sequence::build) refuses a policy for a `block`, for a `race`, and for a `parallel` without a cancel
    /// condition, because it would cover nothing. To retry several steps together, put them in a [saga](Self::saga). Fatal errors, including those in a saga,
    /// are retried only if [`Retry::even_if_fatal`] allows it.
    pub fn retry(self, retry: Retry) -> Self
    where
        L: After,
    {
        self.once(RETRY, |draft| draft.policy.retry = retry)
    }

    /// Sets what happens when the last added step has failed for good; [`OnFailure`] describes the default.
    ///
    /// On a [saga](Self::saga), the setting covers the failure of the steps inside the saga. On any other
    /// container, it covers only the container's own failures, such as a condition that panics. [`build`](Sequence::build)
    /// refuses the setting for a `block`, for a `race`, and for a `parallel` without a cancel condition.
    ///
    /// Before the first step, it is the default of the whole definition: it replaces [`OnFailure::Fail`] for each step
    /// whose failure would fail the instance. A step's own setting wins. Steps with a fallback, steps in a saga or in a
    /// compensation, and sagas keep their own defaults. [`build`](Sequence::build) refuses the setting at the beginning
    /// of a branch, and [`OnFailure::Compensate`] for a whole definition.
    ///
    /// ```
    /// use wfe_core::definition::{OnFailure, WorkflowBuilder};
    ///
    /// let definition = WorkflowBuilder::<u32>::new("import", 1)
    ///     .on_failure(OnFailure::Suspend) // of every step: an operator repairs the cause and resumes the instance
    ///     .then("read", async |_, _| Ok(()))
    ///     .then("tell", async |_, _| Ok(()))
    ///     .on_failure(OnFailure::Continue) // of this step
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    pub fn on_failure(mut self, behaviour: OnFailure) -> Self
    where
        L: Covers,
    {
        if L::WHOLE_DEFINITION {
            self.parts.on_failure_of_steps(behaviour);
            return self;
        }
        self.once("`on_failure`", |draft| draft.policy.on_failure = Some(behaviour))
    }

    /// Limits the time of each attempt of the last added step, counted from the start of its body. By default, there is
    /// no limit.
    ///
    /// An attempt that takes longer fails with the code `timeout`. Its cancellation token is cancelled, and a later
    /// result of the body is ignored. A body that is still running one second later is dropped, unless it blocks its
    /// thread ([`Ctx::cancellation`](crate::steps::Ctx::cancellation)). The failure is stored at once, and the backoff
    /// before the next attempt begins at once. The body of the next attempt starts only when the earlier body has ended
    /// or was dropped.
    ///
    /// [`build`](Sequence::build) refuses a timeout of zero. A wait has its own time limits:
    /// [`fail_after`](Sequence::fail_after) and [`on_timeout`](Sequence::on_timeout).
    pub fn timeout(self, limit: Duration) -> Self
    where
        L: HasBody,
    {
        self.once("`timeout`", |draft| draft.policy.timeout = Some(limit))
    }

    /// Sets a fallback: steps that run when the last added step has failed for good. When the fallback has
    /// ended, the instance continues with the next step. The steps of the fallback read the failure with
    /// [`Ctx::failure`](crate::steps::Ctx::failure).
    ///
    /// The fallback of an `if`, a `while`, a for-each or another container does not catch the failures of the steps
    /// inside the container, only the container's own, such as a condition that panics.
    /// [`build`](Sequence::build) refuses a fallback for a `block`, for a `race`, and for a `parallel` without a cancel
    /// condition. The steps inside have their own settings, and by default their failure fails
    /// the instance. To give several steps a common fallback, put them in a [saga](Self::saga) and give the
    /// saga a fallback.
    ///
    /// ```
    /// use wfe_core::{definition::WorkflowBuilder, steps::StepError};
    ///
    /// let definition = WorkflowBuilder::<u32>::new("pay", 1)
    ///     .then("by-card", async |_, _| Err::<(), _>(StepError::fatal("the card was refused")))
    ///     .fallback(|instead| {
    ///         instead.call("by-invoice", |ctx, _| Ok(ctx.failure().map(|why| why.code.clone())))
    ///     })
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    pub fn fallback<B: Branch<D, P, A>>(mut self, body: impl FnOnce(Sequence<D, P, A>) -> B) -> Self
    where
        L: After,
    {
        let drafts = self.steps_of(body);
        self.once("`fallback`", |draft| draft.fallback = Some(drafts))
    }

    /// Sets the compensation of the last added step: steps that run if the step has completed and then its
    /// [saga](Self::saga) fails or the instance is cancelled. To compensate the step even if it has not completed, use
    /// [`compensate_even_if_failed`](Self::compensate_even_if_failed).
    ///
    /// The compensating steps get the newest data and the same item as the completed step. They read the
    /// outcome and the stored state of the completed step with
    /// [`Ctx::compensated`](crate::steps::Ctx::compensated).
    ///
    /// A completed container that has a compensation is compensated by that compensation alone. If the
    /// container has not completed, the completed steps inside it are compensated one by one.
    ///
    /// ```
    /// use wfe_core::definition::WorkflowBuilder;
    ///
    /// let definition = WorkflowBuilder::<u32>::new("buy", 1)
    ///     .saga("both", |saga| {
    ///         saga.then("pay", async |_, _| Ok("receipt 7"))
    ///             .compensate_with(|refund| {
    ///                 refund.call("refund", |ctx, _| Ok(ctx.compensated().and_then(|step| step.outcome.clone())))
    ///             })
    ///             .then("ship", async |_, _| Ok(()))
    ///     })
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    pub fn compensate_with<B: Branch<D, P, A>>(mut self, body: impl FnOnce(Sequence<D, P, A>) -> B) -> Self
    where
        L: After,
    {
        let drafts = self.steps_of(body);
        self.compensated_by("`compensate_with`", false, drafts)
    }

    /// Sets a compensation of the last added step that also runs if the step has not completed: it failed for good, or
    /// it was cut short. Use it for a step that may leave something half done when it fails.
    ///
    /// This is the `CompensateWith` of .NET Workflow Core, which compensates the failed step itself, too. The name says
    /// how it differs from [`compensate_with`](Self::compensate_with): the step is compensated even if it has failed. A
    /// step has one compensation of either kind. [`build`](Sequence::build) refuses it outside of a
    /// [saga](Self::saga), where a [`fallback`](Self::fallback) runs steps after a failure.
    ///
    /// **When it runs.** Like any compensation, when the saga is compensated. The failed step is then compensated
    /// before the steps that have completed, and once, after its last attempt: neither a failed attempt that is retried
    /// nor a failure that leaves the saga going on ([`OnFailure::Continue`], a [`fallback`](Self::fallback)) compensates
    /// anything by itself. A timeout or a panic is a failure like any other. The compensation begins when the body of
    /// the step has ended or was dropped.
    ///
    /// **Steps that are cut short** have begun and then were cancelled: by the failure of another branch of the saga, by
    /// a cancel condition, a go-to or a lost [race](Self::race) inside the saga, or because the instance was cancelled.
    /// They are compensated too, because they may have done a part of their work. So is a failed step that an operator
    /// [skipped](crate::traits::Intervention::Skip). A step that has not begun is not compensated. After a crash, a step
    /// that may have begun counts as begun.
    ///
    /// **What it sees.** [`Ctx::compensated`](crate::steps::Ctx::compensated) has the
    /// [failure](crate::steps::Compensated::failure) of a step that did not complete, and then no outcome. It also has
    /// the [idempotency key](crate::steps::Compensated::idempotency_key) of the step: by this key, an external system
    /// finds what the step has begun.
    ///
    /// **Containers.** A container with such a compensation is compensated by it alone, even if the container has not
    /// completed: the steps inside it are not compensated one by one.
    ///
    /// ```
    /// use wfe_core::{definition::WorkflowBuilder, steps::StepError};
    ///
    /// let definition = WorkflowBuilder::<u32>::new("move", 1)
    ///     .saga("both", |saga| {
    ///         saga.then("copy", async |_, _| Err::<(), _>(StepError::fatal("the disk is full")))
    ///             .compensate_even_if_failed(|undo| {
    ///                 undo.then("delete-copies", async |ctx, _| {
    ///                     Ok(ctx.compensated().map(|step| step.idempotency_key.clone()))
    ///                 })
    ///             })
    ///             .then("delete-originals", async |_, _| Ok(()))
    ///     })
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    pub fn compensate_even_if_failed<B: Branch<D, P, A>>(
        mut self,
        body: impl FnOnce(Sequence<D, P, A>) -> B,
    ) -> Self
    where
        L: After,
    {
        let drafts = self.steps_of(body);
        self.compensated_by("`compensate_even_if_failed`", true, drafts)
    }
}

/// Modifiers of a for-each.
impl<D: Data, P, A: App> Sequence<D, P, A, Loop> {
    /// Runs up to `limit` items at once. By default, one item runs after the other. [`build`](Sequence::build) refuses
    /// a limit of 0.
    pub fn concurrent(self, limit: usize) -> Self {
        self.own_once("a limit of items at once", |draft| {
            if let Verb::ForEach(ForEach { limit: at_once, .. }) = &mut draft.verb {
                *at_once = limit;
            }
        })
    }

    /// Runs all items at once, as far as the host has slots for their steps.
    pub fn all_at_once(self) -> Self {
        self.concurrent(usize::MAX)
    }
}

const CANCEL_CONDITION: &str = "the step's cancel condition";

impl<D, P, A, L> Sequence<D, P, A, L> {
    fn cancelled_by(self, modifier: &'static str, condition: CancelCondition) -> Self {
        self.once(modifier, |draft| {
            if draft.cancel_when.replace(condition).is_some() {
                draft.problem(|| both("`cancel_when`", "`cancel_branch_when`"));
            }
        })
    }

    fn compensated_by(self, modifier: &'static str, even_if_failed: bool, drafts: Vec<Draft>) -> Self {
        self.once(modifier, |draft| {
            draft.compensates_unfinished = even_if_failed;
            if draft.compensation.replace(drafts).is_some() {
                draft.problem(|| both("`compensate_with`", "`compensate_even_if_failed`"));
            }
        })
    }
}

/// The problem of a step that has two modifiers of which it can have only one.
fn both(one: &str, other: &str) -> String {
    format!("it has both {one} and {other}, of which a helper may have set one; keep one of them")
}

macro_rules! cancellation {
    ([$($t:ident)?] $place:ty, $item:ty, ($($by:ty)?), $on_data:path, $on_left:path) => {
        /// The cancel conditions.
        impl<D: Data, A: App, L, $($t: Item)?> Sequence<D, $place, A, L> {
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
            /// To end the branch instead of continuing with the next step, use
            /// [`cancel_branch_when`](Self::cancel_branch_when).
            pub fn cancel_when(
                self,
                holds: impl Fn(&D $(, $by)?) -> bool + Send + Sync + 'static,
            ) -> Self
            where
                L: After,
            {
                let holds = ask(CANCEL_CONDITION, $on_data(holds));
                self.cancelled_by("`cancel_when`", CancelCondition { holds, ends_branch: false })
            }

            /// Sets a cancel condition that also ends the branch: as soon as the condition holds, the last added step
            /// is cancelled, and the sequence that the step belongs to ends as after its last step.
            ///
            /// The sequence is the innermost one: the branch of a container, one iteration of a loop (the loop
            /// continues with the next one), a fallback or a compensation. On the main path, the workflow completes.
            /// Side branches of the sequence still run to their ends.
            ///
            /// In all else, the condition is like that of [`cancel_when`](Self::cancel_when): a saga is compensated
            /// before the branch ends. A step has one cancel condition of either kind. [`build`](Sequence::build)
            /// refuses this kind for a side branch ([`after`](Self::after), [`recur`](Self::recur)), because the
            /// instance has already continued after it.
            pub fn cancel_branch_when(
                self,
                holds: impl Fn(&D $(, $by)?) -> bool + Send + Sync + 'static,
            ) -> Self
            where
                L: After,
            {
                let holds = ask(CANCEL_CONDITION, $on_data(holds));
                self.cancelled_by("`cancel_branch_when`", CancelCondition { holds, ends_branch: true })
            }
        }
    };
}

at_both_places!(cancellation);
