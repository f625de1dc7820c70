//! The engine, which has its own thread. It decides which instances this host works on and when it claims more, and
//! runs an actor for each of them.
//!
//! Only short user code runs on the engine's thread: output closures, retry predicates, and the `Clone`, `Serialize`
//! and similar implementations of data and errors. Bodies, inputs and factories run elsewhere, so that a step that
//! never yields stops neither commits nor timers.

mod channel;
mod dispatcher;
mod handle;
mod instance;
mod isolation;
mod log;
mod long_wait;
mod message;
mod outlines;
mod retention;
mod schedule;
mod start;
mod state;
mod steps;
mod task;
mod thread;

#[cfg(feature = "metrics")]
pub(crate) use self::state::host_card::PROGRAM;
pub(crate) use self::{
    handle::{Engine, Handle},
    schedule::{
        definition::{TICK, Ticked, own_definition},
        spec::Spec,
    },
    start::{StartRule, StoredStart},
    state::options::Options,
    steps::in_flight::{BodyState, BodyStates},
};
pub use self::{
    schedule::{
        tick::Tick,
        timetable::{CatchUp, Timetable},
    },
    state::{
        outcome::{Idle, Outcome},
        retention::Retention,
    },
    steps::middleware::{Rest, StepDone, StepMiddleware, WorkflowEnd, WorkflowMiddleware, WorkflowStart},
};
