//! Draws an outline in the language of Graphviz.

use super::{
    Outline,
    flowchart::{End, Language, Shape},
};

impl Outline {
    /// Draws the outline as a directed graph in DOT, the language of [Graphviz](https://graphviz.org).
    ///
    /// The drawing has the same parts as that of [`to_mermaid`](Self::to_mermaid): steps run from top to bottom, containers
    /// are frames, conditions are diamonds, and waits have round corners. Dashed arrows lead to fallbacks, to compensations,
    /// and to the targets of go-tos. The returned text ends with a line break. Equal outlines produce equal texts.
    ///
    /// ```
    /// use wfe_core::definition::WorkflowBuilder;
    ///
    /// let definition = WorkflowBuilder::<u32>::new("count", 1)
    ///     .then("one", async |_, _| Ok(()))
    ///     .then("two", async |_, _| Ok(()))
    ///     .build()?;
    /// let dot = definition.outline().to_dot();
    /// assert!(dot.starts_with("digraph \"count\" {\n"));
    /// assert!(dot.contains("    s0 [shape=box, label=\"one\"]\n"));
    /// assert!(dot.ends_with("    begin -> s0\n    s0 -> s1\n    s1 -> finish\n}\n"));
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    #[must_use]
    pub fn to_dot(&self) -> String {
        let (nodes, arrows) = self.flowchart::<Dot>();
        // Arrows end at frames only in a compound graph.
        format!(
            "digraph {} {{\n    graph [compound=true, fontname=\"sans-serif\"]\n    node [fontname=\"sans-serif\"]\n    \
             edge [fontname=\"sans-serif\"]\n{nodes}{arrows}}}\n",
            quoted(&self.id)
        )
    }
}

struct Dot;

impl Language for Dot {
    fn node(name: &str, shape: Shape, text: &str) -> String {
        let attributes = match shape {
            Shape::Begin => {
                return format!(
                    "{name} [shape=circle, width=0.2, style=filled, fillcolor=black, label=\"\"]"
                );
            }
            Shape::Finish => {
                return format!(
                    "{name} [shape=doublecircle, width=0.15, style=filled, fillcolor=black, label=\"\"]"
                );
            }
            Shape::Step => "shape=box",
            Shape::Condition => "shape=diamond",
            Shape::Wait => "shape=box, style=rounded",
            Shape::Jump => "shape=cds",
        };
        format!("{name} [{attributes}, label={}]", quoted(text))
    }

    /// Arrows cannot begin or end at a frame, only at a step in it: so each frame has a point that is not seen.
    fn frame(name: &str, text: &str) -> Vec<String> {
        vec![
            format!("subgraph cluster_{name} {{"),
            format!("    label={}", quoted(text)),
            format!("    {name} [shape=point, style=invis]"),
        ]
    }

    fn end_of_frame() -> &'static str {
        "}"
    }

    fn arrow(from: End, to: End, label: Option<&str>, is_dotted: bool) -> String {
        let mut attributes = Vec::new();
        attributes.extend(label.map(|label| format!("label={}", quoted(label))));
        attributes.extend(is_dotted.then(|| "style=dashed".to_owned()));
        attributes.extend(from.is_frame.then(|| format!("ltail=cluster_{}", from.name)));
        attributes.extend(to.is_frame.then(|| format!("lhead=cluster_{}", to.name)));
        let attributes =
            if attributes.is_empty() { String::new() } else { format!(" [{}]", attributes.join(", ")) };
        format!("{} -> {}{attributes}", from.name, to.name)
    }
}

/// The text in quotation marks. Graphviz reads `\\` as the begin of an escape, so each is doubled; it has no escape for
/// control characters, so each is a space.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            _ if character.is_control() => quoted.push(' '),
            _ => quoted.push(character),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use crate::definition::WorkflowBuilder;

    #[test]
    fn frames_are_clusters_and_texts_stay_texts() {
        let outline = WorkflowBuilder::<u32>::new("a\"b", 1)
            .saga("book", |saga| {
                saga.then("hotel", async |_, _| Ok(()))
                    .compensate_with(|no| no.then("no-hotel", async |_, _| Ok(())))
            })
            .if_("late", |count| *count > 1, |then| then.then("hurry", async |_, _| Ok(())).name("\\ \n \""))
            .build()
            .unwrap()
            .outline();
        let dot = outline.to_dot();
        for line in [
            "digraph \"a\\\"b\" {",
            "    subgraph cluster_s0 {",
            "        s0 [shape=point, style=invis]",
            "    begin -> s0 [lhead=cluster_s0]",
            "    s0 -> s3 [ltail=cluster_s0]",
            "    s1 -> s2 [label=\"compensation\", style=dashed]",
            "    s3 -> s4 [label=\"then\"]",
            "    s4 [shape=box, label=\"\\\\   \\\"\"]",
        ] {
            assert!(dot.lines().any(|other| other == line), "{line}\n{dot}");
        }
        assert_eq!(dot.matches('{').count(), dot.matches('}').count());
    }
}
