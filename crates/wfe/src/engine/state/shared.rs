use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, RwLock,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use chrono::{DateTime, Utc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use wfe_core::{
    CorruptValues, Result, WfeError,
    definition::{Definition, Registry},
    executor::{Env, LifecycleEvent, contradiction, lost_waits},
    limits::{later, nanos, nearest_time},
    logging,
    traits::{Loaded, Owner, PersistenceProvider, StepStore},
};

use crate::{
    engine::{
        state::{
            claim_count::Claims,
            completions::Waiters,
            heartbeat::{Beating, Heart},
            notifications::Post,
            options::Options,
            start_barrier::Births,
            unregistered::Missing,
        },
        steps::{in_flight::AtHand, slots, watchdog::Watchdog},
    },
    store::{EngineStore, Guarantees, loss::Loss},
};

/// Lifecycle events kept for a subscriber that is slow. One that falls further behind is told how many it missed.
const LIFECYCLE_BACKLOG: usize = 4096;

/// What all parts of a host share.
pub(crate) struct Shared {
    pub provider: Arc<dyn PersistenceProvider>,
    pub store: Arc<dyn StepStore>,
    pub loss: Arc<Loss>,
    pub guarantees: Guarantees,
    pub options: Options,
    pub waiters: Waiters,
    pub watchdog: Arc<Watchdog>,
    pub heart: Arc<Heart>,
    pub post: Post,
    pub lifecycle: broadcast::Sender<LifecycleEvent>,
    pub at_hand: Arc<AtHand>,
    pub missing: Missing,
    corrupt: CorruptValues,
    pub births: Arc<Births>,
    pub claims: Arc<Claims>,
    /// One permit for each body that may run.
    pub steps: Arc<Semaphore>,
    registry: RwLock<Registry>,
    owner: Mutex<Option<Arc<Owner>>>,
    instances: AtomicUsize,
    /// Instances that wait for their turn, and are not counted above.
    aside: AtomicUsize,
    /// That the clock shows a time which no store can hold was reported.
    is_clock_reported: AtomicBool,
    random: Mutex<fastrand::Rng>,
}

impl Shared {
    #[expect(clippy::disallowed_methods, reason = "without a seed, hosts must not repeat each other")]
    pub fn new(provider: Arc<dyn PersistenceProvider>, options: Options) -> Self {
        let loss = Arc::<Loss>::default();
        let (store, guarantees) = EngineStore::new(provider.clone(), loss.clone());
        let random = options.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        Self {
            provider,
            store: Arc::new(store),
            loss,
            guarantees,
            waiters: Waiters::default(),
            watchdog: Arc::new(Watchdog::new()),
            heart: Arc::default(),
            post: Post::default(),
            lifecycle: broadcast::channel(LIFECYCLE_BACKLOG).0,
            at_hand: AtHand::new(),
            missing: Missing::default(),
            corrupt: CorruptValues::default(),
            births: Arc::default(),
            claims: Arc::default(),
            steps: slots::semaphore(options.concurrent_steps),
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
        // It fails only if nobody listens.
        let _unheard = self.lifecycle.send(event);
    }

    pub fn definition(&self, id: &str, version: u32) -> Option<Definition> {
        self.registry.read().unwrap_or_else(PoisonError::into_inner).get(id, version).cloned()
    }

    /// Whether this instance can be run here; if not, it is left to others, and that is told.
    pub fn is_registered(&self, definition: &str, version: u32, instance: &str) -> bool {
        let is_registered = self.definition(definition, version).is_some();
        if !is_registered {
            self.missing.tell(definition, version, instance);
        }
        is_registered
    }

    /// The definition of this id and version, or (`None`) of its newest version.
    pub fn find_definition(&self, id: &str, version: Option<u32>) -> Option<Definition> {
        self.registry.read().unwrap_or_else(PoisonError::into_inner).find(id, version).cloned()
    }

    pub fn register(&self, definition: Definition) -> Result<()> {
        self.registry.write().unwrap_or_else(PoisonError::into_inner).register(definition)
    }

    pub fn definitions(&self) -> Vec<(String, u32)> {
        self.registry.read().unwrap_or_else(PoisonError::into_inner).keys()
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

    /// One of many rows; `None`: it does not decode, and was reported, once.
    pub fn sound<T>(&self, row: Result<T>) -> Result<Option<T>> {
        match row {
            Ok(row) => Ok(Some(row)),
            Err(error @ WfeError::Corrupt { .. }) => {
                if self.corrupt.is_new(&error) {
                    logging::error!(%error, "a stored row does not decode; it is left out");
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
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

    /// Marks that this host, as `owner`, works on the instance, until it is dropped or told how the work ended. `place` is
    /// one of those of its definition, if these are limited.
    pub fn begin(
        self: &Arc<Self>,
        id: &str,
        owner: Arc<Owner>,
        place: Option<OwnedSemaphorePermit>,
    ) -> AtWork {
        self.instances.fetch_add(1, Ordering::Relaxed);
        self.waiters.begin(id);
        let beating = self.heart.begin(owner);
        AtWork { shared: self.clone(), id: id.to_owned(), end: None, beating, _place: place }
    }
}

/// This host works on an instance. Dropped, it does so no longer, and whoever waits for the instance's end is told if
/// it came.
pub(crate) struct AtWork {
    shared: Arc<Shared>,
    pub id: String,
    pub end: Option<crate::engine::state::outcome::End>,
    /// Keeps the owner alive, too: what it owns is nobody else's as long as this host works on it.
    pub beating: Beating,
    _place: Option<OwnedSemaphorePermit>,
}

impl AtWork {
    /// Until it is dropped, the instance waits for its turn, and leaves its room in memory to others: as many as there is room
    /// for at all, so that this too has a bound.
    pub fn step_aside(&self) -> Aside {
        let (shared, limit) = (&self.shared, self.shared.options.concurrent_instances);
        let one_more = |aside| (aside < limit).then_some(aside + 1);
        let steps = shared.aside.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok();
        if steps {
            shared.instances.fetch_sub(1, Ordering::Relaxed);
        }
        shared.at_hand.set_aside(&self.id, true);
        Aside { shared: shared.clone(), id: self.id.clone(), leaves_room: steps }
    }
}

/// An instance waits for its turn.
pub(crate) struct Aside {
    shared: Arc<Shared>,
    id: String,
    leaves_room: bool,
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.shared.at_hand.set_aside(&self.id, false);
        if self.leaves_room {
            self.shared.aside.fetch_sub(1, Ordering::Relaxed);
            self.shared.instances.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.shared.instances.fetch_sub(1, Ordering::Relaxed);
        self.shared.waiters.finish(&self.id, self.end.take());
    }
}

/// Locks it. Nothing of ours panics while holding a lock; if it did, each of these values would still be whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
