//! The picture of a definition.

mod drawing;
mod file;
mod frames;
mod layout;
mod places;
mod reading;
mod sizes;
mod svg;
mod table;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, time::Duration};

use maud::Markup;
use wfe_core::definition::Outline;

use self::layout::Layout;
use super::State;

/// What is known about one step of a definition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StepFacts {
    /// How many instances are at the step, by their states. Zeros are not shown.
    pub here: Vec<(State, u64)>,
    /// How many instances have failed there. With more than none, the step and the way that failures took are red.
    pub failed: u64,
    /// How long half of the runs of the step took at most.
    pub p50: Option<Duration>,
    /// How long 95 of 100 runs of the step took at most.
    pub p95: Option<Duration>,
    /// What is late at the step, in a few words, such as `overdue 26 h`.
    pub late: Option<String>,
}

/// What is known about the steps of a definition, by their ids. It never moves a box.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// What is known about each step. Steps without an entry have nothing to show.
    pub steps: HashMap<String, StepFacts>,
    /// The id of the step that is marked. `None` marks none.
    pub selected: Option<String>,
    /// What [`StepFacts::failed`] counts, after the number, such as `since yesterday`.
    pub failed_when: &'static str,
}

/// What a link of a graph leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'s> {
    /// The instances that are at the step with this id.
    Here(&'s str),
    /// The failures at the step with this id.
    Failed(&'s str),
}

/// The relative URL of a target, or `None` if it has no link.
pub type Links<'l> = &'l dyn Fn(Target<'_>) -> Option<String>;

/// A definition as a picture: a sequence leads downwards, branches stand beside each other, containers are frames around
/// their steps, and a compensation stands at the right of its step. The same outline gives the same picture, whatever is
/// known about its steps, and a new step moves only what follows it.
///
/// An outline that contradicts itself is drawn as far as it can be: each step stands in one place, and ways to steps that
/// are not there lead nowhere.
///
/// ```
/// use wfe::prelude::*;
/// use wfe_web::picture::{Facts, Graph};
///
/// let greet = WorkflowBuilder::<u32>::new("greet", 1).then("hello", async |_, _| Ok(())).build()?;
/// let outline = greet.outline();
/// let facts = Facts::default();
/// let graph = Graph::new(&outline, &facts);
/// assert!(graph.svg(&|_| None).into_string().contains("hello"));
/// assert!(graph.table(&|_| None).into_string().contains("hello"));
/// # Ok::<(), wfe::WfeError>(())
/// ```
pub struct Graph<'o> {
    outline: &'o Outline,
    facts: &'o Facts,
    layout: Layout<'o>,
}

impl<'o> Graph<'o> {
    /// Lays the definition out.
    #[must_use]
    pub fn new(outline: &'o Outline, facts: &'o Facts) -> Self {
        let steps = reading::read(outline);
        let failed = |step: &reading::Step<'_>| facts.steps.get(&step.source.id).map_or(0, |it| it.failed);
        let failed = steps.iter().map(failed).collect();
        Self { outline, facts, layout: Layout::new(steps, failed) }
    }

    /// The picture for a page that has the [sprite](super::sprite) and the style sheet. Its size is that of the picture: put
    /// it into a region that scrolls.
    #[must_use]
    pub fn svg(&self, links: Links<'_>) -> Markup {
        svg::write(self, links, &svg::Frame::Page)
    }

    /// The rows of the table that tells the same, with a header. Steps inside of others are indented.
    #[must_use]
    pub fn table(&self, links: Links<'_>) -> Markup {
        table::write(self, links)
    }

    /// The picture as a file of its own: XML with its colours, light and dark, and with the symbols that it uses. It has no
    /// links.
    #[must_use]
    pub fn file(&self) -> String {
        file::write(self)
    }

    fn facts(&self, step: usize) -> Option<&StepFacts> {
        self.facts.steps.get(&self.layout.steps[step].source.id)
    }
}
