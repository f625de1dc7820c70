//! The step store of a store that keeps every rule but one.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;
use wfe_core::{
    Result,
    models::WorkflowInstance,
    traits::{
        Claimed, Committed, Control, Delivery, Fence, Finished, Loaded, Owner, Started, StepCommit, StepStore,
    },
};

use crate::broken::{Broken, Fault};

impl Broken {
    fn steps(&self) -> &dyn StepStore {
        self.inner.step_store().expect("it is asked only where there is one")
    }
}

#[async_trait]
impl StepStore for Broken {
    async fn enlist(&self) -> Result<Owner> {
        self.steps().enlist().await
    }

    async fn start(&self, owner: Option<&Owner>, instance: &WorkflowInstance) -> Result<Started> {
        self.steps().start(owner, instance).await
    }

    async fn commit_step(&self, fence: Fence, step: &StepCommit) -> Result<Committed> {
        match (self.fault, self.steps().commit_step(fence, step).await?) {
            (Fault::IgnoresFences, Committed::Lost) => {
                let stored = self.steps().load(&step.instance_id).await?.fence;
                self.steps().commit_step(stored, step).await
            }
            (Fault::IgnoresRequests, Committed::Control(request)) => {
                let applied = StepCommit { applied: Some(request.number), ..step.clone() };
                self.steps().commit_step(fence, &applied).await
            }
            (_, committed) => Ok(committed),
        }
    }

    async fn claim(
        &self,
        owner: &Owner,
        definitions: &[(String, u32)],
        as_at: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<Claimed>> {
        let limit = if self.fault == Fault::ClaimsBeyondTheLimit { limit + 1 } else { limit };
        self.steps().claim(owner, definitions, as_at, limit).await
    }

    async fn acquire(&self, owner: &Owner, id: &str, as_at: DateTime<Utc>) -> Result<Option<Claimed>> {
        self.steps().acquire(owner, id, as_at).await
    }

    async fn load(&self, id: &str) -> Result<Loaded> {
        let mut loaded = self.steps().load(id).await?;
        if self.fault == Fault::DeliversTwice {
            // As a store that keeps no position does: every wait gets the first event of its stream.
            for wait in &loaded.waits {
                let events = self
                    .inner
                    .get_events(&wait.event_name, &wait.event_key, DateTime::<Utc>::MAX_UTC)
                    .await?;
                let Some(first) = events.first() else { continue };
                let event = self.inner.get_event(first).await?;
                loaded.deliveries.retain(|delivery| delivery.subscription_id != wait.id);
                loaded.deliveries.push(Delivery { subscription_id: wait.id.clone(), event });
            }
        }
        Ok(loaded)
    }

    async fn request(&self, id: &str, control: Control) -> Result<()> {
        self.steps().request(id, control).await
    }

    async fn finish_event(&self, event_id: &str) -> Result<bool> {
        if self.fault == Fault::FinishesEveryEvent {
            self.inner.mark_event_processed(event_id).await?;
            return Ok(true);
        }
        self.steps().finish_event(event_id).await
    }

    async fn finished(&self, id: &str, container: &str, after: u64, limit: usize) -> Result<Vec<Finished>> {
        self.steps().finished(id, container, after, limit).await
    }

    async fn items(&self, id: &str, container: &str, from: u64, limit: usize) -> Result<Vec<Value>> {
        self.steps().items(id, container, from, limit).await
    }

    async fn upcoming(
        &self,
        definitions: &[(String, u32)],
        after: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<(i64, String)>> {
        self.steps().upcoming(definitions, after, limit).await
    }
}
