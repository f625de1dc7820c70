//! What this host says about itself to operators: its card.

use std::sync::{
    LazyLock, OnceLock,
    atomic::{AtomicI64, Ordering},
};

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream::BoxStream};
use wfe_core::{
    logging,
    traits::{HostCard, Owner},
};

use super::shared::Shared;

/// The file name of this program, without its path.
pub(crate) static PROGRAM: LazyLock<String> = LazyLock::new(|| {
    let path = std::env::current_exe().ok();
    let name = path.as_deref().and_then(std::path::Path::file_name);
    name.map_or_else(|| "unknown".to_owned(), |name| name.to_string_lossy().into_owned())
});

/// What the card needs that no other part of the engine keeps.
pub(in crate::engine) struct OfCard {
    started: OnceLock<DateTime<Utc>>,
    /// When the next instance or event becomes due, in milliseconds since the Unix epoch. [`NEVER`] if nothing does.
    next_due: AtomicI64,
}

const NEVER: i64 = i64::MAX;

impl Default for OfCard {
    fn default() -> Self {
        Self { started: OnceLock::new(), next_due: AtomicI64::new(NEVER) }
    }
}

impl OfCard {
    /// Records when the next instance or event becomes due, in milliseconds since the Unix epoch.
    pub fn set_next_due(&self, at: Option<i64>) {
        self.next_due.store(at.unwrap_or(NEVER), Ordering::Relaxed);
    }
}

impl Shared {
    /// Writes the card of this host, whose owner this is.
    pub async fn describe(&self, owner: &Owner) {
        // The host needs no card to work. The store logs its faults.
        if let Err(error) = self.store.describe(owner, &self.card(owner.id())).await {
            logging::debug!(%error, "the card of this host could not be written");
        }
    }

    /// Writes the card at each question, for ever.
    pub async fn answer_questions(&self, mut questions: BoxStream<'static, ()>) {
        while let Some(()) = questions.next().await {
            if let Some(owner) = self.owner() {
                self.describe(&owner).await;
            }
        }
    }

    fn card(&self, owner: u64) -> HostCard {
        let now = self.now();
        let mut card = HostCard::new(owner, PROGRAM.clone(), *self.of_card.started.get_or_init(|| now));
        card.written = now;
        card.definitions = self.definitions();
        card.bodies_limit = self.options.concurrent_steps.max(1) as u64;
        card.instances_limit = self.options.concurrent_instances as u64;
        card.instances_busy = self.in_memory() as u64;
        (card.bodies_running, card.running) = self.in_flight.running(HostCard::MAX_BODIES);
        card.has_retention = !self.options.retention.is_empty();
        let next_due = self.of_card.next_due.load(Ordering::Relaxed);
        card.next_due = (next_due != NEVER).then(|| DateTime::from_timestamp_millis(next_due)).flatten();
        card
    }
}
