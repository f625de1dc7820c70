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
