//! Modifiers: settings of the step that was added last.

use std::time::Duration;

use super::{After, App, Branch, Each, HasBody, Loop, Main, Sequence};
use crate::{
    definition::{Data, Item, OnFailure, Retry},
    program::{ForEach, Verb, ask},
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

    /// Sets the retry policy of the last added step. By default, a step is not retried.
    ///
    /// A retry runs a body again, evaluates a condition again, or starts a new wait, a new activity or a new
    /// child workflow. A saga is first compensated, and then runs again from its beginning.
    ///
    /// The policy of an `if`, a `parallel`, a for-each or another container covers only the container's own
    /// failures, such as a condition that panics. The steps inside the container have their own policies. To
    /// retry several steps together, put them in a [saga](Self::saga). Fatal errors, including those in a saga,
    /// are retried only if [`Retry::even_if_fatal`] allows it.
    pub fn retry(self, retry: Retry) -> Self
    where
        L: After,
    {
        self.once("`retry`", |draft| draft.policy.retry = retry)
    }

    /// Sets what happens when the last added step has failed for good; [`OnFailure`] describes the default.
    ///
    /// On a [saga](Self::saga), the setting covers the failure of the steps inside the saga. On any other
    /// container, it covers only the container's own failures.
    pub fn on_failure(self, behaviour: OnFailure) -> Self
    where
        L: After,
    {
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
    /// The fallback of an `if`, a `parallel`, a for-each or another container does not catch the failures of
    /// the steps inside the container. Those steps have their own settings, and by default their failure fails
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
        self.once("`compensate_with`", |draft| draft.compensation = Some(drafts))
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

macro_rules! cancellation {
    ([$($t:ident)?] $place:ty, $item:ty, ($($by:ty)?), $on_data:path, $on_left:path) => {
        /// The cancel condition.
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
            pub fn cancel_when(
                self,
                holds: impl Fn(&D $(, $by)?) -> bool + Send + Sync + 'static,
            ) -> Self
            where
                L: After,
            {
                let holds = ask("the step's cancel condition", $on_data(holds));
                self.once("`cancel_when`", |draft| draft.cancel_when = Some(holds))
            }
        }
    };
}

at_both_places!(cancellation);
