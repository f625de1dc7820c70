//! The executor advances one instance. Its inputs are results. Its outputs are a
//! [`StepCommit`](crate::traits::StepCommit) and the effects that follow the commit. The executor is pure: it uses no
//! store and no clock, and starts no task.
//!
//! A [`Run`] is the live state of one instance. The owner of a `Run`
//!
//! 1. opens it with the stored state ([`Run::open`]): pointers, open waits, and the next event of each wait,
//! 2. reports what happened: a body ended ([`Run::ended`]), items were read ([`Run::items`]), events arrived
//!    ([`Run::deliver`]), a caller requested a control ([`Run::control`]). Due times need no report, if the owner
//!    advances the `Run` no later than [`Run::next_wake`],
//! 3. advances it ([`Run::advance`]), and stores the commit that [`Run::take_commit`] returns,
//! 4. only then carries out the effects that [`Run::committed`] returns: bodies to run, items to read, events to
//!    publish.
//!
//! A value that no store accepts ([`limits`](crate::limits)) never gets into a commit: the step that produced the value
//! fails. If a store refuses a commit nevertheless, report the refusal to [`Run::refused`].
//!
//! Changes accumulate in the `Run` until they are known to be stored. After a refused commit, the next commit contains
//! the same changes, and the changes that were made since. If a `Run` is lost, only time is lost: the instance
//! continues when it is opened again from the store. Bodies that the lost `Run` has started may still be running.
//! [`Run::leave_bodies`] hands these bodies to the next `Run` ([`Run::open_again`]).
//!
//! # Attempts
//!
//! A body that was cancelled, or has timed out, may continue to run for a while. The next body of its step, and the
//! compensation of the step, are not handed out before the end of the earlier body is reported. Report the end to
//! [`Run::body_over`] or to [`Run::ended`]; in this case, `ended` ignores the result. If a `Run` is opened while bodies of an
//! earlier `Run` are running, report each of these bodies to [`Run::still_at_work`].
//!
//! # How an event reaches a wait
//!
//! A waiting pointer has an open [`EventSubscription`](crate::models::EventSubscription). The commit in which the
//! pointer begins to wait opens the subscription. [`Loaded::deliveries`](crate::traits::Loaded::deliveries) gives the
//! next event of each open wait. The commit that consumes the event also stores the changes that result from the event.
//! The publisher of an event wakes the instances that wait for it. If the instance has no owner, a host claims it. If
//! the instance already has an owner, the owner reads the deliveries after the last commit of the `Run`, and passes
//! them to [`Run::deliver`]. An event may be stored before its wait is opened, so [`Effects::listen`] says when to read
//! events from the store. A suspended instance receives its events when it is resumed.
//!
//! # Repair by an operator
//!
//! An instance that was suspended by a failure can continue in three ways. If it is resumed, its failed steps get
//! another attempt. If the failed steps are skipped ([`Intervention::Skip`](crate::traits::Intervention::Skip)), the
//! instance continues with the steps after them. If it is resumed from another step
//! ([`Intervention::ResumeFrom`](crate::traits::Intervention::ResumeFrom)), the instance continues with that step, as
//! if a go-to had led there. If the instance cannot be continued as requested, a failure with the code
//! [`INTERVENTION`](crate::steps::StepError::INTERVENTION) is stored. This failure gives the reason, and nothing else
//! changes.
//!
//! # The retry of an ended instance
//!
//! An instance that has failed or was cancelled can become runnable again: [`reopen`] builds the commit, and
//! [`StepStore::reopen`](crate::traits::StepStore::reopen) stores it. The instance continues from where it stood. The
//! failed step begins as another execution pointer, with all its attempts and another idempotency key. A failed saga
//! begins another round. All other pointers continue where the end has stopped them.
//!
//! # Activities and user tasks
//!
//! An activity is an open wait for the event [`ACTIVITY`]` + name`. The key is the wait's own id, so that no other wait
//! takes the event; the `subscription_data` is the worker's input. A user task is an open wait for the event
//! [`USER_TASK`], whose `subscription_data` is a [`UserTaskView`](crate::steps::UserTaskView). A worker's claim is
//! stored as the `external_token` of the wait, together with the time at which the token expires. The answer is an
//! event whose data is a [`WorkerAnswer`](crate::steps::WorkerAnswer); this event is published only while the worker
//! holds the wait. A time limit or a cancellation closes the wait. This is enough to refuse a late answer.
//!
//! # Children
//!
//! A child is created in the commit in which its parent begins to wait for [`CHILD_ENDED`] with the child's id as key.
//! The commit that ends the child publishes the event [`CHILD_ENDED`] with a [`ChildEnd`]. The event's timestamp is in
//! the past, so the event is due immediately, even if a clock is wrong. If the child failed, the parent's step fails
//! too; its failure is retryable or fatal, like the failure that ended the child. If the child was cancelled or
//! terminated, the parent's step fails with a fatal failure. If the parent's step is cancelled, the parent requests the
//! cancellation of the child. If the parent is terminated, it requests the termination of the child
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
pub(crate) mod reopening;
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
pub use reopening::{Surroundings, reopen};
pub use run::{Env, Follows, Run, RunningBodies, StepExecution};
pub use view::ForEachProgress;

pub(crate) use fault::{Fault, Kept, Moved, Spoilt};
pub(crate) use primitive::{Closes, Primitive};
