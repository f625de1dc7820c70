mod actors;
mod backoff;
mod claiming;
pub(in crate::engine) mod event_sweeper;
mod idling;
mod inbox;
mod pace;
pub(crate) mod timers;
mod timing;
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
    state::{notifications::Notifications, outcome::Idle, shared::Shared},
    steps::runner::Bodies,
};
use crate::store::{Guarantees, loss::warn_unless_lost};

/// After a look at what others stored, the next one has to wait so long, so that one that stores without pause costs this
/// host no more looks than it can afford; short enough for what others stored to be seen in well under 100 ms. The same
/// after a look while there is little room. Real time: others know of no virtual one.
const REST: Duration = Duration::from_millis(25);
/// Instances looked up at once when callers wait here for ends of instances that run elsewhere.
const ENDS_AT_ONCE: usize = 1024;

/// Which instances are at work, and when to look at others.
struct Dispatcher {
    shared: Arc<Shared>,
    owner: Arc<Owner>,
    actors: Arc<Actors>,
    timers: Timers,
    /// When events become due that are dated ahead.
    dates: Timers,
    /// Events that have become due may have no positions yet, because the store failed; when that is repeated.
    unpositioned: Option<Retry>,
    /// Something is or may be due, but there was no room for it.
    backlog: bool,
    /// There is a little room for it again; when to look for what fits in.
    partial_look: Option<Instant>,
    /// When the last look ended.
    looked: Instant,
    /// The slots of definitions of which something may be due, but all slots were taken.
    full: Vec<Arc<Semaphore>>,
    /// Due times could not be read.
    unread: bool,
    /// The store may have given this owner an instance that is not known here.
    in_doubt: bool,
    /// Owners that this host was before, as long as something is under way of theirs.
    former: Vec<Weak<Owner>>,
    /// Callers that wait until the host is idle.
    idlers: Vec<oneshot::Sender<Idle>>,
    /// When to look for instances that this host cannot run.
    pace: Pace,
}

/// The engine has ended, by whatever way: no caller waits for it any longer.
struct Farewell(Arc<Shared>);

impl Drop for Farewell {
    fn drop(&mut self) {
        self.0.set_owner(None);
        self.0.completions.close();
        self.0.tasks_changed();
    }
}

/// The engine's main loop. Gives whom to answer that it has ended, if a caller has stopped it.
pub(super) async fn run(
    shared: Arc<Shared>,
    owner: Arc<Owner>,
    receiver: Receiver,
    phase: watch::Sender<Phase>,
    steps: Handle,
) -> Option<oneshot::Sender<()>> {
    let (gone, mut ended) = mpsc::unbounded_channel();
    let bodies = Bodies { shared: shared.clone(), runtime: steps, phase: phase.subscribe() };
    let mut runtime_gone = bodies.runtime_gone();
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
    // Dropped before the farewell, and with it the channel is closed: a caller whose wait ends sees that the engine has
    // ended.
    let mut inbox = Inbox::new(shared.clone(), receiver, actors, phase);
    let clock = shared.options.clock.clone();
    let interval = shared.options.poll_interval;
    spawn_helpers(&shared, this.owner.lease());
    // From before the first look: what others store after it is news.
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
        tokio::select! {
            next = inbox.next() => match next {
                Next::Over => return None, // the host was dropped: as if the process had died
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
                return None; // as if the process had died
            }
            () = shared.store.loss.comes() => {
                this.lose();
                return None; // as if the process had died
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
                // Taken before: what becomes due while this host looks is in neither answer otherwise.
                let before = shared.now();
                inbox.beside(this.attend()).await;
                inbox.beside(this.peek_at_timers(before)).await;
                inbox.beside(this.peek_at_events(before)).await;
                this.pace.news = true;
                this.look_for_missing();
            }
            () = &mut poll => {
                inbox.beside(this.attend()).await;
                // Also those that this host works on: another one may have taken one over and ended it.
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

/// What goes on beside the main loop as long as that runs.
fn spawn_helpers(shared: &Arc<Shared>, lease: Option<Duration>) {
    let watchdog = shared.watchdog.clone();
    tokio::spawn(async move { watchdog.run().await });
    if let Some(lease) = lease {
        let shared = shared.clone();
        tokio::spawn(async move {
            shared.heartbeats.run(lease, &*shared.options.clock, &shared.store).await;
        });
    }
    if shared.store.guarantees == Guarantees::OneTransactionPerStep {
        let shared = shared.clone();
        shared.sweep_list.note_all();
        tokio::spawn(async move { event_sweeper::run(&shared).await });
    }
}

/// The time of a timer. Behind the calendar, `None`: it never comes. Before the calendar, which is where a time lies that is
/// looked at long enough ahead: at once.
fn in_calendar(millis: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(millis).or((millis < 0).then_some(DateTime::<Utc>::MIN_UTC))
}

/// Notifies of what others stored, from a task of its own, so that it costs the main loop nothing while they store nothing.
fn watch(mut news: BoxStream<'static, ()>) -> Arc<Notify> {
    let arrived = Arc::new(Notify::new());
    let notify = arrived.clone();
    tokio::spawn(async move {
        while let Some(()) = news.next().await {
            notify.notify_one();
            tokio::time::sleep(REST).await;
        }
    });
    arrived
}

impl Dispatcher {
    /// Looks after what came through the channel, as far as it needs the store: instances that are busy here were mailed.
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
            drop(permits); // now others may request something
        }
        self.idlers.extend(idlers); // the main loop answers them
    }

    /// Hands on what has just been stored for others. These instances have requests, and this host does not work on them.
    async fn deliver(&mut self, mut requested: Vec<String>) {
        requested.extend(self.mail_requested().await);
        // It claims those that no host works on, all together and as far as there are slots for them.
        self.look().await;
        self.wake_left(requested).await;
    }

    /// Mails those at work here that have a request to look. Gives those whose work has ended meanwhile.
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
                // The next poll reads them again.
                Err(error) => {
                    warn_unless_lost!(self.shared.store.loss, %error, "requests for busy instances could not be read");
                }
            }
        }
        left
    }

    /// Looks after all that this host cannot know by itself: what others stored, what they left, what they ended.
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

    /// Callers that wait for one of these instances look into the store if it has ended.
    async fn ask_for_ends(&self, waited_for: Vec<String>) {
        for ids in waited_for.chunks(ENDS_AT_ONCE) {
            match self.shared.store.ended(ids).await {
                Ok(ended) => ended.iter().for_each(|id| self.shared.completions.look(id)),
                Err(error) => {
                    warn_unless_lost!(self.shared.store.loss, %error, "it could not be read which instances have ended");
                }
            }
        }
    }

    /// A commit of unknown outcome may have given this owner an instance that this host does not work on. With a new owner in
    /// its place it is a dead owner's, and free, as soon as the works that the former owner has under way are done; they
    /// are not disturbed. Likewise one that others may take for dead.
    async fn become_another(&mut self) {
        match self.shared.store.register().await {
            Ok(owner) => {
                self.former.push(Arc::downgrade(&self.owner));
                self.owner = Arc::new(owner);
                self.shared.set_owner(Some(self.owner.clone()));
                self.in_doubt = false;
            }
            Err(error) => {
                warn_unless_lost!(self.shared.store.loss, %error, "no new owner could be registered; it is tried again");
            }
        }
    }

    /// This one has ended, and all that have since: in a burst, more end than this loop could take one by one.
    async fn actors_ended(&mut self, gone: Gone, ended: &mut mpsc::UnboundedReceiver<Gone>) {
        let (mut requested, mut next) = (Vec::new(), Some(gone));
        while let Some(gone) = next {
            if let Some(next) = gone.parting.next {
                self.timers.add(next);
            }
            if self.actors.forget(&gone) && gone.parting.is_look_due {
                requested.push(gone.id);
            }
            next = ended.try_recv().ok(); // an error: no more for now
        }
        self.wake_all(requested).await;
        let room = if self.backlog { self.shared.room() } else { 0 };
        // A quarter free: claims come in batches, not one for each instance that ends.
        let has_room = room >= self.shared.options.concurrent_instances.div_ceil(4);
        if has_room || self.full.iter().any(|slots| slots.available_permits() > 0) {
            self.look().await;
        } else if room > 0 {
            // It may never become a quarter: what has the rest may take long.
            self.partial_look.get_or_insert(self.looked + REST);
        }
    }

    /// The store is lost: nothing that goes on here could be stored.
    fn lose(&self) {
        if let Some(error) = self.shared.store.loss.error() {
            logging::error!(%error, "the store is lost, and this host has ended; what it was doing is void");
        }
    }

    /// Lets running bodies end within the grace time, which runs. In this phase no body begins.
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
