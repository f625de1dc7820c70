//! Stored events.

#![expect(clippy::unused_async, reason = "like the functions that ask the database")]

use wfe_core::{
    Result, WfeError,
    traits::{Cursor, EventFilter, Page, StoredEvent},
};

use crate::SqlitePersistenceProvider;

pub(super) async fn events(
    _store: &SqlitePersistenceProvider,
    _filter: &EventFilter,
    _after: Option<Cursor>,
    _limit: usize,
) -> Result<Page<StoredEvent>> {
    Err(WfeError::Unsupported("listings of events"))
}
