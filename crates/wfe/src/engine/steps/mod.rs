//! The bodies of steps: their slots, those in flight, and what runs around them.

pub(in crate::engine) mod in_flight;
pub(in crate::engine) mod middleware;
pub(in crate::engine) mod runner;
pub(in crate::engine) mod slots;
pub(in crate::engine) mod watchdog;
