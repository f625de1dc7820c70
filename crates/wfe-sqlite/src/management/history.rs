//! The history of an instance.

#![expect(clippy::unused_async, reason = "like the functions that ask the database")]

use wfe_core::{
    Result, WfeError,
    traits::{Cursor, Finished, Page},
};

use crate::SqlitePersistenceProvider;

pub(super) async fn history(
    _store: &SqlitePersistenceProvider,
    _id: &str,
    _after: Option<Cursor>,
    _limit: usize,
) -> Result<Page<Finished>> {
    Err(WfeError::Unsupported("histories of instances"))
}
