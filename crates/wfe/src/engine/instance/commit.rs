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
        message::{Phase, PhaseWatch},
        state::shared::Shared,
    },
    store::loss::{Loss, warn_unless_lost},
};

/// The initial and the maximum backoff before a call of the store that failed is repeated: a store that is busy for a
/// moment delays little, one that is down is called twelve times a minute.
const INITIAL_BACKOFF: Duration = Duration::from_millis(5);
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// What became of a pass.
pub(in crate::engine) enum Stored {
    /// It is durable.
    Done,
    /// It is durable, but the instance could not be given back with it: a request for it waits.
    Kept,
    /// There was nothing to store.
    Unchanged,
    /// Another host owns the instance, or it is gone, or the host closes: what is in memory is void.
    Void,
    /// A wait was closed, or an event taken, behind the engine's back: the instance has to be read again.
    Stale,
    /// The store will never take it, for this reason.
    Refused(StepError),
    /// A row that it touches lets no write through: nothing that follows would be stored either, until it is mended.
    Corrupt(WfeError),
}

/// Stores what the pass has changed. What is to be stored is kept, and stored again after a failure, until it is known
/// what became of it; the shutdown does not cut it short, only the end of the grace time a store that does not answer.
pub(in crate::engine) async fn store(
    shared: &Shared,
    phase: &PhaseWatch,
    fence: Fence,
    run: &mut Run,
) -> Result<Stored> {
    let mut pause = Pause::new(phase.clone());
    loop {
        while !shared.is_clock_usable() {
            if !pause.rest().await {
                return Ok(Stored::Void);
            }
        }
        shared.with_env(|env| run.advance(env))?;
        let Some(commit) = run.pending_commit() else { return Ok(Stored::Unchanged) };
        // They are over with this call: on the engine's one thread nothing runs between that and the publication of the
        // starts, which the caller does at once.
        let _pending_starts: Vec<_> =
            commit.created.iter().map(|child| shared.start_barrier.of_child(&child.id)).collect();
        let error = match shared.store.commit_step(fence, &commit).await {
            Ok(Committed::Done) => {
                notify(shared, &commit);
                return Ok(Stored::Done);
            }
            Ok(Committed::Lost) => {
                logging::warn!(
                    instance = run.id(),
                    "another process owns the instance now; what was computed here since is void"
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
                warn_unless_lost!(shared.store.loss, instance = run.id(), %error, "the outcome of a commit is unknown; it is read again");
                match load(shared, phase, run.id()).await {
                    Some(loaded) if loaded.fence != fence => return Ok(Stored::Void),
                    Some(loaded) if run.is_stored(&loaded) => {
                        notify(shared, &commit);
                        // With no owner, it was given back with the commit; a request that it has since is for the host
                        // that claims it.
                        let is_settled = !commit.release
                            || loaded.owner.is_none()
                            || release(shared, phase, fence, &commit.instance_id, false).await;
                        return Ok(if is_settled { Stored::Done } else { Stored::Kept });
                    }
                    // It is not stored: once more, but the disk may go on to fail.
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
                logging::error!(instance = run.id(), %error, "the instance cannot be stored");
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

/// The commit is stored: others may have something to do.
fn notify(shared: &Shared, commit: &StepCommit) {
    shared.committed(commit);
    for child in &commit.created {
        // It waits for a host that can run it.
        shared.is_registered(&child.workflow_definition_id, child.version, &child.id);
    }
}

/// Gives the ownership back, with nothing else. If the store does not answer before the host closes, the instance is
/// free when the host is gone. `false`: a request waits, so it stays owned. What is given back while it runs is `due` at
/// once, whatever the wall clock says by then.
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
                // What does not pass by itself: it is free when the host is gone.
                if matches!(error, WfeError::Corrupt { .. }) || !pause.rest().await {
                    return true;
                }
            }
        }
    }
}

/// Reads the instance, again and again if the store fails; `None`: it is gone, or the host closes.
pub(in crate::engine) async fn load(shared: &Shared, phase: &PhaseWatch, id: &str) -> Option<Loaded> {
    match again_and_again(&shared.store.loss, phase, id, || shared.store.load(id)).await {
        Some(Ok(loaded)) => Some(loaded),
        Some(Err(_)) | None => None,
    }
}

/// As [`load`], for the task that takes the instance up; an error is [`Corrupt`](WfeError::Corrupt).
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
                logging::error!(instance = id, %error, "the instance cannot be read");
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

/// Gives positions to the events that have become due, again and again if the store fails; `false`: the host closes.
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

/// As [`read_or_corrupt`], for the task that works on the instance already: what others have stored for it. Of the deliveries, those
/// to these waits (`None`: to all).
pub(in crate::engine) async fn pending(
    shared: &Shared,
    phase: &PhaseWatch,
    id: &str,
    waits: Option<&[String]>,
) -> Option<Result<Pending>> {
    again_and_again(&shared.store.loss, phase, id, || shared.store.pending(id, waits)).await
}

/// Suspends an instance that cannot be read or stored, so that no host tries to again and again; or ends it, if that is what
/// a caller asks. That touches none of its pointers, waits and data. Where not even this can be stored, it stays owned: other
/// hosts may try it once this one is gone.
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
                // If it is a child, its parent waits for this.
                let (data, cause) = (Value::Null, commit.cause.clone());
                let end = ChildEnd { ending, data, cause, retryable: false };
                commit.published = vec![end.event(id)];
                commit.status = Some(WorkflowStatus::Terminated);
                (commit.ending, commit.complete_time) = (Some(ending), Some(now));
            }
            Err(error @ WfeError::Corrupt { .. }) => {
                logging::error!(
                    instance = id,
                    %error,
                    "the instance cannot be suspended; mend that row: hosts try again once this one has ended"
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

/// What it runs is not known: that stands in what cannot be read.
fn publish_corrupt(shared: &Shared, commit: &StepCommit, failure: &StepFailure) {
    let end = match commit.ending {
        Some(ending) => Lifecycle::Terminated { ending },
        None => Lifecycle::Suspended,
    };
    for what in [Lifecycle::Error(Box::new(failure.clone())), end] {
        shared.publish(LifecycleEvent {
            instance_id: commit.instance_id.as_str().into(),
            definition_id: "".into(),
            version: 0,
            time: failure.error.error_time,
            what,
        });
    }
}

/// Reads items of a for-each, again and again if the store fails; `None`: the host closes. An error is one of a stored
/// value that does not decode.
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

pub(in crate::engine) fn report(loss: &Loss, instance: &str, error: &WfeError) {
    match error {
        // The host ends, and reports it.
        _ if loss.has_come() => logging::debug!(instance, %error, "the store is lost"),
        // Passes by itself, and soon.
        WfeError::Busy { .. } | WfeError::LockFailed(_) => {
            logging::debug!(instance, %error, "the store is asked again");
        }
        // The host ends, and reports it.
        WfeError::Unusable { .. } => {}
        // Passes once an operator makes room: it has to be logged.
        WfeError::Full { .. } => logging::warn!(instance, %error, "the store is full; it is asked again"),
        _ => logging::error!(instance, %error, "the store failed; it is asked again"),
    }
}

/// Growing pauses between calls of a store that fails. Real time: a store is no faster under a virtual clock.
pub(in crate::engine) struct Pause {
    next: Duration,
    phase: PhaseWatch,
}

impl Pause {
    pub fn new(phase: PhaseWatch) -> Self {
        Self { next: INITIAL_BACKOFF, phase }
    }

    /// `false`: the host closes, nothing is tried any more.
    pub async fn rest(&mut self) -> bool {
        let pause = self.next;
        self.next = (pause * 2).min(MAX_BACKOFF);
        tokio::select! {
            () = tokio::time::sleep(pause) => true,
            // An error: the dispatcher is gone.
            _ = self.phase.wait_for(|phase| *phase == Phase::Closing) => false,
        }
    }
}
