//! Why a store writes nothing.

use wfe_core::WfeError;

use crate::schema::{self, VERSION};

/// Why every write of a store is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The store was opened for reading only.
    ReadOnly,
    /// The store must not be upgraded, and has this schema version.
    TooOld(i64),
}

impl Refusal {
    pub(crate) fn error(self, location: &str) -> WfeError {
        match self {
            Self::ReadOnly => WfeError::ReadOnly { location: location.to_owned() },
            Self::TooOld(found) => schema::too_old(location, found, VERSION),
        }
    }
}
