use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::stream::{self, BoxStream, StreamExt};
use serde_json::Value;

use super::{
    Claimed, Committed, Control, Cursor, ErrorRecord, Fence, Finished, Intervention, Isolation, Loaded,
    Owner, Page, Pending, Started, StepCommit, StepFailure, Swept, defaults,
};
#[cfg(doc)]
use super::{Deaths, Delivery, EventRepository, SubscriptionRepository, WorkflowRepository};
#[cfg(doc)]
use crate::WfeError::{
    AlreadyExists, Busy, CommitUnknown, Corrupt, DefinitionNotFound, EventNotFound, Invalid, OwnerLost,
    SubscriptionNotFound, Unstorable, Unsupported, Unusable, WorkflowNotFound,
};
use crate::{
    Result, WfeError,
    models::{Event, EventSubscription, WorkflowInstance},
};

/// The prefix of event names and event ids that belong to the engine. Subscriptions to such names can be listed
/// and claimed by the name alone. Applications publish no events with these names or ids.
pub const OWN_NAMES: &str = "wfe.";

/// The engine's interface to a store: each step's whole effect in one transaction, by one owner at a time.
///
/// Data that the models have no field for (owner, fencing token, control request, parent, ending, reference of
/// a start) is stored beside them. Only this trait changes it; `persist_workflow` leaves it as it is.
///
/// Any number of owners, in one process or several, may work on one store; [`Owner`] says when an owner counts
/// as dead or frozen. An event without a position is invisible to all reads (see
/// [`position_due_events`](Self::position_due_events)).
#[async_trait]
pub trait StepStore: Send + Sync {
    /// Registers a host as a possible owner.
    ///
    /// An owner can lose its sign of life while it lives: its lock file is removed, for example. The store
    /// restores the sign if it can, but others may have taken the owner for dead by then. So the store gives it
    /// nothing more and returns [`OwnerLost`], and the host registers another owner. The store logs this as an
    /// error, once for each owner; hosts do not log it again. The lost owner
    /// keeps the instances that it is working on until another owner takes them over; its next commit for such an
    /// instance is then refused.
    async fn register(&self) -> Result<Owner>;

    /// Stores a new instance, atomically across processes.
    ///
    /// With a `reference`, the start is idempotent: if an instance was started before with the same definition
    /// id and reference, its id is returned and nothing is written, whatever its version or status. With an
    /// owner, a new instance belongs to it from the start. Ids and names as in
    /// [`create_new_workflow`](WorkflowRepository::create_new_workflow).
    ///
    /// # Errors
    /// * Those of [`create_new_workflow`](WorkflowRepository::create_new_workflow).
    /// * [`OwnerLost`], already logged by the store: see [`register`](Self::register).
    async fn start(&self, owner: Option<&Owner>, instance: &WorkflowInstance) -> Result<Started>;

    /// Stores a step's whole effect in one transaction, or nothing; see [`Committed`].
    ///
    /// A pending control request that the commit does not name is reported instead; so is a newer one than it
    /// names.
    ///
    /// # Errors
    /// * [`Unstorable`]: a value cannot be stored exactly. The engine stays within [`limits`](crate::limits).
    ///   If a store with narrower limits refuses a commit, the engine repeats what began to wait in it one by
    ///   one, so that the step at fault fails. If that does not help, it suspends the instance, and the steps
    ///   finished since its last commit run again after a resume.
    /// * [`AlreadyExists`]: the id of a new subscription is taken, or that of a published event with another
    ///   name or key, or that of a child by an instance that is no child of this one or runs another
    ///   definition.
    /// * [`SubscriptionNotFound`]: a consumed subscription is unknown, closed, or of another instance.
    /// * [`EventNotFound`]: a consumed event is unknown, not due, of another stream, or was delivered before.
    /// * [`Corrupt`]: a stored row of the instance prevents this write or contradicts it; rows that it does not
    ///   own alone are never reported so. Nothing was written. The engine suspends the instance by a commit
    ///   without pointers, subscriptions and data. The conformance suite does not test this: a store that can
    ///   hold such rows tests it itself.
    /// * [`CommitUnknown`]: keep the result, [`load`](Self::load), and compare.
    async fn commit_step(&self, fence: Fence, step: &StepCommit) -> Result<Committed>;

    /// Claims up to `limit` unowned instances of these definitions (id and version) that have something to do:
    /// they are due, a control request is pending, or an open subscription matches a stored, due event.
    ///
    /// An instance of a dead or frozen owner counts as unowned, and as due if it was running. Suspended and
    /// ended instances are claimed only for their control requests. First it gives positions to due events, as
    /// [`position_due_events`](Self::position_due_events) does; if it finds no instances, it writes nothing
    /// else.
    ///
    /// A dropped future and [`CommitUnknown`] can leave instances with `owner` that its host does not know of.
    /// Others can claim them once that owner is dropped.
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

    /// Claims one instance by its id. `None`: it is unknown, another owner has it, or it has nothing to do.
    /// Only [`claim`](Self::claim) judges whether an owner is frozen.
    ///
    /// # Errors
    /// * [`DefinitionNotFound`]: the instance could be acquired, but runs none of these definitions. The error
    ///   names the one that it runs. Nothing was written.
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
    /// An instance that cannot be loaded is claimed all the same, and comes with the error of its load; the
    /// others are not affected. By default [`claim`](Self::claim), then [`load_many`](Self::load_many).
    ///
    /// # Errors
    /// Those of [`claim`](Self::claim).
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
    /// An instance that cannot be loaded is claimed all the same, and comes with the error of its load. By
    /// default [`acquire`](Self::acquire), then [`load`](Self::load).
    ///
    /// # Errors
    /// Those of [`acquire`](Self::acquire).
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

    /// One consistent snapshot of everything that the engine needs to know of an instance.
    ///
    /// # Errors
    /// * [`WorkflowNotFound`]: no instance has this id.
    /// * [`Corrupt`]: a stored value does not decode; or the instance has not ended and had live pointers once,
    ///   but has none any more, so that it would begin anew; or an open subscription waits for what can never
    ///   come: its accepted answer, or the child whose end it waits for, is not stored.
    async fn load(&self, id: &str) -> Result<Loaded>;

    /// As [`load`](Self::load), for the program instead of the engine. A store with a bounded queue for the
    /// program's calls lets this call wait for a permit. By default [`load`](Self::load).
    ///
    /// # Errors
    /// Those of [`load`](Self::load); [`Busy`]: the call got no permit in time.
    async fn inspect(&self, id: &str) -> Result<Loaded> {
        self.load(id).await
    }

    /// What others have stored for an instance: its fencing token, control request and deliveries, for the
    /// owner that works on it already. It is less than a [`load`](Self::load), which reads all pointers and
    /// subscriptions.
    ///
    /// It has the deliveries to the subscriptions with these ids; `None`: to all that are open. By default
    /// taken from a [`load`](Self::load).
    ///
    /// # Errors
    /// Those of [`load`](Self::load).
    async fn pending(&self, id: &str, waits: Option<&[String]>) -> Result<Pending> {
        Ok(self.load(id).await?.into_pending(waits))
    }

    /// Loads several instances, in any order, each with its id. Unknown ids are left out.
    ///
    /// Each instance is consistent in itself; one that is [`Corrupt`] does not affect the others. It is for
    /// stores that read many for little more than one. By default one [`load`](Self::load) after the other.
    async fn load_many(&self, ids: &[String]) -> Result<Vec<(String, Result<Loaded>)>> {
        defaults::load_many(self, ids).await
    }

    /// Checks why these subscriptions are not open although pointers of the instance `id` wait at them. `Ok`:
    /// each was closed by [`terminate_subscription`](SubscriptionRepository::terminate_subscription), or may
    /// have been, and the instance opens others instead. By default `Ok`, for a store that cannot tell.
    ///
    /// # Errors
    /// [`Corrupt`]: the row of one of them is missing, belongs to another instance, or was closed in a way in which no subscription is closed while its pointer waits at it.
    async fn check_closed_waits(&self, _id: &str, _waits: &[String]) -> Result<()> {
        Ok(())
    }

    /// Stores a control request beside the instance, where no later write of its owner overwrites it.
    ///
    /// A newer request replaces an older one that is still pending, with two exceptions: nothing replaces
    /// `Terminate`, and only `Terminate` replaces `Cancel`. After the end of the instance it changes nothing.
    ///
    /// # Errors
    /// [`WorkflowNotFound`]: no instance has this id.
    async fn request(&self, id: &str, control: Control) -> Result<()>;

    /// Stores a request to resume the instance in a particular way. It replaces other requests, and is replaced
    /// by them, as [`Control::Resume`] is.
    ///
    /// # Errors
    /// * [`WorkflowNotFound`]: no instance has this id.
    /// * [`Unsupported`]: the store does not offer it, which is the default.
    async fn intervene(&self, _id: &str, _intervention: &Intervention) -> Result<()> {
        Err(WfeError::Unsupported("interventions in suspended instances"))
    }

    /// Marks an event as processed if no open subscription matches it ([`Delivery`] has the rule), in one
    /// statement, so that no subscription can open in between. `false`: a subscription still needs it, or it is
    /// not due yet; nothing was written.
    ///
    /// # Errors
    /// [`EventNotFound`]: no event has this id.
    async fn finish_event(&self, event_id: &str) -> Result<bool>;

    /// Marks many events as processed, as [`finish_event`](Self::finish_event) does, in one transaction: of the
    /// next `limit` unprocessed events that have positions, by date, those that no open subscription matches.
    /// It begins after the event `after` (`None`: with the first), and writes nothing if there are none.
    ///
    /// A host that continues with [`next`](Swept::next), and begins again from time to time, keeps the number
    /// of unprocessed events down to those that are needed. The cost of a call grows with `limit` and with the
    /// open subscriptions to these names and keys, not with the number of events that remain unprocessed.
    ///
    /// # Errors
    /// [`Unsupported`]: the store does not offer it, which is the default.
    async fn finish_events(&self, _after: Option<&str>, _limit: usize) -> Result<Swept> {
        Err(WfeError::Unsupported("to finish many events at once"))
    }

    /// Up to `limit` history rows of the pointers in one container (its pointer's id; empty: the main path), in
    /// order of completion: those with a number above `after`, each with its number.
    ///
    /// An unknown instance has none. A row that does not decode is [`Corrupt`] in its place, and does not
    /// affect the others.
    async fn finished(
        &self,
        id: &str,
        container: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Result<Finished>)>>;

    /// The items of a container from position `from` (the first is 0), in order: at least one if there are any,
    /// and at most `limit`. A store may give fewer when they are large. An unknown container has none.
    ///
    /// # Errors
    /// [`Corrupt`]: a stored value does not decode.
    async fn items(&self, id: &str, container: &str, from: u64, limit: usize) -> Result<Vec<Value>>;

    /// The next runnable, unowned instances of these definitions that become due after `after`: due time in
    /// milliseconds and id, earliest first, at most `limit`. The engine feeds its timer queue with them; a
    /// listed instance is not owned.
    async fn upcoming(
        &self,
        definitions: &[(String, u32)],
        after: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<(i64, String)>>;

    /// Gives a sign of life for an owner that works on something long. By default it does nothing, for stores
    /// whose owners have no [`lease`](Owner::lease).
    ///
    /// It does not write to the database, so that it succeeds while another process holds that.
    ///
    /// # Errors
    /// * [`OwnerLost`], already logged by the store: see [`register`](Self::register).
    /// * Any other: the sign could not be given; try again well before the lease ends.
    async fn heartbeat(&self, _owner: &Owner) -> Result<()> {
        Ok(())
    }

    /// Notes how an owned instance runs from now on, so that the death of its process can be judged
    /// ([`Deaths`]). The note holds as long as the fencing token, or until the next commit. The engine calls
    /// this before it runs a suspect. `false`: the stored token is another one, or the instance is gone;
    /// nothing was written.
    ///
    /// By default nothing is noted. A store that does not count deaths alone never has an instance suspended as
    /// poison.
    async fn isolate(&self, _id: &str, _fence: Fence, _isolation: Isolation) -> Result<bool> {
        Ok(true)
    }

    /// The instances of `owner` that have something to do for others: a control request is pending, or an open
    /// subscription matches a stored, due event. By default none: such a store reports requests at the next
    /// commit only.
    async fn requested(&self, _owner: &Owner) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Those of these instances that have ended or do not exist, in any order. By default each is loaded.
    async fn ended(&self, ids: &[String]) -> Result<Vec<String>> {
        defaults::ended(self, ids).await
    }

    /// A page of the stored failures of one instance, oldest first. An unknown instance has none.
    ///
    /// A failure that does not decode is logged and left out: so a page may be shorter than `limit` although
    /// more follow, as its `next` shows.
    ///
    /// # Errors
    /// [`Unsupported`]: the store does not offer it, which is the default.
    async fn failures(&self, _id: &str, _after: Option<Cursor>, _limit: usize) -> Result<Page<ErrorRecord>> {
        Err(WfeError::Unsupported("to read the failures of an instance"))
    }

    /// The last stored failure of each of these pointers of one instance, in any order. A pointer without
    /// failures has none, and so has an unknown instance.
    ///
    /// By default it reads all failures of the instance, one page in memory at a time. A store that can look
    /// them up by pointer reads only what it returns.
    ///
    /// # Errors
    /// Those of [`failures`](Self::failures).
    async fn last_failures(&self, id: &str, pointers: &[String]) -> Result<Vec<StepFailure>> {
        defaults::last_failures(self, id, pointers).await
    }

    /// The date of the next stored event that is dated after `after` and not due yet, so that a host can look
    /// for it in time. `None`: there is none; or the store cannot tell, which is the default, and the host
    /// finds such events when it polls.
    async fn upcoming_event(&self, _after: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
        Ok(None)
    }

    /// Gives positions to the stored events whose dates have come since the last write that did so: in the
    /// order of their dates, after all positions given before. `false`: there were none, and nothing was
    /// written.
    ///
    /// These writes give positions too, each before its own effect: a start, the storing of an event, a commit
    /// that concerns events or children, a claim, and [`finish_event`](Self::finish_event). Reads do not. A
    /// host calls this when the time of [`upcoming_event`](Self::upcoming_event) has come, and at each poll; if
    /// it fails, it calls it again. By default `false`, for a store in which an event needs no write to become
    /// deliverable.
    ///
    /// # Errors
    /// Those of a write. Nothing is lost then: the next write gives the positions.
    async fn position_due_events(&self) -> Result<bool> {
        Ok(false)
    }

    /// A page of the open subscriptions to a name that take an answer and have none yet, whatever their keys,
    /// in the order in which they were stored: work for external workers, with its current holder in the fields
    /// of its token. The name is one of the engine's [`OWN_NAMES`].
    ///
    /// A subscription that does not decode is logged and left out: so a page may be shorter than `limit`
    /// although more follow, as its `next` shows.
    ///
    /// # Errors
    /// * [`Invalid`]: a name of another kind.
    /// * [`Unsupported`]: the store does not offer it, which is the default; the same holds for
    ///   [`claim_wait`](Self::claim_wait) and [`answer_wait`](Self::answer_wait).
    async fn open_waits(
        &self,
        _name: &str,
        _after: Option<Cursor>,
        _limit: usize,
    ) -> Result<Page<EventSubscription>> {
        Err(WfeError::Unsupported("work for external workers"))
    }

    /// Gives the oldest of these subscriptions that no live token holds to this token, until `expiry` by the
    /// store's clock. Of two workers one gets it. `None`: there is none.
    ///
    /// A subscription that does not decode is skipped; it may have been given the token, and is skipped by
    /// others until that expires. A worker extends and returns its claim by
    /// [`set_subscription_token`](SubscriptionRepository::set_subscription_token) and
    /// [`clear_subscription_token`](SubscriptionRepository::clear_subscription_token). A dropped future and
    /// [`CommitUnknown`] can leave a subscription with the token; it is free when that expires.
    ///
    /// # Errors
    /// * [`Invalid`]: a name of another kind.
    /// * [`Unstorable`]: an expiry that cannot be kept.
    async fn claim_wait(
        &self,
        _name: &str,
        _token: &str,
        _worker: &str,
        _expiry: DateTime<Utc>,
    ) -> Result<Option<EventSubscription>> {
        Err(WfeError::Unsupported("work for external workers"))
    }

    /// Stores the event that answers a subscription, in one transaction and unprocessed. From then on the
    /// subscription can be neither claimed nor answered by another event, though it stays open until its
    /// instance consumes this one.
    ///
    /// The subscription has to be open, without an answer, and not [`unanswerable`](StepCommit::unanswerable).
    /// If a token is given, it has to hold the subscription and must not have expired: so the late answer of a
    /// worker is refused even before another worker claims it.
    ///
    /// `false`: this event, by its id, was accepted as the answer before, whatever became of it since; nothing
    /// was written.
    ///
    /// # Errors
    /// * [`SubscriptionNotFound`]: the subscription is unknown, closed, answered by another event or
    ///   unanswerable, or the token does not hold it, or no longer does.
    /// * [`Invalid`]: the event is not due, has another name or key than the subscription (even if an event of
    ///   its id was accepted before), or is dated before it.
    /// * [`AlreadyExists`]: an event of this id exists and is no answer to this subscription.
    async fn answer_wait(&self, _wait_id: &str, _token: Option<&str>, _event: &Event) -> Result<bool> {
        Err(WfeError::Unsupported("work for external workers"))
    }

    /// Checks whether everything that this store has acknowledged is still there, as far as it can tell at
    /// once: its file was not removed or damaged. A host calls it when it stops, so that it does not end well
    /// on a lost store. By default `Ok`.
    ///
    /// # Errors
    /// [`Unusable`]: the store is lost. That is final: every later call returns the same error.
    async fn verify(&self) -> Result<()> {
        Ok(())
    }

    /// A stream with an item each time that a process, this one or another, may have stored something that a
    /// host has to look at: a start, an event, a control request, a due time, an end. By default it has none.
    ///
    /// Items may be merged, and may come without need. What was stored before this call brings none. A crash of
    /// the process that stored something can swallow its item, so a host polls besides. The stream keeps
    /// nothing of the store open, and ends when the store was dropped.
    fn news(&self) -> BoxStream<'static, ()> {
        stream::pending().boxed()
    }
}
