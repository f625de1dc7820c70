//! What is done to the file: compaction and checkpoints.

#![expect(clippy::unused_async, reason = "like the functions that ask the database")]

use wfe_core::{
    Result, WfeError,
    traits::{CheckpointMode, CheckpointReport, CompactReport, Progress},
};

use crate::SqlitePersistenceProvider;

pub(super) async fn compact(
    _store: &SqlitePersistenceProvider,
    _progress: &dyn Progress,
) -> Result<CompactReport> {
    Err(WfeError::Unsupported("compaction"))
}

pub(super) async fn checkpoint(
    _store: &SqlitePersistenceProvider,
    _mode: CheckpointMode,
) -> Result<CheckpointReport> {
    Err(WfeError::Unsupported("checkpoints"))
}
