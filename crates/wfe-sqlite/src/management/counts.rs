//! Numbers of instances.

#![expect(clippy::unused_async, reason = "like the functions that ask the database")]

use std::time::Duration;

use chrono::{DateTime, Utc};
use wfe_core::{
    Result, WfeError,
    traits::{Count, EndedCount, OpenCount, Query, StepCount, TimeRange, Window},
};

use crate::SqlitePersistenceProvider;

pub(super) async fn count(
    _store: &SqlitePersistenceProvider,
    _query: &Query,
    _as_at: DateTime<Utc>,
    _cap: u64,
) -> Result<Count> {
    Err(WfeError::Unsupported("counts of instances"))
}

pub(super) async fn open_counts(
    _store: &SqlitePersistenceProvider,
    _as_at: DateTime<Utc>,
) -> Result<Vec<OpenCount>> {
    Err(WfeError::Unsupported("counts of open instances"))
}

pub(super) async fn ended_counts(
    _store: &SqlitePersistenceProvider,
    _range: TimeRange,
    _step: Duration,
) -> Result<Vec<EndedCount>> {
    Err(WfeError::Unsupported("counts of ended instances"))
}

pub(super) async fn step_counts(
    _store: &SqlitePersistenceProvider,
    _definition: &str,
    _version: u32,
) -> Result<Window<StepCount>> {
    Err(WfeError::Unsupported("counts of pointers by step"))
}
