//! Open subscriptions.

#![expect(clippy::unused_async, reason = "like the functions that ask the database")]

use wfe_core::{
    Result, WfeError,
    traits::{Cursor, OpenWait, Page, TaskCount, WaitFilter},
};

use crate::SqlitePersistenceProvider;

pub(super) async fn waits(
    _store: &SqlitePersistenceProvider,
    _filter: Option<&WaitFilter>,
    _after: Option<Cursor>,
    _limit: usize,
) -> Result<Page<OpenWait>> {
    Err(WfeError::Unsupported("listings of open subscriptions"))
}

pub(super) async fn task_counts(_store: &SqlitePersistenceProvider) -> Result<Vec<TaskCount>> {
    Err(WfeError::Unsupported("counts of external tasks"))
}
