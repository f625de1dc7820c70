//! What operators do.

#![expect(clippy::unused_async, reason = "like the functions that ask the database")]

use wfe_core::{
    Result, WfeError,
    traits::{Acted, Action, Audit},
};

use crate::SqlitePersistenceProvider;

pub(super) async fn act(
    _store: &SqlitePersistenceProvider,
    _action: Action<'_>,
    _audit: &Audit,
) -> Result<Acted> {
    Err(WfeError::Unsupported("actions of operators"))
}

/// The attribute that records that the failure of an instance is dealt with: the time of the failure (see [`mark_of`]). It is
/// void once the instance fails again.
pub(super) const ACKNOWLEDGED: &str = "wfe.ack";

/// The time of a failure as the store has it in the cause of the instance.
pub(super) fn mark_of(time: chrono::DateTime<chrono::Utc>) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}
