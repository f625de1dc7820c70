//! How instances come to this host.

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
    store::loss::warn_unless_lost,
};

/// Instances claimed at once: their loads overlap, and the store's writer is not held for long.
const CLAIMS_AT_ONCE: usize = 128;

/// An instance as it was loaded, and its slot if those of its definition are limited; `None`: it is left to others.
type Acquired = Result<Option<(Claimed, State, Option<OwnedSemaphorePermit>)>>;

impl Dispatcher {
    /// These instances have requests: their actors look, or they are acquired. What they need of the store overlaps.
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

    /// Gives those that could not be acquired because others may take this host's owner for dead.
    async fn wake_some<'a>(&mut self, ids: &'a [String]) -> Vec<&'a str> {
        let (mut lost, definitions) = (Vec::new(), Arc::new(self.shared.definitions()));
        let mut acquired: FuturesUnordered<_> = ids.iter().map(|id| self.acquire(&definitions, id)).collect();
        // Each begins when it comes, and not when the last one does.
        while let Some((id, acquired)) = acquired.next().await {
            match acquired {
                Ok(None) => {}
                Ok(Some((claimed, state, slot))) => self.begin_claimed(claimed, state, slot).await,
                // The poll looks again.
                Err(error) => {
                    self.in_doubt |= is_doubtful(&error);
                    if let WfeError::OwnerLost { .. } = error {
                        logging::debug!(instance = id, %error, "another owner is to acquire the instance");
                        lost.push(id);
                    } else {
                        warn_unless_lost!(self.shared.store.loss, instance = id, %error, "the instance could not be acquired");
                    }
                }
            }
        }
        lost
    }

    /// As [`wake_all`](Self::wake_all), after a look that has claimed those for which there was room.
    pub(super) async fn wake_left(&mut self, ids: Vec<String>) {
        if self.backlog || !self.full.is_empty() {
            self.wake_all(ids).await;
        }
    }

    /// Makes the instance ours, if no host has it and its definition is registered here; others are left to hosts that
    /// have it.
    fn acquire<'a>(
        &self,
        definitions: &Arc<Vec<(String, u32)>>,
        id: &'a str,
    ) -> impl Future<Output = (&'a str, Acquired)> + use<'a> {
        let (shared, owner, definitions) = (self.shared.clone(), self.owner.clone(), definitions.clone());
        async move { (id, acquire(&shared, &owner, &definitions, id).await) }
    }

    /// Claims what is due, as far as there is room.
    pub(super) async fn look(&mut self) {
        let mut claimed = self.claim().await;
        if let Err(error @ WfeError::OwnerLost { .. }) = &claimed {
            // The store has reported it, as an error.
            logging::debug!(%error, "this host goes on as another owner");
            self.in_doubt = true;
            self.become_another().await;
            claimed = self.claim().await;
        }
        if let Err(error) = claimed {
            // The poll looks again.
            self.backlog = true;
            self.in_doubt |= is_doubtful(&error);
            warn_unless_lost!(self.shared.store.loss, %error, "due instances could not be claimed");
        }
        self.looked = Instant::now();
    }

    async fn claim(&mut self) -> Result<()> {
        self.partial_look = None;
        let definitions = self.shared.definitions();
        // The poll looks at the clock again.
        if definitions.is_empty() || !self.shared.is_clock_usable() {
            return Ok(());
        }
        self.full.clear();
        self.backlog = false;
        let shared = self.shared.clone();
        let is_free = |(id, _): &(String, u32)| shared.options.limits.instances(id).is_none();
        let (free, limited): (Vec<_>, Vec<_>) = definitions.into_iter().partition(is_free);
        let ahead = if free.is_empty() { None } else { self.claim_some(&free, None).await? };
        // No slot is taken of a limited definition before there is something to do.
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

    /// Claims instances of these definitions, for which there are so many slots (`None`: they are not limited). Gives the
    /// time up to which all that becomes due was claimed ahead; `None`: not all, or only what is due.
    async fn claim_some(
        &mut self,
        definitions: &[(String, u32)],
        slots: Option<&Arc<Semaphore>>,
    ) -> Result<Option<DateTime<Utc>>> {
        let shared = self.shared.clone();
        loop {
            let now = self.shared.now();
            let room = self.shared.room();
            // Half of the room stays for what has something to do.
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
        // Its actor may begin before the next one is made.
        tokio::task::yield_now().await;
    }
}

async fn acquire(shared: &Shared, owner: &Arc<Owner>, definitions: &[(String, u32)], id: &str) -> Acquired {
    // The request is stored: the first look under a usable clock finds it.
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
        // Beyond the limit if need be: a request takes effect.
        let slot = slots.and_then(|slots| take_slots(slots, 1));
        (claimed, State::Claimed(Box::new(loaded), began), slot)
    }))
}

/// Whether this host needs another owner: the store may have given the one that it has something that is not known here,
/// or gives it nothing any more.
fn is_doubtful(error: &WfeError) -> bool {
    matches!(error, WfeError::CommitUnknown { .. } | WfeError::OwnerLost { .. })
}
