//! Pending work: the pointers to enter, and the changes that the next commit stores.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    mem::take,
    sync::Arc,
};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::{
    executor::{ItemRequest, LifecycleEvent},
    models::{EventSubscription, ExecutionPointer, WorkflowInstance, WorkflowStatus},
    traits::{Consumed, Control, Items, Loaded, StepCommit, StepFailure},
};

/// The maximum number of pointers that are entered before a commit. It is large enough to begin a thousand parallel
/// branches at once. If a loop never runs a body, the instance is stored each time this number of pointers has been
/// entered.
const ENTRIES_PER_COMMIT: usize = 1024;

/// The changes that a `Run` has not stored yet, except the changes of its pointers and its data.
#[derive(Default)]
pub(in crate::executor) struct Pending {
    /// The pointers to enter, in this order.
    queue: VecDeque<String>,
    entries: Entries,
    requests: Vec<ItemRequest>,
    events: Vec<LifecycleEvent>,
    /// The due time that the store has now.
    stored_execution: Option<i64>,
    delta: Delta,
}

/// The number of pointers to enter before the next commit.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Entries {
    /// Up to `ENTRIES_PER_COMMIT` pointers.
    #[default]
    Many,
    /// No pointer. After a refused commit, the finished work is stored first.
    None,
    /// One pointer. If the next commit is refused too, this shows which step is at fault.
    One,
}

/// The changes that the next commit stores.
#[derive(Default)]
pub(super) struct Delta {
    status: Option<WorkflowStatus>,
    complete_time: Option<DateTime<Utc>>,
    pub next_execution: Option<i64>,
    data: bool,
    /// The new attributes of the instance, if they have changed.
    attributes: Option<Arc<Map<String, Value>>>,
    finished: Vec<ExecutionPointer>,
    items: Vec<Items>,
    pub subscribed: Vec<EventSubscription>,
    dated: Vec<String>,
    unsubscribed: Vec<String>,
    pub unanswerable: Vec<String>,
    pub unanswerable_unless_claimed: Vec<String>,
    pub consumed: Vec<Consumed>,
    /// The streams of the consumed events. The map leads from each event name to the keys of the events with this name.
    pub streams: HashMap<String, HashSet<String>>,
    pub created: Vec<WorkflowInstance>,
    pub requested: Vec<(String, Control)>,
    /// Whether the store may have undelivered events for one or more of the open subscriptions.
    pub listen: bool,
    failures: Vec<StepFailure>,
    applied: Option<u64>,
    pub release: bool,
}

/// The queue of pointers to enter.
impl Pending {
    /// `stored_execution` is the due time that the store has now.
    pub fn new(stored_execution: Option<i64>) -> Self {
        Self { stored_execution, ..Self::default() }
    }

    /// Adds the pointer at the end of the queue.
    pub fn enqueue(&mut self, pointer: String) {
        self.queue.push_back(pointer);
    }

    pub fn next_in_queue(&mut self) -> Option<String> {
        self.queue.pop_front()
    }

    pub fn has_queue(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Removes the pointer from the queue.
    pub fn remove_from_queue(&mut self, pointer: &str) {
        self.queue.retain(|id| id != pointer);
    }

    /// The maximum number of pointers to enter before the next commit.
    pub fn entry_limit(&self) -> usize {
        match self.entries {
            Entries::Many => ENTRIES_PER_COMMIT,
            Entries::None => 0,
            Entries::One => 1,
        }
    }

    /// Whether only one pointer is entered before each commit, because an earlier commit was refused.
    pub fn enters_one(&self) -> bool {
        self.entries == Entries::One
    }

    /// Reacts to a refused commit. No pointer is entered before the next commit, and one pointer is entered before each
    /// later commit.
    pub fn enter_one_by_one(&mut self) {
        self.entries = Entries::None;
    }
}

/// Requests for items, and lifecycle events.
impl Pending {
    pub fn request_items(&mut self, container: String, from: u64, limit: usize) {
        self.requests.push(ItemRequest { container, from, limit });
    }

    pub fn has_requests(&self) -> bool {
        !self.requests.is_empty()
    }

    pub fn retain_requests(&mut self, keep: impl FnMut(&ItemRequest) -> bool) {
        self.requests.retain(keep);
    }

    pub fn take_requests(&mut self) -> Vec<ItemRequest> {
        take(&mut self.requests)
    }

    /// Publishes the event after the next commit.
    pub fn publish(&mut self, event: LifecycleEvent) {
        self.events.push(event);
    }

    pub fn take_events(&mut self) -> Vec<LifecycleEvent> {
        take(&mut self.events)
    }

    /// Clears the queue and the requests for items.
    pub fn stop(&mut self) {
        self.queue.clear();
        self.requests.clear();
    }
}

/// The changes to store.
impl Pending {
    pub fn set_status(&mut self, status: WorkflowStatus) {
        self.delta.status = Some(status);
    }

    pub fn set_complete_time(&mut self, time: DateTime<Utc>) {
        self.delta.complete_time = Some(time);
    }

    pub fn data_changed(&mut self) {
        self.delta.data = true;
    }

    /// Sets the attributes that the next commit stores, or `None` if it stores none. Returns what it would have stored.
    pub fn set_attributes(
        &mut self,
        attributes: Option<Arc<Map<String, Value>>>,
    ) -> Option<Arc<Map<String, Value>>> {
        std::mem::replace(&mut self.delta.attributes, attributes)
    }

    /// Moves the pointer to the history.
    pub fn finish(&mut self, pointer: ExecutionPointer) {
        self.delta.finished.push(pointer);
    }

    /// Returns the pointer with this id from the pointers that the next commit moves to the history. If there are
    /// several, returns the last one.
    pub fn finished(&self, pointer: &str) -> Option<&ExecutionPointer> {
        self.delta.finished.iter().rev().find(|finished| finished.id == pointer)
    }

    pub fn store_items(&mut self, container: String, values: Vec<serde_json::Value>) {
        self.delta.items.push(Items { container, values });
    }

    /// Opens the subscription. `is_dated` means that the program set the effective date, and that it equals the
    /// creation time of the instance.
    pub fn subscribe(&mut self, subscription: EventSubscription, is_dated: bool) {
        if is_dated {
            self.delta.dated.push(subscription.id.clone());
        }
        self.delta.subscribed.push(subscription);
    }

    /// The pointers whose subscriptions the next commit opens.
    pub fn subscribers(&self) -> Vec<String> {
        self.delta.subscribed.iter().map(|wait| wait.execution_pointer_id.clone()).collect()
    }

    /// Whether the subscription is not stored yet.
    pub fn is_new_wait(&self, id: &str) -> bool {
        self.delta.subscribed.iter().any(|wait| wait.id == id)
    }

    /// Closes the subscription. If the subscription is not stored yet, it is removed from the next commit.
    pub fn unsubscribe(&mut self, id: String) {
        let before = self.delta.subscribed.len();
        self.delta.subscribed.retain(|wait| wait.id != id);
        self.delta.dated.retain(|dated| *dated != id);
        if self.delta.subscribed.len() == before {
            self.delta.unsubscribed.push(id);
        }
    }

    /// Makes the store refuse further answers for this subscription.
    pub fn accept_no_answer(&mut self, id: String) {
        if !self.delta.unanswerable.contains(&id) {
            self.delta.unanswerable.push(id);
        }
    }

    /// Makes the store refuse further claims and answers for this subscription, unless a worker has claimed it.
    pub fn accept_no_answer_unless_claimed(&mut self, id: String) {
        if !self.delta.unanswerable_unless_claimed.contains(&id) {
            self.delta.unanswerable_unless_claimed.push(id);
        }
    }

    /// Notes that the subscription has consumed an event of this stream.
    pub fn consume(&mut self, consumed: Consumed, name: String, key: String) {
        self.delta.streams.entry(name).or_default().insert(key);
        self.delta.consumed.push(consumed);
    }

    /// Whether a subscription has consumed this event.
    pub fn is_consumed(&self, event: &str) -> bool {
        self.delta.consumed.iter().any(|consumed| consumed.event_id == event)
    }

    pub fn create_child(&mut self, child: WorkflowInstance) {
        self.delta.created.push(child);
    }

    /// Whether the child is not stored yet.
    pub fn is_new_child(&self, child: &str) -> bool {
        self.delta.created.iter().any(|new| new.id == child)
    }

    /// Requests the end of a child. If the child is not stored yet, it is removed from the next commit, and never
    /// starts.
    pub fn end_child(&mut self, child: String, control: Control) {
        if self.is_new_child(&child) {
            self.delta.created.retain(|new| new.id != child);
        } else {
            self.delta.requested.push((child, control));
        }
    }

    pub fn record_failure(&mut self, failure: StepFailure) {
        self.delta.failures.push(failure);
    }

    /// Notes that the control request with this number has taken effect.
    pub fn applied(&mut self, request: u64) {
        self.delta.applied = Some(request);
    }

    /// Notes that the store may have undelivered events for one or more of the open subscriptions.
    pub fn listen(&mut self) {
        self.delta.listen = true;
    }

    /// Sets whether the commit releases the ownership of the instance.
    pub fn set_release(&mut self, release: bool) {
        self.delta.release = release;
    }

    pub fn releases(&self) -> bool {
        self.delta.release
    }

    pub fn set_next_execution(&mut self, at: Option<i64>) {
        self.delta.next_execution = at;
    }

    pub fn stored_execution(&self) -> Option<i64> {
        self.stored_execution
    }
}

/// The commit.
impl Pending {
    /// Whether there is nothing to store.
    pub fn is_empty(&self) -> bool {
        let delta = &self.delta;
        delta.finished.is_empty()
            && delta.items.is_empty()
            && delta.subscribed.is_empty()
            && delta.unsubscribed.is_empty()
            && delta.unanswerable.is_empty()
            && delta.unanswerable_unless_claimed.is_empty()
            && delta.consumed.is_empty()
            && delta.created.is_empty()
            && delta.requested.is_empty()
            && delta.failures.is_empty()
            && delta.status.is_none()
            && delta.applied.is_none()
            && !self.reschedules()
            && !delta.data
            && delta.attributes.is_none()
            && !delta.release
    }

    fn reschedules(&self) -> bool {
        self.delta.next_execution != self.stored_execution
    }

    /// Whether the commit stores changed data.
    pub fn has_data(&self) -> bool {
        self.delta.data
    }

    pub fn status(&self) -> Option<WorkflowStatus> {
        self.delta.status
    }

    /// Whether the commit ends the instance.
    pub fn is_end(&self) -> bool {
        self.delta.status.is_some_and(WorkflowStatus::is_final)
    }

    /// Moves the changes into a commit, until it is returned. The data and the changed pointers are not part of it.
    pub fn take_commit(&mut self) -> StepCommit {
        let next_execution = self.reschedules().then_some(self.delta.next_execution);
        let delta = &mut self.delta;
        StepCommit {
            status: delta.status,
            complete_time: delta.complete_time,
            next_execution,
            attributes: delta.attributes.as_deref().cloned(),
            finished: take(&mut delta.finished),
            items: take(&mut delta.items),
            subscribed: take(&mut delta.subscribed),
            dated: take(&mut delta.dated),
            unsubscribed: take(&mut delta.unsubscribed),
            unanswerable: take(&mut delta.unanswerable),
            unanswerable_unless_claimed: take(&mut delta.unanswerable_unless_claimed),
            consumed: take(&mut delta.consumed),
            created: take(&mut delta.created),
            requested: take(&mut delta.requested),
            failures: take(&mut delta.failures),
            applied: delta.applied,
            release: delta.release,
            ..StepCommit::default()
        }
    }

    /// Takes back the changes that [`take_commit`](Self::take_commit) has returned.
    pub fn return_commit(&mut self, commit: StepCommit) {
        let delta = &mut self.delta;
        delta.finished = commit.finished;
        delta.items = commit.items;
        delta.subscribed = commit.subscribed;
        delta.dated = commit.dated;
        delta.unsubscribed = commit.unsubscribed;
        delta.unanswerable = commit.unanswerable;
        delta.unanswerable_unless_claimed = commit.unanswerable_unless_claimed;
        delta.consumed = commit.consumed;
        delta.created = commit.created;
        delta.requested = commit.requested;
        delta.failures = commit.failures;
    }

    /// Notes that the commit is stored, and returns the stored changes.
    pub fn stored(&mut self) -> Delta {
        // Once all pointers of a refused commit have been entered again, many pointers may be entered before a commit.
        self.entries = match self.entries {
            Entries::None | Entries::One if self.has_queue() => Entries::One,
            _ => Entries::Many,
        };
        let delta = take(&mut self.delta);
        self.stored_execution = delta.next_execution;
        delta
    }

    /// Whether the loaded instance contains these changes. A loaded instance does not show which subscriptions refuse
    /// answers, so this is not compared.
    pub fn is_seen_in(&self, loaded: &Loaded, is_live: impl Fn(&str) -> bool) -> bool {
        let stored = &loaded.instance;
        let delta = &self.delta;
        let is_open = |id: &str| loaded.waits.iter().any(|wait| wait.id == id);
        delta.status.is_none_or(|status| status == stored.status)
            && delta.attributes.as_deref().is_none_or(|attributes| *attributes == loaded.attributes)
            && (!self.reschedules() || delta.next_execution == stored.next_execution)
            && delta
                .applied
                .is_none_or(|number| loaded.control.as_ref().is_none_or(|request| request.number > number))
            && delta.subscribed.iter().all(|wait| is_open(&wait.id))
            && !delta.unsubscribed.iter().any(|id| is_open(id))
            && !delta.consumed.iter().any(|consumed| is_open(&consumed.subscription_id))
            && !delta.finished.iter().any(|pointer| is_live(&pointer.id))
    }

    /// Forgets which subscriptions the stored commit has made refuse answers. A later commit must store this
    /// information again.
    pub fn forget_unanswerable(&mut self) {
        self.delta.unanswerable.clear();
        self.delta.unanswerable_unless_claimed.clear();
    }
}
