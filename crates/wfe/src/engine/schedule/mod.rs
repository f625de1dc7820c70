//! Schedules: when instances are started by the clock, and the engine's own workflow that does it.

pub(crate) mod definition;
pub(crate) mod tick;
pub(crate) mod timetable;
