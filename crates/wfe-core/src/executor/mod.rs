//! The executor: moves one instance. Results go in; a [`StepCommit`](crate::traits::StepCommit) and the effects that
//! follow it come out. It is pure: it has no store, no clock and no task of its own.
//!
//! A [`Run`] is the live state of one instance. Its owner
//!
//! 1. opens it with what the store has ([`Run::open`]): pointers, open waits, and the next event of each wait,
//! 2. reports what happened: a body ended ([`Run::ended`]), items were read ([`Run::items`]), events arrived
//!    ([`Run::deliver`]), a caller requested a control ([`Run::control`]). The `Run` itself notices when something is due,
//!    if it is advanced at [`Run::next_wake`] at the latest,
//! 3. advances it ([`Run::advance`]), and stores what [`Run::pending_commit`] gives,
//! 4. only then carries out what [`Run::committed`] gives: bodies to run, items to read, events to publish.
//!
//! A value that no store accepts ([`limits`](crate::limits)) never gets into a commit: it fails the step that made it.
//! If a store refuses a commit all the same, report that to [`Run::refused`].
//!
//! Changes gather in the `Run` until they are known to be stored. A commit that was refused is made again, together
//! with the changes since. If a `Run` is lost, only time is lost: an instance that is opened again from the store goes
//! on. Bodies that the lost `Run` has begun may still be running: [`Run::leave_bodies`] hands them to the next one
//! ([`Run::open_again`]).
//!
//! # Attempts
//!
//! A body that was cancelled, or has timed out, may run on for a while. The next body of its step, and the compensation
//! of the step, are not handed out before its end is reported: to [`Run::ended`], which then ignores the result, or to
//! [`Run::body_over`]. If a `Run` is opened while bodies of an earlier one are running, report each of them
//! ([`Run::still_at_work`]).
//!
//! # How an event reaches a wait
//!
//! A waiting pointer has an open [`EventSubscription`](crate::models::EventSubscription). The commit in which the
//! pointer begins to wait opens it. [`Loaded::deliveries`](crate::traits::Loaded::deliveries) gives the next event of
//! each open wait. The commit that consumes the event also stores what follows from it. The publisher of an event wakes
//! the instances that wait for it. An instance without an owner is claimed. The owner of a busy instance hands it the
//! deliveries, read after the last commit of the `Run` ([`Run::deliver`]). An event may be stored before its wait:
//! [`Effects::listen`] says when to look. A suspended instance takes its events when it is resumed.
//!
//! # Repair by an operator
//!
//! An instance that a failure has suspended goes on in one of three ways. Resumed: its failed steps get another
//! attempt. Skipped ([`Intervention::Skip`](crate::traits::Intervention::Skip)): it goes on behind them. From another
//! step ([`Intervention::ResumeFrom`](crate::traits::Intervention::ResumeFrom)): it goes on there, like after a go-to.
//! Where that is impossible, a failure with the code [`INTERVENTION`](crate::steps::StepError::INTERVENTION) is stored
//! that says why, and nothing else changes.
//!
//! # Activities and user tasks
//!
//! An activity is an open wait for the event [`ACTIVITY`]` + name`. The key is the wait's own id, so that no other wait
//! takes the event; the `subscription_data` is the worker's input. A user task is an open wait for [`USER_TASK`], with
//! a [`UserTaskView`](crate::steps::UserTaskView). A worker's claim is the `external_token` of the wait, with its
//! expiry. The answer is an event whose data is a [`WorkerAnswer`](crate::steps::WorkerAnswer); it is published only
//! while the worker holds the wait. To refuse a late answer, it is enough to close the wait, as a time limit or a
//! cancellation does.
//!
//! # Children
//!
//! A child is created in the commit in which its parent begins to wait for [`CHILD_ENDED`] with the child's id as key.
//! The commit that ends the child publishes that event ([`ChildEnd`]). It is dated in the past, so that no clock holds
//! it back. If the child failed, the parent's step fails: retryable or fatal, like the failure that ended the child. If
//! the child was cancelled or terminated, the parent's step fails with a fatal failure.
//! If the parent's step is cancelled, the parent requests the cancellation of the child; if the parent is terminated, the
//! termination ([`StepCommit::requested`](crate::traits::StepCommit::requested)).

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
pub use run::{Env, Run, RunningBodies, StepExecution};
pub use view::ForEachProgress;

pub(crate) use fault::{Fault, Kept, Moved, Spoilt};
pub(crate) use primitive::Primitive;
