//! How large the store is.

#![expect(clippy::unused_async, reason = "like the functions that ask the database")]

use wfe_core::{Result, WfeError, traits::StoreStatistics};

use crate::SqlitePersistenceProvider;

pub(super) async fn statistics(_store: &SqlitePersistenceProvider) -> Result<StoreStatistics> {
    Err(WfeError::Unsupported("statistics"))
}
