//! Records of what operators did.

#![expect(clippy::unused_async, reason = "like the functions that ask the database")]

use wfe_core::{
    Result, WfeError,
    traits::{AuditFilter, AuditRecord, Cursor, Page},
};

use crate::SqlitePersistenceProvider;

pub(super) async fn audit(
    _store: &SqlitePersistenceProvider,
    _filter: &AuditFilter,
    _after: Option<Cursor>,
    _limit: usize,
) -> Result<Page<AuditRecord>> {
    Err(WfeError::Unsupported("records of actions"))
}
