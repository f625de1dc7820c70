//! Containers that decide by the data whether, and how often, their steps run; sagas; jumps.

use super::{App, Block, Branch, Each, Main, Sequence};
use crate::{
    definition::{Data, Item, draft::Draft},
    program::{End, GoTo, IfElse, Saga, Verb, While, ask},
};

pub(super) const CONDITION: &str = "the step's condition";

macro_rules! containers {
    ([$($t:ident)?] $place:ty, $item:ty, ($($by:ty)?), $on_data:path, $on_left:path) => {
        /// Containers that run on a condition.
        impl<D: Data, A: App, L, $($t: Item)?> Sequence<D, $place, A, L> {
            /// Runs the steps of `then` if the condition holds.
            pub fn if_<B: Branch<D, $place, A>>(
                mut self,
                id: impl Into<String>,
                holds: impl Fn(&D $(, $by)?) -> bool + Send + Sync + 'static,
                then: impl FnOnce(Sequence<D, $place, A>) -> B,
            ) -> Sequence<D, $place, A, Block> {
                let then = self.steps_of(then);
                self.container(id, Verb::If(IfElse { holds: ask(CONDITION, $on_data(holds)) }), then)
            }

            /// Runs the steps of `then` if the condition holds, and the steps of `otherwise` if it does not.
            pub fn if_else<B: Branch<D, $place, A>, O: Branch<D, $place, A>>(
                mut self,
                id: impl Into<String>,
                holds: impl Fn(&D $(, $by)?) -> bool + Send + Sync + 'static,
                then: impl FnOnce(Sequence<D, $place, A>) -> B,
                otherwise: impl FnOnce(Sequence<D, $place, A>) -> O,
            ) -> Sequence<D, $place, A, Block> {
                let branches = vec![self.steps_of(then), self.steps_of(otherwise)];
                let verb = Verb::If(IfElse { holds: ask(CONDITION, $on_data(holds)) });
                self.push(Draft { branches, ..Draft::new(id, verb) })
            }

            /// Repeats the steps of `body` as long as the condition holds. The condition is evaluated before each
            /// iteration.
            pub fn while_<B: Branch<D, $place, A>>(
                mut self,
                id: impl Into<String>,
                holds: impl Fn(&D $(, $by)?) -> bool + Send + Sync + 'static,
                body: impl FnOnce(Sequence<D, $place, A>) -> B,
            ) -> Sequence<D, $place, A, Block> {
                let body = self.steps_of(body);
                self.container(id, Verb::While(While { holds: ask(CONDITION, $on_data(holds)) }), body)
            }
        }
    };
}

at_both_places!(containers);

/// Sagas and jumps.
impl<D: Data, P, A: App, L> Sequence<D, P, A, L> {
    /// Runs the steps of `body` as a saga: if one of them fails for good, the completed steps are compensated.
    ///
    /// **Compensation.** First, the branches of the saga that are still running are cancelled. Then every
    /// completed step with a [compensation](Self::compensate_with) is compensated, at any depth inside the
    /// saga. The compensations run one after the other, in reverse order of completion. The failed step itself comes
    /// first, if it has a [compensation for this case](Self::compensate_even_if_failed).
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
    /// body that is running in the branch is cancelled. The saga does not wait for a cancelled body, and compensates its
    /// step only if the step has a [compensation for this
    /// case](Self::compensate_even_if_failed). In the body, check the token before each side effect, and pass the
    /// idempotency key to the external system. The host drops an asynchronous body that is still running one second
    /// after its token was cancelled.
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
    /// use wfe_core::definition::{OnFailure, WorkflowBuilder};
    ///
    /// let definition = WorkflowBuilder::<u32>::new("order", 1)
    ///     .saga("fulfil", |saga| {
    ///         saga.then("pay", async |_, _| Ok(()))
    ///             .compensate_with(|refund| refund.then("refund", async |_, _| Ok(())))
    ///             .then("ship", async |_, _| Ok(()))
    ///     })
    ///     .on_failure(OnFailure::Fail)
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    pub fn saga<B: Branch<D, P, A>>(
        mut self,
        id: impl Into<String>,
        body: impl FnOnce(Sequence<D, P, A>) -> B,
    ) -> Sequence<D, P, A, Block> {
        let branch = self.steps_of(body);
        self.container(id, Verb::Saga(Saga), branch)
    }

    /// Continues with the step `target`. The target is an earlier or later step of the same sequence or of an
    /// enclosing sequence. Inside a compensation, the target must belong to the same compensation.
    ///
    /// Containers that the go-to leaves are cancelled, with all their steps. A saga that is left in this way is
    /// not compensated.
    ///
    /// A step that is reached again runs again, with a new execution pointer and a new [idempotency
    /// key](crate::steps::Ctx::idempotency_key).
    ///
    /// ```
    /// use wfe_core::definition::WorkflowBuilder;
    ///
    /// let definition = WorkflowBuilder::<u32>::new("again", 1)
    ///     .change("try", |tries| *tries += 1)
    ///     .if_("not-yet", |tries| *tries < 3, |then| then.go_to("once-more", "try"))
    ///     .then("done", async |_, _| Ok(()))
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    pub fn go_to(self, id: impl Into<String>, target: impl Into<String>) -> Sequence<D, P, A, Block> {
        self.push(Draft { target: Some(target.into()), ..Draft::new(id, Verb::GoTo(GoTo)) })
    }

    /// Ends the workflow as completed. Steps that are still running are cancelled, and sagas are not
    /// compensated.
    ///
    /// If a saga in another branch is already being compensated, the workflow is completed only after that
    /// compensation has finished. While the compensation runs, no other steps start, and neither a cancel
    /// request nor the deadline has an effect.
    ///
    /// ```
    /// use wfe_core::definition::WorkflowBuilder;
    ///
    /// let definition = WorkflowBuilder::<u32>::new("maybe", 1)
    ///     .if_("nothing-to-do", |n| *n == 0, |then| then.end("early"))
    ///     .then("work", async |_, _| Ok(()))
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    pub fn end(self, id: impl Into<String>) -> Sequence<D, P, A, Block> {
        self.leaf(id, Verb::End(End))
    }
}
