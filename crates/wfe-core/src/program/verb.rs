//! The verbs: the kinds of steps, with their settings. The code that runs the steps is in the executor.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Ask, AskAt, Body, Every, Receive};
use crate::{steps::StepError, traits::OWN_NAMES};

/// The kind of a step, with its settings from the definition.
pub(crate) enum Verb {
    RunBody(RunBody),
    ForEach(ForEach),
    If(IfElse),
    While(While),
    Decide(Decide),
    Parallel(Parallel),
    Race(Race),
    Saga(Saga),
    Block(Block),
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

/// A plain step. The step runs its body. As long as the value that the body returns requests another run, the
/// step runs the body again. Then the instance continues.
pub(crate) struct RunBody {
    pub body: Body,
}

/// For-each. The step computes its items once, then runs its branch for each item. Up to `limit` iterations
/// run at the same time. A step that may return `Next::Branch` is a for-each too; its items are the values
/// that it returns.
pub(crate) struct ForEach {
    /// The body that computes the items.
    pub step: RunBody,
    pub limit: usize,
}

/// An *if* step, with or without *else*. The step evaluates its condition once. Then it runs the branch for
/// the result, if there is such a branch.
pub(crate) struct IfElse {
    pub holds: Ask<bool>,
}

/// While. The step evaluates its condition before each iteration, and runs its branch as long as the
/// condition holds.
pub(crate) struct While {
    pub holds: Ask<bool>,
}

/// Decide, or branch. The step evaluates once which branches match, and runs the matching branches
/// concurrently. If no branch matches, the step runs the `otherwise` branch.
pub(crate) struct Decide {
    /// Which branches match. The `otherwise` branch is not included.
    pub matches: Matches,
    /// The labels of the branches, except that of the `otherwise` branch.
    pub labels: Vec<String>,
    /// Whether the last branch is the `otherwise` branch.
    pub has_otherwise: bool,
}

/// How a decide step finds the branches that match.
pub(crate) enum Matches {
    /// The result of a closure over the data: one value for each branch.
    Asked(Ask<Vec<bool>>),
    /// The branches whose values equal the value that the step before gave. `read` brings the given value into the form
    /// of these values.
    Given { values: Vec<Value>, read: fn(&Value) -> Result<Value, StepError> },
}

/// Parallel. The step runs all its branches concurrently, and ends when all branches have ended.
pub(crate) struct Parallel {
    pub branches: usize,
}

/// Race. The step runs all its branches concurrently, and ends when the first branch has ended. The other branches are
/// cancelled.
pub(crate) struct Race {
    pub branches: usize,
}

/// Saga. If a step of the saga's branch fails, the completed steps of this branch are compensated.
pub(crate) struct Saga;

/// Runs its branch once.
pub(crate) struct Block;

/// After, stored as `schedule`. The instance continues at once. After a delay, the branch runs beside the following
/// steps.
pub(crate) struct Schedule {
    pub until: Until,
}

/// Recur. The instance continues at once. At each tick, the branch runs beside the following steps. When the
/// condition holds, the ticks end.
pub(crate) struct Recur {
    pub every: Every,
    pub until: Ask<bool>,
}

/// Delay. The step waits for a duration, or until a given time.
pub(crate) struct Delay {
    pub until: Until,
}

/// How the end of a delay is given.
pub(crate) enum Until {
    /// The delay ends this long after the step has started.
    After(Ask<Duration>),
    /// The delay ends at this time.
    At(Ask<DateTime<Utc>>),
}

/// Wait-for. The step waits for an event. If the step has a time limit, it waits no longer than this limit.
pub(crate) struct WaitFor {
    pub name: String,
    pub key: AskAt<String>,
    pub effective: Option<Ask<DateTime<Utc>>>,
    pub limit: Option<TimeLimit>,
    pub outputs: Vec<Receive>,
}

/// The time limit of a wait.
pub(crate) struct TimeLimit {
    pub after: Ask<Duration>,
    /// Whether the step's first branch runs when the limit has passed. Otherwise, the step fails when the
    /// limit has passed.
    pub has_branch: bool,
}

/// Activity. The step waits until an external worker answers.
pub(crate) struct ActivityStep {
    pub name: ActivityName,
    pub input: Ask<Value>,
    /// The time within which a worker must claim the activity.
    pub claim_within: Option<Ask<Duration>>,
    pub limit: Option<TimeLimit>,
    pub outputs: Vec<Receive>,
}

/// The name by which workers find an activity.
pub(crate) enum ActivityName {
    Fixed(String),
    /// Each execution of the step computes the name.
    Computed(AskAt<String>),
}

/// User task. The step waits until a person chooses one of its options. Then the branch of that option runs.
pub(crate) struct UserTaskStep {
    pub prompt: Ask<String>,
    pub assignee: Option<Ask<String>>,
    /// The options. If an option has a branch, the index of the branch is given too.
    pub options: Vec<(String, Option<usize>)>,
    /// The labels of the options that have one.
    pub labels: BTreeMap<String, String>,
    pub unanswered: Unanswered,
    pub limit: Option<TimeLimit>,
    pub outputs: Vec<Receive>,
}

/// What happens if a user task is not answered in time.
pub(crate) struct Unanswered {
    /// The duration after which a branch starts, and the index of that branch. The task stays open meanwhile.
    pub escalate: Option<(Ask<Duration>, usize)>,
    /// The duration after which the task gets a new assignee, and the new assignee.
    pub reassign: Option<(Ask<Duration>, Ask<String>)>,
}

/// Sub-workflow. The step starts a child instance, and waits for the event that is published when the child
/// ends.
pub(crate) struct SubWorkflow {
    pub definition: String,
    pub version: Option<u32>,
    pub data: Ask<Value>,
    /// The name of the data's Rust type.
    pub data_name: &'static str,
    pub limit: Option<TimeLimit>,
    pub outputs: Vec<Receive>,
}

/// Go-to. The instance continues with another step of the same sequence, or of an enclosing sequence.
pub(crate) struct GoTo;

/// End. The workflow ends as completed, and everything that still runs is cancelled. Only a compensation that
/// is already running is completed first.
pub(crate) struct End;

/// The stored names of some kinds of steps, for code that reads stored pointers. See [`Verb::kind`].
pub(crate) mod kind {
    pub(crate) const SAGA: &str = "saga";
    pub(crate) const DELAY: &str = "delay";
    pub(crate) const AFTER: &str = "schedule";
    pub(crate) const END: &str = "end";
}

impl Verb {
    /// The name of the kind. The name is stored with the pointers of containers and waits. If a changed
    /// definition has a step of another kind under the same id, the engine notices this by the stored name.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::RunBody(_) => "step",
            Self::ForEach(_) => "for-each",
            Self::If(_) => "if",
            Self::While(_) => "while",
            Self::Decide(_) => "decide",
            Self::Parallel(_) => "parallel",
            Self::Race(_) => "race",
            Self::Saga(_) => kind::SAGA,
            Self::Block(_) => "block",
            Self::Schedule(_) => kind::AFTER,
            Self::Recur(_) => "recur",
            Self::Delay(_) => kind::DELAY,
            Self::WaitFor(_) => "wait-for",
            Self::Activity(_) => "activity",
            Self::UserTask(_) => "user-task",
            Self::SubWorkflow(_) => "sub-workflow",
            Self::GoTo(_) => "go-to",
            Self::End(_) => kind::END,
        }
    }

    /// The name of the verb in outlines. It is also the name of the builder's method. This name and
    /// [`kind`](Self::kind) differ if stored instances use an older name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Schedule(_) => "after",
            verb => verb.kind(),
        }
    }

    /// The name of the kind with its article: `a while`, `an if`.
    pub fn with_article(&self) -> String {
        with_article(self.kind())
    }

    /// The first problem that is found in the settings. Building the definition returns it in an error.
    pub fn problem(&self) -> Option<String> {
        let unless = |is_right: bool, problem: &str| (!is_right).then(|| problem.to_owned());
        match self {
            Self::ForEach(it) => unless(it.limit > 0, "its limit is 0; it must be 1 or more"),
            Self::Decide(it) => unless(!it.labels.is_empty(), "it has no `when` branch; add at least one"),
            Self::Parallel(Parallel { branches }) | Self::Race(Race { branches }) => {
                unless(*branches > 0, "it has no branches; add at least one")
            }
            Self::Recur(it) => it.every.problem(),
            Self::Activity(ActivityStep { name: ActivityName::Fixed(name), .. }) => {
                unless(!name.is_empty(), NAMELESS)
            }
            Self::UserTask(it) => it.problem(),
            Self::SubWorkflow(it) => {
                unless(!it.definition.is_empty(), "the definition id of its child is empty")
            }
            _ => None,
        }
    }

    /// The name of the event or the activity that the step waits for. `None` if the step waits for neither, or computes
    /// the name.
    pub fn awaited_name(&self) -> Option<&str> {
        match self {
            Self::WaitFor(WaitFor { name, .. })
            | Self::Activity(ActivityStep { name: ActivityName::Fixed(name), .. }) => Some(name),
            _ => None,
        }
    }

    /// Whether the step decides by the value that the step before it gave.
    pub fn decides_by_given(&self) -> bool {
        matches!(self, Self::Decide(Decide { matches: Matches::Given { .. }, .. }))
    }

    /// Whether the step is a saga.
    pub fn is_saga(&self) -> bool {
        matches!(self, Self::Saga(_))
    }

    /// Whether the branch of the step runs in numbered rounds. Each round starts only when the previous round
    /// has ended or was cancelled.
    pub fn has_rounds(&self) -> bool {
        matches!(self, Self::Saga(_) | Self::While(_))
    }

    /// Whether the instance continues with the next step of the sequence when the step has ended.
    pub fn goes_on(&self) -> bool {
        !matches!(self, Self::GoTo(_) | Self::End(_))
    }

    /// Whether the branch of the step is a side branch: the instance continues without waiting for the
    /// branch.
    pub fn is_side(&self) -> bool {
        matches!(self, Self::Schedule(_) | Self::Recur(_))
    }

    /// Whether the whole workflow ends at this step.
    pub fn ends_all(&self) -> bool {
        matches!(self, Self::End(_))
    }

    /// Whether the step's condition is evaluated again when the data has changed.
    pub fn watches_data(&self) -> bool {
        matches!(self, Self::Recur(_))
    }

    /// The output closures of a wait, or `None` if the step is no wait.
    pub fn outputs_mut(&mut self) -> Option<&mut Vec<Receive>> {
        match self {
            Self::WaitFor(WaitFor { outputs, .. })
            | Self::Activity(ActivityStep { outputs, .. })
            | Self::UserTask(UserTaskStep { outputs, .. })
            | Self::SubWorkflow(SubWorkflow { outputs, .. }) => Some(outputs),
            _ => None,
        }
    }

    /// The time limit of a wait, or `None` if the step is no wait.
    pub fn limit_mut(&mut self) -> Option<&mut Option<TimeLimit>> {
        match self {
            Self::WaitFor(WaitFor { limit, .. })
            | Self::Activity(ActivityStep { limit, .. })
            | Self::UserTask(UserTaskStep { limit, .. })
            | Self::SubWorkflow(SubWorkflow { limit, .. }) => Some(limit),
            _ => None,
        }
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
    /// Corrects the indices of its branches after a branch was inserted at this index.
    pub fn branch_inserted(&mut self, at: usize) {
        let options = self.options.iter_mut().filter_map(|(_, branch)| branch.as_mut());
        let escalation = self.unanswered.escalate.as_mut().map(|(_, branch)| branch);
        options.chain(escalation).filter(|branch| **branch >= at).for_each(|branch| *branch += 1);
    }

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

/// The name of a kind with its article. The name may come from a stored pointer.
pub(crate) fn with_article(kind: &str) -> String {
    // `user-task` takes an `a`, so `u` is not in the list.
    let article = if kind.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" };
    format!("{article} {kind}")
}

/// The problem of an activity without a name.
pub(crate) const NAMELESS: &str = "its activity has no name, so no worker could find it";

/// The reason why a program may not use this name for an event or an activity, or `None` if the program may
/// use it.
pub(crate) fn name_problem(name: &str) -> Option<String> {
    name.starts_with(OWN_NAMES).then(|| {
        format!("it waits for {name:?}; names that begin with {OWN_NAMES:?} are reserved for the engine")
    })
}
