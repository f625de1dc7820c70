//! How states look: a symbol, a word and a colour.

use maud::{Markup, html};
use wfe::{status::Waits, traits::InstanceState};

use super::icons::icon;

/// The state of an instance or of a step, as pages and pictures show it: its symbol and its colour have the name
/// [`class`](Self::class).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// A body runs.
    Running,
    /// Nothing keeps it from running, and no host has begun.
    Due,
    /// It waits for a time.
    Asleep,
    /// It waits for an event, an answer or a child workflow.
    Waiting,
    /// An attempt has failed, and the next one comes.
    Retrying,
    /// It is suspended until an operator acts.
    Suspended,
    /// It completed.
    Completed,
    /// It failed for good.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// It was terminated.
    Terminated,
}

impl State {
    /// All states, in the order in which they are listed.
    pub const ALL: [Self; 10] = [
        Self::Running,
        Self::Due,
        Self::Asleep,
        Self::Waiting,
        Self::Retrying,
        Self::Suspended,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Terminated,
    ];

    /// The state of a step that waits for this.
    #[must_use]
    pub fn at(waits: &Waits) -> Self {
        match waits {
            Waits::Running { .. } => Self::Running,
            Waits::Timer { .. } | Waits::Tick { .. } => Self::Asleep,
            Waits::Retry { .. } => Self::Retrying,
            Waits::Event { .. } | Waits::Activity { .. } | Waits::UserTask { .. } | Waits::Child { .. } => {
                Self::Waiting
            }
            Waits::Resume => Self::Suspended,
            // A slot, the end of an earlier attempt, a host.
            _ => Self::Due,
        }
    }

    /// The state in which a step of this kind usually is while it is active; [`OutlineStep::kind`] is such a kind.
    ///
    /// [`OutlineStep::kind`]: wfe_core::definition::OutlineStep::kind
    #[must_use]
    pub fn active(kind: &str) -> Self {
        match kind {
            "wait-for" | "activity" | "user-task" | "sub-workflow" => Self::Waiting,
            "delay" | "after" | "recur" => Self::Asleep,
            _ => Self::Running,
        }
    }

    /// The name of its symbol and of its class.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Self::Running => "run",
            Self::Due => "due",
            Self::Asleep => "sleep",
            Self::Waiting => "wait",
            Self::Retrying => "retry",
            Self::Suspended => "susp",
            Self::Completed => "done",
            Self::Failed => "fail",
            Self::Cancelled => "cancel",
            Self::Terminated => "term",
        }
    }

    /// Its word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Due => "due",
            Self::Asleep => "asleep",
            Self::Waiting => "waiting",
            Self::Retrying => "retrying",
            Self::Suspended => "suspended",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Terminated => "terminated",
        }
    }

    /// Whether an operator should look: then the word has the colour too.
    #[must_use]
    pub fn is_loud(self) -> bool {
        matches!(self, Self::Due | Self::Retrying | Self::Suspended | Self::Failed)
    }

    /// A number of those in this state, with its symbol.
    #[must_use]
    pub fn count(self, count: u64) -> Markup {
        let loud = if self.is_loud() { " loud" } else { "" };
        html! {
            span class={ "st " (self.class()) (loud) } title=(self.word()) {
                (icon(self.class())) span.vh { (self.word()) " " } (super::spaced(count))
            }
        }
    }
}

impl From<InstanceState> for State {
    fn from(state: InstanceState) -> Self {
        match state {
            InstanceState::Running => Self::Running,
            InstanceState::Due => Self::Due,
            InstanceState::Asleep => Self::Asleep,
            InstanceState::Suspended => Self::Suspended,
            InstanceState::Completed => Self::Completed,
            InstanceState::Failed => Self::Failed,
            InstanceState::Cancelled => Self::Cancelled,
            InstanceState::Terminated => Self::Terminated,
            _ => Self::Waiting,
        }
    }
}
