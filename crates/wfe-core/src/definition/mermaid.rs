//! Draws an outline as a Mermaid flowchart.

use super::{
    Outline,
    flowchart::{End, Language, Shape},
};

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
        let (nodes, arrows) = self.flowchart::<Mermaid>();
        format!("flowchart TD\n{nodes}{arrows}")
    }
}

struct Mermaid;

impl Language for Mermaid {
    fn node(name: &str, shape: Shape, text: &str) -> String {
        let (open, close) = match shape {
            Shape::Begin => ("((", "))"),
            Shape::Finish => ("(((", ")))"),
            Shape::Step => ("[", "]"),
            Shape::Condition => ("{", "}"),
            Shape::Wait => ("([", "])"),
            Shape::Jump => (">", "]"),
        };
        format!("{name}{open}{}{close}", quoted(text))
    }

    fn frame(name: &str, text: &str) -> Vec<String> {
        vec![format!("subgraph {name}[{}]", quoted(text))]
    }

    fn end_of_frame() -> &'static str {
        "end"
    }

    fn arrow(from: End, to: End, label: Option<&str>, is_dotted: bool) -> String {
        let arrow = if is_dotted { "-.->" } else { "-->" };
        match label {
            None => format!("{} {arrow} {}", from.name, to.name),
            Some(label) => format!("{} {arrow}|{}| {}", from.name, quoted(label), to.name),
        }
    }
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
