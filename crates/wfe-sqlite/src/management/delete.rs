//! The deletion of one instance.

#![expect(clippy::unused_async, reason = "like the functions that ask the database")]

use wfe_core::{Result, WfeError, traits::PurgeReport};

use crate::SqlitePersistenceProvider;

pub(super) async fn delete(_store: &SqlitePersistenceProvider, _id: &str) -> Result<PurgeReport> {
    Err(WfeError::Unsupported("the deletion of instances"))
}
