use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Weak},
    time::Duration,
};

use chrono::DateTime;
use futures_util::{StreamExt, stream::BoxStream};
use tokio::{
    runtime::Handle,
    sync::{Notify, mpsc, oneshot, watch},
};
use wfe_core::{
    Result, WfeError,
    traits::{Claimed, Loaded, Owner},
};

use super::{Begin, Command, Mail, Phase, actor::Actor};
use crate::{
    bodies::Bodies,
    shared::{AtWork, Shared},
    timers::Timers,
};

/// Due times read from the store at once: enough for minutes of a busy store, little enough to hold.
const TIMERS_AT_ONCE: usize = 1024;
/// Instances claimed at once: their loads overlap, and the store's writer is not held for long.
const CLAIMS_AT_ONCE: usize = 128;
/// After a look at what others stored, the next one has to wait so long: one that stores without pause costs this host
/// twenty looks a second, and nothing is seen later than well under 100 ms. Real time: others know of no virtual one.
const REST: Duration = Duration::from_millis(50);
/// Instances asked after at once, when others wait here for ends of instances that run elsewhere.
const ENDS_AT_ONCE: usize = 1024;
/// Due instances looked at for definitions that are not registered, when the host starts.
const UNREGISTERED_LOOKS: usize = 256;

/// Which instances are at work, and when to look at others.
struct Dispatcher {
    shared: Arc<Shared>,
    owner: Arc<Owner>,
    bodies: Bodies,
    phase: watch::Sender<Phase>,
    gone: mpsc::UnboundedSender<Gone>,
    actors: HashMap<String, Entry>,
    made: u64,
    timers: Timers,
    /// Something is or may be due, but there was no room for it.
    backlog: bool,
    /// Due times could not be read.
    unread: bool,
    /// The store may have given this owner something that nobody here knows of.
    in_doubt: bool,
    /// Owners that this host was before, as long as something is under way of theirs.
    former: Vec<Weak<Owner>>,
}

struct Entry {
    number: u64,
    mail: mpsc::UnboundedSender<Mail>,
    /// It was told to look, and may have ended without doing so.
    told: bool,
}

/// An actor has ended.
pub(super) struct Gone {
    pub id: String,
    pub number: u64,
    /// When to look at the instance again.
    pub next: Option<i64>,
}

/// Tells that an actor has ended, however it ended.
struct Farewell {
    gone: mpsc::UnboundedSender<Gone>,
    id: String,
    number: u64,
    next: Option<i64>,
}

impl Farewell {
    fn say(mut self, next: Option<i64>) {
        self.next = next;
    }
}

impl Drop for Farewell {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(
                instance = self.id,
                "the engine panicked at this instance, which stands still until another host takes it over, or the next start"
            );
        }
        // It fails only if the dispatcher has ended.
        let _over =
            self.gone.send(Gone { id: std::mem::take(&mut self.id), number: self.number, next: self.next });
    }
}

/// The engine has ended, by whatever way: nobody waits for it any longer.
struct LastWord(Arc<Shared>);

impl Drop for LastWord {
    fn drop(&mut self) {
        self.0.set_owner(None);
        self.0.waiters.close();
    }
}

/// The engine's main loop.
pub(super) async fn run(
    shared: Arc<Shared>,
    owner: Arc<Owner>,
    mut commands: mpsc::UnboundedReceiver<Command>,
    phase: watch::Sender<Phase>,
    steps: Handle,
) {
    let (gone, mut ended) = mpsc::unbounded_channel();
    let watchdog = shared.watchdog.clone();
    tokio::spawn(async move { watchdog.run().await });
    let bodies = Bodies { shared: shared.clone(), runtime: steps, phase: phase.subscribe() };
    let mut this = Dispatcher {
        shared: shared.clone(),
        owner,
        bodies,
        phase,
        gone,
        actors: HashMap::new(),
        made: 0,
        timers: Timers::default(),
        backlog: false,
        unread: false,
        in_doubt: false,
        former: Vec::new(),
    };
    let _farewell = LastWord(shared.clone());
    let clock = shared.options.clock.clone();
    let interval = shared.options.poll_interval;
    if let Some(lease) = this.owner.lease() {
        let (heart, clock, store) = (shared.heart.clone(), clock.clone(), shared.store.clone());
        tokio::spawn(async move { heart.run(lease, &*clock, &*store).await });
    }
    // From before the first look: what comes after it is told.
    let news = listen(shared.store.news());
    this.look_and_refill().await;
    this.report_unregistered().await;
    let mut poll = clock.sleep(interval);
    loop {
        // Out of the calendar, or none: never. The poll looks after it.
        let timer = this.timers.next().and_then(DateTime::from_timestamp_millis);
        tokio::select! {
            command = commands.recv() => match command {
                None => return, // the host was dropped: as if the process had died
                Some(Command::Stop(answer)) => return this.stop(ended, answer, &news).await,
                Some(command) => this.command(command).await,
            },
            Some(gone) = ended.recv() => this.actor_ended(gone).await,
            () = async { clock.sleep_until(timer.unwrap_or_default()).await }, if timer.is_some() => {
                this.timers_are_due().await;
            }
            () = news.notified() => {
                // Taken before: what becomes due while this host looks is in neither answer otherwise.
                let before = shared.now();
                this.attend().await;
                this.peek_at_timers(before).await;
            }
            () = &mut poll => {
                this.attend().await;
                // Also those that this host works on: another one may have taken one over and ended it.
                this.ask_for_ends(shared.waiters.all()).await;
                poll = clock.sleep(interval);
            }
        }
    }
}

/// Tells of what others stored, in a task of its own, so that listening costs the main loop nothing.
fn listen(mut news: BoxStream<'static, ()>) -> Arc<Notify> {
    let heard = Arc::new(Notify::new());
    let tell = heard.clone();
    tokio::spawn(async move {
        while let Some(()) = news.next().await {
            tell.notify_one();
            tokio::time::sleep(REST).await;
        }
    });
    heard
}

impl Dispatcher {
    async fn command(&mut self, command: Command) {
        match command {
            Command::Run(begin) => {
                let Begin { claimed, loaded, work } = *begin;
                self.begin(claimed, Some(loaded), work);
            }
            Command::Wake(id) => self.wake(&id).await,
            Command::Look => self.look().await,
            Command::Registered => self.look_and_refill().await,
            Command::Doubt => self.in_doubt = true,
            Command::Stop(answer) => drop(answer), // the main loop takes it before
        }
    }

    async fn timers_are_due(&mut self) {
        let (due, refill) = self.timers.take_due(self.shared.now().timestamp_millis());
        if refill {
            self.look_and_refill().await;
        } else if due {
            let before = self.shared.now();
            self.look().await;
            self.peek_at_timers(before).await;
        }
    }

    /// Looks after all that this host cannot know by itself: what others stored, what they left, what they ended.
    async fn attend(&mut self) {
        if self.in_doubt {
            self.become_another().await;
        }
        self.ask_for_requests().await;
        if self.unread {
            self.look_and_refill().await;
        } else {
            self.look().await;
        }
        self.ask_for_ends(self.shared.waiters.elsewhere()).await;
    }

    /// Tells busy instances what somebody outside wants of them.
    async fn ask_for_requests(&mut self) {
        if self.actors.is_empty() {
            return;
        }
        self.former.retain(|owner| owner.strong_count() > 0);
        let former: Vec<_> = self.former.iter().filter_map(Weak::upgrade).collect();
        for owner in former.iter().chain([&self.owner.clone()]) {
            match self.shared.store.asked_of(owner).await {
                Ok(ids) => {
                    for id in ids {
                        self.wake(&id).await;
                    }
                }
                // The next poll asks again, here and below.
                Err(error) => tracing::warn!(%error, "requests for busy instances could not be read"),
            }
        }
    }

    /// Whoever waits for one of these instances that has ended is told to look.
    async fn ask_for_ends(&self, waited_for: Vec<String>) {
        for ids in waited_for.chunks(ENDS_AT_ONCE) {
            match self.shared.store.ended(ids).await {
                Ok(ended) => ended.iter().for_each(|id| self.shared.waiters.nudge(id)),
                Err(error) => tracing::warn!(%error, "it could not be read which instances have ended"),
            }
        }
    }

    /// A commit of unknown outcome may have given this owner an instance that nobody here works on. With a new owner in
    /// its place it is a dead owner's, and free, as soon as the works that the former owner has under way are done; they
    /// are not disturbed.
    async fn become_another(&mut self) {
        match self.shared.store.enlist().await {
            Ok(owner) => {
                self.former.push(Arc::downgrade(&self.owner));
                self.owner = Arc::new(owner);
                self.shared.set_owner(Some(self.owner.clone()));
                self.in_doubt = false;
            }
            Err(error) => {
                tracing::warn!(%error, "no new owner could be enlisted after a commit of unknown outcome");
            }
        }
    }

    fn begin(&mut self, claimed: Claimed, loaded: Option<Loaded>, work: AtWork) {
        self.made += 1;
        let (mail, box_) = mpsc::unbounded_channel();
        let (id, number) = (claimed.id.clone(), self.made);
        let actor = Actor::new(self.shared.clone(), self.bodies.clone(), claimed, work, mail.clone(), box_);
        let farewell = Farewell { gone: self.gone.clone(), id: id.clone(), number, next: None };
        // An actor of the same id that is still there has given the instance back, or another process took it away; then
        // it looks, and ends. Its number tells it apart.
        if let Some(before) = self.actors.insert(id.clone(), Entry { number, mail, told: false }) {
            // It fails only if that one has ended.
            let _ended = before.mail.send(Mail::Look);
        }
        tokio::spawn(async move {
            let next = actor.live(loaded).await;
            farewell.say(next);
        });
    }

    async fn actor_ended(&mut self, gone: Gone) {
        if let Some(next) = gone.next {
            self.timers.add(next);
        }
        if self.actors.get(&gone.id).is_some_and(|entry| entry.number == gone.number) {
            let told = self.actors.remove(&gone.id).is_some_and(|entry| entry.told);
            if told {
                self.wake(&gone.id).await;
            }
        }
        // A quarter free: claims come in batches, not one for each instance that ends.
        if self.backlog && self.shared.room() * 4 >= self.shared.options.concurrent_instances {
            self.look().await;
        }
    }

    /// Somebody asked something of an instance: its actor looks, or it is acquired.
    async fn wake(&mut self, id: &str) {
        if let Some(entry) = self.actors.get_mut(id)
            && entry.mail.send(Mail::Look).is_ok()
        {
            entry.told = true;
            return;
        }
        match self.acquire(id).await {
            Ok(None) => {}
            Ok(Some(claimed)) => self.begin_claimed(claimed).await,
            // The poll looks again.
            Err(error) => {
                self.in_doubt |= matches!(error, WfeError::CommitUnknown { .. });
                tracing::warn!(instance = id, %error, "the instance could not be acquired");
            }
        }
    }

    /// Makes the instance ours, if nobody has it and its definition is registered here; others are left to hosts that
    /// have it.
    async fn acquire(&self, id: &str) -> Result<Option<Claimed>> {
        let loaded = self.shared.store.load(id).await?;
        let instance = loaded.instance;
        if self.shared.definition(&instance.workflow_definition_id, instance.version).is_none() {
            return Ok(None);
        }
        self.shared.store.acquire(&self.owner, id, self.shared.now()).await
    }

    /// Claims what is due, as far as there is room.
    async fn look(&mut self) {
        if let Err(error) = self.claim().await {
            // The poll looks again.
            self.backlog = true;
            self.in_doubt |= matches!(error, WfeError::CommitUnknown { .. });
            tracing::warn!(%error, "due instances could not be claimed");
        }
    }

    async fn claim(&mut self) -> Result<()> {
        let definitions = self.shared.definitions();
        if definitions.is_empty() {
            return Ok(());
        }
        loop {
            let limit = self.shared.room().min(CLAIMS_AT_ONCE);
            self.backlog = limit == 0;
            if limit == 0 {
                return Ok(());
            }
            let now = self.shared.now();
            let claimed = self.shared.store.claim(&self.owner, &definitions, now, limit).await?;
            let more = claimed.len() == limit;
            for claimed in claimed {
                self.begin_claimed(claimed).await;
            }
            if !more {
                return Ok(());
            }
        }
    }

    async fn begin_claimed(&mut self, claimed: Claimed) {
        let work = self.shared.begin(&claimed.id, self.owner.clone());
        self.begin(claimed, None, work);
        // Its actor may begin before the next one is made.
        tokio::task::yield_now().await;
    }

    /// Claims what is due, and reads what becomes due later. *Later* is after the time at which the claim began: what
    /// becomes due meanwhile would be missed by both.
    async fn look_and_refill(&mut self) {
        let before = self.shared.now();
        self.look().await;
        self.refill_timers(before).await;
    }

    /// Hears of the next due time after `after`, which another process may have stored. What comes after it is asked for
    /// when it has come: so the store's next time is always known here.
    async fn peek_at_timers(&mut self, after: DateTime<chrono::Utc>) {
        let definitions = self.shared.definitions();
        if definitions.is_empty() {
            return;
        }
        match self.shared.store.upcoming(&definitions, after, 1).await {
            Ok(times) => times.into_iter().for_each(|(at, _)| self.timers.add(at)),
            Err(error) => {
                self.unread = true;
                tracing::warn!(%error, "the next due time could not be read");
            }
        }
    }

    async fn refill_timers(&mut self, after: DateTime<chrono::Utc>) {
        self.unread = false;
        let definitions = self.shared.definitions();
        if definitions.is_empty() {
            return;
        }
        match self.shared.store.upcoming(&definitions, after, TIMERS_AT_ONCE).await {
            Ok(times) => {
                let more = times.len() == TIMERS_AT_ONCE;
                self.timers.refill(times.into_iter().map(|(at, _)| at), more);
            }
            Err(error) => {
                // Until the poll has read them, it alone finds what becomes due.
                self.unread = true;
                self.timers.refill([], false);
                tracing::warn!(%error, "due times could not be read");
            }
        }
    }

    /// Tells, once for each, which definitions due instances need that are not registered here.
    async fn report_unregistered(&self) {
        let provider = &self.shared.provider;
        let due = match provider.get_runnable_instances(self.shared.now()).await {
            Ok(mut due) => {
                due.retain(|id| !self.actors.contains_key(id));
                due.truncate(UNREGISTERED_LOOKS);
                due
            }
            Err(error) => return tracing::warn!(%error, "due instances could not be listed"),
        };
        if due.is_empty() {
            return;
        }
        let instances = match provider.get_workflow_instances(&due).await {
            Ok(instances) => instances,
            Err(error) => return tracing::warn!(%error, "due instances could not be read"),
        };
        let mut reported = HashSet::new();
        for instance in instances {
            let (definition, version) = (instance.workflow_definition_id, instance.version);
            if self.shared.definition(&definition, version).is_none()
                && reported.insert((definition.clone(), version))
            {
                tracing::warn!(
                    definition,
                    version,
                    instance = instance.id,
                    "instances wait for a definition that is not registered with this host"
                );
            }
        }
    }

    /// Lets running bodies end within the grace time.
    async fn stop(
        mut self,
        mut ended: mpsc::UnboundedReceiver<Gone>,
        answer: oneshot::Sender<()>,
        news: &Notify,
    ) {
        // The phase is that of draining already: whoever sent the command saw to it, so that nothing begins meanwhile.
        let clock = self.shared.options.clock.clone();
        let mut grace = Some(clock.sleep(self.shared.options.grace));
        while !self.actors.is_empty() {
            tokio::select! {
                Some(gone) = ended.recv() => {
                    if self.actors.get(&gone.id).is_some_and(|entry| entry.number == gone.number) {
                        self.actors.remove(&gone.id);
                    }
                }
                () = news.notified() => {
                    self.ask_for_requests().await;
                    self.ask_for_ends(self.shared.waiters.elsewhere()).await;
                }
                () = async { if let Some(grace) = &mut grace { grace.await } }, if grace.is_some() => {
                    grace = None;
                    tracing::warn!(instances = self.actors.len(), "the grace time is over; steps still run");
                    self.phase.send_replace(Phase::Closing);
                }
            }
        }
        self.shared.set_owner(None);
        drop(self.owner);
        self.shared.waiters.close();
        // It fails only if whoever asked has gone away.
        let _unheard = answer.send(());
    }
}
