//! Listings of instances.

#![expect(clippy::unused_async, reason = "like the functions that ask the database")]

use chrono::{DateTime, Utc};
use wfe_core::{
    Result, WfeError,
    traits::{InstanceSummary, ListCursor, Query, Window},
};

use crate::SqlitePersistenceProvider;

pub(super) async fn list(
    _store: &SqlitePersistenceProvider,
    _query: &Query,
    _as_at: DateTime<Utc>,
    _after: Option<ListCursor>,
    _limit: usize,
) -> Result<Window<InstanceSummary>> {
    Err(WfeError::Unsupported("listings of instances"))
}

pub(super) async fn summary(
    _store: &SqlitePersistenceProvider,
    _id: &str,
    _as_at: DateTime<Utc>,
) -> Result<InstanceSummary> {
    Err(WfeError::Unsupported("summaries of instances"))
}
