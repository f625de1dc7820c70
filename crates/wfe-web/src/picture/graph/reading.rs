//! What a picture shows of an outline: which steps follow each other, which ways leave a step, and how each is called.

use std::{borrow::Cow, collections::HashMap, fmt::Write as _, time::Duration};

use wfe_core::definition::{Outline, OutlineStep};

use crate::picture::took;

/// How a step takes its room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Box,
    /// A frame around one sequence: a for-each, a while, a saga, a block.
    Body,
    /// A frame around branches, one of which (or each) is gone through.
    Fork,
    /// A frame around a box and the ways that leave it sideways: a timeout, a fallback, a recurring branch.
    Side,
}

/// How a branch belongs to its step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// One of the ways on.
    #[default]
    Way,
    /// Taken instead of the step, if a limit has passed or the step has failed: dashed.
    Instead,
    /// The main path does not wait for it: dashed, and it ends by itself.
    Apart,
}

pub(super) struct Branch<'o> {
    pub label: Cow<'o, str>,
    /// `None`: nothing is done in this branch.
    pub first: Option<usize>,
    pub kind: Kind,
}

pub(super) struct Step<'o> {
    pub source: &'o OutlineStep,
    pub symbol: &'static str,
    pub word: &'static str,
    pub shape: Shape,
    /// The second line.
    pub says: String,
    pub next: Option<usize>,
    pub branches: Vec<Branch<'o>>,
    /// The first step of the fallback of a body.
    pub fallback: Option<usize>,
    pub compensation: Option<usize>,
    /// The step that this one is the first to compensate.
    pub compensates: Option<usize>,
    pub to: Option<usize>,
    /// Whether the sequence may go on behind the box itself.
    pub passes: bool,
}

impl Step<'_> {
    pub fn name(&self) -> &str {
        self.source.name.as_deref().unwrap_or(&self.source.id)
    }

    pub fn is_loop(&self) -> bool {
        matches!(&*self.source.kind, "for-each" | "while")
    }

    pub fn is_last(&self) -> bool {
        matches!(&*self.source.kind, "go-to" | "end")
    }

    pub fn is_bar(&self) -> bool {
        matches!(&*self.source.kind, "parallel" | "race")
    }
}

/// Reads the steps. Names that no step has lead nowhere.
pub(super) fn read(outline: &Outline) -> Vec<Step<'_>> {
    let at: HashMap<&str, usize> =
        outline.steps.iter().enumerate().rev().map(|(n, step)| (&*step.id, n)).collect();
    let find = |id: &Option<String>| id.as_deref().and_then(|id| at.get(id).copied());
    let mut steps: Vec<Step<'_>> = outline
        .steps
        .iter()
        .map(|source| {
            let (symbol, word, inner) = look(&source.kind);
            let mut branches = ways(source, &at);
            let mut fallback = find(&source.fallback);
            if inner != Shape::Body
                && let Some(first) = fallback.take()
            {
                let (label, first) = ("failed".into(), Some(first));
                branches.push(Branch { label, first, kind: Kind::Instead });
            }
            let has_side = inner == Shape::Box && branches.iter().any(|it| it.first.is_some());
            Step {
                source,
                symbol,
                word,
                shape: if has_side { Shape::Side } else { inner },
                says: says(source, word),
                next: find(&source.next),
                passes: passes(source),
                branches,
                fallback,
                compensation: find(&source.compensation),
                compensates: None,
                to: find(&source.to),
            }
        })
        .collect();
    for n in 0..steps.len() {
        if let Some(first) = steps[n].compensation {
            steps[first].compensates.get_or_insert(n);
        }
    }
    steps
}

fn look(kind: &str) -> (&'static str, &'static str, Shape) {
    match kind {
        "for-each" => ("loop", "for each", Shape::Body),
        "while" => ("loop", "while", Shape::Body),
        "saga" => ("saga", "saga", Shape::Body),
        "block" => ("saga", "block", Shape::Body),
        "if" => ("branch", "if", Shape::Fork),
        "decide" => ("branch", "decide", Shape::Fork),
        "parallel" => ("pause", "parallel", Shape::Fork),
        "race" => ("pause", "race", Shape::Fork),
        "after" | "recur" => ("sleep", "side branch", Shape::Box),
        "delay" => ("sleep", "delay", Shape::Box),
        "wait-for" => ("event", "wait", Shape::Box),
        "activity" => ("act", "activity", Shape::Box),
        "user-task" => ("task", "user task", Shape::Box),
        "sub-workflow" => ("child", "child workflow", Shape::Box),
        "go-to" => ("goto", "go to", Shape::Box),
        "end" => ("end", "end", Shape::Box),
        _ => ("step", "step", Shape::Box),
    }
}

/// The branches, and the ways past them.
fn ways<'o>(step: &'o OutlineStep, at: &HashMap<&str, usize>) -> Vec<Branch<'o>> {
    let mut ways: Vec<Branch<'o>> = step
        .branches
        .iter()
        .map(|branch| {
            let is_option = step.options.contains(&branch.label);
            let kind = match (&*step.kind, &*branch.label) {
                ("recur" | "after", _) => Kind::Apart,
                ("user-task", "escalation") if !is_option => Kind::Apart,
                ("user-task", _) if is_option => Kind::Way,
                ("wait-for" | "activity" | "user-task" | "sub-workflow", _) => Kind::Instead,
                _ => Kind::Way,
            };
            let label = match (&*step.kind, step.labels.get(&branch.label)) {
                ("parallel" | "race" | "for-each" | "while" | "saga" | "block", _) => "".into(),
                ("if", _) if branch.label == "then" => "yes".into(),
                ("if", _) if branch.label == "else" => "otherwise".into(),
                ("recur", _) => step
                    .every
                    .as_deref()
                    .map_or_else(|| "tick".into(), |every| format!("every {every}").into()),
                (_, Some(label)) => Cow::from(&**label),
                _ => Cow::from(&*branch.label),
            };
            Branch { label, first: at.get(&*branch.first).copied(), kind }
        })
        .collect();
    let has = |label: &str| step.branches.iter().any(|branch| branch.label == label);
    if step.kind == "if" && !has("else") || step.kind == "decide" && !has("otherwise") {
        ways.push(Branch { label: "otherwise".into(), first: None, kind: Kind::Way });
    }
    ways
}

fn passes(step: &OutlineStep) -> bool {
    let has = |option: &String| step.branches.iter().any(|branch| branch.label == *option);
    step.kind != "user-task" || step.options.is_empty() || !step.options.iter().all(has)
}

fn says(step: &OutlineStep, word: &str) -> String {
    let awaits = step.awaits.as_deref().unwrap_or_default();
    let mut says = match &*step.kind {
        "for-each" => match step.parallel {
            None => "for each, all at once".to_owned(),
            Some(1) => "for each, one by one".to_owned(),
            Some(limit) => format!("for each, {limit} at once"),
        },
        "saga" if step.fallback.is_some() => {
            "a saga: compensated in reverse order, then the fallback".to_owned()
        }
        "saga" => "a saga: compensated in reverse order".to_owned(),
        "parallel" => "all at once".to_owned(),
        "race" => "the first one wins".to_owned(),
        "wait-for" if !awaits.is_empty() => format!("event {awaits}"),
        "activity" if !awaits.is_empty() => format!("activity {awaits}"),
        "user-task" if !step.options.is_empty() => {
            let shown: Vec<&str> =
                step.options.iter().take(8).map(|it| &**step.labels.get(it).unwrap_or(it)).collect();
            format!("user task: {}", shown.join(", "))
        }
        "sub-workflow" if !awaits.is_empty() => match step.child_version {
            Some(version) => format!("child workflow {awaits} v{version}"),
            None => format!("child workflow {awaits}"),
        },
        "recur" => format!("every {}", step.every.as_deref().unwrap_or_default()),
        "after" => "later, by the side".to_owned(),
        "go-to" => format!("go to {}", step.to.as_deref().unwrap_or_default()),
        "end" => "ends here".to_owned(),
        _ => word.to_owned(),
    };
    // Writing to a text cannot fail.
    let _ = match &step.retry {
        None => Ok(()),
        Some(retry) if retry.limit == u32::MAX => write!(says, ", tried without end"),
        Some(retry) => write!(says, ", {} attempts", u64::from(retry.limit) + 1),
    };
    if let Some(seconds) = step.timeout_s {
        let _ = write!(says, ", at most {}", took(Duration::try_from_secs_f64(seconds).unwrap_or_default()));
    }
    says
}
