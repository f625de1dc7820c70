//! The verbs: the kinds of steps, with their settings. The executor has the code that runs them.

use std::{collections::HashSet, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Ask, Body, Every, Receive};
use crate::traits::OWN_NAMES;

/// The kind of a step, with its settings from the definition.
pub(crate) enum Verb {
    RunBody(RunBody),
    ForEach(ForEach),
    If(IfElse),
    While(While),
    Decide(Decide),
    Parallel(Parallel),
    Saga(Saga),
    Schedule(Schedule),
    Recur(Recur),
    Delay(Delay),
    WaitFor(WaitFor),
    Activity(ActivityStep),
    UserTask(UserTaskStep),
    SubWorkflow(SubWorkflow),
    GoTo(GoTo),
    End(End),
}

/// A plain step. It runs its body, and runs the body again as long as the returned value requests this. Then
/// the instance continues.
pub(crate) struct RunBody {
    pub body: Body,
}

/// For-each. It computes its items once, then runs its branch for each item, with up to `limit` iterations at
/// the same time. A step that may return `Next::Branch` is a for-each too: the returned values are the items.
pub(crate) struct ForEach {
    /// The body that computes the items.
    pub step: RunBody,
    pub limit: usize,
}

/// If, with or without else. It evaluates its condition once, then runs the branch for the result, if the step
/// has a branch for it.
pub(crate) struct IfElse {
    pub holds: Ask<bool>,
}

/// While. It evaluates its condition before each iteration, and runs its branch as long as the condition holds.
pub(crate) struct While {
    pub holds: Ask<bool>,
}

/// Decide, or branch. It evaluates once which branches match, and runs the matching branches concurrently. If
/// no branch matches, it runs the `otherwise` branch.
pub(crate) struct Decide {
    /// For each branch except `otherwise`, whether it matches.
    pub matches: Ask<Vec<bool>>,
    /// The labels of the branches, without `otherwise`.
    pub labels: Vec<String>,
    /// Whether the last branch is the `otherwise` branch.
    pub has_otherwise: bool,
}

/// Parallel. It runs all its branches concurrently, and ends when all branches have ended.
pub(crate) struct Parallel {
    pub branches: usize,
}

/// Saga. If a step of its branch fails, the completed steps of the branch are compensated.
pub(crate) struct Saga;

/// After, stored as `schedule`. The instance continues at once; the branch runs concurrently after a delay.
pub(crate) struct Schedule {
    pub until: Until,
}

/// Recur. The instance continues at once; the branch runs concurrently at each tick, until the condition holds.
pub(crate) struct Recur {
    pub every: Every,
    pub until: Ask<bool>,
}

/// Delay. It waits for a duration, or until a time.
pub(crate) struct Delay {
    pub until: Until,
}

/// The end of a delay.
pub(crate) enum Until {
    /// This long after the start of the step.
    After(Ask<Duration>),
    /// At this time.
    At(Ask<DateTime<Utc>>),
}

/// Wait-for. It waits for an event. If it has a time limit, it waits no longer than the limit.
pub(crate) struct WaitFor {
    pub name: String,
    pub key: Ask<String>,
    pub effective: Option<Ask<DateTime<Utc>>>,
    pub limit: Option<TimeLimit>,
    pub outputs: Arc<Vec<Receive>>,
}

/// The time limit of a wait.
pub(crate) struct TimeLimit {
    pub after: Ask<Duration>,
    /// Whether the step's first branch runs when the limit has passed. If not, the step fails.
    pub has_branch: bool,
}

/// Activity. It is a wait that an external worker ends.
pub(crate) struct ActivityStep {
    pub name: String,
    pub input: Ask<Value>,
    pub limit: Option<TimeLimit>,
    pub outputs: Arc<Vec<Receive>>,
}

/// User task. It is a wait that a person ends by choosing one of its options; the branch of that option then
/// runs.
pub(crate) struct UserTaskStep {
    pub prompt: Ask<String>,
    pub assignee: Option<Ask<String>>,
    /// The options, each with the index of its branch, if it has one.
    pub options: Vec<(String, Option<usize>)>,
    pub unanswered: Unanswered,
    pub limit: Option<TimeLimit>,
    pub outputs: Arc<Vec<Receive>>,
}

/// What happens if a user task is not answered in time.
pub(crate) struct Unanswered {
    /// The duration after which a branch starts while the task stays open, and the index of that branch.
    pub escalate: Option<(Ask<Duration>, usize)>,
    /// The duration after which the task gets another assignee, and that assignee.
    pub reassign: Option<(Ask<Duration>, Ask<String>)>,
}

/// Sub-workflow. It starts a child instance, and waits for the event that the end of the child publishes.
pub(crate) struct SubWorkflow {
    pub definition: String,
    pub version: Option<u32>,
    pub data: Ask<Value>,
    /// The name of the data's Rust type.
    pub data_name: &'static str,
    pub limit: Option<TimeLimit>,
    pub outputs: Arc<Vec<Receive>>,
}

/// Go-to. The instance continues with another step of the same sequence, or of an enclosing sequence.
pub(crate) struct GoTo;

/// End. The workflow ends as completed, and everything that still runs is cancelled. A running compensation
/// finishes first.
pub(crate) struct End;

/// Stored names of kinds, for code that reads stored pointers. See [`Verb::kind`].
pub(crate) mod kind {
    pub(crate) const SAGA: &str = "saga";
    pub(crate) const DELAY: &str = "delay";
    pub(crate) const AFTER: &str = "schedule";
}

impl Verb {
    /// The name of the kind. It is stored with the pointers of containers and waits. The stored name reveals a
    /// changed definition that has a step of another kind under the same id.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::RunBody(_) => "step",
            Self::ForEach(_) => "for-each",
            Self::If(_) => "if",
            Self::While(_) => "while",
            Self::Decide(_) => "decide",
            Self::Parallel(_) => "parallel",
            Self::Saga(_) => kind::SAGA,
            Self::Schedule(_) => kind::AFTER,
            Self::Recur(_) => "recur",
            Self::Delay(_) => kind::DELAY,
            Self::WaitFor(_) => "wait-for",
            Self::Activity(_) => "activity",
            Self::UserTask(_) => "user-task",
            Self::SubWorkflow(_) => "sub-workflow",
            Self::GoTo(_) => "go-to",
            Self::End(_) => "end",
        }
    }

    /// The name of the verb in outlines, which is the name of the builder's method. It differs from
    /// [`kind`](Self::kind) where stored instances use an older name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Schedule(_) => "after",
            verb => verb.kind(),
        }
    }

    /// The kind with its article: `a while`, `an if`.
    pub fn with_article(&self) -> String {
        with_article(self.kind())
    }

    /// The first problem of the settings, for the error that building the definition returns.
    pub fn problem(&self) -> Option<String> {
        let unless = |is_right: bool, problem: &str| (!is_right).then(|| problem.to_owned());
        match self {
            Self::ForEach(it) => unless(it.limit > 0, "its limit is 0; it must be 1 or more"),
            Self::Decide(it) => unless(!it.labels.is_empty(), "it has no `when` branch; add at least one"),
            Self::Parallel(it) => unless(it.branches > 0, "it has no branches; add at least one"),
            Self::Recur(it) => it.every.problem(),
            Self::Activity(it) => {
                unless(!it.name.is_empty(), "its activity has no name, so no worker could find it")
            }
            Self::UserTask(it) => it.problem(),
            Self::SubWorkflow(it) => {
                unless(!it.definition.is_empty(), "the definition id of its child is empty")
            }
            _ => None,
        }
    }

    /// The name of the event or the activity that the step waits for.
    pub fn awaited_name(&self) -> Option<&str> {
        match self {
            Self::WaitFor(WaitFor { name, .. }) | Self::Activity(ActivityStep { name, .. }) => Some(name),
            _ => None,
        }
    }

    /// Whether the step is a saga.
    pub fn is_saga(&self) -> bool {
        matches!(self, Self::Saga(_))
    }

    /// Whether the branch runs in numbered rounds: the next round starts only when the previous round has ended
    /// or was cancelled.
    pub fn has_rounds(&self) -> bool {
        matches!(self, Self::Saga(_) | Self::While(_))
    }

    /// Whether the instance continues after the step.
    pub fn goes_on(&self) -> bool {
        !matches!(self, Self::GoTo(_) | Self::End(_))
    }

    /// Whether the branch is a side branch: the instance continues without waiting for it.
    pub fn is_side(&self) -> bool {
        matches!(self, Self::Schedule(_) | Self::Recur(_))
    }

    /// Whether the whole workflow ends at this step.
    pub fn ends_all(&self) -> bool {
        matches!(self, Self::End(_))
    }

    /// Whether the step is evaluated again when the data has changed.
    pub fn watches_data(&self) -> bool {
        matches!(self, Self::Recur(_))
    }

    /// The body that a pending pointer runs, or `None` if the step has no body.
    pub fn body(&self) -> Option<&Body> {
        match self {
            Self::RunBody(step) | Self::ForEach(ForEach { step, .. }) => Some(&step.body),
            _ => None,
        }
    }
}

impl UserTaskStep {
    fn problem(&self) -> Option<String> {
        if self.options.is_empty() {
            return Some("it has no options, so it could not be answered; add at least one".to_owned());
        }
        let mut seen = HashSet::new();
        if let Some((twice, _)) = self.options.iter().find(|(value, _)| !seen.insert(value)) {
            return Some(format!("it has the option {twice:?} twice"));
        }
        let Unanswered { escalate, reassign } = &self.unanswered;
        ((escalate.is_some() || reassign.is_some()) && self.limit.is_some()).then(|| {
            "it has a time limit, so it can have neither an escalation nor a reassignment".to_owned()
        })
    }
}

/// A kind with its article. The kind may come from a stored pointer.
pub(crate) fn with_article(kind: &str) -> String {
    // `user-task` takes an `a`, so `u` is not in the list.
    let article = if kind.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" };
    format!("{article} {kind}")
}

/// The problem of a name that a program gave to an event or an activity, or `None` if the name may be used.
pub(crate) fn name_problem(name: &str) -> Option<String> {
    name.starts_with(OWN_NAMES).then(|| {
        format!("it waits for {name:?}; names that begin with {OWN_NAMES:?} are reserved for the engine")
    })
}
