use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::stream::{self, BoxStream, StreamExt};
use serde_json::{Map, Value};

use super::{
    Claimed, Committed, Control, Cursor, ErrorRecord, Expected, Fence, Finished, Host, HostCard,
    Intervention, Isolation, Known, Loaded, Owner, Page, Pending, Published, Reopened, Requested, Started,
    StepCommit, StepFailure, Swept, defaults,
};
#[cfg(doc)]
use super::{ControlState, Deaths, Delivery, EventRepository, SubscriptionRepository, WorkflowRepository};
use crate::{
    Result, WfeError,
    models::{Event, EventSubscription, WorkflowInstance},
};
#[cfg(doc)]
use crate::{
    RetryRefusal,
    WfeError::{
        AlreadyExists, AlreadyStarted, Busy, CannotRetry, CommitUnknown, Corrupt, DefinitionNotFound,
        EventNotFound, Invalid, NoEffect, OwnerLost, SubscriptionNotFound, Unstorable, Unsupported, Unusable,
        WorkflowNotFound,
    },
};

/// The prefix of event names and event ids that belong to the engine. Subscriptions to names with this prefix
/// can be listed and claimed by the name alone. Applications must not publish events with these names or ids.
pub const OWN_NAMES: &str = "wfe.";

/// The engine's interface to a store. It writes each step's whole effect in one transaction, and each instance
/// is written by one owner at a time.
///
/// Data that the models have no field for (owner, fencing token, control request, parent, ending, reference of
/// a start) is stored alongside the models. Only this trait changes this data; `persist_workflow` does not
/// change it.
///
/// Any number of owners, in one process or several, may work on one store; [`Owner`] defines when an owner
/// counts as dead or unresponsive. An event without a position is invisible to all reads (see
/// [`position_due_events`](Self::position_due_events)).
#[async_trait]
pub trait StepStore: Send + Sync {
    /// Registers a host as a possible owner.
    ///
    /// An owner can lose its sign of life while it lives, for example because its lock file is removed. The
    /// store restores the sign of life if it can, but other owners may have treated the owner as dead by then.
    /// So the store gives the owner no more instances and returns [`OwnerLost`], and the host registers another
    /// owner. The store logs the loss as an error, once for each owner; hosts do not log it again. The lost
    /// owner keeps the instances that it is working on until another owner takes them over. After the takeover
    /// of an instance, the lost owner's next commit for this instance is refused.
    async fn register(&self) -> Result<Owner>;

    /// Stores a new instance, atomically across processes.
    ///
    /// With a `reference`, the start is idempotent. If an instance was started before with the same definition
    /// id and reference, the id of that instance is returned, whatever the instance's version or status, and
    /// nothing is written. If the call names an owner, the new instance belongs to this owner from the
    /// beginning. Empty ids and names are handled as in
    /// [`create_new_workflow`](WorkflowRepository::create_new_workflow).
    ///
    /// # Errors
    /// * The errors of [`create_new_workflow`](WorkflowRepository::create_new_workflow).
    /// * [`OwnerLost`], already logged by the store: see [`register`](Self::register).
    async fn start(&self, owner: Option<&Owner>, instance: &WorkflowInstance) -> Result<Started>;

    /// Stores a new instance in the place of another one, in one transaction. The other instance, `old`, loses its
    /// name: its id becomes its name, so that `new` can have the name that `old` had. If `old` has not ended, a
    /// request to terminate it is stored too, as by [`request`](Self::request). The request replaces a pending
    /// `Cancel` as well.
    ///
    /// `new` is stored as by a [`start`](Self::start) without an owner. It may be suspended; then it begins when it
    /// is resumed. Returns its id.
    ///
    /// Returns `None` and writes nothing if `old` is no longer as the caller has read it: its revision is another
    /// one, another control request is pending or none is, or it does not exist.
    ///
    /// # Errors
    /// * The errors of [`create_new_workflow`](WorkflowRepository::create_new_workflow).
    /// * [`AlreadyExists`]: a third instance has the id of `old` as its name.
    /// * [`Invalid`]: `new` has a reference.
    /// * [`Unsupported`]: the store does not support this call. The default implementation always returns this
    ///   error.
    async fn replace(&self, _old: &Expected, _new: &WorkflowInstance) -> Result<Option<String>> {
        Err(WfeError::Unsupported("to replace an instance"))
    }

    /// Stores a new instance as [`start`](Self::start) does, but `known` decides what happens if the reference is
    /// known. The decision and the start are one transaction. If the start restarts an instance, the rules of
    /// [`restart`](Self::restart) apply, also to the name.
    ///
    /// The default implementation calls [`start`](Self::start) for [`Known::Existing`].
    ///
    /// # Errors
    /// * The errors of [`start`](Self::start).
    /// * [`AlreadyStarted`]: the reference is known, and `known` is [`Known::Refuse`].
    /// * [`Unsupported`]: the store does not support this value of `known`. The default implementation supports
    ///   only [`Known::Existing`].
    async fn start_if(
        &self,
        owner: Option<&Owner>,
        instance: &WorkflowInstance,
        known: Known,
    ) -> Result<Started> {
        match known {
            Known::Existing => self.start(owner, instance).await,
            _ => Err(WfeError::Unsupported("a start that refuses or restarts a known reference")),
        }
    }

    /// Stores a new instance as [`start_if`](Self::start_if) does, with these attributes. A start that finds a stored
    /// instance changes nothing of that instance. If the start restarts an instance, the new instance has these attributes,
    /// and not those of the other one.
    ///
    /// The default implementation calls [`start_if`](Self::start_if) if there are no attributes.
    ///
    /// # Errors
    /// * The errors of [`start_if`](Self::start_if).
    /// * [`Invalid`] and [`Unstorable`]: see [`check_attributes`](crate::limits::check_attributes).
    /// * [`Unsupported`]: the store does not keep attributes. The default implementation keeps none.
    async fn start_with(
        &self,
        owner: Option<&Owner>,
        instance: &WorkflowInstance,
        known: Known,
        attributes: &Map<String, Value>,
    ) -> Result<Started> {
        if attributes.is_empty() {
            return self.start_if(owner, instance, known).await;
        }
        Err(WfeError::Unsupported("attributes of an instance"))
    }

    /// Stores a new instance that replaces the ended instance `of`, in one transaction. The two instances are
    /// linked: [`Loaded::restart_of`] and [`Loaded::restarted_as`].
    ///
    /// If a start with a reference created the instance `of`, the reference now belongs to the new instance:
    /// later starts with this reference, and [`find`](Self::find), give the new instance. Both instances keep
    /// the reference in their [`reference`](WorkflowInstance::reference). The reference in `instance` is
    /// ignored: the new instance gets the reference of the instance `of`. The new instance has no parent, even
    /// if the instance `of` was a child. It has the [attributes](Loaded::attributes) of the instance `of`.
    ///
    /// If `instance` has the name of the instance `of`, the name now belongs to the new instance, and the id of the
    /// instance `of` becomes its name. Otherwise, the instance `of` keeps its name.
    ///
    /// # Errors
    /// * [`WorkflowNotFound`]: no instance has the id `of`.
    /// * [`AlreadyExists`]: a third instance has the name of `instance`; or the instance `of` would give up its name,
    ///   and a third instance has its id as its name.
    /// * [`CannotRetry`]: the instance `of` has not ended, or was restarted before. If two callers restart an
    ///   instance at the same time, one of them gets this error.
    /// * The errors of [`start`](Self::start).
    /// * [`Unsupported`]: the store does not support this call. The default implementation always returns this
    ///   error.
    async fn restart(
        &self,
        _owner: Option<&Owner>,
        _of: &str,
        _instance: &WorkflowInstance,
    ) -> Result<Started> {
        Err(WfeError::Unsupported("to restart an instance"))
    }

    /// The id of the instance to which the reference belongs: the instance that was started with this
    /// definition id and reference, or the newest restart of it. `None` means that there is no such instance.
    ///
    /// # Errors
    /// [`Unsupported`]: the store does not support this call. The default implementation always returns this
    /// error.
    async fn find(&self, _definition: &str, _reference: &str) -> Result<Option<String>> {
        Err(WfeError::Unsupported("to find an instance by its reference"))
    }

    /// Makes an ended instance runnable again, in one transaction. The call stores the commit `step`, which the
    /// [executor](crate::executor::reopen) made from the instance at the revision `revision`. The call needs no
    /// fencing token, because an ended instance has no owner.
    ///
    /// In addition, the call clears the instance's ending, cause and completion time, releases the instance,
    /// discards a control request from before the end, and stores `at` as [`Loaded::retried`]. If the instance
    /// is a child, the call withdraws the event that reports its end to the parent
    /// ([`CHILD_ENDED`](crate::executor::CHILD_ENDED)), so that the parent goes on waiting.
    ///
    /// Nothing is written, and the result says why, if one of these conditions holds in the transaction:
    ///
    /// * The instance is no longer at this revision ([`Changed`](RetryRefusal::Changed)), or has not ended.
    /// * The instance was restarted.
    /// * The instance is a child whose parent exists, but has no open subscription to the child's end.
    ///
    /// # Errors
    /// * [`WorkflowNotFound`]: no instance has this id.
    /// * [`Unsupported`]: the store does not support this call. The default implementation always returns this
    ///   error.
    /// * The errors of [`commit_step`](Self::commit_step).
    async fn reopen(&self, _revision: u64, _at: DateTime<Utc>, _step: &StepCommit) -> Result<Reopened> {
        Err(WfeError::Unsupported("to retry an ended instance"))
    }

    /// Stores a step's whole effect in one transaction, or nothing; see [`Committed`].
    ///
    /// If a control request is pending that the commit does not name, nothing is written and the request is
    /// returned instead. A pending request that is newer than the request that the commit names is returned in
    /// the same way.
    ///
    /// # Errors
    /// * [`Unstorable`]: a value cannot be stored exactly. The engine stays within [`limits`](crate::limits).
    ///   If a store with narrower limits refuses a commit, the engine begins the waits of this commit again,
    ///   one by one, so that the step at fault fails. If the store still refuses, the engine suspends the
    ///   instance, and the steps that finished since the last commit run again after a resume.
    /// * [`AlreadyExists`]: the id of a new subscription is taken; or the id of a published event is taken by
    ///   an event with another name or key; or the id of a child is taken by an instance that is not a child of
    ///   this instance or runs another definition.
    /// * [`SubscriptionNotFound`]: a consumed subscription is unknown or closed, or belongs to another
    ///   instance.
    /// * [`EventNotFound`]: a consumed event is unknown or not due, belongs to another stream, or was delivered
    ///   before.
    /// * [`Corrupt`]: a stored row of the instance prevents this write or contradicts it. Nothing was written.
    ///   A store must return this error only for a row that belongs to this instance alone. After this error,
    ///   the engine suspends the instance with a commit that changes no pointers, subscriptions or data. The
    ///   conformance suite does not test this error: a store that can hold corrupt rows must have its own test.
    /// * [`CommitUnknown`]: the outcome of the commit is unknown. Keep the step's result, [`load`](Self::load)
    ///   the instance, and compare the two.
    async fn commit_step(&self, fence: Fence, step: &StepCommit) -> Result<Committed>;

    /// Claims up to `limit` unowned instances of these definitions (id and version) that have something to do:
    /// they are due, a control request is pending, or an open subscription matches a stored, due event.
    ///
    /// An instance of a dead or unresponsive owner counts as unowned, and as due if it was running. Suspended
    /// and ended instances are claimed only for their control requests. The call first assigns positions to due
    /// events, as [`position_due_events`](Self::position_due_events) does. If there are no instances to claim,
    /// the call writes nothing else.
    ///
    /// After a dropped future or [`CommitUnknown`], `owner` may own instances that its host is not aware of.
    /// Other owners can claim these instances once `owner` is dropped.
    ///
    /// # Errors
    /// [`OwnerLost`], already logged by the store: see [`register`](Self::register).
    async fn claim(
        &self,
        owner: &Owner,
        definitions: &[(String, u32)],
        as_at: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<Claimed>>;

    /// Claims one instance by its id. `None` means that the instance is unknown, that another owner has it, or
    /// that it has nothing to do. Only [`claim`](Self::claim) checks whether an owner is unresponsive.
    ///
    /// # Errors
    /// * [`DefinitionNotFound`]: the instance could be acquired, but runs none of these definitions. The error
    ///   names the definition that the instance runs. Nothing was written.
    /// * [`OwnerLost`], already logged by the store: see [`register`](Self::register).
    async fn acquire(
        &self,
        owner: &Owner,
        definitions: &[(String, u32)],
        id: &str,
        as_at: DateTime<Utc>,
    ) -> Result<Option<Claimed>>;

    /// Claims instances as [`claim`](Self::claim) does, and loads each of them as its owner.
    ///
    /// An instance that cannot be loaded is claimed all the same, and is returned with the error of its load;
    /// the other instances are not affected. The default implementation calls [`claim`](Self::claim), then
    /// [`load_many`](Self::load_many).
    ///
    /// # Errors
    /// The same errors as [`claim`](Self::claim).
    async fn claim_loaded(
        &self,
        owner: &Owner,
        definitions: &[(String, u32)],
        as_at: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<(Claimed, Result<Loaded>)>> {
        Ok(defaults::load_claimed(self, self.claim(owner, definitions, as_at, limit).await?).await)
    }

    /// Claims one instance as [`acquire`](Self::acquire) does, and loads it as its owner.
    ///
    /// An instance that cannot be loaded is claimed all the same, and is returned with the error of its load.
    /// The default implementation calls [`acquire`](Self::acquire), then [`load`](Self::load).
    ///
    /// # Errors
    /// The same errors as [`acquire`](Self::acquire).
    async fn acquire_loaded(
        &self,
        owner: &Owner,
        definitions: &[(String, u32)],
        id: &str,
        as_at: DateTime<Utc>,
    ) -> Result<Option<(Claimed, Result<Loaded>)>> {
        let Some(claimed) = self.acquire(owner, definitions, id, as_at).await? else { return Ok(None) };
        let loaded = self.load(id).await;
        Ok(Some((claimed, loaded)))
    }

    /// One consistent snapshot of everything that the engine needs to know about an instance.
    ///
    /// # Errors
    /// * [`WorkflowNotFound`]: no instance has this id.
    /// * [`Corrupt`]: a stored value does not decode; or the instance has not ended, but has lost all its live
    ///   pointers, so that it would begin anew; or an open subscription can never receive its event, because
    ///   the subscription's accepted answer, or the child for whose end the subscription waits, is not stored.
    async fn load(&self, id: &str) -> Result<Loaded>;

    /// Like [`load`](Self::load), but called for the program instead of the engine. A store with a bounded
    /// queue for the program's calls lets this call wait for a permit. The default implementation calls
    /// [`load`](Self::load).
    ///
    /// # Errors
    /// The same errors as [`load`](Self::load), and [`Busy`] if the call got no permit in time.
    async fn inspect(&self, id: &str) -> Result<Loaded> {
        self.load(id).await
    }

    /// The data that other writers have stored for an instance: its fencing token, control request and
    /// deliveries. The owner calls this method while it already works on the instance. The method reads less
    /// than a [`load`](Self::load), which reads all pointers and subscriptions.
    ///
    /// The result contains the deliveries to the subscriptions whose ids are in `waits`, or to all open
    /// subscriptions if `waits` is `None`. The default implementation takes the data from a
    /// [`load`](Self::load).
    ///
    /// # Errors
    /// The same errors as [`load`](Self::load).
    async fn pending(&self, id: &str, waits: Option<&[String]>) -> Result<Pending> {
        Ok(self.load(id).await?.into_pending(waits))
    }

    /// Loads several instances, and returns each instance with its id, in any order. Unknown ids are left out.
    ///
    /// Each instance is one consistent snapshot, and an instance that is [`Corrupt`] does not affect the
    /// others. The method is for stores that can read many instances for little more than the cost of one. The
    /// default implementation calls [`load`](Self::load) for each instance, one after the other.
    async fn load_many(&self, ids: &[String]) -> Result<Vec<(String, Result<Loaded>)>> {
        defaults::load_many(self, ids).await
    }

    /// Checks why these subscriptions are not open although pointers of the instance `id` wait for them. `Ok`
    /// means that each of them was, or may have been, closed by
    /// [`terminate_subscription`](SubscriptionRepository::terminate_subscription); then the instance opens new
    /// subscriptions instead. The default implementation returns `Ok`: it is for stores that cannot tell why a
    /// subscription is closed.
    ///
    /// # Errors
    /// [`Corrupt`]: the row of one of the subscriptions is missing, belongs to another instance, or was closed
    /// in a way that is impossible while its pointer waits for it.
    async fn check_closed_waits(&self, _id: &str, _waits: &[String]) -> Result<()> {
        Ok(())
    }

    /// Stores a control request alongside the instance, where no later write of the owner overwrites it.
    ///
    /// A newer request replaces an older one that is still pending, with two exceptions: nothing replaces
    /// `Terminate`, and only `Terminate` replaces `Cancel`. [`ControlState::decide`] has the whole rule. The
    /// decision holds in the transaction that stores the request. If it is not
    /// [`Accepted`](Requested::Accepted), nothing is written.
    ///
    /// # Errors
    /// * [`WorkflowNotFound`]: no instance has this id.
    /// * [`NoEffect`]: the request cannot have an effect.
    async fn request(&self, id: &str, control: Control) -> Result<Requested>;

    /// Stores a request to resume the instance in a particular way. This request replaces other requests, and
    /// is replaced by other requests, by the same rules as a [`Control::Resume`]. Unlike a plain resume, it
    /// does not withdraw a pending request to suspend an instance that is not suspended yet.
    ///
    /// # Errors
    /// * [`WorkflowNotFound`]: no instance has this id.
    /// * [`NoEffect`]: the request cannot have an effect.
    /// * [`Unsupported`]: the store does not support this call. The default implementation always returns this
    ///   error.
    async fn intervene(&self, _id: &str, _intervention: &Intervention) -> Result<Requested> {
        Err(WfeError::Unsupported("interventions in suspended instances"))
    }

    /// Stores an event, and tells what it met, in one transaction.
    ///
    /// The event is stored as [`create_event`](EventRepository::create_event) does if `is_dated`, and otherwise as
    /// [`create_event_now`](EventRepository::create_event_now) does. If an event with this id, name and key exists
    /// already, nothing is written, and the answer is about the stored event.
    ///
    /// If `receiver` is given, the event is meant for the instance with this id alone. A new event is stored only
    /// if this instance exists and has not ended.
    ///
    /// The waits are the open subscriptions that the event matches ([`Delivery`]). A subscription that has to take
    /// an earlier event first counts too. The store counts to [`Published::MANY`] at most, and examines a bounded
    /// number of subscriptions of the event's name and key.
    ///
    /// # Errors
    /// * [`AlreadyExists`]: an event with this id, but another name or key, exists.
    /// * [`WorkflowNotFound`]: no instance has the id `receiver`.
    /// * [`NoEffect`]: the instance `receiver` has ended, and the event is new.
    /// * [`Unstorable`]: a value cannot be stored exactly.
    /// * [`Unsupported`]: the store does not support this call. The default implementation always returns this
    ///   error. The host then stores the event through [`EventRepository`], counts the waits by a read of its own,
    ///   and does not know which events were consumed.
    async fn publish(&self, _event: &Event, _is_dated: bool, _receiver: Option<&str>) -> Result<Published> {
        Err(WfeError::Unsupported("to tell what a published event met"))
    }

    /// Marks an event as processed if no open subscription matches it; [`Delivery`] defines when a subscription
    /// matches. The check and the write are one statement, so that no subscription can open in between. Returns
    /// `false` and writes nothing if a subscription still needs the event, or if the event is not due yet.
    ///
    /// # Errors
    /// [`EventNotFound`]: no event has this id.
    async fn finish_event(&self, event_id: &str) -> Result<bool>;

    /// Marks many events as processed, as [`finish_event`](Self::finish_event) does, in one transaction. The
    /// call checks the next `limit` unprocessed events that have positions, in the order of their timestamps,
    /// and marks the events that no open subscription matches. The call begins after the event `after`, or with
    /// the first event if `after` is `None`. If there is no event to mark, the call writes nothing.
    ///
    /// If a host passes [`next`](Swept::next) to its next call, and starts over from time to time, the only
    /// events that stay unprocessed are those that subscriptions still need. The cost of a call grows with
    /// `limit` and with the number of open subscriptions to the names and keys of the checked events. The cost
    /// does not grow with the number of events that remain unprocessed.
    ///
    /// # Errors
    /// [`Unsupported`]: the store does not support this call. The default implementation always returns this
    /// error.
    async fn finish_events(&self, _after: Option<&str>, _limit: usize) -> Result<Swept> {
        Err(WfeError::Unsupported("to finish many events at once"))
    }

    /// Up to `limit` history rows of the pointers in one container, in order of completion, each with its
    /// completion number. `container` is the id of the container's pointer, or an empty string for the main
    /// path. Only rows with a number above `after` are returned.
    ///
    /// An unknown instance has no history rows. A row that does not decode is returned as [`Corrupt`] at its
    /// position, and does not affect the other rows.
    async fn finished(
        &self,
        id: &str,
        container: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Result<Finished>)>>;

    /// The items of a container from index `from` (the first item has index 0), in order. The result has at
    /// most `limit` items. If the container has items from this index on, the result has at least one item. A
    /// store may return fewer items when they are large. An unknown container has no items.
    ///
    /// # Errors
    /// [`Corrupt`]: a stored value does not decode.
    async fn items(&self, id: &str, container: &str, from: u64, limit: usize) -> Result<Vec<Value>>;

    /// At most `limit` runnable, unowned instances of these definitions whose due time is later than `after`,
    /// earliest first. Each instance is returned as a pair of its due time, in milliseconds since the Unix
    /// epoch, and its id. The engine fills its timer queue with these instances. Listing an instance does not
    /// claim it.
    async fn upcoming(
        &self,
        definitions: &[(String, u32)],
        after: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<(i64, String)>>;

    /// A page of the ids of the instances whose names begin with `prefix` and which have not ended, in the order in
    /// which the instances were stored. The prefix must begin with the engine's prefix [`OWN_NAMES`]. The cost of a
    /// call grows with the number of instances, ended or not, whose names begin with the prefix.
    ///
    /// An id that does not decode is logged and left out, so a page may be shorter than `limit` although more
    /// instances follow; the page's `next` shows whether more follow.
    ///
    /// # Errors
    /// * [`Invalid`]: the prefix does not begin with [`OWN_NAMES`].
    /// * [`Unsupported`]: the store does not support this call. The default implementation always returns this
    ///   error.
    async fn named(&self, _prefix: &str, _after: Option<Cursor>, _limit: usize) -> Result<Page<String>> {
        Err(WfeError::Unsupported("to list instances by their names"))
    }

    /// Gives a sign of life for an owner while it does long work. The default implementation does nothing, for
    /// stores whose owners have no [`lease`](Owner::lease).
    ///
    /// A heartbeat does not write to the database, so it succeeds even while another process holds the write
    /// lock.
    ///
    /// # Errors
    /// * [`OwnerLost`], already logged by the store: see [`register`](Self::register).
    /// * Any other error: the sign of life could not be given. Try again well before the lease ends.
    async fn heartbeat(&self, _owner: &Owner) -> Result<()> {
        Ok(())
    }

    /// The number of owners that are alive now, in all processes. `None` means that the store cannot tell. An owner
    /// that is unresponsive counts as alive. The default implementation returns `None`.
    ///
    /// # Errors
    /// Any error of reading the owners' signs of life.
    async fn living_owners(&self) -> Result<Option<usize>> {
        Ok(None)
    }

    /// Stores what a host says about itself, where other processes can read it ([`hosts`](Self::hosts)) as long as the
    /// owner lives. The default implementation stores nothing.
    ///
    /// The card is not written to the database, and no other process is woken.
    ///
    /// # Errors
    /// * [`OwnerLost`], already logged by the store: see [`register`](Self::register).
    /// * [`Unstorable`]: the card is longer than the store allows, which is at least 64 KiB as JSON.
    async fn describe(&self, _owner: &Owner, _card: &HostCard) -> Result<()> {
        Ok(())
    }

    /// The hosts that are registered as owners and have not ended, in any process, and the owners of instances that no
    /// living process has.
    ///
    /// If `fresh` is greater than zero, the call asks the hosts to write their cards again, and waits up to `fresh` for
    /// them; a host that hangs does not delay the call longer than that. Hosts write no cards while no process asks. The
    /// default implementation returns no hosts.
    ///
    /// # Errors
    /// Any error of reading the owners' signs of life.
    async fn hosts(&self, _fresh: Duration) -> Result<Vec<Host>> {
        Ok(Vec::new())
    }

    /// A stream that yields an item whenever a caller of [`hosts`](Self::hosts), in this process or another,
    /// wants fresh cards. A host then calls [`describe`](Self::describe). The default stream yields no items. The stream
    /// keeps no resource of the store open, and ends when the store is dropped.
    fn questions(&self) -> BoxStream<'static, ()> {
        stream::pending().boxed()
    }

    /// Records how an owned instance runs from now on, so that a crash of its process can be attributed
    /// ([`Deaths`]). The record is valid until the fencing token changes, or until the next commit. The engine
    /// calls this method before it runs a suspect. Returns `false` and writes nothing if the stored fencing
    /// token differs from `fence`, or if the instance no longer exists.
    ///
    /// The default implementation records nothing. In a store that does not count the crashes of instances that
    /// ran alone, no instance is ever suspended as poison.
    async fn isolate(&self, _id: &str, _fence: Fence, _isolation: Isolation) -> Result<bool> {
        Ok(true)
    }

    /// The instances of `owner` for which other writers have stored work: a control request is pending, or an
    /// open subscription matches a stored, due event. The default implementation returns no instances; a store
    /// with this default reports requests only at the next commit.
    async fn requested(&self, _owner: &Owner) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// The ids of the given instances that have ended or do not exist, in any order. The default implementation
    /// loads each instance.
    async fn ended(&self, ids: &[String]) -> Result<Vec<String>> {
        defaults::ended(self, ids).await
    }

    /// A page of the stored failures of one instance, oldest first. An unknown instance has no failures.
    ///
    /// A failure that does not decode is logged and left out. So a page may be shorter than `limit` although
    /// more failures follow; the page's `next` shows whether more failures follow.
    ///
    /// # Errors
    /// [`Unsupported`]: the store does not support this call. The default implementation always returns this
    /// error.
    async fn failures(&self, _id: &str, _after: Option<Cursor>, _limit: usize) -> Result<Page<ErrorRecord>> {
        Err(WfeError::Unsupported("to read the failures of an instance"))
    }

    /// The last stored failure of each of these pointers of one instance, in any order. The result has no entry
    /// for a pointer without failures, and is empty for an unknown instance.
    ///
    /// The default implementation reads all failures of the instance, with one page in memory at a time. A
    /// store that can look up failures by pointer reads only the failures that it returns.
    ///
    /// # Errors
    /// The same errors as [`failures`](Self::failures).
    async fn last_failures(&self, id: &str, pointers: &[String]) -> Result<Vec<StepFailure>> {
        defaults::last_failures(self, id, pointers).await
    }

    /// The earliest due time of the stored events that are not due yet and whose timestamp is later than
    /// `after`. A host needs this time to deliver the event when it becomes due. `None` means that there is no
    /// such event, or that the store cannot tell. The default implementation returns `None`; then the host
    /// finds such events when it polls.
    async fn upcoming_event(&self, _after: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
        Ok(None)
    }

    /// Assigns positions to the stored events that have become due since the last write that assigned
    /// positions. The new positions follow the order of the events' timestamps, and come after all positions
    /// assigned before. Returns `false` and writes nothing if there are no such events.
    ///
    /// These writes assign positions too, each before its own effect: a start, the storing of an event, a
    /// commit that concerns events or children, a claim, and [`finish_event`](Self::finish_event). Reads do not
    /// assign positions. A host calls this method when the time of [`upcoming_event`](Self::upcoming_event) has
    /// come, and at each poll. If the call fails, the host repeats it. The default implementation returns
    /// `false`, for a store in which an event needs no write to become deliverable.
    ///
    /// # Errors
    /// Any error that a write can return. No event is lost by such an error: the next write assigns the
    /// positions.
    async fn position_due_events(&self) -> Result<bool> {
        Ok(false)
    }

    /// A page of the open subscriptions to this name, with any key, that accept an answer and have no answer
    /// yet. The subscriptions are listed in the order in which they were stored. These subscriptions are work
    /// for external workers; the token fields of each subscription show its current holder. The name must begin
    /// with the engine's prefix [`OWN_NAMES`].
    ///
    /// A subscription that does not decode is logged and left out. So a page may be shorter than `limit`
    /// although more subscriptions follow; the page's `next` shows whether more subscriptions follow.
    ///
    /// # Errors
    /// * [`Invalid`]: the name does not begin with [`OWN_NAMES`].
    /// * [`Unsupported`]: the store does not support work for external workers. The default implementations of
    ///   this method, of [`claim_wait`](Self::claim_wait) and of [`answer_wait`](Self::answer_wait) always
    ///   return this error.
    async fn open_waits(
        &self,
        _name: &str,
        _after: Option<Cursor>,
        _limit: usize,
    ) -> Result<Page<EventSubscription>> {
        Err(WfeError::Unsupported("work for external workers"))
    }

    /// Claims a subscription to this name for a token, until `expiry` by the store's clock. The call claims the
    /// oldest subscription that [`open_waits`](Self::open_waits) lists and that no live token holds. If two
    /// workers call at the same time, only one of them gets the subscription. `None` means that there is no
    /// such subscription.
    ///
    /// A subscription that does not decode is skipped. The skipped subscription may have received the token;
    /// then other workers skip it until the token expires. A worker extends and releases its claim by
    /// [`set_subscription_token`](SubscriptionRepository::set_subscription_token) and
    /// [`clear_subscription_token`](SubscriptionRepository::clear_subscription_token). After a dropped future
    /// or [`CommitUnknown`], a subscription may hold the token although the caller did not receive the
    /// subscription; it becomes available again when the token expires.
    ///
    /// # Errors
    /// * [`Invalid`]: the name does not begin with [`OWN_NAMES`].
    /// * [`Unstorable`]: the expiry cannot be stored exactly.
    async fn claim_wait(
        &self,
        _name: &str,
        _token: &str,
        _worker: &str,
        _expiry: DateTime<Utc>,
    ) -> Result<Option<EventSubscription>> {
        Err(WfeError::Unsupported("work for external workers"))
    }

    /// In one transaction, stores the event that answers a subscription. The event is stored as unprocessed.
    /// From then on, the subscription can neither be claimed nor be answered by another event. The subscription
    /// stays open until its instance consumes the stored event.
    ///
    /// The subscription must be open, without an answer, and not [`unanswerable`](StepCommit::unanswerable). If
    /// a token is given, the token must hold the subscription and must not have expired. So the late answer of
    /// a worker is refused even if no other worker has claimed the subscription.
    ///
    /// Returns `false` and writes nothing if an event with this id was accepted earlier as the answer to this
    /// subscription, whatever happened to that event since.
    ///
    /// # Errors
    /// * [`SubscriptionNotFound`]: the subscription is unknown, closed, answered by another event or
    ///   unanswerable, or the token does not hold the subscription or has expired.
    /// * [`Invalid`]: the event is not due, has another name or key than the subscription (even if an event
    ///   with its id was accepted before), or has a timestamp before the subscription's `subscribe_as_of`.
    /// * [`AlreadyExists`]: an event with this id exists and is not the answer to this subscription.
    async fn answer_wait(&self, _wait_id: &str, _token: Option<&str>, _event: &Event) -> Result<bool> {
        Err(WfeError::Unsupported("work for external workers"))
    }

    /// Which of these open subscriptions of the instance `id` can no longer be claimed or answered, because a commit
    /// named them in [`unanswerable`](StepCommit::unanswerable) or in
    /// [`unanswerable_unless_claimed`](StepCommit::unanswerable_unless_claimed), in any order. The engine calls this
    /// method after a commit with the latter, before it ends a wait that no worker has claimed in time.
    ///
    /// The default implementation returns all of them. It is for stores without work for external workers: no worker can
    /// have claimed a subscription.
    async fn unanswerable(&self, _id: &str, waits: &[String]) -> Result<Vec<String>> {
        Ok(waits.to_vec())
    }

    /// Checks that the store still has everything that it has acknowledged: its file must not have been removed
    /// or damaged. The check covers only what the store can tell at once. A host calls this method when it
    /// stops, so that it does not report success on a lost store. The default implementation returns `Ok`.
    ///
    /// # Errors
    /// [`Unusable`]: the store is lost. The loss is final: every later call returns the same error.
    async fn verify(&self) -> Result<()> {
        Ok(())
    }

    /// A stream that yields an item whenever this process or another process may have stored something that
    /// concerns a host: a start, an event, a control request, a due time, or an end. The default stream yields
    /// no items.
    ///
    /// One item may stand for several changes, and an item may come although nothing was stored. Data that was
    /// stored before this call yields no item. If the process that stored something crashes, the item can get
    /// lost, so a host also polls. The stream keeps no resource of the store open, and ends when the store is
    /// dropped.
    fn news(&self) -> BoxStream<'static, ()> {
        stream::pending().boxed()
    }
}
