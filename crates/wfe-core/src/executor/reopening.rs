//! Retries an ended instance: makes it runnable again, from where it stood when it ended.
//!
//! The commit that ends an instance as failed or cancelled stores with each pointer what the end has cancelled
//! ([`Stopped`]). [`reopen`] turns this record into a commit. The function needs no definition, so a process that does
//! not run the workflow can retry its instances. The commit contains only pointers of the usual kinds, so a host of an
//! earlier version can continue with the instance.
//!
//! * The step that has failed begins as another execution pointer, with all its attempts and another idempotency key.
//!   It keeps the state that its body has stored, and the event that it has received.
//! * A saga that has failed, or was compensated before the end, begins another round.
//! * All other pointers that the end cancelled continue where they stood. A body that was running runs again, with the
//!   same idempotency key. A subscription is opened again, with the same name, key and effective date; the instance's
//!   position in the stream decides which event is next. An activity and a user task are opened again, with the same
//!   input. Due times stay, except the claim limit of an activity: the time in which the instance was ended does not
//!   count against it.
//! * A step that waits for a child goes on waiting. The child was requested to cancel when the parent ended. If the
//!   child completes all the same, the step receives the result. Otherwise, the step begins as another execution
//!   pointer, with another child.
//!
//! If the instance was closing (it compensated its sagas before its end, and a compensation failed), it continues
//! closing: what the closing has cancelled stays cancelled.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, de::Error as _};

use super::{
    CHILD_ENDED, ChildEnd,
    run::{
        saga::state::{self, is_false},
        subscriptions::last_subscription,
    },
};
use crate::{
    Result, RetryRefusal, WfeError,
    limits::later,
    models::{
        EventSubscription, ExecutionPointer, PointerChange, PointerStatus, StatusChange, attributes,
        pointer_id,
    },
    program::kind,
    redact,
    traits::{Ending, Loaded, OWN_NAMES, StepCommit},
};

/// Where a pointer stood when its instance ended, or began to close. Stored as an attribute of the pointer.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::executor) struct Stopped {
    /// The status of the pointer. `Failed` means that the step had failed for good. `Complete` means that all steps had
    /// ended.
    pub was: PointerStatus,
    /// The due time of the pointer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// The child workflow whose end the pointer waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child: Option<String>,
    /// Whether the pointer was stopped before the end, when the instance began to close.
    #[serde(default, skip_serializing_if = "is_false")]
    pub closing: bool,
    /// On a saga that was compensated because the instance closed: whether a step of it was compensated.
    #[serde(default, skip_serializing_if = "is_false")]
    pub compensated: bool,
}

impl Stopped {
    /// The record of a step that has failed for good.
    pub fn failed() -> Self {
        Self { was: PointerStatus::Failed, until: None, child: None, closing: false, compensated: false }
    }

    fn of(instance: &str, pointer: &ExecutionPointer) -> Result<Option<Self>> {
        let Some(stored) = pointer.attribute(attributes::STOPPED) else { return Ok(None) };
        Self::deserialize(stored).map(Some).map_err(|source| corrupt(instance, pointer, source))
    }
}

fn corrupt(instance: &str, pointer: &ExecutionPointer, source: serde_json::Error) -> WfeError {
    WfeError::Corrupt {
        table: "execution_pointers",
        column: "extension_attributes",
        row: format!("{} of {instance}", pointer.id),
        message: "the record of where the step stood, or of its time limits, does not decode".to_owned(),
        source: Some(Box::new(redact(source))),
    }
}

/// The stored data that [`reopen`] needs in addition to the instance.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// The closed subscriptions by their ids. If one is missing, its step opens another subscription when it is
    /// entered.
    pub waits: HashMap<String, EventSubscription>,
    /// The children by their ids, as they are stored now. A missing child counts as deleted.
    pub children: HashMap<String, Loaded>,
}

impl Surroundings {
    /// The ids of the subscriptions and the children that [`reopen`] needs for this instance.
    ///
    /// # Errors
    /// The errors of [`reopen`].
    pub fn wanted(loaded: &Loaded) -> Result<(Vec<String>, Vec<String>)> {
        let (mut waits, mut children) = (Vec::new(), Vec::new());
        for (pointer, stopped) in stopped(loaded)? {
            if stopped.was == PointerStatus::WaitingForEvent {
                waits.extend(last_subscription(&loaded.instance.id, pointer));
                children.extend(stopped.child);
            }
        }
        Ok((waits, children))
    }
}

/// Builds the commit that makes an ended instance runnable again, for
/// [`StepStore::reopen`](crate::traits::StepStore::reopen). The failed step begins as another execution pointer, and
/// everything else that the end has cancelled continues from where it stood ([the executor](super) has the rules).
/// [`Intervention`](crate::traits::Intervention) is the counterpart for suspended instances.
///
/// # Errors
/// * [`CannotRetry`](WfeError::CannotRetry): the instance has not ended, completed, was terminated or restarted, or has
///   compensated steps when it was cancelled; or it belongs to the engine; or the store does not know where it stood.
/// * [`Corrupt`](WfeError::Corrupt): the record of where a step stood, or of its time limits, does not decode.
pub fn reopen(loaded: &Loaded, surroundings: &Surroundings, now: DateTime<Utc>) -> Result<StepCommit> {
    let instance = &loaded.instance;
    let stopped = stopped(loaded)?;
    let mut reopening = Reopening {
        loaded,
        surroundings,
        now,
        ids: instance.execution_pointers.iter().map(|pointer| pointer.id.as_str().to_owned()).collect(),
        commit: StepCommit {
            instance_id: instance.id.clone(),
            status: Some(instance.status.after(StatusChange::Reopen)?),
            next_execution: Some(Some(now.timestamp_millis())),
            release: true,
            ..StepCommit::default()
        },
    };
    let mut later = Vec::new();
    for (pointer, stopped) in stopped {
        if stopped.closing {
            later.push((pointer, stopped));
        } else {
            reopening.add(pointer, stopped)?;
        }
    }
    if state::closing(&reopening.commit.upserted).is_none() {
        for (pointer, stopped) in later {
            reopening.add(pointer, stopped)?;
        }
    }
    let mut commit = reopening.commit;
    if let Some(first) = commit.upserted.first_mut() {
        first.set(attributes::RETRIED, true);
    }
    Ok(commit)
}

/// The pointers of an instance that can be retried, each with its record.
fn stopped(loaded: &Loaded) -> Result<Vec<(&ExecutionPointer, Stopped)>> {
    let instance = &loaded.instance;
    let refused = |reason| Err(WfeError::CannotRetry { id: instance.id.clone(), reason });
    if !instance.status.is_final() {
        return refused(RetryRefusal::NotEnded);
    }
    if instance.workflow_definition_id.starts_with(OWN_NAMES) {
        return refused(RetryRefusal::Engine);
    }
    if let Some(id) = &loaded.restarted_as {
        return refused(RetryRefusal::Restarted { id: id.clone() });
    }
    match loaded.ending {
        Some(Ending::Completed) => return refused(RetryRefusal::Completed),
        Some(Ending::Terminated) => return refused(RetryRefusal::Terminated),
        None => return refused(RetryRefusal::NotRecorded),
        Some(Ending::Failed | Ending::Cancelled) => {}
    }
    let mut found = Vec::new();
    for pointer in &instance.execution_pointers {
        found.extend(Stopped::of(&instance.id, pointer)?.map(|stopped| (pointer, stopped)));
    }
    if found.is_empty() {
        return refused(RetryRefusal::NotRecorded);
    }
    let is_compensated = found.iter().any(|(_, stopped)| stopped.compensated);
    if loaded.ending == Some(Ending::Cancelled) && is_compensated {
        return refused(RetryRefusal::Compensated);
    }
    Ok(found)
}

struct Reopening<'a> {
    loaded: &'a Loaded,
    surroundings: &'a Surroundings,
    now: DateTime<Utc>,
    /// The ids of all pointers, with those of the new pointers.
    ids: HashSet<String>,
    commit: StepCommit,
}

impl Reopening<'_> {
    fn add(&mut self, pointer: &ExecutionPointer, stopped: Stopped) -> Result<()> {
        let mut pointer = pointer.clone();
        pointer.unset(attributes::STOPPED);
        let is_saga = pointer.text(attributes::KIND) == Some(kind::SAGA);
        if stopped.was == PointerStatus::Failed && !is_saga {
            self.begin_again(pointer);
            return Ok(());
        }
        if stopped.was == PointerStatus::Complete {
            // All steps had ended, so the instance completes when it is opened.
            self.commit.upserted.push(pointer);
            return Ok(());
        }
        let before = pointer.clone();
        pointer.status = pointer.status.after(PointerChange::Reopen)?;
        (pointer.active, pointer.end_time) = (true, None);
        pointer.sleep_until = stopped.until;
        match stopped.was {
            PointerStatus::Pending => {}
            PointerStatus::Running => pointer.status = pointer.status.after(PointerChange::Run)?,
            PointerStatus::Sleeping => {
                pointer.status = pointer.status.after(PointerChange::Sleep)?;
                pointer.sleep_until.get_or_insert(self.now);
            }
            PointerStatus::WaitingForEvent => return self.wait_again(pointer, before, stopped.child),
            // The saga begins another round, with all its attempts. Like another execution of a step, the round is
            // compensated for itself, even if it does not complete.
            PointerStatus::Failed => {
                pointer.outcome = None;
                pointer.unset(attributes::LOGGED);
                if pointer.retry_count > 0 {
                    pointer.set(attributes::FORGIVEN, pointer.retry_count);
                }
            }
            other => {
                let source = serde_json::Error::custom(format!("no live step has the status {other}"));
                return Err(corrupt(&self.loaded.instance.id, &before, source));
            }
        }
        self.commit.upserted.push(pointer);
        Ok(())
    }

    /// Begins the step as another execution pointer, and moves this pointer to the history.
    fn begin_again(&mut self, finished: ExecutionPointer) {
        let first = pointer_id::in_sequence_of(&finished.id, pointer_id::step(&finished.id));
        let mut number = pointer_id::execution_number(&finished.id) + 1;
        let mut id = pointer_id::execution(&first, number);
        while self.ids.contains(&id) {
            number += 1;
            id = pointer_id::execution(&first, number);
        }
        self.ids.insert(id.clone());
        let mut pointer = ExecutionPointer {
            id,
            step_name: finished.step_name.clone(),
            scope: finished.scope.clone(),
            context_item: finished.context_item.clone(),
            predecessor_id: Some(finished.id.clone()),
            persistence_data: finished.persistence_data.clone(),
            // Its instance receives each event only once, so the step keeps the event that it has received.
            event_name: finished.event_name.clone(),
            event_key: finished.event_key.clone(),
            event_published: finished.event_published,
            event_data: finished.event_data.clone(),
            ..ExecutionPointer::new(finished.step_id)
        };
        // A side branch has already continued after its step, so the new pointer must not do this again.
        let is_forked = finished.has(attributes::FORKED);
        let forked: &[&str] = if is_forked { &[attributes::FORKED, attributes::LAST] } else { &[] };
        let kept = [
            attributes::KIND,
            attributes::INDEX,
            attributes::COMPENSATES,
            attributes::FAILURE,
            attributes::GIVEN,
        ];
        for name in kept.iter().chain(forked) {
            if let Some(value) = finished.attribute(name) {
                pointer.set(name, value.clone());
            }
        }
        self.commit.finished.push(finished);
        self.commit.upserted.push(pointer);
    }

    /// Makes the pointer wait again. `before` is the pointer before any change.
    fn wait_again(
        &mut self,
        mut pointer: ExecutionPointer,
        before: ExecutionPointer,
        child: Option<String>,
    ) -> Result<()> {
        let instance = &self.loaded.instance;
        let closed = last_subscription(&instance.id, &pointer)
            .and_then(|wait| self.surroundings.waits.get(&wait).map(|closed| (wait, closed)));
        if let Some(child) = child {
            let is_awaited_by_saga = pointer.has(attributes::CHILD_CANCELLED);
            let stored = self.surroundings.children.get(&child);
            let has_ended = stored.is_none_or(|child| child.instance.status.is_final());
            let ended = stored.and_then(|child| Some((child, child.ending?)));
            let is_completed = ended.is_some_and(|(_, ending)| ending == Ending::Completed);
            if has_ended && !is_completed && !is_awaited_by_saga {
                self.begin_again(before);
                return Ok(());
            }
            if has_ended && ended.is_none() {
                // No event will come. The saga continues as soon as the pointer is entered.
                pointer.sleep_until = None;
                self.commit.upserted.push(pointer);
                return Ok(());
            }
            if let Some((stored, ending)) = ended {
                // The event exists, unless processed events were deleted. An existing one is kept.
                let (data, cause) = (stored.instance.data.clone(), stored.cause.clone());
                let end = ChildEnd { ending, data, cause, retryable: false };
                self.commit.published.push(end.event(&child));
            }
            if !is_awaited_by_saga {
                pointer.set(attributes::CHILD_STOPPED, true);
            }
            pointer.set(attributes::CHILD, child);
        } else if closed.is_none() {
            pointer.sleep_until = None;
            self.commit.upserted.push(pointer);
            return Ok(());
        }
        self.delay_claim_limit(&mut pointer)?;
        self.subscribe(&mut pointer, closed.map(|(id, wait)| (id, wait.clone())))?;
        self.commit.upserted.push(pointer);
        Ok(())
    }

    /// Moves the claim limit of an activity by the time in which the instance was ended, because no worker could claim
    /// the activity then. The other time limit stays.
    fn delay_claim_limit(&self, pointer: &mut ExecutionPointer) -> Result<()> {
        let time = |name| {
            let stored = pointer.attribute(name).map(DateTime::<Utc>::deserialize).transpose();
            stored.map_err(|source| corrupt(&self.loaded.instance.id, pointer, source))
        };
        let (claim_by, limit) = (time(attributes::CLAIM_BY)?, time(attributes::LIMIT)?);
        let Some(claim_by) = claim_by else { return Ok(()) };
        let ended = self.loaded.instance.complete_time.unwrap_or(self.now);
        // A negative time means that the clock was set back: the limit then stays.
        let claim_by = later(claim_by, (self.now - ended).to_std().unwrap_or_default());
        if let Some(limit) = limit.filter(|limit| *limit <= claim_by) {
            pointer.unset(attributes::CLAIM_BY);
            pointer.unset(attributes::LIMIT);
            pointer.sleep_until = Some(limit);
        } else {
            pointer.set(attributes::CLAIM_BY, serde_json::to_value(claim_by)?);
            pointer.sleep_until = Some(claim_by);
        }
        Ok(())
    }

    /// Opens the subscription again, under another id.
    fn subscribe(
        &mut self,
        pointer: &mut ExecutionPointer,
        closed: Option<(String, EventSubscription)>,
    ) -> Result<()> {
        let instance = &self.loaded.instance;
        let count = pointer.number(attributes::SUBSCRIPTIONS).unwrap_or(0) + 1;
        let id = pointer_id::subscription(&instance.id, &pointer.id, count);
        pointer.set(attributes::SUBSCRIPTIONS, count);
        pointer.status = pointer.status.after(PointerChange::Wait)?;
        (pointer.event_published, pointer.event_data) = (false, None);
        let (Some(name), Some(mut key)) = (pointer.event_name.clone(), pointer.event_key.clone()) else {
            let source = serde_json::Error::custom("a step that waited has no event");
            return Err(corrupt(&instance.id, pointer, source));
        };
        let mut as_of = if name == CHILD_ENDED { DateTime::UNIX_EPOCH } else { instance.create_time };
        let mut data = None;
        if let Some((closed_id, closed)) = closed {
            // The key of an activity or a user task is the id of its subscription. No late answer reaches the new one.
            if name.starts_with(OWN_NAMES) && name != CHILD_ENDED && key == closed_id {
                key.clone_from(&id);
            }
            (as_of, data) = (closed.subscribe_as_of, closed.subscription_data);
        }
        pointer.event_key = Some(key.clone());
        self.commit.subscribed.push(EventSubscription {
            id,
            subscription_data: data,
            ..EventSubscription::new(&instance.id, pointer.step_id, &pointer.id, name, key, as_of)
        });
        Ok(())
    }
}
