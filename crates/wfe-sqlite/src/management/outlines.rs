//! Outlines of definitions.

#![expect(clippy::unused_async, reason = "like the functions that ask the database")]

use wfe_core::{Result, WfeError, traits::StoredOutline};

use crate::SqlitePersistenceProvider;

pub(super) async fn outlines(
    _store: &SqlitePersistenceProvider,
    _definition: Option<&str>,
) -> Result<Vec<StoredOutline>> {
    Err(WfeError::Unsupported("outlines of definitions"))
}
