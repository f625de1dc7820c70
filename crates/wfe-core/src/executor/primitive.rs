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

/// How a kind of step moves an instance. One file each, in `primitives/`; what is fixed about the kind stands in its
/// [`Verb`].
///
/// A primitive keeps no state of its own: what it has to remember stands in its pointer.
pub(crate) trait Primitive {
    /// A pointer at this step is pending: it was made, its pause is over, or it was opened from the store.
    fn enter(&self, run: &mut Run, at: &str, env: &mut Env<'_>) -> Moved;

    /// The body of the pointer `at` ended well. For those that have one.
    fn ended(&self, run: &mut Run, at: &str, _: Answer, _: &mut Env<'_>) -> Moved {
        Err(unexpected(run, at, "body ended"))
    }

    /// The branch `key` of the container `at` has come to its end, and is history. For containers.
    fn branch_ended(&self, run: &mut Run, at: &str, _key: &str, _: &mut Env<'_>) -> Moved {
        Err(unexpected(run, at, "branch ended"))
    }

    /// Items from position `from` on that the pointer `at` asked for are here. For those that ask.
    fn items_read(&self, run: &mut Run, at: &str, _from: u64, _: Vec<Value>, _: &mut Env<'_>) -> Moved {
        Err(unexpected(run, at, "items came"))
    }

    /// The event that the pointer `at` waited for is here; the pointer is pending again. For those that wait.
    fn event_received(&self, run: &mut Run, at: &str, _event: Value, _: &mut Env<'_>) -> Moved {
        Err(unexpected(run, at, "event came"))
    }

    /// The time that the pointer `at` has set while it waits or has children. For those that set one.
    fn timer_fired(&self, run: &mut Run, at: &str, _: &mut Env<'_>) -> Moved {
        Err(unexpected(run, at, "time came"))
    }

    /// Whether what it does when [its time comes](Self::timer_fired) takes away a wait that somebody may answer: then nobody
    /// may any more, before it is looked for an answer once more and the time has come. Somebody whose answer was
    /// accepted must not find it dropped.
    fn takes_no_answer_after(&self, _: &Run, _at: &str, _: &Env<'_>) -> crate::Result<bool> {
        Ok(false)
    }

    /// The data has changed. For those that [watch](Verb::watches_data) it.
    fn data_changed(&self, _: &mut Run, _at: &str, _: &mut Env<'_>) -> Moved {
        Ok(())
    }

    /// What it means that a pointer at this step keeps what it does. For those that keep something.
    fn check_kept(&self, _: &ExecutionPointer) -> Result<Kept, Spoilt> {
        Ok(Kept::Waits)
    }

    /// A pointer at this step, opened from the store while its children were awaited; `Err`: what it remembered does not
    /// decode, or it has no children.
    fn reopen(&self, run: &mut Run, pointer: &ExecutionPointer) -> Result<(), String> {
        let kind = run.node_of(&pointer.id).map_or("step", |node| node.verb.kind());
        Err(format!("is a {kind} now, but was {}", pointer.status))
    }
}

/// A fault of the state: this kind of step never gets there.
fn unexpected(run: &Run, at: &str, what: &str) -> Fault {
    let step = run.node_of(at).map_or_else(|_| "no step".to_owned(), |node| node.verb.with_article());
    Fault::State(WfeError::Invalid(format!("{what} at {at:?}, which is {step}")))
}

impl Verb {
    /// How it moves an instance.
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
