//! Schedules, which start instances by the clock, and the engine's own workflow behind each of them.

pub(crate) mod definition;
pub(crate) mod tick;
pub(crate) mod timetable;
