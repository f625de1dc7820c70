use std::sync::{
    Arc, Mutex, PoisonError, RwLock, RwLockReadGuard,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use chrono::{DateTime, Utc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};
use wfe_core::{
    Result, WfeError,
    definition::{Definition, Registry},
    executor::{Env, LifecycleEvent, contradiction, lost_waits},
    limits::{later, nanos, nearest_time},
    logging,
    sync::lock,
    traits::{Loaded, OWN_NAMES, Owner, PersistenceProvider, StepCommit},
};

use crate::{
    engine::{
        channel::Channel,
        state::{
            completions::Completions,
            heartbeat::{Heartbeats, OngoingWork},
            options::Options,
            outcome::End,
            start_barrier::StartBarrier,
            unprocessed::{SweepList, Unprocessed},
            unregistered::Unregistered,
        },
        steps::{in_flight::InFlight, slots, watchdog::Watchdog},
    },
    store::StoreAccess,
};

/// Lifecycle events kept for a subscriber that is slow. One that falls further behind gets the number of those that it missed.
const LIFECYCLE_BACKLOG: usize = 4096;

/// What all parts of an engine share.
pub(in crate::engine) struct Shared {
    pub store: Arc<StoreAccess>,
    pub options: Options,
    /// The way to the dispatcher.
    pub channel: Arc<Channel>,
    pub completions: Completions,
    pub watchdog: Arc<Watchdog>,
    pub heartbeats: Arc<Heartbeats>,
    pub sweep_list: SweepList,
    pub lifecycle: broadcast::Sender<LifecycleEvent>,
    pub in_flight: Arc<InFlight>,
    pub unregistered: Unregistered,
    pub start_barrier: Arc<StartBarrier>,
    /// One permit for each body that may run.
    pub steps: Arc<Semaphore>,
    /// External tasks may be free. All who do such work in this process watch it.
    tasks: watch::Sender<()>,
    registry: RwLock<Registry>,
    owner: Mutex<Option<Arc<Owner>>>,
    instances: AtomicUsize,
    /// Instances that wait to run alone, and are not counted above.
    aside: AtomicUsize,
    /// That the clock shows a time which no store can hold was reported.
    is_clock_reported: AtomicBool,
    random: Mutex<fastrand::Rng>,
}

impl Shared {
    #[expect(clippy::disallowed_methods, reason = "without a seed, hosts must not repeat each other")]
    pub fn new(provider: Arc<dyn PersistenceProvider>, options: Options) -> Self {
        let random = options.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        Self {
            store: Arc::new(StoreAccess::new(provider)),
            channel: Arc::new(Channel::new(options.permits)),
            completions: Completions::default(),
            watchdog: Arc::new(Watchdog::new()),
            heartbeats: Arc::default(),
            sweep_list: SweepList::default(),
            lifecycle: broadcast::channel(LIFECYCLE_BACKLOG).0,
            in_flight: InFlight::new(),
            unregistered: Unregistered::default(),
            start_barrier: Arc::default(),
            steps: slots::semaphore(options.concurrent_steps),
            tasks: watch::Sender::new(()),
            registry: RwLock::default(),
            owner: Mutex::default(),
            instances: AtomicUsize::new(0),
            aside: AtomicUsize::new(0),
            is_clock_reported: AtomicBool::new(false),
            random: Mutex::new(random),
            options,
        }
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.options.clock.now()
    }

    /// Whether the clock shows a time that can be stored. If not, instances are neither claimed nor stored until it does:
    /// each of their commits would be refused. The error is logged once for each time that the clock goes astray.
    pub fn is_clock_usable(&self) -> bool {
        let now = self.now();
        match nanos("the time that the clock shows", now) {
            Ok(_) => {
                self.is_clock_reported.store(false, Ordering::Relaxed);
                true
            }
            Err(error) => {
                if !self.is_clock_reported.swap(true, Ordering::Relaxed) {
                    logging::error!(%now, %error, "no instance goes on until the clock is set right");
                }
                false
            }
        }
    }

    /// Calls `f` with what the executor takes from outside. Its time can always be stored: what an instance computes while
    /// the clock is astray must not make its next commit unstorable for good.
    pub fn with_env<T>(&self, f: impl FnOnce(&mut Env<'_>) -> T) -> T {
        let mut random = || lock(&self.random).f64();
        let definition = |id: &str, version: Option<u32>| self.find_definition(id, version);
        f(&mut Env { now: nearest_time(self.now()), random: &mut random, definition: &definition })
    }

    pub fn publish(&self, event: LifecycleEvent) {
        // It fails only if there is no subscriber.
        let _no_subscriber = self.lifecycle.send(event);
    }

    /// A commit is stored: others may have something to do at once.
    pub fn committed(&self, commit: &StepCommit) {
        if commit.subscribed.iter().any(|wait| wait.event_name.starts_with(OWN_NAMES)) {
            self.tasks_changed();
        }
        if !commit.consumed.is_empty() || !commit.published.is_empty() || !commit.unsubscribed.is_empty() {
            let taken = commit.consumed.iter().map(|consumed| &consumed.event_id);
            let published = commit.published.iter().map(|event| &event.id);
            let mut events = Unprocessed { all: !commit.unsubscribed.is_empty(), ..Unprocessed::default() };
            events.add(taken.chain(published).cloned());
            self.sweep_list.note(events);
        }
        if !commit.published.is_empty() || !commit.created.is_empty() || !commit.requested.is_empty() {
            self.channel.notify(|all| all.committed(commit));
        }
    }

    /// A commit is stored that gives these instances something to do.
    pub fn woken(&self, ids: Vec<String>) {
        if !ids.is_empty() {
            self.channel.notify(|all| all.wakes(ids));
        }
    }

    /// External workers look whether a task is free, or whether the host has stopped.
    pub fn tasks_changed(&self) {
        self.tasks.send_replace(());
    }

    pub fn watch_tasks(&self) -> watch::Receiver<()> {
        self.tasks.subscribe()
    }

    fn registry(&self) -> RwLockReadGuard<'_, Registry> {
        self.registry.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn definition(&self, id: &str, version: u32) -> Option<Definition> {
        self.registry().get(id, version).cloned()
    }

    /// Whether this instance can be run here; if not, it is left to others, and that is logged.
    pub fn is_registered(&self, definition: &str, version: u32, instance: &str) -> bool {
        let is_registered = self.definition(definition, version).is_some();
        if !is_registered {
            self.unregistered.report(definition, version, instance);
        }
        is_registered
    }

    /// The definition of this id and version, or (`None`) of its newest version.
    pub fn find_definition(&self, id: &str, version: Option<u32>) -> Option<Definition> {
        self.registry().find(id, version).cloned()
    }

    pub fn register(&self, definition: Definition) -> Result<()> {
        self.registry.write().unwrap_or_else(PoisonError::into_inner).register(definition)
    }

    pub fn definitions(&self) -> Vec<(String, u32)> {
        self.registry().keys()
    }

    /// An instance as it is stored, if that can be: for the engine.
    pub async fn read(&self, id: &str) -> Result<Loaded> {
        self.checked(self.store.load(id).await?).await
    }

    /// As [`read`](Self::read), for the program.
    pub async fn inspect(&self, id: &str) -> Result<Loaded> {
        self.checked(self.store.inspect(id).await?).await
    }

    async fn checked(&self, loaded: Loaded) -> Result<Loaded> {
        if let Some(error) = self.contradiction(&loaded) {
            return Err(error);
        }
        let lost = lost_waits(&loaded);
        if !lost.is_empty() {
            self.store.check_closed_waits(&loaded.instance.id, &lost).await?;
        }
        Ok(loaded)
    }

    /// Whether what was loaded can be, without a further look at the store.
    pub fn is_sound(&self, loaded: &Loaded) -> bool {
        self.contradiction(loaded).is_none() && lost_waits(loaded).is_empty()
    }

    fn contradiction(&self, loaded: &Loaded) -> Option<WfeError> {
        let instance = &loaded.instance;
        let definition = self.definition(&instance.workflow_definition_id, instance.version);
        contradiction(loaded, definition.as_ref())
    }

    /// Who this host is to the store, while it runs.
    pub fn owner(&self) -> Option<Arc<Owner>> {
        lock(&self.owner).clone()
    }

    pub fn set_owner(&self, owner: Option<Arc<Owner>>) {
        *lock(&self.owner) = owner;
    }

    /// Up to which time instances are claimed before they are due; `None`: none are.
    pub fn ahead(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let ahead = self.options.claim_ahead;
        (!ahead.is_zero()).then(|| later(now, ahead))
    }

    /// How many more instances may be held in memory.
    pub fn room(&self) -> usize {
        self.options.concurrent_instances.saturating_sub(self.instances.load(Ordering::Relaxed))
    }

    /// Whether this host works on any instance.
    pub fn is_at_work(&self) -> bool {
        self.instances.load(Ordering::Relaxed) > 0
    }

    /// Marks that this host, as `owner`, works on the instance, until that is dropped. `slot` is
    /// one of those of its definition, if these are limited.
    pub fn begin(
        self: &Arc<Self>,
        id: &str,
        owner: Arc<Owner>,
        slot: Option<OwnedSemaphorePermit>,
    ) -> AtWork {
        self.instances.fetch_add(1, Ordering::Relaxed);
        self.completions.begin(id);
        let ongoing = self.heartbeats.begin(owner);
        AtWork { shared: self.clone(), id: id.to_owned(), end: None, ongoing, _slot: slot }
    }
}

/// This host works on an instance. Dropped, it does so no longer, and the callers that wait for the instance's end get it
/// if it came.
pub(in crate::engine) struct AtWork {
    shared: Arc<Shared>,
    pub id: String,
    pub end: Option<End>,
    /// Keeps the owner alive, too: what it owns is no other host's as long as this one works on it.
    pub ongoing: OngoingWork,
    _slot: Option<OwnedSemaphorePermit>,
}

impl AtWork {
    /// Until it is dropped, the instance waits to run alone, and leaves its room in memory to others: as many as there is
    /// room for at all, so that this too has a bound.
    pub fn step_aside(&self) -> Aside {
        let (shared, limit) = (&self.shared, self.shared.options.concurrent_instances);
        let one_more = |aside| (aside < limit).then_some(aside + 1);
        let steps = shared.aside.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok();
        if steps {
            shared.instances.fetch_sub(1, Ordering::Relaxed);
        }
        shared.in_flight.set_aside(&self.id, true);
        Aside { shared: shared.clone(), id: self.id.clone(), leaves_room: steps }
    }
}

/// An instance waits to run alone.
pub(in crate::engine) struct Aside {
    shared: Arc<Shared>,
    id: String,
    leaves_room: bool,
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.shared.in_flight.set_aside(&self.id, false);
        if self.leaves_room {
            self.shared.aside.fetch_sub(1, Ordering::Relaxed);
            self.shared.instances.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.shared.instances.fetch_sub(1, Ordering::Relaxed);
        self.shared.completions.finish(&self.id, self.end.take());
    }
}
