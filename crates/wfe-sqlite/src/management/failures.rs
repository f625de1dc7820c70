//! Failures: those that have suspended or ended instances, and those of each attempt.

#![expect(clippy::unused_async, reason = "like the functions that ask the database")]

use chrono::{DateTime, Utc};
use wfe_core::{
    Result, WfeError,
    traits::{Cursor, ErrorRecord, FailureGroup, Page, Query, Window},
};

use crate::SqlitePersistenceProvider;

pub(super) async fn failure_groups(
    _store: &SqlitePersistenceProvider,
    _query: &Query,
    _as_at: DateTime<Utc>,
) -> Result<Window<FailureGroup>> {
    Err(WfeError::Unsupported("groups of failures"))
}

pub(super) async fn errors(
    _store: &SqlitePersistenceProvider,
    _id: Option<&str>,
    _after: Option<Cursor>,
    _limit: usize,
) -> Result<Page<ErrorRecord>> {
    Err(WfeError::Unsupported("listings of failures"))
}
