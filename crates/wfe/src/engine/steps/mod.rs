//! Runs the bodies of steps: their slots, the bodies in flight, and the middlewares around them.

pub(in crate::engine) mod in_flight;
pub(in crate::engine) mod launcher;
pub(in crate::engine) mod middleware;
pub(in crate::engine) mod runner;
pub(in crate::engine) mod slots;
pub(in crate::engine) mod watchdog;
