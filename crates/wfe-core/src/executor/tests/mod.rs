//! The executor without a host: a world that stores what it commits, and runs its bodies in any order.

mod control;
mod definitions;
mod for_each;
mod mismatch;
mod properties;
mod retry;
mod world;
