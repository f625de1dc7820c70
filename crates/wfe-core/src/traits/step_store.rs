use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::stream::{self, BoxStream, StreamExt};
use serde_json::Value;

use super::{
    Claimed, Committed, Control, Cursor, ErrorRecord, Fence, Finished, Intervention, Isolation, Loaded,
    Owner, Page, Pending, Started, StepCommit, StepFailure, Swept,
};
use crate::{
    Result, WfeError, logging,
    models::{Event, EventSubscription, WorkflowInstance},
};

/// Failures that [`last_failures`](StepStore::last_failures) reads at once where a store leaves it as it is: each may carry
/// long messages.
const FAILURES_AT_ONCE: usize = 256;

/// What the names and the ids of events begin with that are the engine's own. Waits of such a name can be listed and
/// claimed by the name alone; applications publish no events of these names or ids.
pub const OWN_NAMES: &str = "wfe.";

/// The engine's own way to write, and what it needs to read: each step's whole effect in one transaction, by one
/// owner at a time.
///
/// What the models have no field for (owner, fence, control request, parent, ending, key of an idempotent start) lives beside
/// them and is touched by this trait only; `persist_workflow` leaves it as it is.
///
/// # Several processes
/// Any number of owners, in one process or many, may work on one store: an instance has one owner at a time, every change
/// of owner raises its fence, and a commit under an older fence writes nothing. An owner is *dead* when its [`Owner`] was
/// dropped or its process ended, which others see at once; it is *frozen* when an observer, by its own monotonic clock,
/// has seen no commit of its instances and no [`heartbeat`](Self::heartbeat) for its lease. An observer that stood
/// still itself counts only the time in which it looked. What a dead or frozen owner had becomes due and claimable.
///
/// # Reads and writes
/// A read (`load`, `inspect`, `load_many`, `requested`, `ended`, `upcoming`, `upcoming_event`, `open_waits`, `finished`,
/// `items`, `failures`, `last_failures`, and the getters of the other traits) answers from one snapshot and writes nothing,
/// so that it is answered while another process stands in a commit. An event takes its position in its stream from a write, once
/// its date has come (see [`position_due_events`](Self::position_due_events)); to a read, an event without a position is
/// not there.
#[async_trait]
pub trait StepStore: Send + Sync {
    /// Registers a host as a possible owner.
    ///
    /// The owner's sign of life can be lost while it lives: somebody removes a lock file, say. The store looks after it,
    /// and mends what it can; but others may have taken the owner for dead by then, so that it gets nothing any more:
    /// [`OwnerLost`](crate::WfeError::OwnerLost) says so, and the host registers another one. The store logs it, once for each
    /// owner, as an error: hosts do not log it again. What the lost one still has under way stays its own unless another
    /// owner has taken it over, which its next commit answers, as ever.
    async fn register(&self) -> Result<Owner>;

    /// Stores a new instance, atomically across processes.
    ///
    /// With a `reference`, the start is idempotent: if an instance was started before with the same definition id and
    /// reference, whatever its version or status, its id is returned and nothing is written. With an owner, a new
    /// instance is owned by it from the start. Ids and names as in
    /// [`create_new_workflow`](super::WorkflowRepository::create_new_workflow).
    ///
    /// # Errors
    /// Those of [`create_new_workflow`](super::WorkflowRepository::create_new_workflow);
    /// [`OwnerLost`](crate::WfeError::OwnerLost), which the store has logged: see [`register`](Self::register).
    async fn start(&self, owner: Option<&Owner>, instance: &WorkflowInstance) -> Result<Started>;

    /// Stores a step's whole effect in one transaction, or nothing; see [`Committed`].
    ///
    /// A waiting control request that the commit does not name is reported, and a newer one than it names likewise.
    ///
    /// # Errors
    /// * [`Unstorable`](crate::WfeError::Unstorable): a value cannot be stored exactly. The engine asks for nothing beyond
    ///   [`limits`](crate::limits). Of a commit that a store with narrower limits refuses, what began to wait in it is
    ///   begun again one by one, so that the step at fault fails; if that does not help, the instance is suspended, and
    ///   steps that finished since its last commit run again after a resume.
    /// * [`AlreadyExists`](crate::WfeError::AlreadyExists): the id of a new wait is taken; that of a published event by one of
    ///   another name or key; that of a child by an instance of another definition, or one that is no child of this instance.
    /// * [`SubscriptionNotFound`](crate::WfeError::SubscriptionNotFound): a consumed wait is unknown, closed, or of
    ///   another instance.
    /// * [`EventNotFound`](crate::WfeError::EventNotFound): a consumed event is unknown, not due, of another stream, or
    ///   not after the position of its wait: it was delivered before.
    /// * [`Corrupt`](crate::WfeError::Corrupt): a stored row of the instance lets no such write through, or contradicts it.
    ///   Nothing was written. The engine suspends the instance by a commit that touches none of its pointers, waits and data.
    ///   What another instance's row, or one that many share, does not let through is no fault of this instance, and not this
    ///   error. How rows are spoilt differs from store to store: the conformance suite asks nothing of it, and a store that can
    ///   hold such rows tests it itself.
    /// * [`CommitUnknown`](crate::WfeError::CommitUnknown): keep the result, [`load`](Self::load), and compare.
    async fn commit_step(&self, fence: Fence, step: &StepCommit) -> Result<Committed>;

    /// Unowned instances of these definitions (id and version) that are due, have a control request waiting, or have
    /// an open wait that a stored, due event matches; now owned by the caller. At most `limit` of them. An instance
    /// whose owner is dead or frozen counts as unowned, and as due if it was running. Suspended and ended instances come only
    /// for their control requests.
    ///
    /// It gives positions to events that have become due first, as
    /// [`position_due_events`](Self::position_due_events) does, and writes nothing else if there are no such instances. A
    /// dropped future and [`CommitUnknown`](crate::WfeError::CommitUnknown) can leave instances that `owner` has without
    /// knowing it; others can claim them once it is dropped.
    ///
    /// # Errors
    /// [`OwnerLost`](crate::WfeError::OwnerLost), which the store has logged: see [`register`](Self::register).
    async fn claim(
        &self,
        owner: &Owner,
        definitions: &[(String, u32)],
        as_at: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<Claimed>>;

    /// As [`claim`](Self::claim), for one instance. `None`: it is unknown, another owner has it, or it has nothing to do.
    /// Whether an owner is frozen is judged by [`claim`](Self::claim) only.
    ///
    /// # Errors
    /// * [`DefinitionNotFound`](crate::WfeError::DefinitionNotFound): the instance could be acquired, but it runs none of these
    ///   definitions; the error names the one that it runs.
    /// * [`OwnerLost`](crate::WfeError::OwnerLost), which the store has logged: see [`register`](Self::register).
    async fn acquire(
        &self,
        owner: &Owner,
        definitions: &[(String, u32)],
        id: &str,
        as_at: DateTime<Utc>,
    ) -> Result<Option<Claimed>>;

    /// Claims instances as [`claim`](Self::claim) does, and loads each as [`load`](Self::load) does. What is loaded is the
    /// state in which the caller owns the instance. One that does not load spoils no other: it is claimed, and comes with the
    /// error of its load. By default [`claim`](Self::claim), then [`load_many`](Self::load_many).
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
        let claimed = self.claim(owner, definitions, as_at, limit).await?;
        Ok(load_claimed(self, claimed).await)
    }

    /// Acquires an instance as [`acquire`](Self::acquire) does, and loads it as [`load`](Self::load) does. If it does not
    /// load, it is acquired all the same, and comes with the error. By default [`acquire`](Self::acquire), then
    /// [`load`](Self::load).
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

    /// One consistent snapshot of what the engine has to know of an instance.
    ///
    /// # Errors
    /// * [`WorkflowNotFound`](crate::WfeError::WorkflowNotFound): no instance has this id.
    /// * [`Corrupt`](crate::WfeError::Corrupt): a stored value does not decode; or the instance has not ended, had live
    ///   pointers once, and has none any more, so that it would begin anew; or an open wait of it is for something that can
    ///   never come, since the answer that it names, or the child for whose end it is, is not stored.
    async fn load(&self, id: &str) -> Result<Loaded>;

    /// As [`load`](Self::load), asked by the program and not by the engine. A store that bounds how much of what the program
    /// asks waits in it lets this wait for its turn; by default it is [`load`](Self::load).
    ///
    /// # Errors
    /// Those of [`load`](Self::load); [`Busy`](crate::WfeError::Busy): too much waited before it for too long.
    async fn inspect(&self, id: &str) -> Result<Loaded> {
        self.load(id).await
    }

    /// What there is to do for whoever works on an instance: less than a [`load`](Self::load), which reads all of its pointers
    /// and waits. Of its deliveries, those to the waits with these ids (`None`: to all that are open); others are passed
    /// over. By default taken from a [`load`](Self::load).
    ///
    /// # Errors
    /// Those of [`load`](Self::load).
    async fn pending(&self, id: &str, waits: Option<&[String]>) -> Result<Pending> {
        Ok(self.load(id).await?.into_pending(waits))
    }

    /// As [`load`](Self::load), for several instances, each with its id, in any order; ids under which nothing is stored are
    /// passed over. Each one is consistent in itself: one that is [`Corrupt`](crate::WfeError::Corrupt) spoils no other. For a
    /// store that reads many for little more than one; by default one after the other.
    async fn load_many(&self, ids: &[String]) -> Result<Vec<(String, Result<Loaded>)>> {
        let mut loaded = Vec::with_capacity(ids.len());
        for id in ids {
            match self.load(id).await {
                Err(WfeError::WorkflowNotFound(_)) => {}
                one @ (Ok(_) | Err(WfeError::Corrupt { .. })) => loaded.push((id.clone(), one)),
                Err(error) => return Err(error),
            }
        }
        Ok(loaded)
    }

    /// Why these waits of the instance `id`, at which pointers of it stand, are not open. `Ok`: each of them was closed by
    /// [`terminate_subscription`](super::SubscriptionRepository::terminate_subscription), or may have been; the instance opens
    /// others in their place. By default a store cannot tell.
    ///
    /// # Errors
    /// [`Corrupt`](crate::WfeError::Corrupt): the row of one of them is gone, or of another instance, or was closed in a way in
    /// which no wait is closed while its pointer stands at it.
    async fn check_closed_waits(&self, _id: &str, _waits: &[String]) -> Result<()> {
        Ok(())
    }

    /// Stores a control request beside the instance, where no later write of a worker overwrites it. A newer request
    /// replaces an older one that still waits, except that nothing replaces a waiting `Terminate`, and only `Terminate`
    /// a waiting `Cancel`. After the end of the instance it changes nothing.
    ///
    /// # Errors
    /// [`WorkflowNotFound`](crate::WfeError::WorkflowNotFound): no instance has this id.
    async fn request(&self, id: &str, control: Control) -> Result<()>;

    /// As [`request`](Self::request) with [`Control::Resume`], but the instance is to go on in this way. It replaces other
    /// requests, and is replaced by them, as a resume is.
    ///
    /// # Errors
    /// * [`WorkflowNotFound`](crate::WfeError::WorkflowNotFound): no instance has this id.
    /// * [`Unsupported`](crate::WfeError::Unsupported): the store does not offer it, which is the default.
    async fn intervene(&self, _id: &str, _intervention: &Intervention) -> Result<()> {
        Err(WfeError::Unsupported("interventions in suspended instances"))
    }

    /// Marks an event processed, but only while no open wait matches it, in one statement, so that no wait slips in
    /// between. `false`: a wait still needs it, or it is not due yet; nothing was written.
    ///
    /// A wait matches an event of its name and key that lies after the last one that its instance consumed from that
    /// stream. Before it has consumed one:
    ///
    /// * A wait from a date on matches those with `event_time >= subscribe_as_of`.
    /// * A wait from the creation of its instance on (`subscribe_as_of` is its `create_time`, and its commit does not call it
    ///   [`dated`](super::StepCommit::dated)) matches, of the events that the store dated
    ///   ([`create_event_now`](super::EventRepository::create_event_now)), those that were stored after the instance, and no
    ///   others, whatever their dates: somebody may have set the clock back in between, or it may not have moved on. Of those
    ///   that were dated by hand it matches those with `event_time >= subscribe_as_of`, and those that became due after the
    ///   instance was stored and were not dated into the past: their `event_time` lay no earlier than the store's clock when
    ///   they were stored.
    ///
    /// What *after* is, is told by the order in which the store commits: children count from the commit that creates them,
    /// which stores its own events before them.
    ///
    /// # Errors
    /// [`EventNotFound`](crate::WfeError::EventNotFound): no event has this id.
    async fn finish_event(&self, event_id: &str) -> Result<bool>;

    /// As [`finish_event`](Self::finish_event) for many: looks at the next `limit` unprocessed events that have positions, by
    /// date from the one after the event `after` on (`None`: from the first), and marks processed those that no open wait
    /// matches, in one transaction. Writes nothing if there are none.
    ///
    /// A host that walks on by [`next`](Swept::next), and begins again from time to time, keeps the unprocessed events down
    /// to those that are needed. What a call costs grows with `limit` and with the waits that are open for the names and
    /// keys of these events, not with the events that have to stay.
    ///
    /// # Errors
    /// [`Unsupported`](crate::WfeError::Unsupported): the store does not offer it, which is the default.
    async fn finish_events(&self, _after: Option<&str>, _limit: usize) -> Result<Swept> {
        Err(WfeError::Unsupported("to finish many events at once"))
    }

    /// History rows of the pointers whose innermost container is the pointer `container` (empty: the main path), in
    /// order of completion: those with a number above `after`, at most `limit`, each with its number. An unknown instance has
    /// none. A row that does not decode is [`Corrupt`](crate::WfeError::Corrupt) in its place, and spoils no other.
    async fn finished(
        &self,
        id: &str,
        container: &str,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Result<Finished>)>>;

    /// The items of a container from position `from` (the first is 0), in order. At least one if there are any, at
    /// most `limit`; a store may give fewer than `limit` when they are large. An unknown container has none.
    ///
    /// # Errors
    /// [`Corrupt`](crate::WfeError::Corrupt): a stored value does not decode.
    async fn items(&self, id: &str, container: &str, from: u64, limit: usize) -> Result<Vec<Value>>;

    /// The next runnable, unowned instances of these definitions that become due after `after`: due time in
    /// milliseconds and id, earliest first, at most `limit`. It feeds a timer queue; being listed gives no ownership.
    async fn upcoming(
        &self,
        definitions: &[(String, u32)],
        after: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<(i64, String)>>;

    /// A sign of life of an owner that works on something which takes long. Without effect where owners have no
    /// [`lease`](Owner::lease), which is the default.
    ///
    /// It is no write to the database, so that it comes through while somebody else holds that.
    ///
    /// # Errors
    /// * [`OwnerLost`](crate::WfeError::OwnerLost), which the store has logged: see [`register`](Self::register).
    /// * Any other: the sign could not be given; try again well before the lease ends.
    async fn heartbeat(&self, _owner: &Owner) -> Result<()> {
        Ok(())
    }

    /// Notes how an owned instance runs from now on, so that the death of its process can be judged
    /// ([`Deaths`](super::Deaths)). The engine calls it for suspects alone, before they run. It lasts as long as the fence,
    /// or until the next commit. `false`: the stored fence is another one, or the instance is gone; nothing was written.
    ///
    /// By default nothing is noted. A store that counts no deaths alone has no instance suspended as poison.
    async fn isolate(&self, _id: &str, _fence: Fence, _isolation: Isolation) -> Result<bool> {
        Ok(true)
    }

    /// Those instances of `owner` that somebody outside wants something of: a control request waits, or an open wait
    /// matches a stored, due event. By default none: such a store tells of requests at the next commit only.
    async fn requested(&self, _owner: &Owner) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Those of these instances that have ended, or are not there any more. In any order.
    async fn ended(&self, ids: &[String]) -> Result<Vec<String>> {
        let mut ended = Vec::new();
        for id in ids {
            match self.load(id).await {
                Ok(loaded) if !loaded.instance.status.is_final() => {}
                // Whether it has ended cannot be read. Whoever waits for it asks for it alone, and is told.
                Err(WfeError::Corrupt { .. }) => {}
                Ok(_) | Err(WfeError::WorkflowNotFound(_)) => ended.push(id.clone()),
                Err(error) => return Err(error),
            }
        }
        Ok(ended)
    }

    /// A page of the stored failures of one instance, oldest first. An unknown instance has none. One that does not decode is
    /// left out and reported: so a page may be shorter than `limit` although others follow, as its `next` tells.
    ///
    /// # Errors
    /// [`Unsupported`](crate::WfeError::Unsupported): the store does not offer it, which is the default.
    async fn failures(&self, _id: &str, _after: Option<Cursor>, _limit: usize) -> Result<Page<ErrorRecord>> {
        Err(WfeError::Unsupported("to read the failures of an instance"))
    }

    /// Of each of these pointers of one instance, the failure that was stored last; in any order, and nothing of a pointer
    /// that has none. An unknown instance has none.
    ///
    /// By default all failures of the instance are read to find them, in pages of which one is in memory. A store that can
    /// look them up by pointer reads only what it gives.
    ///
    /// # Errors
    /// Those of [`failures`](Self::failures).
    async fn last_failures(&self, id: &str, pointers: &[String]) -> Result<Vec<StepFailure>> {
        let (mut last, mut after) = (HashMap::new(), None);
        if pointers.is_empty() {
            return Ok(Vec::new());
        }
        loop {
            let page = self.failures(id, after, FAILURES_AT_ONCE).await?;
            for ErrorRecord { failure, .. } in page.rows {
                if pointers.contains(&failure.error.execution_pointer_id) {
                    last.insert(failure.error.execution_pointer_id.clone(), failure);
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(last.into_values().collect());
            }
        }
    }

    /// The date, after `after`, of the next stored event that is not due yet, so that a host can look for it in time.
    /// `None`: there is none; or the store does not tell, which is the default, and leaves such events to polls.
    async fn upcoming_event(&self, _after: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
        Ok(None)
    }

    /// Gives positions to the stored events whose dates have come since the last write that did so: in the order of their
    /// dates, after all positions given before. Whether there were any; if not, nothing was written.
    ///
    /// A start, an event that is stored, a commit that has to do with events or children, a claim and
    /// [`finish_event`](Self::finish_event) give positions too, each before its own effect. Reads do not. A host calls
    /// this when the time has come that [`upcoming_event`](Self::upcoming_event) told it, and at each poll; if it fails, it
    /// calls it again. By default `false`, for a store in which an event needs no write to become deliverable.
    ///
    /// # Errors
    /// Those of a write. Nothing is lost then: the next one gives the positions.
    async fn position_due_events(&self) -> Result<bool> {
        Ok(false)
    }

    /// A page of the open waits of a name that nobody has answered and that take an answer, whatever their keys, in
    /// the order in which they were stored: work for outsiders, and (in the fields of its token) who has it. The name
    /// is one of the engine's [`OWN_NAMES`]. One that does not decode is left out and reported: so a page may be shorter than
    /// `limit` although others follow, as its `next` tells.
    ///
    /// # Errors
    /// * [`Invalid`](crate::WfeError::Invalid): a name of another kind.
    /// * [`Unsupported`](crate::WfeError::Unsupported): the store does not offer it, which is the default; it is the
    ///   same with [`claim_wait`](Self::claim_wait) and [`answer_wait`](Self::answer_wait).
    async fn open_waits(
        &self,
        _name: &str,
        _after: Option<Cursor>,
        _limit: usize,
    ) -> Result<Page<EventSubscription>> {
        Err(WfeError::Unsupported("work for outsiders"))
    }

    /// Gives the oldest of these waits that decode and that no live token holds to this one, until `expiry` by the store's
    /// clock: of two workers one gets it. `None`: there is none; waits that do not decode may have been given the token, and
    /// are passed over until it expires. A worker prolongs and returns what it has
    /// through [`set_subscription_token`](super::SubscriptionRepository::set_subscription_token) and
    /// [`clear_subscription_token`](super::SubscriptionRepository::clear_subscription_token).
    ///
    /// A dropped future and [`CommitUnknown`](crate::WfeError::CommitUnknown) can leave a wait with the token; it is free
    /// again when that expires.
    ///
    /// # Errors
    /// [`Invalid`](crate::WfeError::Invalid): a name of another kind;
    /// [`Unstorable`](crate::WfeError::Unstorable): an expiry that cannot be kept.
    async fn claim_wait(
        &self,
        _name: &str,
        _token: &str,
        _worker: &str,
        _expiry: DateTime<Utc>,
    ) -> Result<Option<EventSubscription>> {
        Err(WfeError::Unsupported("work for outsiders"))
    }

    /// Stores the event that answers a wait, in one transaction, if the wait is open, has no answer, takes one still (see
    /// [`unanswerable`](StepCommit::unanswerable)), and a token that is
    /// given holds it and has not expired: so that the late answer of a worker whose claim has run out is refused, also if
    /// nobody else has claimed the wait yet. From then on nobody can claim the wait or give it another answer, though it
    /// stays open until its instance consumes the event. The event is stored unprocessed.
    ///
    /// `false`: this event, by its id, was accepted as this wait's answer before; nothing was written. That is so
    /// whatever became of the token and the wait since.
    ///
    /// # Errors
    /// * [`SubscriptionNotFound`](crate::WfeError::SubscriptionNotFound): the wait is unknown, closed, answered by
    ///   another event or takes no answer any more, or the token does not hold it, or not any more.
    /// * [`Invalid`](crate::WfeError::Invalid): the event is not due, has another name or key than the wait (also if one of its
    ///   id was accepted before), or is dated before it.
    /// * [`AlreadyExists`](crate::WfeError::AlreadyExists): the event's id is that of an event which is no answer to this
    ///   wait.
    async fn answer_wait(&self, _wait_id: &str, _token: Option<&str>, _event: &Event) -> Result<bool> {
        Err(WfeError::Unsupported("work for outsiders"))
    }

    /// Whether what this store has answered as stored is still there, as far as can be told at once: its file was not
    /// taken away or damaged under it. A host asks when it stops, so that it does not end well on a store that is lost. By
    /// default `Ok`.
    ///
    /// # Errors
    /// [`Unusable`](crate::WfeError::Unusable): it is lost. That is final: every later call says the same.
    async fn verify(&self) -> Result<()> {
        Ok(())
    }

    /// An item each time that somebody, in this process or another one, may have stored something that a host has to
    /// look at: a start, an event, a control request, a due time, an end. Several may come as one, and some may come for
    /// nothing; a crash of the one who stored can swallow one, so a host polls besides. What was stored before this call
    /// brings none. By default none ever comes.
    ///
    /// A stream that is polled again tells of what came meanwhile, once. It keeps nothing of the store open, and ends
    /// when that was dropped.
    fn news(&self) -> BoxStream<'static, ()> {
        stream::pending().boxed()
    }
}

/// Together where there are several: many cost little more than one. If that fails, one after the other, so that each has an
/// answer of its own: an instance that is claimed must not be lost because another one does not load.
async fn load_claimed<S: StepStore + ?Sized>(
    store: &S,
    claimed: Vec<Claimed>,
) -> Vec<(Claimed, Result<Loaded>)> {
    let mut loaded = HashMap::new();
    if claimed.len() > 1 {
        let ids: Vec<String> = claimed.iter().map(|claimed| claimed.id.clone()).collect();
        match store.load_many(&ids).await {
            Ok(rows) => loaded.extend(rows),
            Err(error) => logging::debug!(%error, "claimed instances are read one by one"),
        }
    }
    let mut rows = Vec::with_capacity(claimed.len());
    for claimed in claimed {
        let row = match loaded.remove(&claimed.id) {
            Some(row) => row,
            None => store.load(&claimed.id).await,
        };
        rows.push((claimed, row));
    }
    rows
}
