//! A definition as data: what it consists of, without its closures.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Definition, OnFailure, Retry};
use crate::program::{Node, Verb};

/// The label of the branch that runs beside a task that nobody answers.
pub(super) const ESCALATION: &str = "escalation";

/// What a definition consists of: its steps, how they follow one another, and what each does about failures. It can be
/// listed, stored as JSON, compared with that of another version, and [drawn](Self::to_mermaid).
///
/// It is complete but for what only code can say: bodies, conditions, and durations that are computed from the data.
/// Two definitions with equal outlines can still run different code.
///
/// ```
/// use wfe_core::definition::{WorkflowBuilder, inline};
///
/// let definition = WorkflowBuilder::<u32>::new("greet", 1)
///     .if_("known", |visits, _| *visits > 0, |then| then.then("greet", inline(|_, _| async { Ok(()) })))
///     .build()?;
/// let outline = definition.outline();
/// assert_eq!(outline.steps[0].branches[0].first, "greet");
/// let stored = serde_json::to_string(&outline).unwrap();
/// assert_eq!(serde_json::from_str::<wfe_core::definition::Outline>(&stored).unwrap(), outline);
/// # Ok::<(), wfe_core::WfeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Outline {
    /// The version of this shape: [`FORMAT`](Self::FORMAT). Fields that a reader does not know may come without a new one.
    pub outline: u32,
    /// The definition's id.
    pub id: String,
    /// The definition's version.
    pub version: u32,
    /// What its instances carry.
    pub data: OutlineData,
    /// How long an instance may take, in seconds; `None`: as long as it takes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub deadline_s: Option<f64>,
    /// Its steps: the first one is where instances begin, each container comes before what is in it.
    pub steps: Vec<OutlineStep>,
}

/// The data of a definition's instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OutlineData {
    /// The name of its Rust type.
    #[serde(rename = "type")]
    pub type_name: String,
}

/// One step of a definition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OutlineStep {
    /// Its stable id.
    pub id: String,
    /// What people call it; `None`: its id.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// What kind of step it is: `step`, `for-each`, `if`, `while`, `decide`, `parallel`, `saga`, `after`, `recur`, `delay`,
    /// `wait-for`, `activity`, `user-task`, `sub-workflow`, `go-to` or `end`.
    pub kind: String,
    /// The step that follows in the same sequence; `None`: the sequence ends here.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next: Option<String>,
    /// The step whose branch, fallback or compensation it is in; `None`: it is on the main path.
    #[serde(rename = "in", skip_serializing_if = "Option::is_none", default)]
    pub container: Option<String>,
    /// Its branches, in their order.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub branches: Vec<OutlineBranch>,
    /// The first step of what runs when it has failed for good.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fallback: Option<String>,
    /// The first step of what compensates it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub compensation: Option<String>,
    /// Where a go-to leads.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to: Option<String>,
    /// What it waits for: the name of an event or an activity, the definition id of a child.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub awaits: Option<String>,
    /// The version of the child's definition; `None`: the newest that is registered when the child begins.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub child_version: Option<u32>,
    /// The answers that a user task offers, also those without a branch.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub options: Vec<String>,
    /// At which times a recurring branch runs: the interval, or the cron expression and its time zone.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub every: Option<String>,
    /// How many items of a for-each run side by side; `None`: as many as there are, or it is none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub parallel: Option<usize>,
    /// How often, and after which backoff, it is tried again; `None`: never.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retry: Option<OutlineRetry>,
    /// How long one attempt of its body may take, in seconds; `None`: as long as it takes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub timeout_s: Option<f64>,
    /// What happens when it has failed for good, and its fallback, if it has one, has ended.
    pub on_failure: OutlineOnFailure,
    /// Whether its body runs on a thread for blocking work.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub blocking: bool,
    /// Whether a condition may cancel it.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub cancellable: bool,
}

/// A branch of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OutlineBranch {
    /// When it runs: `then` and `else`; of a decision the value, or `condition 1`, unless it was given a label, or
    /// `otherwise`; of a user task the option, or `escalation`; `timeout` where something did not come in time; `each item`,
    /// `while`, `tick`, `later`, `all` for the one branch of a container; the number of a parallel branch.
    pub label: String,
    /// Its first step.
    pub first: String,
}

/// A retry policy. The backoff before retry *n* (from 1) is `initial_s * factor^(n-1)`, at most `maximum_s`, shortened at random
/// by a part of up to `jitter`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OutlineRetry {
    /// How many further attempts there are at most.
    pub limit: u32,
    /// In seconds.
    pub initial_s: f64,
    /// In seconds.
    pub maximum_s: f64,
    /// How much longer each backoff is than the one before.
    pub factor: f64,
    /// By which part, from 0 to 1, a backoff is shortened at most.
    pub jitter: f64,
    /// Whether code decides which errors are tried again.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub conditional: bool,
}

/// What happens when a step has failed for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum OutlineOnFailure {
    /// The instance ends as failed.
    Fail,
    /// The instance is suspended.
    Suspend,
    /// The instance goes on behind the step.
    Continue,
    /// The saga around the step is compensated.
    Compensate,
}

impl Outline {
    /// The version of this shape, in [`outline`](Self::outline).
    pub const FORMAT: u32 = 1;

    /// The step of this id; `None`: there is none.
    #[must_use]
    pub fn step(&self, id: &str) -> Option<&OutlineStep> {
        self.steps.iter().find(|step| step.id == id)
    }
}

impl Definition {
    /// What it consists of, as data that can be listed, stored, compared and drawn.
    #[must_use]
    pub fn outline(&self) -> Outline {
        Outline {
            outline: Outline::FORMAT,
            id: self.id().to_owned(),
            version: self.version(),
            data: OutlineData { type_name: self.data_name().to_owned() },
            deadline_s: self.deadline().map(|it| it.as_secs_f64()),
            steps: self.nodes().iter().map(|node| self.outline_of(node)).collect(),
        }
    }

    fn outline_of(&self, node: &Node) -> OutlineStep {
        let id = |index: usize| self.node(index).id.to_string();
        let branches = labels(&node.verb, node.branches.len()).zip(&node.branches);
        let (awaits, child_version) = awaited(&node.verb);
        OutlineStep {
            id: node.id.to_string(),
            name: node.name.clone(),
            kind: node.verb.name().to_owned(),
            next: node.next.map(id),
            container: node.container.map(id),
            branches: branches
                .map(|(label, branch)| OutlineBranch { label, first: id(branch.first) })
                .collect(),
            fallback: node.fallback.map(|branch| id(branch.first)),
            compensation: node.compensation.map(|branch| id(branch.first)),
            to: node.target.map(id),
            awaits,
            child_version,
            options: match &*node.verb {
                Verb::UserTask(it) => it.options.iter().map(|(option, _)| option.clone()).collect(),
                _ => Vec::new(),
            },
            every: match &*node.verb {
                Verb::Recur(it) => Some(it.every.to_string()),
                _ => None,
            },
            parallel: match &*node.verb {
                Verb::ForEach(it) => Some(it.limit).filter(|limit| *limit < usize::MAX),
                _ => None,
            },
            retry: node.policy.retry.outline(),
            timeout_s: node.policy.timeout.map(|it| it.as_secs_f64()),
            on_failure: match node.on_failure {
                OnFailure::Fail => OutlineOnFailure::Fail,
                OnFailure::Suspend => OutlineOnFailure::Suspend,
                OnFailure::Continue => OutlineOnFailure::Continue,
                OnFailure::Compensate => OutlineOnFailure::Compensate,
            },
            blocking: node.verb.body().is_some_and(|body| body.blocking),
            cancellable: node.cancel_when.is_some(),
        }
    }
}

/// What a step waits for, and in which version.
fn awaited(verb: &Verb) -> (Option<String>, Option<u32>) {
    match verb {
        Verb::SubWorkflow(it) => (Some(it.definition.clone()), it.version),
        _ => (verb.awaited_name().map(str::to_owned), None),
    }
}

/// When each of so many branches runs.
fn labels(verb: &Verb, branches: usize) -> impl Iterator<Item = String> {
    let all: Vec<String> = match verb {
        Verb::If(_) => ["then", "else"].map(str::to_owned).into(),
        Verb::While(_) => vec!["while".to_owned()],
        Verb::ForEach(_) => vec!["each item".to_owned()],
        Verb::Recur(_) => vec!["tick".to_owned()],
        Verb::Schedule(_) => vec!["later".to_owned()],
        Verb::Saga(_) => vec!["all".to_owned()],
        Verb::Decide(it) => it.labels.iter().cloned().chain(["otherwise".to_owned()]).collect(),
        Verb::UserTask(it) => {
            let option = |at: usize| it.options.iter().find(|(_, branch)| *branch == Some(at));
            let is_escalation = |at| it.unanswered.escalate.as_ref().is_some_and(|(_, branch)| *branch == at);
            let label = |at| match option(at) {
                Some((option, _)) => option.clone(),
                None if is_escalation(at) => ESCALATION.to_owned(),
                None => "timeout".to_owned(),
            };
            (0..branches).map(label).collect()
        }
        Verb::WaitFor(_) | Verb::Activity(_) | Verb::SubWorkflow(_) => vec!["timeout".to_owned()],
        Verb::Parallel(_) | Verb::RunBody(_) | Verb::Delay(_) | Verb::GoTo(_) | Verb::End(_) => {
            (1..=branches).map(|number| number.to_string()).collect()
        }
    };
    all.into_iter()
}

impl Retry {
    fn outline(&self) -> Option<OutlineRetry> {
        let seconds = |it: Duration| it.as_secs_f64();
        (self.limit > 0).then(|| OutlineRetry {
            limit: self.limit,
            initial_s: seconds(self.initial),
            maximum_s: seconds(self.max),
            factor: self.factor,
            jitter: self.jitter,
            conditional: self.only_if.is_some() || self.even_if_fatal.is_some(),
        })
    }
}
