use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use chrono::DateTime;
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot, watch},
};
use wfe_core::{
    Result,
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
                "the engine panicked at this instance, which stands still until the next start"
            );
        }
        // It fails only if the dispatcher has ended.
        let _over =
            self.gone.send(Gone { id: std::mem::take(&mut self.id), number: self.number, next: self.next });
    }
}

/// The engine's main loop.
pub(super) async fn run(
    shared: Arc<Shared>,
    owner: Arc<Owner>,
    mut commands: mpsc::UnboundedReceiver<Command>,
    steps: Handle,
) {
    let (phase, phases) = watch::channel(Phase::Running);
    let (gone, mut ended) = mpsc::unbounded_channel();
    let watchdog = shared.watchdog.clone();
    tokio::spawn(async move { watchdog.run().await });
    let bodies = Bodies { shared: shared.clone(), runtime: steps, phase: phases };
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
    };
    this.look_and_refill().await;
    this.report_unregistered().await;
    let clock = shared.options.clock.clone();
    let poll = shared.options.poll_interval;
    let mut next_poll = shared.after(poll);
    loop {
        let timer = this.timers.next().map(|at| {
            // Out of the calendar: never. The poll looks after it.
            DateTime::from_timestamp_millis(at).unwrap_or(DateTime::<chrono::Utc>::MAX_UTC)
        });
        let wake = timer.map_or(next_poll, |at| at.min(next_poll));
        tokio::select! {
            command = commands.recv() => match command {
                None => return shared.set_owner(None), // the host was dropped: as if the process had died
                Some(Command::Stop(answer)) => return this.stop(ended, answer).await,
                Some(command) => this.command(command).await,
            },
            Some(gone) = ended.recv() => this.actor_ended(gone).await,
            () = clock.sleep_until(wake) => {
                let (due, refill) = this.timers.take_due(shared.now().timestamp_millis());
                let poll_now = shared.now() >= next_poll;
                if refill || (poll_now && this.unread) {
                    this.look_and_refill().await;
                } else if due || poll_now {
                    this.look().await;
                }
                if poll_now {
                    next_poll = shared.after(poll);
                }
            }
        }
    }
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
            Command::Stop(answer) => drop(answer), // the main loop takes it before
        }
    }

    fn begin(&mut self, claimed: Claimed, loaded: Option<Loaded>, work: AtWork) {
        self.made += 1;
        let (mail, box_) = mpsc::unbounded_channel();
        let (id, number) = (claimed.id.clone(), self.made);
        let actor = Actor::new(self.shared.clone(), self.bodies.clone(), claimed, work, mail.clone(), box_);
        let farewell = Farewell { gone: self.gone.clone(), id: id.clone(), number, next: None };
        // An actor of the same id that is still there has given the instance back already; its number tells it apart.
        self.actors.insert(id.clone(), Entry { number, mail, told: false });
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
            Err(error) => tracing::warn!(instance = id, %error, "the instance could not be acquired"),
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
        let work = self.shared.begin(&claimed.id);
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
    async fn stop(mut self, mut ended: mpsc::UnboundedReceiver<Gone>, answer: oneshot::Sender<()>) {
        self.phase.send_replace(Phase::Draining);
        let clock = self.shared.options.clock.clone();
        let deadline = self.shared.after(self.shared.options.grace);
        let mut grace = Some(clock.sleep_until(deadline));
        while !self.actors.is_empty() {
            tokio::select! {
                Some(gone) = ended.recv() => {
                    if self.actors.get(&gone.id).is_some_and(|entry| entry.number == gone.number) {
                        self.actors.remove(&gone.id);
                    }
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
