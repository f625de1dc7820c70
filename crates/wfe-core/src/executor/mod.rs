//! One pass over one instance: results go in, a [`StepCommit`](crate::traits::StepCommit) and what is to be done
//! after it come out. Pure: no store, no clock, no task of its own.
//!
//! A [`Run`] is the live state of one instance. Its owner
//!
//! 1. opens it with what the store has ([`Run::open`]): pointers, open waits, and the events that these take next,
//! 2. tells it what happened: a body ended ([`Run::ended`]), items were read ([`Run::items`]), events are there
//!    ([`Run::deliver`]), somebody asked for something ([`Run::control`]); time that has come is seen by itself, at
//!    [`Run::next_wake`] at the latest,
//! 3. lets it move ([`Run::advance`]), and stores what [`Run::pending_commit`] gives,
//! 4. and only then does what [`Run::committed`] gives: bodies to run, items to read, events to publish.
//!
//! A value that no store takes ([`limits`](crate::limits)) never gets into a commit: it is the failure of the step that made
//! it. A commit that a store refuses all the same goes to [`Run::refused`].
//!
//! Changes gather in the `Run` until they are known to be stored, so a commit that was refused is made again, with
//! whatever has come meanwhile. Nothing is lost with a `Run` but time: opened again from the store, it goes on. Bodies that
//! it has begun can go on beside that: [`Run::leave_bodies`] hands them to the next one ([`Run::open_again`]).
//!
//! # Attempts
//!
//! A body that is cancelled, or has had its time, may go on for a while. The next body of its step, and what compensates the
//! step, are not handed out before its end was told: by [`Run::ended`], whose result is void then, or by
//! [`Run::body_over`]. A `Run` that is opened while bodies of an earlier one go on is told of them
//! ([`Run::still_at_work`]).
//!
//! # How an event reaches a wait
//!
//! A pointer that waits has an open [`EventSubscription`](crate::models::EventSubscription), opened in the commit in which
//! the pointer began to wait. [`Loaded::deliveries`](crate::traits::Loaded::deliveries) tells which event each open wait
//! takes next; the commit that consumes it also stores what follows from it. Whoever publishes an event wakes the
//! instances that wait for it: one without an owner is claimed, to a busy one its owner hands the deliveries, read after
//! the last commit of the `Run` ([`Run::deliver`]). An event may be there before its wait is:
//! [`Effects::listen`] says when to look. An instance that stands still takes its events when it is resumed.
//!
//! # Mended by hand
//!
//! An instance that a failure has suspended goes on in one of three ways: resumed, its failed steps are tried again;
//! skipped ([`Intervention::Skip`](crate::traits::Intervention::Skip)), it goes on behind them; or from another step
//! ([`Intervention::ResumeFrom`](crate::traits::Intervention::ResumeFrom)), as a go-to would. Where that cannot be, a failure
//! with the code [`INTERVENTION`](crate::steps::StepError::INTERVENTION) is stored that says why, and nothing else changes.
//!
//! # Work done outside
//!
//! An activity is an open wait for the event [`ACTIVITY`]` + name`, whose key is the wait's own id, so that no other wait
//! takes it, and whose `subscription_data` is the worker's input. A user task is one for [`USER_TASK`], with a
//! [`UserTaskView`](crate::steps::UserTaskView). A worker's claim is the `external_token` of the wait, with its expiry; its
//! answer an event with a [`WorkerAnswer`](crate::steps::WorkerAnswer) as its data, published only while the worker
//! holds the wait. Closing the wait (a time limit, a cancel) is all it takes to refuse a late answer.
//!
//! # Children
//!
//! A child is created in the commit in which its parent begins to wait for [`CHILD_ENDED`] with the child's id as key. The
//! commit that ends the child publishes that event ([`ChildEnd`]), dated in the past, so that no clock holds it back. A
//! child that failed is a failure of its parent's step, retryable or fatal as the failure that ended it; one that was cancelled
//! or terminated is a fatal failure.
//! A parent whose step is taken away asks the child to cancel itself, and one that is terminated asks it to terminate
//! ([`StepCommit::requested`](crate::traits::StepCommit::requested)).

mod consistency;
mod effects;
mod events;
mod fault;
mod idempotency;
mod job;
mod lifecycle;
mod primitive;
mod primitives;
mod run;
pub mod view;

#[cfg(test)]
mod tests;

pub use consistency::{contradiction, lost_waits};
pub use effects::{Effects, ItemRequest};
pub use events::{ACTIVITY, CHILD_ENDED, ChildEnd, USER_TASK};
pub use idempotency::{idempotency_key, idempotency_key_of_path};
pub use job::Job;
pub use lifecycle::{Lifecycle, LifecycleEvent};
pub use run::{Env, Run, RunningBodies, StepExecution, closing, failed_in_a_row, why_again};

pub use view::ForEachProgress;

pub(crate) use fault::{Fault, Kept, Moved, Spoilt};
pub(crate) use primitive::Primitive;
