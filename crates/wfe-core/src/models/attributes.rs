//! The names of the extension attributes of execution pointers. They are stored, so that a name never changes; a constant
//! bears the field's word where the stored name is another one. A store that keeps attributes of its own with pointers names
//! them `wfe.…`.

use serde_json::Value;

use super::ExecutionPointer;

/// Of a pointer at work or waiting: the kind of its step.
pub(crate) const KIND: &str = "kind";
/// Of a pointer beside whose step the instance has gone on already.
pub(crate) const FORKED: &str = "forked";
/// Of a container that has started again: which start this is, from 2.
pub(crate) const START: &str = "time";
/// Of a pointer in an iteration: the position of its item, from 0.
pub(crate) const INDEX: &str = "index";
/// Of the pointer that ended its branch: its outcome is the branch's.
pub(crate) const LAST: &str = "last";

/// Of a pointer: how many subscriptions it has opened.
pub(crate) const SUBSCRIPTIONS: &str = "waits";
/// Of a pointer that waits for a child workflow: the child's id.
pub(crate) const CHILD: &str = "child";
/// Of a pointer whose child was cancelled, because a saga around it compensates: the saga waits for the child's end.
pub(crate) const CHILD_CANCELLED: &str = "leaving";
/// Of a user task: when it is escalated and reassigned, as far as that is still to come. A task that an earlier version
/// opened has none: all of it comes then.
pub(crate) const UNANSWERED: &str = "to-come";
/// Of a user task that an earlier version escalated: it is not escalated again.
pub(crate) const ESCALATED: &str = "escalated";

/// Of a pointer that goes on after failed attempts: how many attempts had failed before.
pub(crate) const FORGIVEN: &str = "forgiven";
/// Of a container whose fallback runs, and of the pointers in the fallback: why the step failed.
pub(crate) const FAILURE: &str = "failure";
/// Of a container: nothing of it runs but its fallback.
pub(crate) const IN_FALLBACK: &str = "in-fallback";
/// Of a failed pointer whose fallback ended well: the outcome of the fallback's last step.
pub(crate) const RESCUED: &str = "rescued";

/// Of a saga that waits for its next round: the failure inside it for which it is tried again.
pub(crate) const RETRIED_FOR: &str = "why-again";
/// Of a container with a compensation of its own: how long the saga's log was when the container began.
pub(crate) const LOG_START: &str = "since";
/// Of a pointer in a compensation: the completed step that is compensated.
pub(crate) const COMPENSATES: &str = "undoes";
/// Of a pointer in a compensation: what its idempotency key names in place of the pointer.
pub(crate) const KEY: &str = "key";

impl ExecutionPointer {
    pub(crate) fn has(&self, attribute: &str) -> bool {
        self.extension_attributes.contains_key(attribute)
    }

    pub(crate) fn attribute(&self, attribute: &str) -> Option<&Value> {
        self.extension_attributes.get(attribute)
    }

    /// `None`: it has no such attribute, or it is no natural number.
    pub(crate) fn number(&self, attribute: &str) -> Option<u64> {
        self.attribute(attribute).and_then(Value::as_u64)
    }

    /// `None`: it has no such attribute, or it is no text.
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
