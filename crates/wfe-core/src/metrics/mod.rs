//! Names and handles of metrics, with the feature `metrics`.
//!
//! The names, labels, units and help texts of all metrics of WFE stand in one table, [`ALL`]. Each crate records its own
//! metrics where the thing happens, through the handles of this module: `wfe` those of instances, steps and external tasks,
//! the store those of its commits. An author of a store records the metrics of the store in the same way.
//!
//! The metrics go to the recorder that the program has installed with the facade [`metrics`](https://docs.rs/metrics).
//! A handle finds the recorder when it is first used after the recorder was installed, so the order of installing the
//! recorder, opening a store and building a host does not matter. Without a recorder, a handle only checks that there is
//! none. What happens before the recorder is installed is not counted.

mod handles;
mod recorder;
mod table;

pub use metrics::{Counter as CounterHandle, Gauge as GaugeHandle, Histogram as HistogramHandle};

pub use handles::{Counter, Family, Gauge, Handle, Histogram, MANY, OTHER, Set, bounded};
pub use recorder::{attach, is_on};
pub use table::*;

#[cfg(test)]
mod tests;
