//! The parts of a flowchart of an outline, in the order in which they are drawn. A [`Language`] writes them as text.

use std::{
    collections::{HashMap, HashSet},
    iter,
    marker::PhantomData,
};

use super::{Outline, OutlineStep, outline::ESCALATION};

/// A language of flowcharts.
pub(super) trait Language {
    /// The line that declares a step, or the begin or the end of the flowchart.
    fn node(name: &str, shape: Shape, text: &str) -> String;
    /// The lines that open a frame.
    fn frame(name: &str, text: &str) -> Vec<String>;
    /// The line that closes a frame.
    fn end_of_frame() -> &'static str;
    /// The line that declares an arrow.
    fn arrow(from: End, to: End, label: Option<&str>, is_dotted: bool) -> String;
}

/// What stands for a step in a flowchart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Begin,
    Finish,
    /// A step that runs a body.
    Step,
    /// A step that decides which branch follows.
    Condition,
    /// A step that waits.
    Wait,
    /// A step that continues elsewhere, or ends the instance.
    Jump,
}

/// One end of an arrow: a step, or the frame of a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct End<'a> {
    pub name: &'a str,
    pub is_frame: bool,
}

impl Outline {
    /// The lines of the flowchart: those that declare steps, then those that declare arrows.
    pub(super) fn flowchart<L: Language>(&self) -> (String, String) {
        let indices = self.steps.iter().enumerate().map(|(at, step)| (&*step.id, at)).collect();
        let mut picture = Picture::<L> {
            outline: self,
            indices,
            drawn: HashSet::new(),
            nodes: String::new(),
            arrows: String::new(),
            depth: 1,
            language: PhantomData,
        };
        picture.node(&L::node("begin", Shape::Begin, " "));
        let ends = match self.steps.first() {
            Some(first) => picture.sequence(&first.id, vec![OpenEnd::from("begin")]),
            None => vec![OpenEnd::from("begin")],
        };
        picture.node(&L::node("finish", Shape::Finish, " "));
        picture.arrow(&ends, "finish");
        (picture.nodes, picture.arrows)
    }
}

struct Picture<'a, L> {
    outline: &'a Outline,
    /// The index of each step, by its id.
    indices: HashMap<&'a str, usize>,
    /// The ids of the steps that are already drawn. No step is drawn twice, so drawing ends even if the steps
    /// of an outline form a cycle.
    drawn: HashSet<&'a str>,
    /// The lines that declare nodes.
    nodes: String,
    /// The lines that declare arrows.
    arrows: String,
    depth: usize,
    language: PhantomData<L>,
}

/// The open end of a path: the node that the next arrow starts from, and the label of that arrow.
struct OpenEnd {
    from: String,
    label: Option<String>,
}

impl From<&str> for OpenEnd {
    fn from(from: &str) -> Self {
        Self { from: from.to_owned(), label: None }
    }
}

/// How a step is drawn.
enum Form {
    Single(Shape),
    /// With an arrow to each branch. The next step comes after all branches.
    Fork(Shape),
    /// As a frame that encloses the branches.
    Frame,
}

impl<'a, L: Language> Picture<'a, L> {
    fn node(&mut self, line: &str) {
        self.nodes.extend(iter::repeat_n("    ", self.depth));
        self.nodes.extend([line, "\n"]);
    }

    fn arrow(&mut self, from: &[OpenEnd], to: &str) {
        for OpenEnd { from, label } in from {
            self.line(from, to, label.as_deref(), false);
        }
    }

    fn dotted_arrow(&mut self, from: &str, label: &str, to: &str) {
        self.line(from, to, Some(label), true);
    }

    fn line(&mut self, from: &str, to: &str, label: Option<&str>, is_dotted: bool) {
        let line = L::arrow(self.end(from), self.end(to), label, is_dotted);
        self.arrows.extend(["    ", &line, "\n"]);
    }

    fn end<'n>(&self, name: &'n str) -> End<'n> {
        let index = name.strip_prefix('s').and_then(|index| index.parse::<usize>().ok());
        let step = index.and_then(|index| self.outline.steps.get(index));
        End { name, is_frame: step.is_some_and(|step| matches!(form(step), Form::Frame)) }
    }

    /// Draws this step and the steps that follow it. Returns the open ends.
    fn sequence(&mut self, first: &str, mut ends: Vec<OpenEnd>) -> Vec<OpenEnd> {
        let mut next = Some(first);
        let mut cancelled = Vec::new();
        while let Some(step) = next.and_then(|id| self.step(id))
            && self.drawn.insert(&step.id)
        {
            ends = self.draw(step, &ends);
            next = step.next.as_deref();
            if step.cancel_ends_branch && next.is_some() {
                cancelled.push(OpenEnd { from: self.name(&step.id), label: Some("cancelled".to_owned()) });
            }
        }
        ends.extend(cancelled);
        ends
    }

    fn step(&self, id: &str) -> Option<&'a OutlineStep> {
        self.indices.get(id).and_then(|at| self.outline.steps.get(*at))
    }

    fn name(&self, id: &str) -> String {
        self.indices.get(id).map_or_else(|| "nowhere".to_owned(), |at| format!("s{at}"))
    }

    fn draw(&mut self, step: &'a OutlineStep, before: &[OpenEnd]) -> Vec<OpenEnd> {
        let name = self.name(&step.id);
        let text = text(step);
        self.arrow(before, &name);
        let mut ends = match form(step) {
            Form::Single(shape) => {
                self.node(&L::node(&name, shape, &text));
                vec![OpenEnd::from(&*name)]
            }
            Form::Fork(shape) => {
                self.node(&L::node(&name, shape, &text));
                self.branches(step, &name)
            }
            Form::Frame => {
                for line in L::frame(&name, &text) {
                    self.node(&line);
                }
                self.depth += 1;
                for branch in &step.branches {
                    self.sequence(&branch.first, Vec::new());
                }
                self.depth -= 1;
                self.node(L::end_of_frame());
                vec![OpenEnd::from(&*name)]
            }
        };
        if let Some(to) = &step.to {
            let to = self.name(to);
            self.dotted_arrow(&name, "go to", &to);
            ends.clear();
        }
        if step.kind == "end" {
            self.arrow(&[OpenEnd::from(&*name)], "finish");
            ends.clear();
        }
        if let Some(fallback) = &step.fallback {
            let first = self.name(fallback);
            self.dotted_arrow(&name, "fallback", &first);
            ends.extend(self.sequence(fallback, Vec::new()));
        }
        if let Some(compensation) = &step.compensation {
            let first = self.name(compensation);
            let label =
                if step.compensates_unfinished { "compensation, even if failed" } else { "compensation" };
            self.dotted_arrow(&name, label, &first);
            self.sequence(compensation, Vec::new());
        }
        ends
    }

    /// Draws the branches of a step. Returns the open ends.
    fn branches(&mut self, step: &'a OutlineStep, name: &str) -> Vec<OpenEnd> {
        let mut ends = Vec::new();
        for branch in &step.branches {
            let is_escalation = branch.label == ESCALATION && !step.options.contains(&branch.label);
            if is_escalation {
                let first = self.name(&branch.first);
                self.dotted_arrow(name, ESCALATION, &first);
                self.sequence(&branch.first, Vec::new());
            } else {
                let from = OpenEnd { from: name.to_owned(), label: Some(branch.label.clone()) };
                ends.extend(self.sequence(&branch.first, vec![from]));
            }
        }
        ends.extend(bypasses(step).into_iter().map(|label| OpenEnd { from: name.to_owned(), label }));
        ends
    }
}

/// The labels of the paths that lead from a step to the next step without running a branch.
fn bypasses(step: &OutlineStep) -> Vec<Option<String>> {
    let has = |label: &str| step.branches.iter().any(|branch| branch.label == label);
    match &*step.kind {
        "if" if has("else") => Vec::new(),
        "if" => vec![Some("else".to_owned())],
        "decide" if has("otherwise") => Vec::new(),
        "decide" => vec![Some("otherwise".to_owned())],
        "user-task" => step.options.iter().filter(|option| !has(option)).cloned().map(Some).collect(),
        _ => vec![None],
    }
}

fn form(step: &OutlineStep) -> Form {
    match &*step.kind {
        "if" | "decide" => Form::Fork(Shape::Condition),
        "wait-for" | "activity" | "user-task" | "sub-workflow" => Form::Fork(Shape::Wait),
        "delay" => Form::Single(Shape::Wait),
        "go-to" | "end" => Form::Single(Shape::Jump),
        _ if step.branches.is_empty() => Form::Single(Shape::Step),
        _ => Form::Frame,
    }
}

/// The text in the box of a step: its name, and its kind if the shape of the box does not show it.
fn text(step: &OutlineStep) -> String {
    let name = step.name.as_deref().unwrap_or(&step.id);
    let more = match (&*step.kind, &step.awaits) {
        ("wait-for", Some(event)) => format!("event {event}"),
        ("activity", Some(activity)) => format!("activity {activity}"),
        ("sub-workflow", Some(child)) => format!("workflow {child}"),
        ("step" | "if" | "decide" | "go-to", _) => return name.to_owned(),
        ("recur", _) => format!("every {}", step.every.as_deref().unwrap_or_default()),
        ("for-each", _) => match step.parallel {
            None => "for-each, all at once".to_owned(),
            Some(1) => "for-each".to_owned(),
            Some(limit) => format!("for-each, {limit} at once"),
        },
        (kind, _) => kind.replace('-', " "),
    };
    format!("{name}: {more}")
}
