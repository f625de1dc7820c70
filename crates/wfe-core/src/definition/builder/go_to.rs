use super::Sequence;
use crate::{
    definition::{Data, Item},
    program::{End, GoTo, Verb},
};

/// Steps that lead elsewhere.
impl<D: Data, I: Item, At> Sequence<D, I, At> {
    /// Goes to the step of this id: one of the same sequence, before or behind, or of a sequence around it. Containers
    /// that are left by it are taken away with all that is inside them; what a saga did stays done. From inside of a
    /// compensation it leads to a step of that.
    ///
    /// A step that is visited again is run again, as a visit of its own: with a pointer and an
    /// [idempotency key](crate::steps::Ctx::idempotency_key) of its own.
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
        self.leaf(id, Verb::GoTo(GoTo)).dress(|draft| draft.target = Some(target))
    }

    /// Ends the workflow here, as completed; whatever else still runs of it is taken away. What sagas have done stays done.
    ///
    /// A saga that is just being undone in another branch is undone in full first, so that none is left half undone; the
    /// workflow has completed when that is done. Nothing else begins meanwhile, and a cancel or a deadline changes nothing
    /// about the end that is under way.
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
