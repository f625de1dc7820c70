//! A definition as data: its steps and their settings, without its closures.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::{AnyDefinition, OnFailure, Retry};
use crate::program::{Node, Verb};

/// The label of the escalation branch of a user task.
pub(super) const ESCALATION: &str = "escalation";

/// A definition as data: its steps, their order, and their settings. An outline can be stored as JSON, compared
/// with the outline of another version, and [drawn](Self::to_mermaid).
///
/// An outline contains everything except code: it has no bodies, no conditions, and no durations that are
/// computed from the data. Two definitions with equal outlines can therefore still run different code.
///
/// ```
/// use wfe_core::definition::WorkflowBuilder;
///
/// let definition = WorkflowBuilder::<u32>::new("greet", 1)
///     .if_("known", |logins| *logins > 0, |then| then.then("greet", async |_, _| Ok(())))
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
    /// The version of the outline's format: [`FORMAT`](Self::FORMAT). New optional fields do not change the
    /// version, so readers must ignore fields that they do not know.
    pub outline: u32,
    /// The definition's id.
    pub id: String,
    /// The definition's version.
    pub version: u32,
    /// The data of the definition's instances.
    pub data: OutlineData,
    /// The longest time that an instance may take, in seconds. `None` means no limit.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub deadline_s: Option<f64>,
    /// The steps of the definition. Instances begin with the first step. Each container comes before the steps
    /// inside it.
    pub steps: Vec<OutlineStep>,
}

/// The data of a definition's instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OutlineData {
    /// The name of the Rust type.
    #[serde(rename = "type")]
    pub type_name: String,
}

/// One step of a definition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of its own in the stored form")]
#[non_exhaustive]
pub struct OutlineStep {
    /// The stable id.
    pub id: String,
    /// The display name, or `None` if the step has no name other than its id.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// The kind of the step: `step`, `for-each`, `if`, `while`, `decide`, `parallel`, `race`, `saga`, `block`, `after`,
    /// `recur`, `delay`, `wait-for`, `activity`, `user-task`, `sub-workflow`, `go-to` or `end`.
    pub kind: String,
    /// The next step in the same sequence, or `None` if this step is the last one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next: Option<String>,
    /// The step that contains this step in one of its branches, in its fallback or in its compensation. `None`
    /// means that this step is on the main path.
    #[serde(rename = "in", skip_serializing_if = "Option::is_none", default)]
    pub container: Option<String>,
    /// The branches of the step, in the order of the definition.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub branches: Vec<OutlineBranch>,
    /// The first step of the fallback, or `None` if the step has no fallback.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fallback: Option<String>,
    /// The first step of the compensation, or `None` if the step has no compensation.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub compensation: Option<String>,
    /// Whether the compensation also runs if the step has not completed.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub compensates_unfinished: bool,
    /// The target of a go-to, or `None` if the step is not a go-to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to: Option<String>,
    /// The name of the event or the activity that the step waits for, or the id of the child's definition.
    /// `None` means that the step waits for no event, activity or child, or that it computes the name of its activity.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub awaits: Option<String>,
    /// The version of the child's definition. `None` means that the child runs the newest version that is
    /// registered when it starts. The version is also `None` if the step runs no child.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub child_version: Option<u32>,
    /// The options of a user task, including those without a branch.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub options: Vec<String>,
    /// The labels of the options of a user task that have one, by the options.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub labels: BTreeMap<String, String>,
    /// When a recurring branch runs: the interval, or the cron expression and its time zone.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub every: Option<String>,
    /// The number of items of a for-each that run concurrently. `None` means that all items run concurrently,
    /// or that the step is not a for-each.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub parallel: Option<usize>,
    /// The retry policy, or `None` if the step is not retried.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retry: Option<OutlineRetry>,
    /// The longest time that one attempt of the body may take, in seconds. `None` means no limit.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub timeout_s: Option<f64>,
    /// What happens when the step has failed for good. If the step has a fallback, the fallback runs first.
    pub on_failure: OutlineOnFailure,
    /// Whether the body blocks its thread and therefore runs on the blocking pool.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub blocking: bool,
    /// Whether the step has a cancel condition.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub cancellable: bool,
    /// Whether the cancel condition also ends the sequence of the step. Otherwise, the instance continues with the next
    /// step.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub cancel_ends_branch: bool,
}

/// A branch of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OutlineBranch {
    /// The label of the branch. The label says when the branch runs:
    ///
    /// * `then` or `else`: the branches of an if.
    /// * The label that the definition gives the branch, or `otherwise`: the branches of a decision. By
    ///   default, the label is the branch's value, or `condition 1`, `condition 2` and so on.
    /// * The option that the user chooses, or `escalation`: the branches of a user task.
    /// * `timeout`: the branch that runs when the time limit of a wait has passed.
    /// * `each item`, `while`, `tick`, `later` or `all`: the only branch of a for-each, a while, a recurring
    ///   branch, a delayed branch or a saga.
    /// * The number of the branch, counted from 1: the branches of a parallel step or a race.
    pub label: String,
    /// The first step of the branch.
    pub first: String,
}

/// The retry policy of a step.
///
/// The backoff before retry `n` (from 1) is `initial_s * factor^(n-1)`, at most `maximum_s`, shortened by a
/// random fraction of up to `jitter`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OutlineRetry {
    /// The highest number of retries.
    ///
    /// It is one less than the number of attempts. `u32::MAX` means that there is no limit.
    pub limit: u32,
    /// The backoff before the first retry, in seconds.
    pub initial_s: f64,
    /// The longest backoff, in seconds.
    pub maximum_s: f64,
    /// The factor by which each backoff is longer than the previous backoff.
    pub factor: f64,
    /// The largest fraction, from 0 to 1, by which a backoff is shortened at random.
    pub jitter: f64,
    /// Whether code decides which errors are retried.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub conditional: bool,
}

/// What happens when a step has failed for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum OutlineOnFailure {
    /// The instance fails.
    Fail,
    /// The instance is suspended.
    Suspend,
    /// The instance continues after the step.
    Continue,
    /// The enclosing saga is compensated.
    Compensate,
}

impl Outline {
    /// The current version of the outline's format. New outlines have this version in
    /// [`outline`](Self::outline).
    pub const FORMAT: u32 = 1;

    /// The step with this id, or `None` if the outline has no step with this id.
    #[must_use]
    pub fn step(&self, id: &str) -> Option<&OutlineStep> {
        self.steps.iter().find(|step| step.id == id)
    }
}

impl AnyDefinition {
    /// The definition as data, which can be listed, stored, compared and drawn.
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
            compensates_unfinished: node.compensates_unfinished,
            to: node.target.map(id),
            awaits,
            child_version,
            options: match &*node.verb {
                Verb::UserTask(it) => it.options.iter().map(|(option, _)| option.clone()).collect(),
                _ => Vec::new(),
            },
            labels: match &*node.verb {
                Verb::UserTask(it) => it.labels.clone(),
                _ => BTreeMap::new(),
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
            cancel_ends_branch: node.cancel_ends_branch(),
        }
    }
}

/// Returns what a step waits for (the name of an event or an activity, or the id of the child's definition),
/// and the version of the child's definition.
fn awaited(verb: &Verb) -> (Option<String>, Option<u32>) {
    match verb {
        Verb::SubWorkflow(it) => (Some(it.definition.clone()), it.version),
        _ => (verb.awaited_name().map(str::to_owned), None),
    }
}

/// The labels of a step's branches. `branches` is the number of branches.
fn labels(verb: &Verb, branches: usize) -> impl Iterator<Item = String> {
    let all: Vec<String> = match verb {
        Verb::If(_) => ["then", "else"].map(str::to_owned).into(),
        Verb::While(_) => vec!["while".to_owned()],
        Verb::ForEach(_) => vec!["each item".to_owned()],
        Verb::Recur(_) => vec!["tick".to_owned()],
        Verb::Schedule(_) => vec!["later".to_owned()],
        Verb::Saga(_) | Verb::Block(_) => vec!["all".to_owned()],
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
        Verb::Parallel(_)
        | Verb::Race(_)
        | Verb::RunBody(_)
        | Verb::Delay(_)
        | Verb::GoTo(_)
        | Verb::End(_) => (1..=branches).map(|number| number.to_string()).collect(),
    };
    all.into_iter()
}

impl Retry {
    fn outline(&self) -> Option<OutlineRetry> {
        let seconds = |it: Duration| it.as_secs_f64();
        (self.attempts > 1).then(|| OutlineRetry {
            limit: if self.attempts == u32::MAX { u32::MAX } else { self.attempts - 1 },
            initial_s: seconds(self.initial),
            maximum_s: seconds(self.max),
            factor: self.factor,
            jitter: self.jitter,
            conditional: self.only_if.is_some() || self.even_if_fatal.is_some(),
        })
    }
}
