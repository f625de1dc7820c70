mod actors;
mod backoff;
mod claiming;
pub(in crate::engine) mod event_sweeper;
mod idling;
mod inbox;
mod pace;
mod store_reads;
pub(crate) mod timers;
mod unregistered;

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream::BoxStream};
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore, mpsc, oneshot, watch},
    time::Instant,
};
use wfe_core::{logging, traits::Owner};

use self::{
    actors::{Actors, Gone},
    backoff::Retry,
    inbox::{Inbox, Next, Pending},
    pace::Pace,
    timers::Timers,
};
use super::{
    channel::Receiver,
    message::Phase,
    outlines,
    state::{notifications::Notifications, outcome::Idle, shared::Shared},
    steps::runner::Bodies,
};
use crate::{
    engine::{retention, task},
    store::{Guarantees, loss::warn_unless_fault},
};

/// How long the host waits between two reads of what other processes have stored. The pause bounds the cost of a
/// process that writes without pause. The pause is short enough that this host notices the writes of other processes in
/// well under 100 ms. The host pauses for the same time between two claims while little capacity is available. The
/// pause is in real time, because other processes do not follow the virtual clock.
const REST: Duration = Duration::from_millis(25);
/// How many instances one call to the store checks for their end. Callers on this host wait for the end of these
/// instances, which other hosts may run.
const ENDS_AT_ONCE: usize = 1024;

/// Decides which instances this host works on, and when the store is read for more instances.
struct Dispatcher {
    shared: Arc<Shared>,
    owner: Arc<Owner>,
    actors: Arc<Actors>,
    timers: Timers,
    /// The due times of events that were published for a later time.
    dates: Timers,
    /// When to repeat the call that assigns positions to due events. `None` means that the last call has not failed.
    unpositioned: Option<Retry>,
    /// The last claim failed, or it may have left out due instances for lack of capacity.
    backlog: bool,
    /// When to claim the backlog although only a little capacity has become available.
    partial_look: Option<Instant>,
    /// When the last claim ended.
    looked: Instant,
    /// The slots of each definition that had no free slot at the last claim. Such a definition may have due instances.
    full: Vec<Arc<Semaphore>>,
    /// The due times in the store could not be read.
    unread: bool,
    /// The store may have assigned an instance to this owner without this host being aware of it.
    in_doubt: bool,
    /// The former owners of this host that may still have work in progress.
    former: Vec<Weak<Owner>>,
    /// Callers that wait until the host is idle.
    idlers: Vec<oneshot::Sender<Idle>>,
    /// When to scan for instances that this host cannot run.
    pace: Pace,
}

/// Ends the wait of all callers when the engine ends, for whatever reason.
struct Farewell(Arc<Shared>);

impl Drop for Farewell {
    fn drop(&mut self) {
        self.0.set_owner(None);
        self.0.completions.close();
        self.0.tasks_changed();
    }
}

/// Runs the engine's main loop. If a caller has stopped the engine, returns the sender that replies to this caller.
pub(super) async fn run(
    shared: Arc<Shared>,
    owner: Arc<Owner>,
    receiver: Receiver,
    phase: watch::Sender<Phase>,
    steps: Handle,
    questions: BoxStream<'static, ()>,
) -> Option<oneshot::Sender<()>> {
    let (gone, mut ended) = mpsc::unbounded_channel();
    let (launcher, phase_of_bodies) = (Arc::default(), phase.subscribe());
    let bodies = Bodies { shared: shared.clone(), runtime: steps, launcher, phase: phase_of_bodies };
    let mut runtime_gone = bodies.start_launcher();
    let actors = Arc::new(Actors::new(shared.clone(), bodies, gone));
    let mut this = Dispatcher {
        shared: shared.clone(),
        owner,
        actors: actors.clone(),
        timers: Timers::new(i64::try_from(shared.options.claim_ahead.as_millis()).unwrap_or(i64::MAX)),
        dates: Timers::new(0),
        unpositioned: None,
        backlog: false,
        partial_look: None,
        looked: Instant::now(),
        full: Vec::new(),
        unread: false,
        in_doubt: false,
        former: Vec::new(),
        idlers: Vec::new(),
        pace: Pace::default(),
    };
    let _farewell = Farewell(shared.clone());
    // The inbox is dropped before the farewell, and closes the channel. A caller whose wait ends therefore sees that
    // the engine has ended.
    let mut inbox = Inbox::new(shared.clone(), receiver, actors, phase);
    let clock = shared.options.clock.clone();
    let interval = shared.options.poll_interval;
    spawn_helpers(&shared, this.owner.lease(), questions);
    // The subscription starts before the store is first read, so that later writes of other processes are reported.
    let news = watch(shared.store.news());
    let began = shared.now();
    inbox.beside(this.position_events()).await;
    inbox.beside(this.look_and_refill()).await;
    inbox.beside(this.peek_at_events(began)).await;
    this.look_for_missing();
    let mut poll = clock.sleep(interval);
    loop {
        let timer = this.timers.next().and_then(in_calendar);
        let date = this.dates.next().and_then(in_calendar);
        shared.of_card.set_next_due(this.next_due());
        tokio::select! {
            next = inbox.next() => match next {
                Next::Over => return None, // the host was dropped: the engine ends as after a crash
                Next::Stop(last, answer) => {
                    inbox.beside(this.attend_to(last)).await;
                    this.stop(ended, &news).await;
                    return Some(answer);
                }
                Next::Work(pending) => inbox.beside(this.attend_to(pending)).await,
            },
            _ = &mut runtime_gone => {
                if !inbox.is_left() {
                    logging::warn!("the runtime on which this host was started is gone: no step can run, and the host ends");
                }
                return None; // the engine ends as after a crash
            }
            () = shared.store.loss.comes() => {
                this.lose();
                return None; // the engine ends as after a crash
            }
            Some(gone) = ended.recv() => inbox.beside(this.actors_ended(gone, &mut ended)).await,
            () = async { clock.sleep_until(timer.unwrap_or_default()).await }, if timer.is_some() => {
                inbox.beside(this.timers_are_due()).await;
            }
            () = async { clock.sleep_until(date.unwrap_or_default()).await }, if date.is_some() => {
                inbox.beside(this.events_are_due()).await;
            }
            () = Retry::wait(this.unpositioned.as_ref()), if this.unpositioned.is_some() => {
                inbox.beside(this.deliver_dated()).await;
            }
            () = tokio::time::sleep_until(this.partial_look.unwrap_or(this.looked)), if this.partial_look.is_some() => {
                inbox.beside(this.look()).await;
            }
            () = this.pace.look_ends(), if this.pace.is_looking() => {}
            () = news.notified() => {
                // The time is taken before the claim. Otherwise an instance that becomes due during the claim would be
                // neither claimed nor read as upcoming.
                let before = shared.now();
                inbox.beside(this.attend()).await;
                inbox.beside(this.peek_at_timers(before)).await;
                inbox.beside(this.peek_at_events(before)).await;
                this.pace.news = true;
                this.look_for_missing();
            }
            () = &mut poll => {
                inbox.beside(this.attend()).await;
                // This includes the instances that this host works on, because another host may have taken one of them
                // over and ended it.
                inbox.beside(this.ask_for_ends(shared.completions.all())).await;
                this.look_for_missing();
                poll = clock.sleep(interval);
            }
        }
        if inbox.is_empty() {
            inbox.beside(this.answer_if_idle()).await;
        }
    }
}

/// Starts the tasks that run alongside the main loop until it ends.
fn spawn_helpers(shared: &Arc<Shared>, lease: Option<Duration>, questions: BoxStream<'static, ()>) {
    let watchdog = shared.watchdog.clone();
    task::spawn(async move { watchdog.run().await });
    let outlined = shared.clone();
    task::spawn(async move { outlines::run(&outlined).await });
    let answering = shared.clone();
    task::spawn(async move { answering.answer_questions(questions).await });
    if !shared.options.retention.is_empty()
        && let Some(management) = shared.store.provider.clone().management()
    {
        let shared = shared.clone();
        task::spawn(async move { retention::run(&shared, management).await });
    }
    if let Some(lease) = lease {
        let shared = shared.clone();
        task::spawn(async move {
            shared.heartbeats.run(lease, &*shared.options.clock, &shared.store).await;
        });
    }
    if shared.store.guarantees == Guarantees::OneTransactionPerStep {
        let shared = shared.clone();
        shared.sweep_list.note_all();
        task::spawn(async move { event_sweeper::run(&shared).await });
    }
}

/// Converts the time of a timer. A time after the end of the calendar becomes `None`, because it is never reached. A
/// time before the start of the calendar becomes the earliest time, so that the timer fires at once. The subtraction of
/// the claim-ahead time can produce a time before the start of the calendar.
fn in_calendar(millis: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(millis).or((millis < 0).then_some(DateTime::<Utc>::MIN_UTC))
}

/// Notifies the main loop when other processes have stored something. This runs in a separate task, so it costs the
/// main loop nothing while other processes store nothing.
fn watch(mut news: BoxStream<'static, ()>) -> Arc<Notify> {
    let arrived = Arc::new(Notify::new());
    let notify = arrived.clone();
    task::spawn(async move {
        while let Some(()) = news.next().await {
            notify.notify_one();
            tokio::time::sleep(REST).await;
        }
    });
    arrived
}

impl Dispatcher {
    /// Handles the messages that need the store. Instances that are busy here were already notified.
    async fn attend_to(&mut self, Pending { notifications, idlers }: Pending) {
        let Notifications { requested, by_commits, dates, .. } = notifications;
        self.in_doubt |= notifications.is_owner_in_doubt;
        for date in dates {
            self.dates.add(date);
        }
        if notifications.has_definitions {
            self.look_and_refill().await;
        }
        if notifications.is_deliverable {
            self.deliver(by_commits.into_iter().collect()).await;
        } else if notifications.has_unowned {
            self.look().await;
        }
        if !requested.is_empty() {
            let (ids, permits): (_, Vec<_>) = requested.into_iter().unzip();
            self.wake_all(ids).await;
            drop(permits); // other callers may now send requests
        }
        self.idlers.extend(idlers); // the main loop replies to them
    }

    /// Notifies or claims the instances for which something was stored. The instances in `requested` have requests, and
    /// this host does not work on them.
    async fn deliver(&mut self, mut requested: Vec<String>) {
        requested.extend(self.mail_requested().await);
        // This claims all instances that no host works on in one batch, as far as there are slots for them.
        self.look().await;
        self.wake_left(requested).await;
    }

    /// Notifies the instances at work here that have a request. Returns those instances that have a request but are no
    /// longer at work here.
    async fn mail_requested(&mut self) -> Vec<String> {
        let mut left = Vec::new();
        if self.actors.is_empty() {
            return left;
        }
        self.former.retain(|owner| owner.strong_count() > 0);
        let former: Vec<_> = self.former.iter().filter_map(Weak::upgrade).collect();
        for owner in former.iter().chain([&self.owner.clone()]) {
            match self.shared.store.requested(owner).await {
                Ok(ids) => left.extend(ids.into_iter().filter(|id| !self.actors.look(id))),
                // The next poll reads the requests again.
                Err(error) => {
                    warn_unless_fault!(
                        self.shared.store.loss,
                        error,
                        "requests for busy instances could not be read"
                    );
                }
            }
        }
        left
    }

    /// Checks the store for all changes that other processes made: new events and requests, unowned instances, and
    /// instances that have ended.
    async fn attend(&mut self) {
        if self.in_doubt {
            self.become_another().await;
        }
        self.position_events().await;
        let requested = self.mail_requested().await;
        if self.unread {
            self.look_and_refill().await;
        } else {
            self.look().await;
        }
        self.wake_left(requested).await;
        self.ask_for_ends(self.shared.completions.elsewhere()).await;
    }

    /// Checks whether these instances have ended. If an instance has ended, the callers that wait for its end read the
    /// end from the store.
    async fn ask_for_ends(&self, waited_for: Vec<String>) {
        for ids in waited_for.chunks(ENDS_AT_ONCE) {
            match self.shared.store.ended(ids).await {
                Ok(ended) => ended.iter().for_each(|id| self.shared.completions.look(id)),
                Err(error) => {
                    warn_unless_fault!(
                        self.shared.store.loss,
                        error,
                        "the store could not be read for instances that have ended"
                    );
                }
            }
        }
    }

    /// Registers a new owner for this host. This is needed after a commit of unknown outcome. The store may then have
    /// assigned an instance to the current owner without this host working on the instance. Once the current owner is
    /// replaced, it counts as dead, and its instances become available as soon as its work in progress is done. The
    /// work in progress is not disturbed. A new owner is also needed if other hosts may consider the current owner
    /// dead.
    async fn become_another(&mut self) {
        match self.shared.store.register().await {
            Ok(owner) => {
                self.former.push(Arc::downgrade(&self.owner));
                self.owner = Arc::new(owner);
                self.shared.set_owner(Some(self.owner.clone()));
                self.in_doubt = false;
                self.shared.describe(&self.owner).await;
            }
            Err(error) => {
                warn_unless_fault!(
                    self.shared.store.loss,
                    error,
                    "no new owner could be registered; the host tries again"
                );
            }
        }
    }

    /// Handles the end of the actor in `gone`, and the ends of all other actors that have also ended by now. In a
    /// burst, more actors end than the main loop could handle one by one.
    async fn actors_ended(&mut self, gone: Gone, ended: &mut mpsc::UnboundedReceiver<Gone>) {
        let (mut requested, mut next) = (Vec::new(), Some(gone));
        while let Some(gone) = next {
            if let Some(next) = gone.parting.next {
                self.timers.add(next);
            }
            if self.actors.forget(&gone) && gone.parting.is_look_due {
                requested.push(gone.id);
            }
            next = ended.try_recv().ok(); // an error means that no more actors have ended
        }
        self.wake_all(requested).await;
        let room = if self.backlog { self.shared.room() } else { 0 };
        // The host claims when a quarter of the capacity is available, so that it claims in batches and not once for
        // each instance that ends.
        let has_room = room >= self.shared.options.concurrent_instances.div_ceil(4);
        if has_room || self.full.iter().any(|slots| slots.available_permits() > 0) {
            self.look().await;
        } else if room > 0 {
            // A quarter may never become available, because the other instances may run for long.
            self.partial_look.get_or_insert(self.looked + REST);
        }
    }

    /// Logs that the store is lost: nothing that this host still does could be stored.
    fn lose(&self) {
        if let Some(error) = self.shared.store.loss.error() {
            logging::error!(%error, "the store is lost, and this host has ended; its work in progress is discarded");
        }
    }

    /// Waits until the running bodies have ended or the grace time is over. The grace time has already started. No new
    /// body starts in this phase.
    async fn stop(mut self, mut ended: mpsc::UnboundedReceiver<Gone>, news: &Notify) {
        let actors = self.actors.clone();
        while !actors.is_empty() {
            tokio::select! {
                () = self.shared.store.loss.comes() => return self.lose(),
                Some(gone) = ended.recv() => {
                    actors.forget(&gone);
                }
                () = news.notified() => {
                    let requested = self.mail_requested().await;
                    self.wake_all(requested).await;
                    self.ask_for_ends(self.shared.completions.elsewhere()).await;
                }
            }
        }
    }
}
