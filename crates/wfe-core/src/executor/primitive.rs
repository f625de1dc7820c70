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

/// How one kind of step moves an instance. Each kind has a file in `primitives/`; its fixed properties are in its
/// [`Verb`].
///
/// A primitive has no state of its own: what it has to remember is in its pointer.
pub(crate) trait Primitive {
    /// Enters a pending pointer at this step: it is new, its backoff is over, or it was opened from the store.
    fn enter(&self, run: &mut Run, at: &str, env: &mut Env<'_>) -> Moved;

    /// The body of the pointer `at` succeeded. For kinds with a body.
    fn ended(&self, run: &mut Run, at: &str, _: Answer, _: &mut Env<'_>) -> Moved {
        Err(unexpected(run, at, "a body ended"))
    }

    /// The branch `key` of the container `at` has ended, and is history. For containers.
    fn branch_ended(&self, run: &mut Run, at: &str, _key: &str, _: &mut Env<'_>) -> Moved {
        Err(unexpected(run, at, "a branch ended"))
    }

    /// Items from position `from` on, requested by the pointer `at`, were read. For kinds that request items.
    fn items_read(&self, run: &mut Run, at: &str, _from: u64, _: Vec<Value>, _: &mut Env<'_>) -> Moved {
        Err(unexpected(run, at, "items were read"))
    }

    /// The pointer `at` receives the event that it waited for, and is pending again. For kinds that wait.
    fn event_received(&self, run: &mut Run, at: &str, _event: Value, _: &mut Env<'_>) -> Moved {
        Err(unexpected(run, at, "an event arrived"))
    }

    /// The timer fires that the pointer `at` set while it waits or has children. For kinds that set one.
    fn timer_fired(&self, run: &mut Run, at: &str, _: &mut Env<'_>) -> Moved {
        Err(unexpected(run, at, "a timer fired"))
    }

    /// Whether [`timer_fired`](Self::timer_fired) closes a wait that a worker or user may answer. Such a wait first
    /// stops accepting answers. Then the store is checked once more for an answer, and only then the timer fires: an
    /// answer that was accepted must not be dropped.
    fn takes_no_answer_after(&self, _: &Run, _at: &str, _: &Env<'_>) -> crate::Result<bool> {
        Ok(false)
    }

    /// The data has changed. For kinds that [watch](Verb::watches_data) it.
    fn data_changed(&self, _: &mut Run, _at: &str, _: &mut Env<'_>) -> Moved {
        Ok(())
    }

    /// Checks the state in a pointer at this step, and how the step goes on from it. For kinds that keep state.
    fn check_kept(&self, _: &ExecutionPointer) -> Result<Kept, Spoilt> {
        Ok(Kept::Waits)
    }

    /// Reopens a pointer at this step that awaited its children when it was stored. `Err`: its state does not decode,
    /// or this kind has no children.
    fn reopen(&self, run: &mut Run, pointer: &ExecutionPointer) -> Result<(), String> {
        let kind = run.node_of(&pointer.id).map_or("step", |node| node.verb.kind());
        Err(format!("is a {kind} now, but was {}", pointer.status))
    }
}

/// A fault of the state: this kind of step never gets into this situation.
fn unexpected(run: &Run, at: &str, what: &str) -> Fault {
    let step = run.node_of(at).map_or_else(|_| "no step".to_owned(), |node| node.verb.with_article());
    Fault::State(WfeError::Invalid(format!("{what} at {at:?}, which is {step}")))
}

impl Verb {
    /// The implementation that moves an instance at such a step.
    pub(crate) fn primitive(&self) -> &dyn Primitive {
        match self {
            Self::RunBody(it) => it,
            Self::ForEach(it) => it,
            Self::If(it) => it,
            Self::While(it) => it,
            Self::Decide(it) => it,
            Self::Parallel(it) => it,
            Self::Saga(it) => it,
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
