//! Settings of a whole definition: the defaults of its steps.

use super::{After, App, Main, Parts, Sequence, Start};
use crate::definition::{Data, OnFailure, Retry};

/// What [`on_failure`](Sequence::on_failure) covers: the last added step, or, before the first step, the whole
/// definition.
pub trait Covers {
    #[doc(hidden)]
    const WHOLE_DEFINITION: bool;
}

impl Covers for Start {
    const WHOLE_DEFINITION: bool = true;
}

impl<L: After> Covers for L {
    const WHOLE_DEFINITION: bool = false;
}

impl<D: Data, A: App> Sequence<D, Main, A> {
    /// Sets the retry policy of all steps of the definition that do work and have no policy of their own: steps with a
    /// body, and activities, in all containers, fallbacks and compensations. It comes before the first step. By default,
    /// a step gets one attempt; [`retry`](Sequence::retry) says why.
    ///
    /// Containers, sagas, waits, user tasks and child workflows are not covered, because a retry of one of these repeats
    /// more than one piece of work, or a whole waiting time. Give them a policy of their own where you want that.
    ///
    /// When the attempts of a step are used up, [`on_failure`](Sequence::on_failure) decides, of the step or of the
    /// whole definition. By default, the instance fails. It can be retried: the failed step then gets all its
    /// attempts once more.
    ///
    /// ```
    /// use wfe_core::definition::{Retry, WorkflowBuilder};
    ///
    /// let definition = WorkflowBuilder::<u32>::new("order", 1)
    ///     .retry_steps(Retry::exponential())
    ///     .then("reserve", async |_, _| Ok(())) // up to 5 attempts
    ///     .then("charge", async |_, _| Ok(()))
    ///     .retry(Retry::never()) // one attempt
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    pub fn retry_steps(mut self, retry: Retry) -> Self {
        self.parts.check_whole("`retry_steps`");
        if let Some(problem) = retry.problem() {
            self.parts.problems.push(format!("`retry_steps`: {problem}"));
        }
        if self.parts.defaults.retry.replace(retry).is_some() {
            self.parts.problems.push("it has `retry_steps` twice; keep one of them".to_owned());
        }
        self
    }
}

impl Parts {
    pub(super) fn on_failure_of_steps(&mut self, behaviour: OnFailure) {
        self.check_whole("`on_failure`");
        if behaviour == OnFailure::Compensate {
            let problem = "its steps have `OnFailure::Compensate`, but not all of them are inside a saga; steps inside a \
                           saga have this behaviour anyway";
            self.problems.push(problem.to_owned());
        }
        if self.defaults.on_failure.replace(behaviour).is_some() {
            self.problems
                .push("it has `on_failure` twice before its first step; keep one of them".to_owned());
        }
    }

    /// Checks that a setting of the whole definition comes before its first step.
    fn check_whole(&mut self, setting: &str) {
        if !self.is_main {
            self.problems.push(format!(
                "a branch begins with {setting}, which is a setting of the whole definition; set it before the first step \
                 of the main path, or give each step its own"
            ));
        } else if let Some(draft) = self.drafts.last() {
            self.problems.push(format!(
                "{setting} comes after step {:?}; set it before the first step, or right after the step that it is about",
                draft.id
            ));
        }
    }
}
