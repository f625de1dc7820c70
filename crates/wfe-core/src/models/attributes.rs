//! The names of the extension attributes of execution pointers. The names are stored, so they never change.
//! Each constant is named after the current term, even if the stored name is an older term. The names of a
//! store's own attributes begin with `wfe.`.

use serde_json::Value;

use super::ExecutionPointer;

/// On a pointer that runs or waits, and on one that ended the workflow: the kind of its step.
pub(crate) const KIND: &str = "kind";
/// On a pointer with a side branch: the instance has already continued after the step.
pub(crate) const FORKED: &str = "forked";
/// On a container that was started again: the number of this start. The second start has number 2.
pub(crate) const START: &str = "time";
/// On a pointer in an iteration: the position of the iteration's item, counted from 0.
pub(crate) const INDEX: &str = "index";
/// On a race of which a branch has ended, and whose other branches are not cancelled yet: the number of the branch that
/// wins.
pub(crate) const WINNER: &str = "winner";
/// On the last pointer of a branch: the outcome of this pointer is the outcome of the branch.
pub(crate) const LAST: &str = "last";

/// On a pointer that decides by what the step before it gave: this value. The attribute is missing if that step gave no
/// value: it was skipped or cancelled, it failed, or it is not the step from which the instance came.
pub(crate) const GIVEN: &str = "given";

/// On a pointer: the number of subscriptions that it has opened.
pub(crate) const SUBSCRIPTIONS: &str = "waits";
/// On an activity that a worker must claim in time, and that no worker is known to have claimed: the end of this time.
pub(crate) const CLAIM_BY: &str = "claim-by";
/// On an activity with the attribute [`CLAIM_BY`]: the end of its other time limit, if it has one.
pub(crate) const LIMIT: &str = "limit";
/// On a pointer that waits for a child workflow: the id of the child.
pub(crate) const CHILD: &str = "child";
/// On a pointer whose child workflow was cancelled because a saga is being compensated: the saga waits until
/// the child workflow has ended.
pub(crate) const CHILD_CANCELLED: &str = "leaving";
/// On a user task: the times of its pending escalation and reassignment. A task that was opened by an earlier
/// version of the engine does not have this attribute. Its escalation and its reassignment are both pending.
pub(crate) const UNANSWERED: &str = "to-come";
/// On a user task that was escalated by an earlier version of the engine: the task is not escalated again.
pub(crate) const ESCALATED: &str = "escalated";

/// On a pointer whose count of failed attempts in a row was reset: the number of attempts that had failed
/// before the reset.
pub(crate) const FORGIVEN: &str = "forgiven";
/// On a container whose fallback runs, and on the pointers in the fallback: the failure of the step.
pub(crate) const FAILURE: &str = "failure";
/// On a step whose fallback runs: of this step, only the fallback is running.
pub(crate) const IN_FALLBACK: &str = "in-fallback";
/// On a failed pointer whose fallback completed: the outcome of the fallback's last step.
pub(crate) const RESCUED: &str = "rescued";

/// On a saga that waits for its next round: the failure inside the saga that made this round necessary.
pub(crate) const RETRIED_FOR: &str = "why-again";
/// On a container that has a compensation: the length that the saga's log had when the container started.
pub(crate) const LOG_START: &str = "since";
/// On a pointer that did not complete: the log of its saga has an entry for it.
pub(crate) const LOGGED: &str = "logged";
/// On a pointer in a compensation: the step that the compensation compensates.
pub(crate) const COMPENSATES: &str = "undoes";
/// On a pointer in a compensation: the path that replaces the pointer's id in the pointer's idempotency key.
pub(crate) const KEY: &str = "key";

/// On a pointer that the end of its instance cancelled, or that ended its instance: where the pointer stood
/// ([`Stopped`](crate::executor::reopening::Stopped)). A retry reads it.
pub(crate) const STOPPED: &str = "stopped";
/// On a pointer that waits for a child workflow: the child was requested to cancel when the instance ended, and
/// the instance was retried meanwhile.
pub(crate) const CHILD_STOPPED: &str = "child-stopped";
/// On one pointer of an instance that was retried: the retry was not reported to subscribers yet.
pub(crate) const RETRIED: &str = "retried";

impl ExecutionPointer {
    pub(crate) fn has(&self, attribute: &str) -> bool {
        self.extension_attributes.contains_key(attribute)
    }

    pub(crate) fn attribute(&self, attribute: &str) -> Option<&Value> {
        self.extension_attributes.get(attribute)
    }

    /// The attribute as a natural number, or `None` if the attribute is missing or has another type.
    pub(crate) fn number(&self, attribute: &str) -> Option<u64> {
        self.attribute(attribute).and_then(Value::as_u64)
    }

    /// The attribute as a string, or `None` if the attribute is missing or has another type.
    pub(crate) fn text(&self, attribute: &str) -> Option<&str> {
        self.attribute(attribute).and_then(Value::as_str)
    }

    pub(crate) fn set(&mut self, attribute: &str, value: impl Into<Value>) {
        self.extension_attributes.insert(attribute.to_owned(), value.into());
    }

    pub(crate) fn unset(&mut self, attribute: &str) -> Option<Value> {
        self.extension_attributes.remove(attribute)
    }
}
