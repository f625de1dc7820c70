//! Draws an outline as a Mermaid flowchart.

use std::collections::{HashMap, HashSet};

use super::{Outline, OutlineStep, outline::ESCALATION};

impl Outline {
    /// Draws the outline as a [Mermaid](https://mermaid.js.org) flowchart: text that many Markdown viewers
    /// render as a diagram.
    ///
    /// Steps run from top to bottom. Containers are frames, conditions are diamonds, and waits have round ends.
    /// Dotted arrows lead to fallbacks, to compensations, and to the targets of go-tos. The returned text ends
    /// with a line break. Equal outlines produce equal texts.
    ///
    /// ```
    /// use wfe_core::definition::WorkflowBuilder;
    ///
    /// let definition = WorkflowBuilder::<u32>::new("count", 1)
    ///     .then("one", async |_, _| Ok(()))
    ///     .then("two", async |_, _| Ok(()))
    ///     .build()?;
    /// assert_eq!(
    ///     definition.outline().to_mermaid(),
    ///     "flowchart TD\n    begin((\" \"))\n    s0[\"one\"]\n    s1[\"two\"]\n    finish(((\" \")))\n    \
    ///      begin --> s0\n    s0 --> s1\n    s1 --> finish\n"
    /// );
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    #[must_use]
    pub fn to_mermaid(&self) -> String {
        let indices = self.steps.iter().enumerate().map(|(at, step)| (&*step.id, at)).collect();
        let mut picture = Picture {
            outline: self,
            indices,
            drawn: HashSet::new(),
            nodes: Vec::new(),
            arrows: Vec::new(),
            depth: 1,
        };
        picture.node("begin((\" \"))");
        let ends = match self.steps.first() {
            Some(first) => picture.sequence(&first.id, vec![End::from("begin")]),
            None => vec![End::from("begin")],
        };
        picture.node("finish(((\" \")))");
        picture.arrow(&ends, "finish");
        format!("flowchart TD\n{}{}", picture.nodes.concat(), picture.arrows.concat())
    }
}

struct Picture<'a> {
    outline: &'a Outline,
    /// The index of each step, by its id.
    indices: HashMap<&'a str, usize>,
    /// The ids of the steps that are already drawn. No step is drawn twice, so drawing ends even if the steps
    /// of an outline form a cycle.
    drawn: HashSet<&'a str>,
    /// The lines that declare nodes.
    nodes: Vec<String>,
    /// The lines that declare arrows.
    arrows: Vec<String>,
    depth: usize,
}

/// The open end of a path: the node that the next arrow starts from, and the label of that arrow.
struct End {
    from: String,
    label: Option<String>,
}

impl From<&str> for End {
    fn from(from: &str) -> Self {
        Self { from: from.to_owned(), label: None }
    }
}

/// The shape of a step in the diagram.
enum Shape {
    /// A box, given by its opening and its closing bracket.
    Box(&'static str, &'static str),
    /// A box with an arrow to each branch. The next step comes after all branches.
    Fork(&'static str, &'static str),
    /// A frame that encloses the branches.
    Frame,
}

impl<'a> Picture<'a> {
    fn node(&mut self, text: &str) {
        self.nodes.push(format!("{:indent$}{text}\n", "", indent = 4 * self.depth));
    }

    fn arrow(&mut self, from: &[End], to: &str) {
        for End { from, label } in from {
            self.arrows.push(match label {
                None => format!("    {from} --> {to}\n"),
                Some(label) => format!("    {from} -->|{}| {to}\n", quoted(label)),
            });
        }
    }

    fn dotted_arrow(&mut self, from: &str, label: &str, to: &str) {
        self.arrows.push(format!("    {from} -.->|{}| {to}\n", quoted(label)));
    }

    /// Draws this step and the steps that follow it. Returns the open ends.
    fn sequence(&mut self, first: &str, mut ends: Vec<End>) -> Vec<End> {
        let mut next = Some(first);
        let mut cancelled = Vec::new();
        while let Some(step) = next.and_then(|id| self.step(id))
            && self.drawn.insert(&step.id)
        {
            ends = self.draw(step, &ends);
            next = step.next.as_deref();
            if step.cancel_ends_branch && next.is_some() {
                cancelled.push(End { from: self.name(&step.id), label: Some("cancelled".to_owned()) });
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

    fn draw(&mut self, step: &'a OutlineStep, before: &[End]) -> Vec<End> {
        let name = self.name(&step.id);
        let text = quoted(&text(step));
        self.arrow(before, &name);
        let mut ends = match shape(step) {
            Shape::Box(open, close) => {
                self.node(&format!("{name}{open}{text}{close}"));
                vec![End::from(&*name)]
            }
            Shape::Fork(open, close) => {
                self.node(&format!("{name}{open}{text}{close}"));
                self.branches(step, &name)
            }
            Shape::Frame => {
                self.node(&format!("subgraph {name}[{text}]"));
                self.depth += 1;
                for branch in &step.branches {
                    self.sequence(&branch.first, Vec::new());
                }
                self.depth -= 1;
                self.node("end");
                vec![End::from(&*name)]
            }
        };
        if let Some(to) = &step.to {
            let to = self.name(to);
            self.dotted_arrow(&name, "go to", &to);
            ends.clear();
        }
        if step.kind == "end" {
            self.arrow(&[End::from(&*name)], "finish");
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
    fn branches(&mut self, step: &'a OutlineStep, name: &str) -> Vec<End> {
        let mut ends = Vec::new();
        for branch in &step.branches {
            let is_escalation = branch.label == ESCALATION && !step.options.contains(&branch.label);
            if is_escalation {
                let first = self.name(&branch.first);
                self.dotted_arrow(name, ESCALATION, &first);
                self.sequence(&branch.first, Vec::new());
            } else {
                let from = End { from: name.to_owned(), label: Some(branch.label.clone()) };
                ends.extend(self.sequence(&branch.first, vec![from]));
            }
        }
        ends.extend(bypasses(step).into_iter().map(|label| End { from: name.to_owned(), label }));
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

fn shape(step: &OutlineStep) -> Shape {
    match &*step.kind {
        "if" | "decide" => Shape::Fork("{", "}"),
        "wait-for" | "activity" | "user-task" | "sub-workflow" => Shape::Fork("([", "])"),
        "delay" => Shape::Box("([", "])"),
        "go-to" | "end" => Shape::Box(">", "]"),
        _ if step.branches.is_empty() => Shape::Box("[", "]"),
        _ => Shape::Frame,
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

/// The text in quotation marks, escaped so that Mermaid does not interpret any of it as syntax.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | ' ' | '-' | '_' | '.' | ',' | ':' | '/' => {
                quoted.push(character);
            }
            _ if character.is_control() => quoted.push(' '),
            _ if character.is_alphanumeric() => quoted.push(character),
            _ => quoted.extend(["#", &u32::from(character).to_string(), ";"]),
        }
    }
    quoted + "\""
}
