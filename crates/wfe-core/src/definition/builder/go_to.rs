use super::Sequence;
use crate::{
    definition::{Data, Item},
    program::{End, GoTo, Verb},
};

/// Jumps, and the early end of a workflow.
impl<D: Data, I: Item, At> Sequence<D, I, At> {
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
    /// use wfe_core::definition::{WorkflowBuilder, inline};
    ///
    /// let definition = WorkflowBuilder::<u32>::new("again", 1)
    ///     .then("try", inline(|_, _| async { Ok(()) }).output(|(), tries| *tries += 1))
    ///     .if_("not-yet", |tries, _| *tries < 3, |then| then.go_to("once-more", "try"))
    ///     .then("done", inline(|_, _| async { Ok(()) }))
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    #[must_use]
    pub fn go_to(self, id: impl Into<String>, target: impl Into<String>) -> Self {
        let target = target.into();
        self.leaf(id, Verb::GoTo(GoTo)).modify_last(|draft| draft.target = Some(target))
    }

    /// Ends the workflow as completed. Steps that are still running are cancelled, and sagas are not
    /// compensated.
    ///
    /// If a saga in another branch is already being compensated, the workflow is completed only after that
    /// compensation has finished. While the compensation runs, no other steps start, and neither a cancel
    /// request nor the deadline has an effect.
    ///
    /// ```
    /// use wfe_core::definition::{WorkflowBuilder, inline};
    ///
    /// let definition = WorkflowBuilder::<u32>::new("maybe", 1)
    ///     .if_("nothing-to-do", |n, _| *n == 0, |then| then.end("early"))
    ///     .then("work", inline(|_, _| async { Ok(()) }))
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    #[must_use]
    pub fn end(self, id: impl Into<String>) -> Self {
        self.leaf(id, Verb::End(End))
    }
}
