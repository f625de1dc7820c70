use std::{future::Future, time::Duration};

use serde_json::Value;
use wfe_core::{
    Result, WfeError,
    executor::{ChildEnd, Lifecycle, LifecycleEvent, Run},
    logging,
    models::WorkflowStatus,
    steps::StepError,
    traits::{Committed, Control, Ending, Fence, Loaded, Pending, StepCommit, StepFailure},
};

use crate::{
    engine::{
        log,
        message::{Phase, PhaseWatch},
        state::shared::Shared,
    },
    metrics::{self, Deliveries},
    store::{
        faults::is_fault,
        loss::{Loss, warn_unless_fault},
    },
};

/// The initial and the maximum backoff before a failed call to the store is repeated. A store that is busy for a moment
/// causes only a short delay, and a store that is down is called twelve times a minute.
const INITIAL_BACKOFF: Duration = Duration::from_millis(5);
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// The result of storing a pass.
pub(in crate::engine) enum Stored {
    /// The commit is durable.
    Done,
    /// The commit is durable, but the instance was not released with it, because a request for the instance waits.
    Kept,
    /// There was nothing to store.
    Unchanged,
    /// Another host owns the instance, or the instance no longer exists, or the host closes. The state in memory is
    /// discarded.
    Void,
    /// A subscription was closed, or an event was consumed, by a caller other than the engine. The instance must be
    /// read again.
    Stale,
    /// The store will never accept the commit, for this reason.
    Refused(StepError),
    /// The commit touches a row that accepts no write. Later commits would fail too, until the row is repaired.
    Corrupt(WfeError),
}

/// Stores the changes of a pass. If the store fails, the commit is kept, and the call is repeated until its outcome is
/// known. A shutdown does not interrupt the repetition. Only the end of the grace time interrupts it, if the store
/// still fails.
pub(in crate::engine) async fn store(
    shared: &Shared,
    phase: &PhaseWatch,
    fence: Fence,
    run: &mut Run,
    deliveries: &mut Deliveries,
) -> Result<Stored> {
    let mut pause = Pause::new(phase.clone());
    loop {
        while !shared.is_clock_usable() {
            if !pause.rest().await {
                return Ok(Stored::Void);
            }
        }
        shared.with_env(|env| run.advance(env))?;
        let Some(commit) = run.take_commit() else { return Ok(Stored::Unchanged) };
        // The pending starts end when this call returns. The caller then publishes the starts at once, and nothing else
        // can run in between on the engine's only thread.
        let _pending_starts: Vec<_> =
            commit.created.iter().map(|child| shared.start_barrier.of_child(&child.id)).collect();
        let answer = shared.store.commit_step(fence, &commit).await;
        if let Ok(Committed::Done) = answer {
            notify(shared, &commit, deliveries);
        }
        let releases = commit.release;
        run.return_commit(commit);
        let error = match answer {
            Ok(Committed::Done) => return Ok(Stored::Done),
            Ok(Committed::Lost) => {
                metrics::fence_lost();
                logging::warn!(
                    wfe.instance.id = run.id(),
                    "another process owns the instance now; results that were not stored are discarded"
                );
                return Ok(Stored::Void);
            }
            Ok(Committed::Control(request)) => {
                shared.with_env(|env| run.control(request, env))?;
                continue;
            }
            Err(error) => error,
        };
        match error {
            WfeError::CommitUnknown { .. } => {
                warn_unless_fault!(
                    shared.store.loss,
                    error,
                    wfe.instance.id = run.id(),
                    "the outcome of a commit is unknown; the instance is read again"
                );
                match load(shared, phase, run.id()).await {
                    Some(loaded) if loaded.fence != fence => {
                        metrics::fence_lost();
                        return Ok(Stored::Void);
                    }
                    Some(loaded) if run.is_stored(&loaded) => {
                        if let Some(commit) = run.take_commit() {
                            notify(shared, &commit, deliveries);
                            run.return_commit(commit);
                        }
                        // An instance without an owner was released with the commit. If it has received a request
                        // since, the request is for the host that claims it.
                        let is_settled = !releases
                            || loaded.owner.is_none()
                            || release(shared, phase, fence, run.id(), false).await;
                        return Ok(if is_settled { Stored::Done } else { Stored::Kept });
                    }
                    // The commit is not stored. It is repeated after a pause, because the disk may continue to fail.
                    Some(_) if pause.rest().await => {}
                    None | Some(_) => return Ok(Stored::Void),
                }
            }
            WfeError::WorkflowNotFound(_) | WfeError::LostOwnership(_) => return Ok(Stored::Void),
            WfeError::SubscriptionNotFound(_) | WfeError::EventNotFound(_) => return Ok(Stored::Stale),
            WfeError::Unstorable { .. }
            | WfeError::Serialization(_)
            | WfeError::AlreadyExists { .. }
            | WfeError::Invalid(_) => {
                return Ok(Stored::Refused(StepError::fatal(error).with_code(StepError::UNSTORABLE)));
            }
            WfeError::Corrupt { .. } => {
                // The line of the quarantine that follows has the error.
                logging::debug!(wfe.instance.id = run.id(), %error, "the instance cannot be stored");
                return Ok(Stored::Corrupt(error));
            }
            error => {
                report(&shared.store.loss, run.id(), &error);
                if !pause.rest().await {
                    return Ok(Stored::Void);
                }
            }
        }
    }
}

/// Notifies other parts of the engine of a stored commit.
fn notify(shared: &Shared, commit: &StepCommit, deliveries: &mut Deliveries) {
    shared.committed(commit);
    deliveries.committed(commit, || shared.now());
    for child in &commit.created {
        // If the definition of the child is not registered here, the child waits for a host that can run it.
        shared.is_registered(&child.workflow_definition_id, child.version, &child.id);
    }
}

/// Releases the ownership of the instance without any other change. If the store does not respond before the host
/// closes, the instance becomes available when the host has ended. Returns `false` if a request for the instance waits;
/// the instance then remains owned. `due` is set if the instance is released in the middle of its work: it is then due
/// at once, whatever the wall clock shows.
pub(in crate::engine) async fn release(
    shared: &Shared,
    phase: &PhaseWatch,
    fence: Fence,
    id: &str,
    due: bool,
) -> bool {
    let next_execution = due.then_some(Some(0));
    let release =
        StepCommit { instance_id: id.to_owned(), next_execution, release: true, ..StepCommit::default() };
    let mut pause = Pause::new(phase.clone());
    loop {
        match shared.store.commit_step(fence, &release).await {
            Ok(Committed::Done | Committed::Lost) | Err(WfeError::WorkflowNotFound(_)) => return true,
            Ok(Committed::Control(_)) => return false,
            Err(error) => {
                report(&shared.store.loss, id, &error);
                // A corrupt row does not recover automatically, so the call is not repeated. The instance becomes
                // available when the host has ended.
                if matches!(error, WfeError::Corrupt { .. }) || !pause.rest().await {
                    return true;
                }
            }
        }
    }
}

/// Reads the instance, and repeats the read if the store fails. Returns `None` if the instance no longer exists, or if
/// the host closes.
pub(in crate::engine) async fn load(shared: &Shared, phase: &PhaseWatch, id: &str) -> Option<Loaded> {
    match again_and_again(&shared.store.loss, phase, id, || shared.store.load(id)).await {
        Some(Ok(loaded)) => Some(loaded),
        Some(Err(error)) => {
            logging::error!(wfe.instance.id = id, %error, "the instance cannot be read");
            None
        }
        None => None,
    }
}

/// Reads the instance as [`load`] does, and also checks that its state is consistent. The caller is about to start work
/// on the instance. The only possible error is [`Corrupt`](WfeError::Corrupt).
pub(in crate::engine) async fn read_or_corrupt(
    shared: &Shared,
    phase: &PhaseWatch,
    id: &str,
) -> Option<Result<Loaded>> {
    again_and_again(&shared.store.loss, phase, id, || shared.read(id)).await
}

async fn again_and_again<T, F>(
    loss: &Loss,
    phase: &PhaseWatch,
    id: &str,
    read: impl Fn() -> F,
) -> Option<Result<T>>
where
    F: Future<Output = Result<T>>,
{
    let mut pause = Pause::new(phase.clone());
    loop {
        match read().await {
            Ok(read) => return Some(Ok(read)),
            Err(WfeError::WorkflowNotFound(_)) => return None,
            Err(error @ WfeError::Corrupt { .. }) => {
                logging::debug!(wfe.instance.id = id, %error, "the instance cannot be read");
                return Some(Err(error));
            }
            Err(error) => {
                report(loss, id, &error);
                if !pause.rest().await {
                    return None;
                }
            }
        }
    }
}

/// Assigns positions to the events that have become due, and repeats the call if the store fails. Returns `false` if
/// the host closes.
pub(in crate::engine) async fn position_events(shared: &Shared, phase: &PhaseWatch, instance: &str) -> bool {
    let mut pause = Pause::new(phase.clone());
    loop {
        match shared.store.position_due_events().await {
            Ok(_) => return true,
            Err(error) => {
                report(&shared.store.loss, instance, &error);
                if !pause.rest().await {
                    return false;
                }
            }
        }
    }
}

/// Reads what others have stored for an instance that the caller already works on. If the store fails, the read is
/// repeated as in [`read_or_corrupt`]. Only the deliveries to the subscriptions in `waits` are read. If `waits` is
/// `None`, all deliveries are read.
pub(in crate::engine) async fn pending(
    shared: &Shared,
    phase: &PhaseWatch,
    id: &str,
    waits: Option<&[String]>,
) -> Option<Result<Pending>> {
    again_and_again(&shared.store.loss, phase, id, || shared.store.pending(id, waits)).await
}

/// Reads which of these waits of the instance accept no more answers. If the store fails, the read is repeated as in
/// [`read_or_corrupt`]. Returns `None` if the host closes.
pub(in crate::engine) async fn unanswerable(
    shared: &Shared,
    phase: &PhaseWatch,
    id: &str,
    waits: &[String],
) -> Option<Result<Vec<String>>> {
    again_and_again(&shared.store.loss, phase, id, || shared.store.unanswerable(id, waits)).await
}

/// Suspends an instance that cannot be read or stored, so that hosts do not retry it endlessly. If a caller has
/// requested to cancel or terminate the instance, the instance is ended instead. Pointers, subscriptions and data of
/// the instance remain unchanged. If even this commit cannot be stored, the instance stays owned, and other hosts may
/// try to run it when this host has ended.
pub(in crate::engine) async fn suspend_corrupt(
    shared: &Shared,
    phase: &PhaseWatch,
    fence: Fence,
    id: &str,
    error: WfeError,
) {
    let failure = StepFailure::corrupt(id, error, shared.now());
    let now = failure.error.error_time;
    let mut commit = StepCommit {
        instance_id: id.to_owned(),
        status: Some(WorkflowStatus::Suspended),
        next_execution: Some(None),
        cause: Some(failure.clone()),
        failures: vec![failure.clone()],
        release: true,
        ..StepCommit::default()
    };
    let mut pause = Pause::new(phase.clone());
    loop {
        match shared.store.commit_step(fence, &commit).await {
            Ok(Committed::Done) => {
                shared.committed(&commit);
                return publish_corrupt(shared, &commit, &failure);
            }
            Ok(Committed::Lost) | Err(WfeError::WorkflowNotFound(_)) => return,
            Ok(Committed::Control(request)) => {
                commit.applied = Some(request.number);
                let ending = match request.control {
                    Control::Suspend | Control::Resume => continue,
                    Control::Cancel => Ending::Cancelled,
                    Control::Terminate => Ending::Terminated,
                };
                // If the instance is a child workflow, its parent waits for this event.
                let (data, cause) = (Value::Null, commit.cause.clone());
                let end = ChildEnd { ending, data, cause, retryable: false };
                commit.published = vec![end.event(id)];
                commit.status = Some(WorkflowStatus::Terminated);
                (commit.ending, commit.complete_time) = (Some(ending), Some(now));
            }
            Err(error @ WfeError::Corrupt { .. }) => {
                logging::error!(
                    wfe.instance.id = id,
                    %error,
                    "the instance cannot be suspended; repair the row that the error names; other hosts retry when this host has ended"
                );
                return;
            }
            Err(error) => {
                report(&shared.store.loss, id, &error);
                if !pause.rest().await {
                    return;
                }
            }
        }
    }
}

/// Publishes the lifecycle events of a corrupt instance. The definition of the instance is unknown, because it is
/// stored with the data that cannot be read.
fn publish_corrupt(shared: &Shared, commit: &StepCommit, failure: &StepFailure) {
    let end = match commit.ending {
        Some(ending) => Lifecycle::Terminated { ending },
        None => Lifecycle::Suspended,
    };
    for what in [Lifecycle::Error(Box::new(failure.clone())), end] {
        let event = LifecycleEvent {
            instance_id: commit.instance_id.as_str().into(),
            definition_id: "".into(),
            version: 0,
            time: failure.error.error_time,
            what,
        };
        log::quarantined(&event, failure);
        metrics::quarantined(&event);
        shared.publish(event);
    }
}

/// Reads items of a for-each, and repeats the read if the store fails. Returns `None` if the host closes. An error
/// means that a stored value does not decode.
pub(in crate::engine) async fn items(
    shared: &Shared,
    phase: PhaseWatch,
    id: &str,
    container: &str,
    from: u64,
    limit: usize,
) -> Option<Result<Vec<Value>>> {
    let mut pause = Pause::new(phase);
    loop {
        match shared.store.items(id, container, from, limit).await {
            read @ (Ok(_) | Err(WfeError::Corrupt { .. })) => return Some(read),
            Err(error) => {
                report(&shared.store.loss, id, &error);
                if !pause.rest().await {
                    return None;
                }
            }
        }
    }
}

/// Logs an error of the store after which the call is repeated.
pub(in crate::engine) fn report(loss: &Loss, instance: &str, error: &WfeError) {
    // Faults and the loss of the store are logged once for all instances, not here.
    if loss.has_come() || is_fault(error) || matches!(error, WfeError::Unusable { .. }) {
        logging::debug!(wfe.instance.id = instance, %error, "the call to the store is repeated");
    } else {
        logging::error!(wfe.instance.id = instance, %error, "the store has failed; the call is repeated");
    }
}

/// Growing pauses between calls to a store that fails. The pauses are in real time, because a virtual clock does not
/// make the store faster.
pub(in crate::engine) struct Pause {
    next: Duration,
    phase: PhaseWatch,
}

impl Pause {
    pub fn new(phase: PhaseWatch) -> Self {
        Self { next: INITIAL_BACKOFF, phase }
    }

    /// Pauses before the next call. Returns `false` if the host closes; the call must then not be repeated.
    pub async fn rest(&mut self) -> bool {
        let pause = self.next;
        self.next = (pause * 2).min(MAX_BACKOFF);
        tokio::select! {
            () = tokio::time::sleep(pause) => true,
            // An error means that the dispatcher has ended.
            _ = self.phase.wait_for(|phase| *phase == Phase::Closing) => false,
        }
    }
}
