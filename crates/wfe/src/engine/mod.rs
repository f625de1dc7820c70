//! The engine's own thread: which instances are at work, when to look at others, and each one's actor.
//!
//! Of what a user writes, only what is quick runs here: output closures, retry predicates, and the data's and errors' own
//! `Clone`, `Serialize` and the like. Bodies, inputs and factories do not, so that a step which never yields stops
//! neither commits nor timers.

mod channel;
mod dispatcher;
mod handle;
mod instance;
mod isolation;
mod message;
mod schedule;
mod start;
mod state;
mod steps;
mod thread;

pub(crate) use self::{
    handle::Handle,
    schedule::{
        definition::{LISTED, Spec, TICK, Ticked, own_definition},
        timetable::next_tick,
    },
    state::options::Options,
    steps::in_flight::{BodyState, BodyStates},
};
pub use self::{
    schedule::{
        tick::Tick,
        timetable::{CatchUp, Timetable},
    },
    state::outcome::{Idle, Outcome},
    steps::middleware::{Rest, StepDone, StepMiddleware, WorkflowEnd, WorkflowMiddleware, WorkflowStart},
};
