//! The integrity check.

#![expect(clippy::unused_async, reason = "like the functions that ask the database")]

use wfe_core::{
    Result, WfeError,
    traits::{CheckDepth, Checkup, Progress},
};

use crate::SqlitePersistenceProvider;

pub(super) async fn check(
    _store: &SqlitePersistenceProvider,
    _depth: CheckDepth,
    _progress: &dyn Progress,
) -> Result<Checkup> {
    Err(WfeError::Unsupported("checks"))
}
