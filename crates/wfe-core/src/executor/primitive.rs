use serde_json::Value;

use super::{
    Fault, Kept, Moved, Spoilt,
    run::{Env, Run},
};
use crate::{
    WfeError,
    models::ExecutionPointer,
    program::{Answer, Verb},
};

/// How one kind of step moves an instance. Each kind has a file in `primitives/`. The fixed properties of a kind are in
/// its [`Verb`].
///
/// A primitive has no state of its own. The state of a step is in its execution pointer.
pub(crate) trait Primitive {
    /// Enters a pending pointer at this step. A pointer is pending if it is new, if its sleep or backoff is over, or if
    /// it was pending when the instance was loaded from the store.
    fn enter(&self, run: &mut Run, at: &str, env: &mut Env<'_>) -> Moved;

    /// Handles the success of the body of the pointer `at`. Called only for kinds of steps that have a body.
    fn ended(&self, run: &mut Run, at: &str, _: Answer, _: &mut Env<'_>) -> Moved {
        Err(unexpected(run, at, "a body ended"))
    }

    /// Handles the end of the branch `key` of the container `at`. The pointers of the branch are already in the
    /// history. Called only for containers.
    fn branch_ended(&self, run: &mut Run, at: &str, _key: &str, _: &mut Env<'_>) -> Moved {
        Err(unexpected(run, at, "a branch ended"))
    }

    /// Handles items that were requested for the pointer `at`. The first of these items has the position `from`. Called
    /// only for kinds of steps that request items.
    fn items_read(&self, run: &mut Run, at: &str, _from: u64, _: Vec<Value>, _: &mut Env<'_>) -> Moved {
        Err(unexpected(run, at, "items were read"))
    }

    /// Handles an event that has arrived for the pointer `at`. The pointer is pending again. Called only for kinds of
    /// steps that wait for events.
    fn event_received(&self, run: &mut Run, at: &str, _event: Value, _: &mut Env<'_>) -> Moved {
        Err(unexpected(run, at, "an event arrived"))
    }

    /// Handles a timer of the pointer `at`. The pointer had set the timer for its wait or for its children. Called only
    /// for kinds of steps that set such a timer.
    fn timer_fired(&self, run: &mut Run, at: &str, _: &mut Env<'_>) -> Moved {
        Err(unexpected(run, at, "a timer fired"))
    }

    /// Whether [`timer_fired`](Self::timer_fired) closes a subscription that a worker or user may answer. Before the
    /// timer of such a subscription fires, the store stops accepting answers for the subscription. The engine then
    /// checks once more whether the store has accepted an answer. This way, no accepted answer is dropped.
    fn closes_at_limit(&self, _: &Run, _at: &str, _: &Env<'_>) -> crate::Result<Closes> {
        Ok(Closes::No)
    }

    /// Handles that the store did not close the subscription at the limit, because a worker has claimed it. Called only
    /// for kinds of steps that close [unless claimed](Closes::UnlessClaimed).
    fn claimed(&self, run: &mut Run, at: &str, _: &mut Env<'_>) -> Moved {
        Err(unexpected(run, at, "a claim ended a time limit"))
    }

    /// Handles a change of the instance's data. Called only for kinds of steps that [watch](Verb::watches_data) the
    /// data.
    fn data_changed(&self, _: &mut Run, _at: &str, _: &mut Env<'_>) -> Moved {
        Ok(())
    }

    /// Checks the state in a pointer at this step. Returns whether the step continues automatically from this state, or
    /// waits. All kinds of steps that store state implement this method.
    fn check_kept(&self, _: &ExecutionPointer) -> Result<Kept, Spoilt> {
        Ok(Kept::Waits)
    }

    /// Reopens a pointer at this step. The pointer was waiting for its children when it was stored. Returns `Err` if
    /// the state of the pointer does not decode, or if this kind of step has no children.
    fn reopen(&self, run: &mut Run, pointer: &ExecutionPointer) -> Result<(), String> {
        let kind = run.node_of(&pointer.id).map_or("step", |node| node.verb.kind());
        Err(format!("is a {kind} now, but was {}", pointer.status))
    }
}

/// Whether a timer closes a subscription to answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closes {
    No,
    Yes,
    /// The store closes it, unless a worker has claimed it.
    UnlessClaimed,
}

/// Builds the error for a call that this kind of step can receive only if the state of the instance is invalid.
fn unexpected(run: &Run, at: &str, what: &str) -> Fault {
    let step = run.node_of(at).map_or_else(|_| "no step".to_owned(), |node| node.verb.with_article());
    Fault::State(WfeError::Invalid(format!("{what} at {at:?}, which is {step}")))
}

impl Verb {
    /// The implementation that moves an instance at a step of this kind.
    pub(crate) fn primitive(&self) -> &dyn Primitive {
        match self {
            Self::RunBody(it) => it,
            Self::ForEach(it) => it,
            Self::If(it) => it,
            Self::While(it) => it,
            Self::Decide(it) => it,
            Self::Parallel(it) => it,
            Self::Race(it) => it,
            Self::Saga(it) => it,
            Self::Block(it) => it,
            Self::Schedule(it) => it,
            Self::Recur(it) => it,
            Self::Delay(it) => it,
            Self::WaitFor(it) => it,
            Self::Activity(it) => it,
            Self::UserTask(it) => it,
            Self::SubWorkflow(it) => it,
            Self::GoTo(it) => it,
            Self::End(it) => it,
        }
    }
}
