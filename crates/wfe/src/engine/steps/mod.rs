//! The bodies of steps: their slots, those in flight, and what runs around them.

pub(crate) mod in_flight;
pub(crate) mod middleware;
pub(crate) mod runner;
pub(crate) mod slots;
pub(crate) mod watchdog;
