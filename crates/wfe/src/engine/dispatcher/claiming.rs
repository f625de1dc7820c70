//! How instances come to this host.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wfe_core::{Result, WfeError, traits::Claimed};

use super::{Dispatcher, Mail};
use crate::limits::take_places;

/// Instances claimed at once: their loads overlap, and the store's writer is not held for long.
const CLAIMS_AT_ONCE: usize = 128;

impl Dispatcher {
    /// Somebody asked something of an instance: its actor looks, or it is acquired.
    pub(super) async fn wake(&mut self, id: &str) {
        if self.tell(id) {
            return;
        }
        match self.acquire(id).await {
            Ok(None) => {}
            Ok(Some((claimed, place))) => self.begin_claimed(claimed, place).await,
            // The poll looks again.
            Err(error) => {
                self.in_doubt |= matches!(error, WfeError::CommitUnknown { .. });
                tracing::warn!(instance = id, %error, "the instance could not be acquired");
            }
        }
    }

    /// Tells the instance's actor to look; `false`: it has none here.
    pub(super) fn tell(&mut self, id: &str) -> bool {
        let Some(entry) = self.actors.get_mut(id).filter(|entry| entry.mail.send(Mail::Look).is_ok()) else {
            return false;
        };
        entry.told = true;
        true
    }

    /// Makes the instance ours, if nobody has it and its definition is registered here; others are left to hosts that
    /// have it.
    async fn acquire(&self, id: &str) -> Result<Option<(Claimed, Option<OwnedSemaphorePermit>)>> {
        let loaded = self.shared.store.load(id).await?;
        let instance = loaded.instance;
        if !self.shared.is_registered(&instance.workflow_definition_id, instance.version, id) {
            return Ok(None);
        }
        let claimed = self.shared.store.acquire(&self.owner, id, self.shared.now()).await?;
        let places = self.shared.options.limits.instances(&instance.workflow_definition_id);
        // Beyond the limit if need be: what is asked of an instance takes effect.
        Ok(claimed.map(|claimed| (claimed, places.and_then(|places| take_places(places, 1)))))
    }

    /// Claims what is due, as far as there is room.
    pub(super) async fn look(&mut self) {
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
        self.starved.clear();
        let shared = self.shared.clone();
        let is_free = |(id, _): &(String, u32)| shared.options.limits.instances(id).is_none();
        let (free, limited): (Vec<_>, Vec<_>) = definitions.into_iter().partition(is_free);
        if !free.is_empty() {
            self.claim_some(&free, None).await?;
        }
        for versions in limited.chunk_by(|one, other| one.0 == other.0) {
            if let Some(places) = shared.options.limits.instances(&versions[0].0) {
                self.claim_some(versions, Some(places)).await?;
            }
        }
        Ok(())
    }

    /// Claims instances of these definitions, for which there are so many places.
    async fn claim_some(
        &mut self,
        definitions: &[(String, u32)],
        places: Option<&Arc<Semaphore>>,
    ) -> Result<()> {
        loop {
            let mut limit = self.shared.room().min(CLAIMS_AT_ONCE);
            self.backlog = limit == 0;
            let mut taken = places.and_then(|places| take_places(places, limit));
            if let Some(places) = places {
                limit = taken.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
                if limit == 0 {
                    self.starved.push(places.clone());
                }
            }
            if limit == 0 {
                return Ok(());
            }
            let now = self.shared.now();
            let claimed = self.shared.store.claim(&self.owner, definitions, now, limit).await?;
            let more = claimed.len() == limit;
            for claimed in claimed {
                let place = taken.as_mut().and_then(|taken| taken.split(1));
                self.begin_claimed(claimed, place).await;
            }
            if !more {
                return Ok(());
            }
        }
    }

    async fn begin_claimed(&mut self, claimed: Claimed, place: Option<OwnedSemaphorePermit>) {
        let work = self.shared.begin(&claimed.id, self.owner.clone(), place);
        self.begin(claimed, None, work);
        // Its actor may begin before the next one is made.
        tokio::task::yield_now().await;
    }
}
