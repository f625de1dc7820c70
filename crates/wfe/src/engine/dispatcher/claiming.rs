//! Claims and acquires instances for this host.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use wfe_core::{
    Result, WfeError, logging,
    traits::{Claimed, Owner},
};

use super::Dispatcher;
use crate::{
    engine::{instance::actor::State, state::shared::Shared, steps::slots::take_slots},
    store::loss::warn_unless_fault,
};

/// How many instances are claimed at once. The claimed instances are loaded concurrently. The number is small enough
/// that a claim does not occupy the store's writer for long.
const CLAIMS_AT_ONCE: usize = 128;

/// The acquired instance as it was loaded, and its slot if the number of instances of its definition is limited. `None`
/// means that the instance is left to other hosts.
type Acquired = Result<Option<(Claimed, State, Option<OwnedSemaphorePermit>)>>;

impl Dispatcher {
    /// Handles requests for these instances. If an instance has an actor on this host, the actor is notified. Otherwise
    /// the host acquires the instance. The calls to the store run concurrently.
    pub(super) async fn wake_all(&mut self, mut ids: Vec<String>) {
        ids.retain(|id| !self.actors.look(id));
        for ids in ids.chunks(CLAIMS_AT_ONCE) {
            let lost = self.wake_some(ids).await;
            if !lost.is_empty() {
                self.become_another().await;
                let lost: Vec<_> = lost.into_iter().map(str::to_owned).collect();
                self.wake_some(&lost).await;
            }
        }
    }

    /// Returns the instances that could not be acquired because other hosts may consider the owner of this host dead.
    async fn wake_some<'a>(&mut self, ids: &'a [String]) -> Vec<&'a str> {
        let (mut lost, definitions) = (Vec::new(), Arc::new(self.shared.definitions()));
        let mut acquired: FuturesUnordered<_> = ids.iter().map(|id| self.acquire(&definitions, id)).collect();
        // Each instance starts as soon as it is loaded, and not only when all of them are.
        while let Some((id, acquired)) = acquired.next().await {
            match acquired {
                Ok(None) => {}
                Ok(Some((claimed, state, slot))) => self.begin_claimed(claimed, state, slot).await,
                // The next poll tries again.
                Err(error) => {
                    self.in_doubt |= is_doubtful(&error);
                    if let WfeError::OwnerLost { .. } = error {
                        logging::debug!(wfe.instance.id = id, %error, "this host registers a new owner, which then acquires the instance");
                        lost.push(id);
                    } else {
                        warn_unless_fault!(
                            self.shared.store.loss,
                            error,
                            wfe.instance.id = id,
                            "the instance could not be acquired"
                        );
                    }
                }
            }
        }
        lost
    }

    /// Calls [`wake_all`](Self::wake_all) if the preceding claim may have left out due instances for lack of capacity
    /// or slots. Otherwise does nothing.
    pub(super) async fn wake_left(&mut self, ids: Vec<String>) {
        if self.backlog || !self.full.is_empty() {
            self.wake_all(ids).await;
        }
    }

    /// Acquires the instance for this host if no host owns it and its definition is registered here. Otherwise the
    /// instance is left to hosts that have the definition.
    fn acquire<'a>(
        &self,
        definitions: &Arc<Vec<(String, u32)>>,
        id: &'a str,
    ) -> impl Future<Output = (&'a str, Acquired)> + use<'a> {
        let (shared, owner, definitions) = (self.shared.clone(), self.owner.clone(), definitions.clone());
        async move { (id, acquire(&shared, &owner, &definitions, id).await) }
    }

    /// Claims as many due instances as there are slots for.
    pub(super) async fn look(&mut self) {
        let mut claimed = self.claim().await;
        if let Err(error @ WfeError::OwnerLost { .. }) = &claimed {
            // The store has already logged this as an error.
            logging::debug!(%error, "this host registers a new owner");
            self.in_doubt = true;
            self.become_another().await;
            claimed = self.claim().await;
        }
        if let Err(error) = claimed {
            // The next poll tries again.
            self.backlog = true;
            self.in_doubt |= is_doubtful(&error);
            warn_unless_fault!(self.shared.store.loss, error, "due instances could not be claimed");
        }
        self.looked = Instant::now();
    }

    async fn claim(&mut self) -> Result<()> {
        self.partial_look = None;
        let definitions = self.shared.definitions();
        // The next poll checks the clock again.
        if definitions.is_empty() || !self.shared.is_clock_usable() {
            return Ok(());
        }
        self.full.clear();
        self.backlog = false;
        let shared = self.shared.clone();
        let is_free = |(id, _): &(String, u32)| shared.options.limits.instances(id).is_none();
        let (free, limited): (Vec<_>, Vec<_>) = definitions.into_iter().partition(is_free);
        let ahead = if free.is_empty() { None } else { self.claim_some(&free, None).await? };
        // Instances of limited definitions are not claimed ahead, because they would occupy slots without running. So
        // the time is recorded only if no definition is limited.
        if limited.is_empty()
            && let Some(ahead) = ahead
        {
            self.timers.claimed(ahead.timestamp_millis());
        }
        for versions in limited.chunk_by(|one, other| one.0 == other.0) {
            if let Some(slots) = shared.options.limits.instances(&versions[0].0) {
                self.claim_some(versions, Some(slots)).await?;
            }
        }
        Ok(())
    }

    /// Claims instances of these definitions. `slots` are the slots that the definitions share, or `None` if the number
    /// of their instances is not limited. Returns a future time if all instances that become due up to this time were
    /// claimed. Returns `None` if some of these instances were not claimed, or if no instances were claimed ahead of
    /// their due times.
    async fn claim_some(
        &mut self,
        definitions: &[(String, u32)],
        slots: Option<&Arc<Semaphore>>,
    ) -> Result<Option<DateTime<Utc>>> {
        let shared = self.shared.clone();
        loop {
            let now = self.shared.now();
            let room = self.shared.room();
            // Half of the capacity is reserved for instances that are already due.
            let spare = room.saturating_sub(self.shared.options.concurrent_instances.div_ceil(2));
            let ahead = self.shared.ahead(now).filter(|_| spare > 0 && slots.is_none());
            let mut limit = if ahead.is_some() { spare } else { room }.min(CLAIMS_AT_ONCE);
            self.backlog |= limit == 0;
            let mut taken = slots.and_then(|slots| take_slots(slots, limit));
            if let Some(slots) = slots {
                limit = taken.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
                if limit == 0 {
                    self.full.push(slots.clone());
                }
            }
            if limit == 0 {
                return Ok(None);
            }
            let as_at = ahead.unwrap_or(now);
            let (clock, owner) = (&*shared.options.clock, &self.owner);
            let began = clock.monotonic();
            let claimed = shared.store.claim_loaded(owner, definitions, as_at, limit);
            let claimed = shared.heartbeats.during(owner, clock, claimed).await?;
            let more = claimed.len() == limit;
            for (claimed, loaded) in claimed {
                let slot = taken.as_mut().and_then(|taken| taken.split(1));
                self.begin_claimed(claimed, State::Claimed(Box::new(loaded), began), slot).await;
            }
            if !more {
                return Ok(ahead);
            }
        }
    }

    async fn begin_claimed(&mut self, claimed: Claimed, state: State, slot: Option<OwnedSemaphorePermit>) {
        let work = self.shared.begin(&claimed.id, self.owner.clone(), slot);
        self.actors.begin(claimed, state, work);
        // Yields, so that the actor can start before the next actor is created.
        tokio::task::yield_now().await;
    }
}

async fn acquire(shared: &Shared, owner: &Arc<Owner>, definitions: &[(String, u32)], id: &str) -> Acquired {
    // The request is stored: the first claim under a usable clock finds it.
    if !shared.is_clock_usable() {
        return Ok(None);
    }
    let clock = &*shared.options.clock;
    let began = clock.monotonic();
    let acquired = shared.store.acquire_loaded(owner, definitions, id, shared.now());
    let acquired = match shared.heartbeats.during(owner, clock, acquired).await {
        Err(WfeError::DefinitionNotFound { id: definition, version }) => {
            shared.unregistered.report(&definition, version, id);
            return Ok(None);
        }
        acquired => acquired?,
    };
    Ok(acquired.map(|(claimed, loaded)| {
        let definition = loaded.as_ref().ok().map(|loaded| &loaded.instance.workflow_definition_id);
        let slots = definition.and_then(|definition| shared.options.limits.instances(definition));
        // The instance starts even if no slot is available, because a request must take effect.
        let slot = slots.and_then(|slots| take_slots(slots, 1));
        (claimed, State::Claimed(Box::new(loaded), began), slot)
    }))
}

/// Whether this error means that this host needs a new owner. Either the store may have assigned an instance to the
/// current owner without this host being aware of it, or the store no longer accepts the current owner.
fn is_doubtful(error: &WfeError) -> bool {
    matches!(error, WfeError::CommitUnknown { .. } | WfeError::OwnerLost { .. })
}
