use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

#[cfg(doc)]
use super::super::StepStore;
use super::{
    super::{Control, Expected, Intervention, Known, Published, Reopened, Requested, Started, StepCommit},
    PurgeReport,
};
use crate::models::{Event, WorkflowInstance};

/// What an operator does, for [`Management::act`](super::Management::act). Most actions are calls of [`StepStore`]: the
/// same rules and errors apply.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Action<'a> {
    /// Only stores the record, for an action that is not one transaction: the beginning and the end of a bulk action, a
    /// backup, a purge.
    Note,
    /// Stores a control request, as [`request`](StepStore::request) or [`intervene`](StepStore::intervene) does. The result
    /// is [`Acted::Requested`].
    Request {
        /// The instance.
        id: &'a str,
        /// The kind of the request.
        control: Control,
        /// How to resume, if the request is an intervention.
        intervention: Option<&'a Intervention>,
    },
    /// Stores a new instance with these attributes, as [`start_if`](StepStore::start_if) does without an owner. The result
    /// is [`Acted::Started`].
    Start {
        /// The new instance.
        instance: &'a WorkflowInstance,
        /// What happens if the reference is known.
        known: Known,
        /// The attributes of the new instance.
        attributes: &'a Map<String, Value>,
    },
    /// Stores a new instance that replaces an ended one, as [`restart`](StepStore::restart) does without an owner. The
    /// result is [`Acted::Started`].
    Restart {
        /// The ended instance.
        of: &'a str,
        /// The new instance.
        instance: &'a WorkflowInstance,
    },
    /// Makes an ended instance runnable again, as [`reopen`](StepStore::reopen) does. The result is [`Acted::Reopened`].
    Reopen {
        /// The revision at which the instance was read.
        revision: u64,
        /// The time of the retry.
        at: DateTime<Utc>,
        /// The commit of the retry.
        step: &'a StepCommit,
    },
    /// Stores a new instance in the place of another one, as [`replace`](StepStore::replace) does. The result is
    /// [`Acted::Replaced`].
    Replace {
        /// The other instance, as it was read.
        old: &'a Expected,
        /// The new instance.
        new: &'a WorkflowInstance,
    },
    /// Stores an event, as [`publish`](StepStore::publish) does. The result is [`Acted::Published`].
    Publish {
        /// The event.
        event: &'a Event,
        /// Whether the time of the event was given.
        is_dated: bool,
        /// The only instance for which the event is meant.
        receiver: Option<&'a str>,
    },
    /// Answers a subscription, as [`answer_wait`](StepStore::answer_wait) does. The result is [`Acted::Answered`].
    Answer {
        /// The id of the subscription.
        wait: &'a str,
        /// The token that holds the subscription, if the answer comes from its holder.
        token: Option<&'a str>,
        /// The answer.
        event: &'a Event,
    },
    /// Releases the claim of the worker that holds a subscription, whatever its token. The result is [`Acted::Released`]:
    /// false if nobody held it. The error for a subscription that is unknown or closed is
    /// [`SubscriptionNotFound`](crate::WfeError::SubscriptionNotFound).
    Release {
        /// The id of the subscription.
        wait: &'a str,
    },
    /// Records that the failure of a failed or suspended instance is dealt with, or (`false`) that it is not. The record
    /// holds until the instance fails again. The result is [`Acted::Acknowledged`]: false if that was recorded already.
    /// The error for an instance without a failure is [`Invalid`](crate::WfeError::Invalid).
    Acknowledge {
        /// The instance.
        id: &'a str,
        /// Whether the failure is dealt with.
        acknowledged: bool,
    },
    /// Deletes an instance, as [`delete`](super::Management::delete) does. The record is stored with the first batch. The
    /// result is [`Acted::Deleted`].
    Delete {
        /// The instance.
        id: &'a str,
    },
}

/// The result of an [`Action`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Acted {
    /// The record is stored.
    Noted,
    /// What became of a control request. The record of a redundant request is not stored.
    Requested(Requested),
    /// What became of a start. The record of a start that stored nothing is not stored.
    Started(Started),
    /// What became of a retry. The record of a refused retry is not stored.
    Reopened(Reopened),
    /// The id of the new instance, or `None` if the other one has changed since it was read.
    Replaced(Option<String>),
    /// What became of an event. The record of a known event is not stored.
    Published(Published),
    /// Whether the answer is new.
    Answered(bool),
    /// Whether somebody held the subscription.
    Released(bool),
    /// Whether the record of the failure has changed.
    Acknowledged(bool),
    /// What was removed.
    Deleted(PurgeReport),
}
