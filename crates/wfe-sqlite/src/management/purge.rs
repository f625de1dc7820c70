//! The purge of instances that have ended, and of processed events.

#![expect(clippy::unused_async, reason = "like the functions that ask the database")]

use chrono::{DateTime, Utc};
use wfe_core::{
    Result, WfeError,
    traits::{PurgeFilter, PurgeReport},
};

use crate::SqlitePersistenceProvider;

pub(super) async fn purge(
    _store: &SqlitePersistenceProvider,
    _filter: &PurgeFilter,
    _limit: usize,
) -> Result<PurgeReport> {
    Err(WfeError::Unsupported("purges"))
}

pub(super) async fn purge_events(
    _store: &SqlitePersistenceProvider,
    _before: DateTime<Utc>,
    _limit: usize,
) -> Result<PurgeReport> {
    Err(WfeError::Unsupported("purges of events"))
}
