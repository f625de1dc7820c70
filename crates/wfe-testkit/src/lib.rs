//! Tools for authors of WFE stores and workflows.

mod virtual_clock;

pub use virtual_clock::VirtualClock;
