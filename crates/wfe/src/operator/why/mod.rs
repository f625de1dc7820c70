//! Why an instance stands where it stands, in one sentence and as data.

mod explain;
mod facts;
mod hosts;
mod positions;
mod standings;
pub(super) mod text;

use std::fmt;

use chrono::{DateTime, Utc};
use serde::Serialize;
use wfe_core::Result;
#[cfg(doc)]
use wfe_core::WfeError;

pub(super) use self::facts::{Facts, supported};
use super::Operator;

/// Why an instance stands where it stands.
///
/// Its text is the [`headline`](Self::headline). Its JSON, in which what is `None` or empty is left out:
///
/// ```json
/// {
///   "headline": "order-17 · order v3 waits for the event approved/order-17, since 2 d 4 h, for ever.",
///   "code": "event", "instance": "0199f3…", "step": "sign", "by": "event", "is_stuck": false,
///   "since": "2026-01-03T04:00:00Z", "until": "2026-01-06T08:00:00Z",
///   "at": ["approval › sign (item 2 of 3)"],
///   "hints": [{ "text": "publish the event, with its data as JSON", "command": "wfe publish approved order-17 DATA" }],
///   "chain": [{ "headline": "…", "code": "timer", … }]
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// One sentence, for a person who has never seen the instance. Times are relative to the operator's clock. Names are
    /// shown with control characters escaped, and cut if they are long.
    pub headline: String,
    /// The reason, as a program tells it from others.
    pub code: Code,
    /// The id of the instance.
    pub instance: String,
    /// The stable id of the step that waits, if one step does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Since when. `None` means that it is not known: the wait was stored by an earlier version of WFE, or a program has
    /// acted without a record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// When the wait ends by itself, at the latest. `None` means never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// Who or what can end it.
    pub by: By,
    /// Whether the instance stands although it should not: see [`Thresholds`](super::Thresholds).
    pub is_stuck: bool,
    /// Where the instance stands, as paths of step names: `approval › sign (item 2 of 3)`. At most 20.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub at: Vec<String>,
    /// What can be done, and what else there is to know. The first hint is the usual way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<Hint>,
    /// What the instance waits for, explained in the same way: the child for whose end it waits, and its other branches,
    /// which have the same [`instance`](Self::instance). Children are followed up to eight levels down.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<Explanation>,
}

/// What can be done, or what else there is to know. Its JSON: `{"text": "…", "command": "wfe resume 0199f3…"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Hint {
    /// The hint, without a full stop.
    pub text: String,
    /// The command that does it, quoted for a shell. Words in capitals stand for what only the operator knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

impl Hint {
    pub(super) fn note(text: impl Into<String>) -> Self {
        Self { text: text.into(), command: None }
    }

    pub(super) fn with(text: impl Into<String>, words: &[&str]) -> Self {
        Self { text: text.into(), command: Some(text::command(words)) }
    }
}

macro_rules! words {
    ($(#[$type_doc:meta])* $type:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$type_doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum $type {
            $($(#[$doc])* #[doc = concat!("\n\nIn JSON: `", $word, "`.")] $variant,)*
        }

        impl $type {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word that stands for it in JSON.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

words! {
    /// The reasons why an instance stands where it stands.
    Code {
        /// A step's body runs.
        Running = "running",
        /// A host has the instance, but no free slot for the body.
        Place = "place",
        /// The instance is due, and a host takes it as soon as it can.
        Due = "due",
        /// The instance is due, and no host is alive.
        DueNoHost = "due_no_host",
        /// Hosts are alive, but none of them has the definition.
        NoDefinition = "no_definition",
        /// The instance sleeps until a time.
        Timer = "timer",
        /// A recurring branch waits for its next tick.
        Tick = "tick",
        /// A step has failed, and is tried again later.
        Retry = "retry",
        /// The instance waits for an event.
        Event = "event",
        /// The event is stored, and a host has to take it up.
        EventWaitingForHost = "event_waiting_for_host",
        /// The instance waits for an activity, which no worker has claimed.
        ActivityUnclaimed = "activity_unclaimed",
        /// A worker does the activity.
        ActivityHeld = "activity_held",
        /// A worker has claimed the activity, and its lease has run out.
        LeaseOver = "lease_over",
        /// The instance waits for the answer of a person.
        Task = "task",
        /// The instance waits for the end of a child.
        Child = "child",
        /// A failure has suspended the instance.
        SuspendedFailure = "suspended_failure",
        /// A request has suspended the instance.
        SuspendedBy = "suspended_by",
        /// The instance was suspended because it seemed to kill its process.
        Poison = "poison",
        /// The instance compensates its sagas in order to end.
        Closing = "closing",
        /// A control request is stored, and a host has to apply it.
        RequestWaiting = "request_waiting",
        /// The instance has ended.
        Ended = "ended",
    }
}

words! {
    /// Who or what can end a wait.
    By {
        /// A host.
        Host = "host",
        /// A time that comes.
        Time = "time",
        /// An event.
        Event = "event",
        /// An external worker.
        Worker = "worker",
        /// A person who answers.
        Person = "person",
        /// A child that ends.
        Child = "child",
        /// An operator.
        Operator = "operator",
        /// The instance has ended.
        Nobody = "nobody",
    }
}

/// The headline.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline)
    }
}

impl Operator {
    /// Why the instance stands where it stands, and what would end that.
    ///
    /// The answer is made from what is stored: the instance, its waits, its children, the records of actions, the outlines
    /// of definitions, and what the hosts say about themselves. Hosts are asked, and have 200 ms to answer.
    ///
    /// # Errors
    /// * [`WorkflowNotFound`](WfeError::WorkflowNotFound): no instance has this id.
    /// * The errors of the store. An instance whose rows are corrupt is explained too.
    pub async fn why(&self, id: &str) -> Result<Explanation> {
        let facts = Facts::fresh(self).await?;
        self.explain(&facts, id).await
    }
}
