use super::{Env, Run};
use crate::{
    Result, WfeError,
    definition::{Answer, Body},
    models::ExecutionPointer,
    steps::StepError,
};

/// What kind of step a node is, and how it moves an instance. One file each, in `primitives/`.
///
/// A primitive keeps no state of its own: what it has to remember stands in its pointer.
pub(crate) trait Primitive: Send + Sync {
    /// Names the kind. Kept with the pointers of containers, so that a definition in which the step has become
    /// something else is noticed.
    fn kind(&self) -> &'static str;

    /// What makes no sense about it; found when the definition is built.
    fn problem(&self) -> Option<String> {
        None
    }

    /// What a pending pointer runs; `None`: it has no body.
    fn body(&self) -> Option<&Body>;

    /// A pointer at this step became pending: it was made, its pause is over, or it was opened from the store.
    fn enter(&self, run: &mut Run, at: &str, env: &mut Env<'_>) -> Result<()>;

    /// The body of the pointer `at` ended well. An error of the step (inner) counts as a failure of the body.
    fn ended(
        &self,
        run: &mut Run,
        at: &str,
        answer: Answer,
        env: &mut Env<'_>,
    ) -> Result<std::result::Result<(), StepError>>;

    /// The branch of the container `at` whose last pointer is `last` has come to its end. For containers only.
    fn branch_ended(&self, _: &mut Run, at: &str, last: &str, _: &mut Env<'_>) -> Result<()> {
        let kind = self.kind();
        Err(WfeError::Invalid(format!("pointer {last:?} names {at:?} as its container, which is a {kind}")))
    }

    /// Items that the container `at` asked for are in its window. For those that ask only.
    fn items_came(&self, _: &mut Run, at: &str, _: &mut Env<'_>) -> Result<()> {
        Err(WfeError::Invalid(format!("{at:?} is a {} and asked for no items", self.kind())))
    }

    /// A pointer at this step, opened from the store while it was at work; `Err`: what it remembered does not decode.
    /// Without this, a step is never found at work: its body is run again from the start.
    fn reopen(&self, _: &mut Run, pointer: &ExecutionPointer) -> std::result::Result<(), String> {
        Err(format!("is a {} now, but was {}", self.kind(), pointer.status))
    }
}
