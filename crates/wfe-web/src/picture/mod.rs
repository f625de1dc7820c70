//! Pictures of definitions, instances and numbers, as SVG. Each is a function from data to markup, and each picture has a
//! table that tells the same.
//!
//! The markup has classes and no styles: the pages' style sheet colours it, so that a strict policy for content holds. Only
//! the [file of a graph](Graph::file) has a style sheet of its own. Names of programs are escaped, cleaned and cut.

mod graph;
mod icons;
mod numbers;
mod state;
mod text;
mod timeline;

pub use graph::{Facts, Graph, StepFacts, Target};
pub use icons::{icon, sprite};
pub use numbers::{Hour, bars, bars_table, meter, sparkline, stack};
pub use state::State;
pub use text::{clean, spaced, took};
pub use timeline::{Item, Mark, Row, Timeline};
