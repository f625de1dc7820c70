use std::sync::{
    Arc, Mutex, PoisonError, RwLock, RwLockReadGuard,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use chrono::{DateTime, Utc};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, broadcast, watch};
use wfe_core::{
    Result, WfeError,
    definition::{AnyDefinition, Registry},
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
            host_card::OfCard,
            options::Options,
            outcome::End,
            start_barrier::StartBarrier,
            unprocessed::{SweepList, Unprocessed},
            unregistered::Unregistered,
        },
        steps::{in_flight::InFlight, middleware::Reports, slots, watchdog::Watchdog},
    },
    store::StoreAccess,
};

/// How many lifecycle events are kept for a slow subscriber. A subscriber that falls further behind gets the number of
/// events that it has missed.
const LIFECYCLE_BACKLOG: usize = 4096;

/// The state that all parts of an engine share.
pub(in crate::engine) struct Shared {
    pub store: Arc<StoreAccess>,
    pub options: Options,
    /// The channel to the dispatcher.
    pub channel: Arc<Channel>,
    pub completions: Completions,
    pub watchdog: Arc<Watchdog>,
    pub heartbeats: Arc<Heartbeats>,
    pub sweep_list: SweepList,
    pub of_card: OfCard,
    pub lifecycle: broadcast::Sender<LifecycleEvent>,
    pub in_flight: Arc<InFlight>,
    pub unregistered: Unregistered,
    pub start_barrier: Arc<StartBarrier>,
    /// The ends of instances for which the middleware has not returned yet.
    pub reports: Arc<Reports>,
    /// One permit for each body that may run.
    pub steps: Arc<Semaphore>,
    /// Changes when external tasks may be available. All external workers of this process watch it.
    tasks: watch::Sender<()>,
    registry: RwLock<Registry>,
    /// Notified when a definition was registered whose outline may be new.
    pub registered: Notify,
    owner: Mutex<Option<Arc<Owner>>>,
    instances: AtomicUsize,
    /// The number of instances that wait to run alone. The counter `instances` does not include these instances.
    aside: AtomicUsize,
    /// Whether the log already reports that a caller waits for the end of an instance although no host runs.
    pub is_hostless_reported: AtomicBool,
    /// Whether the log already reports that the clock shows a time that no store can hold.
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
            of_card: OfCard::default(),
            lifecycle: broadcast::channel(LIFECYCLE_BACKLOG).0,
            in_flight: InFlight::new(),
            unregistered: Unregistered::default(),
            start_barrier: Arc::default(),
            steps: slots::semaphore(options.concurrent_steps),
            tasks: watch::Sender::new(()),
            registry: RwLock::default(),
            registered: Notify::new(),
            owner: Mutex::default(),
            reports: Arc::default(),
            instances: AtomicUsize::new(0),
            aside: AtomicUsize::new(0),
            is_hostless_reported: AtomicBool::new(false),
            is_clock_reported: AtomicBool::new(false),
            random: Mutex::new(random),
            options,
        }
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.options.clock.now()
    }

    /// Whether the clock shows a time that can be stored. If not, instances are neither claimed nor stored until the
    /// clock is corrected, because each of their commits would be refused. The error is logged once for each period in
    /// which the clock is wrong.
    pub fn is_clock_usable(&self) -> bool {
        let now = self.now();
        match nanos("the time that the clock shows", now) {
            Ok(_) => {
                self.is_clock_reported.store(false, Ordering::Relaxed);
                true
            }
            Err(error) => {
                if !self.is_clock_reported.swap(true, Ordering::Relaxed) {
                    logging::error!(%now, %error, "no instance continues until the clock is corrected");
                }
                false
            }
        }
    }

    /// Calls `f` with the environment of the executor: the time, random numbers and definitions. The time in the
    /// environment is always a time that can be stored. Otherwise an instance could compute a value from a wrong time,
    /// and no commit of the instance could be stored any more.
    pub fn with_env<T>(&self, f: impl FnOnce(&mut Env<'_>) -> T) -> T {
        let mut random = || lock(&self.random).f64();
        let definition = |id: &str, version: Option<u32>| self.find_definition(id, version);
        f(&mut Env { now: nearest_time(self.now()), random: &mut random, definition: &definition })
    }

    /// Whether anyone receives lifecycle events at the moment. If not, they need not be made.
    pub fn has_subscribers(&self) -> bool {
        self.lifecycle.receiver_count() > 0
    }

    pub fn publish(&self, event: LifecycleEvent) {
        // Sending fails only if there is no subscriber.
        let _no_subscriber = self.lifecycle.send(event);
    }

    /// Notifies other parts of the engine of a stored commit that may give them something to do.
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

    /// Notifies these instances of a stored commit that gives them something to do.
    pub fn woken(&self, ids: Vec<String>) {
        if !ids.is_empty() {
            self.channel.notify(|all| all.wakes(ids));
        }
    }

    /// Notifies external workers that a task may be available, or that the host has stopped.
    pub fn tasks_changed(&self) {
        self.tasks.send_replace(());
    }

    pub fn watch_tasks(&self) -> watch::Receiver<()> {
        self.tasks.subscribe()
    }

    fn registry(&self) -> RwLockReadGuard<'_, Registry> {
        self.registry.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn definition(&self, id: &str, version: u32) -> Option<AnyDefinition> {
        self.registry().get(id, version).cloned()
    }

    /// Whether this host can run the instance. If it cannot, this is logged, and the instance is left to other hosts.
    pub fn is_registered(&self, definition: &str, version: u32, instance: &str) -> bool {
        let is_registered = self.definition(definition, version).is_some();
        if !is_registered {
            self.unregistered.report(definition, version, instance);
        }
        is_registered
    }

    /// Returns the definition with this id and version. If `version` is `None`, returns the newest version of the
    /// definition.
    pub fn find_definition(&self, id: &str, version: Option<u32>) -> Option<AnyDefinition> {
        self.registry().find(id, version).cloned()
    }

    pub fn register(&self, definition: AnyDefinition) -> Result<()> {
        self.registry.write().unwrap_or_else(PoisonError::into_inner).register(definition)?;
        self.registered.notify_one();
        Ok(())
    }

    pub fn definitions(&self) -> Vec<(String, u32)> {
        self.registry().keys()
    }

    /// Reads an instance for the engine, and checks that its stored state is consistent.
    pub async fn read(&self, id: &str) -> Result<Loaded> {
        self.checked(self.store.load(id).await?).await
    }

    /// Reads and checks an instance as [`read`](Self::read) does, but for a call of the program.
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

    /// Whether the loaded state is consistent, as far as this can be decided without reading the store again.
    pub fn is_sound(&self, loaded: &Loaded) -> bool {
        self.contradiction(loaded).is_none() && lost_waits(loaded).is_empty()
    }

    fn contradiction(&self, loaded: &Loaded) -> Option<WfeError> {
        let instance = &loaded.instance;
        let definition = self.definition(&instance.workflow_definition_id, instance.version);
        contradiction(loaded, definition.as_ref())
    }

    /// The owner that represents this host at the store. `None` means that the host does not run.
    pub fn owner(&self) -> Option<Arc<Owner>> {
        lock(&self.owner).clone()
    }

    pub fn set_owner(&self, owner: Option<Arc<Owner>>) {
        *lock(&self.owner) = owner;
    }

    /// Returns the latest due time of the instances that are claimed ahead at `now`. Returns `None` if instances are
    /// not claimed ahead.
    pub fn ahead(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let ahead = self.options.claim_ahead;
        (!ahead.is_zero()).then(|| later(now, ahead))
    }

    /// How many more instances may be held in memory.
    pub fn room(&self) -> usize {
        self.options.concurrent_instances.saturating_sub(self.instances.load(Ordering::Relaxed))
    }

    /// How many instances are in memory, including those that wait to run alone.
    pub fn in_memory(&self) -> usize {
        self.instances.load(Ordering::Relaxed) + self.aside.load(Ordering::Relaxed)
    }

    /// Whether this host works on any instance.
    pub fn is_at_work(&self) -> bool {
        self.instances.load(Ordering::Relaxed) > 0
    }

    /// Records that this host, as `owner`, works on the instance until the returned guard is dropped. `slot` is a slot
    /// of the instance's definition, if the number of its instances is limited.
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

/// Records that this host works on an instance. When this guard is dropped, the host no longer works on the instance.
/// The callers that wait for the end of the instance then get the end, if the instance has ended.
pub(in crate::engine) struct AtWork {
    shared: Arc<Shared>,
    pub id: String,
    pub end: Option<End>,
    /// Also keeps the owner registered, so that no other host takes over the owner's instances while this host works on
    /// this instance.
    pub ongoing: OngoingWork,
    _slot: Option<OwnedSemaphorePermit>,
}

impl AtWork {
    /// Records that the instance waits to run alone until the returned guard is dropped. Meanwhile, other instances can
    /// use its capacity in memory. The number of instances that wait in this way is limited to the total capacity.
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

/// Records that an instance waits to run alone.
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
