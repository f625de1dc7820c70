//! The verbs: what kinds of steps there are, and what is fixed about each. How each moves an instance stands in the executor.

use std::{collections::HashSet, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Ask, Body, Every, Receive};
use crate::traits::OWN_NAMES;

/// What kind of step a node is, with all that the program says of it.
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

/// A plain step: runs a body, again and again if the body says so, then goes on.
pub(crate) struct RunBody {
    pub body: Body,
}

/// For-each: computes its items once, then runs its branch for each of them, `limit` at a time. A step that may answer
/// with branches is one too: what it answers are the items.
pub(crate) struct ForEach {
    /// How the body behaves that gives the items.
    pub step: RunBody,
    pub limit: usize,
}

/// If, if and else: asks its condition once, and runs the branch for the answer, if there is one.
pub(crate) struct IfElse {
    pub holds: Ask<bool>,
}

/// While: asks its condition before each round, and runs its branch as long as it holds.
pub(crate) struct While {
    pub holds: Ask<bool>,
}

/// Decide and branch: asks once which of its branches match, and runs those at once; if none does, the one for otherwise.
pub(crate) struct Decide {
    /// For each branch but the one for otherwise, whether it matches.
    pub matches: Ask<Vec<bool>>,
    /// What each branch is called, the one for otherwise not counted.
    pub labels: Vec<String>,
    /// The last branch is the one for otherwise.
    pub has_otherwise: bool,
}

/// Parallel: runs all its branches at once, and joins them.
pub(crate) struct Parallel {
    pub branches: usize,
}

/// Saga: all of its branch, or none of it.
pub(crate) struct Saga;

/// Schedule: the instance goes on beside it at once; its branch runs after a while.
pub(crate) struct Schedule {
    pub until: Until,
}

/// Recur: the instance goes on beside it at once; its branch runs at each tick, until its condition holds.
pub(crate) struct Recur {
    pub every: Every,
    pub until: Ask<bool>,
}

/// Delay: waits for a time.
pub(crate) struct Delay {
    pub until: Until,
}

/// When a delay is over.
pub(crate) enum Until {
    /// This long after the step began.
    After(Ask<Duration>),
    /// Then.
    At(Ask<DateTime<Utc>>),
}

/// Wait-for: waits for an event, for a time at most if it has a limit.
pub(crate) struct WaitFor {
    pub name: String,
    pub key: Ask<String>,
    pub effective: Option<Ask<DateTime<Utc>>>,
    pub limit: Option<TimeLimit>,
    pub outputs: Arc<Vec<Receive>>,
}

/// How long a step may wait.
pub(crate) struct TimeLimit {
    pub after: Ask<Duration>,
    /// Whether the first branch of the step runs then; if not, the step has failed.
    pub has_branch: bool,
}

/// Activity: a wait that an external worker ends.
pub(crate) struct ActivityStep {
    pub name: String,
    pub input: Ask<Value>,
    pub limit: Option<TimeLimit>,
    pub outputs: Arc<Vec<Receive>>,
}

/// User task: a wait that a person ends by choosing one of its options, whose branch runs then.
pub(crate) struct UserTaskStep {
    pub prompt: Ask<String>,
    pub assignee: Option<Ask<String>>,
    /// Each with the branch that it leads to, if it has one.
    pub options: Vec<(String, Option<usize>)>,
    pub unanswered: Unanswered,
    pub limit: Option<TimeLimit>,
    pub outputs: Arc<Vec<Receive>>,
}

/// What happens when nobody answers for so long.
pub(crate) struct Unanswered {
    /// This branch runs beside the task.
    pub escalate: Option<(Ask<Duration>, usize)>,
    /// It goes to this assignee.
    pub reassign: Option<(Ask<Duration>, Ask<String>)>,
}

/// Sub-workflow: begins a child instance, and waits for the event that tells of its end.
pub(crate) struct SubWorkflow {
    pub definition: String,
    pub version: Option<u32>,
    pub data: Ask<Value>,
    /// The type that the data is of.
    pub data_name: &'static str,
    pub limit: Option<TimeLimit>,
    pub outputs: Arc<Vec<Receive>>,
}

/// Go-to: leads to another step of its sequence, or of one around it.
pub(crate) struct GoTo;

/// End: the workflow ends here, as completed, whatever else runs; a saga that is being undone is undone first.
pub(crate) struct End;

impl Verb {
    /// Names the kind. Kept with the pointers of containers and waits, so that a definition in which the step has become
    /// something else is noticed.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::RunBody(_) => "step",
            Self::ForEach(_) => "for-each",
            Self::If(_) => "if",
            Self::While(_) => "while",
            Self::Decide(_) => "decide",
            Self::Parallel(_) => "parallel",
            Self::Saga(_) => "saga",
            Self::Schedule(_) => "schedule",
            Self::Recur(_) => "recur",
            Self::Delay(_) => "delay",
            Self::WaitFor(_) => "wait-for",
            Self::Activity(_) => "activity",
            Self::UserTask(_) => "user-task",
            Self::SubWorkflow(_) => "sub-workflow",
            Self::GoTo(_) => "go-to",
            Self::End(_) => "end",
        }
    }

    /// The name of its method of the builder, in the outline. The kind is stored, so an older name of it stays.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Schedule(_) => "after",
            verb => verb.kind(),
        }
    }

    /// The kind in a sentence: `a while`, `an if`.
    pub fn with_article(&self) -> String {
        with_article(self.kind())
    }

    /// What makes no sense about it; found when the definition is built.
    pub fn problem(&self) -> Option<String> {
        let unless = |is_right: bool, problem: &str| (!is_right).then(|| problem.to_owned());
        match self {
            Self::ForEach(it) => unless(it.limit > 0, "its limit is 0, it must be 1 or more"),
            Self::Decide(it) => unless(!it.labels.is_empty(), "it decides between no branches; give it one"),
            Self::Parallel(it) => unless(it.branches > 0, "it has no branches; give it one"),
            Self::Recur(it) => it.every.problem(),
            Self::Activity(it) => {
                unless(!it.name.is_empty(), "its activity has no name, so no worker finds it")
            }
            Self::UserTask(it) => it.problem(),
            Self::SubWorkflow(it) => {
                unless(!it.definition.is_empty(), "it names no definition for its child")
            }
            _ => None,
        }
    }

    /// The name of what it waits for, if a program gave it one.
    pub fn awaited_name(&self) -> Option<&str> {
        match self {
            Self::WaitFor(WaitFor { name, .. }) | Self::Activity(ActivityStep { name, .. }) => Some(name),
            _ => None,
        }
    }

    /// Whether the steps inside are undone together.
    pub fn is_saga(&self) -> bool {
        matches!(self, Self::Saga(_))
    }

    /// Whether its branch begins anew, under the next number, only when the one before has ended or was taken away.
    pub fn has_rounds(&self) -> bool {
        matches!(self, Self::Saga(_) | Self::While(_))
    }

    /// Whether the instance goes on behind it.
    pub fn goes_on(&self) -> bool {
        !matches!(self, Self::GoTo(_) | Self::End(_))
    }

    /// Whether its branch runs beside what follows it.
    pub fn is_side(&self) -> bool {
        matches!(self, Self::Schedule(_) | Self::Recur(_))
    }

    /// Whether the whole workflow ends at it.
    pub fn ends_all(&self) -> bool {
        matches!(self, Self::End(_))
    }

    /// Whether it is told of changes of the data.
    pub fn watches_data(&self) -> bool {
        matches!(self, Self::Recur(_))
    }

    /// What a pending pointer runs; `None`: it has no body.
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
            return Some("it has no options, so nobody can answer it".to_owned());
        }
        let mut seen = HashSet::new();
        if let Some((twice, _)) = self.options.iter().find(|(value, _)| !seen.insert(value)) {
            return Some(format!("its option {twice:?} stands in it twice"));
        }
        let Unanswered { escalate, reassign } = &self.unanswered;
        ((escalate.is_some() || reassign.is_some()) && self.limit.is_some())
            .then(|| "it is escalated or reassigned, and has a time limit; give it one of the two".to_owned())
    }
}

/// A kind in a sentence, also one that a pointer has kept.
pub(crate) fn with_article(kind: &str) -> String {
    // Of the kinds, none that begins with a `u` is said with an `an`.
    let article = if kind.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" };
    format!("{article} {kind}")
}

/// What makes no sense about the name that a program gave to an event or an activity.
pub(crate) fn name_problem(name: &str) -> Option<String> {
    name.starts_with(OWN_NAMES)
        .then(|| format!("it waits for {name:?}; names that begin with {OWN_NAMES:?} are the engine's"))
}
