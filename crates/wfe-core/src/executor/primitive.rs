use serde_json::Value;

use super::{Env, Run};
use crate::{
    BoxError, WfeError,
    definition::{Answer, Body},
    models::ExecutionPointer,
    redact,
    steps::StepError,
};

/// Why a move of the executor did not come about.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The user's part of it failed: the step whose pointer moves has failed.
    Step(StepError),
    /// The state contradicts itself.
    State(WfeError),
}

impl From<StepError> for Fault {
    fn from(error: StepError) -> Self {
        Self::Step(error)
    }
}

impl From<WfeError> for Fault {
    fn from(error: WfeError) -> Self {
        Self::State(error)
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::State(error.into())
    }
}

/// What [`check_kept`](Primitive::check_kept) says of a value that does not decode.
pub(crate) fn undecodable<T>(error: serde_json::Error) -> Result<T, Option<BoxError>> {
    Err(Some(Box::new(redact(error))))
}

/// What came of a move.
pub(crate) type Moved<T = ()> = Result<T, Fault>;

/// A kind of step in a sentence: `a while`, `an if`.
pub(crate) fn with_article(kind: &str) -> String {
    // Of the kinds, none that begins with a `u` is said with an `an`.
    let article = if kind.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" };
    format!("{article} {kind}")
}

/// What kind of step a node is, and how it moves an instance. One file each, in `primitives/`.
///
/// A primitive keeps no state of its own: what it has to remember stands in its pointer.
pub(crate) trait Primitive: Send + Sync {
    /// Names the kind. Kept with the pointers of containers and waits, so that a definition in which the step has become
    /// something else is noticed.
    fn kind(&self) -> &'static str;

    /// What makes no sense about it; found when the definition is built.
    fn problem(&self) -> Option<String> {
        None
    }

    /// The name of what it waits for, if a program gave it one.
    fn awaited_name(&self) -> Option<&str> {
        None
    }

    /// Whether the steps inside are undone together.
    fn is_saga(&self) -> bool {
        false
    }

    /// Whether its branch begins anew, under the next number, only when the one before has ended or was taken away.
    fn has_rounds(&self) -> bool {
        self.is_saga()
    }

    /// Whether the instance goes on behind it.
    fn goes_on(&self) -> bool {
        true
    }

    /// Whether its branch runs beside what follows it.
    fn is_side(&self) -> bool {
        false
    }

    /// Whether the whole workflow ends at it.
    fn ends_all(&self) -> bool {
        false
    }

    /// Whether it is told of changes of the data.
    fn watches_data(&self) -> bool {
        false
    }

    /// What a pending pointer runs; `None`: it has no body.
    fn body(&self) -> Option<&Body> {
        None
    }

    /// A pointer at this step is pending: it was made, its pause is over, or it was opened from the store.
    fn enter(&self, run: &mut Run, at: &str, env: &mut Env<'_>) -> Moved;

    /// The body of the pointer `at` ended well. For those that have one.
    fn ended(&self, _: &mut Run, at: &str, _: Answer, _: &mut Env<'_>) -> Moved {
        Err(self.unexpected(at, "body ended"))
    }

    /// The branch `key` of the container `at` has come to its end, and is history. For containers.
    fn branch_ended(&self, _: &mut Run, at: &str, _key: &str, _: &mut Env<'_>) -> Moved {
        Err(self.unexpected(at, "branch ended"))
    }

    /// Items from position `from` on that the pointer `at` asked for are here. For those that ask.
    fn items_came(&self, _: &mut Run, at: &str, _from: u64, _: Vec<Value>, _: &mut Env<'_>) -> Moved {
        Err(self.unexpected(at, "items came"))
    }

    /// The event that the pointer `at` waited for is here; the pointer is pending again. For those that wait.
    fn event_came(&self, _: &mut Run, at: &str, _event: Value, _: &mut Env<'_>) -> Moved {
        Err(self.unexpected(at, "event came"))
    }

    /// The time that the pointer `at` has set while it waits or has children. For those that set one.
    fn time_came(&self, _: &mut Run, at: &str, _: &mut Env<'_>) -> Moved {
        Err(self.unexpected(at, "time came"))
    }

    /// Whether what it does when [its time comes](Self::time_came) takes away a wait that somebody may answer: then nobody
    /// may any more, before it is looked for an answer once more and the time has come. Somebody whose answer was
    /// accepted must not find it dropped.
    fn takes_no_answer_after(&self, _: &Run, _at: &str, _: &Env<'_>) -> crate::Result<bool> {
        Ok(false)
    }

    /// The data has changed. For those that [watch](Self::watches_data) it.
    fn data_changed(&self, _: &mut Run, _at: &str, _: &mut Env<'_>) -> Moved {
        Ok(())
    }

    /// A pointer at this step, opened from the store while its children were awaited; `Err`: what it remembered does not
    /// decode, or it has no children.
    fn reopen(&self, _: &mut Run, pointer: &ExecutionPointer) -> Result<(), String> {
        Err(format!("is a {} now, but was {}", self.kind(), pointer.status))
    }

    /// Whether a pointer at this step goes on by itself while its children are awaited, and it has none: by what it keeps, it
    /// has something to begin. `Err`: what it keeps does not decode, with the decoder's error, or cannot be.
    fn check_kept(&self, _: &ExecutionPointer) -> Result<bool, Option<BoxError>> {
        Ok(false)
    }

    /// A fault of the state: this kind of step never gets there.
    fn unexpected(&self, at: &str, what: &str) -> Fault {
        Fault::State(WfeError::Invalid(format!("{what} at {at:?}, which is a {}", self.kind())))
    }
}
