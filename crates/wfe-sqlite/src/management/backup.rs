//! Copies of the database while it is in use.

#![expect(clippy::unused_async, reason = "like the functions that ask the database")]

use std::path::Path;

use wfe_core::{
    Result, WfeError,
    traits::{BackupReport, Progress},
};

use crate::SqlitePersistenceProvider;

pub(super) async fn backup(
    _store: &SqlitePersistenceProvider,
    _target: &Path,
    _progress: &dyn Progress,
) -> Result<BackupReport> {
    Err(WfeError::Unsupported("backups"))
}
