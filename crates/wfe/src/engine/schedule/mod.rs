//! Schedules, which start instances by the clock, and the engine's own workflow behind each of them.

pub(in crate::engine) mod definition;
pub(in crate::engine) mod periods;
pub(in crate::engine) mod spec;
pub(in crate::engine) mod tick;
pub(in crate::engine) mod timetable;
