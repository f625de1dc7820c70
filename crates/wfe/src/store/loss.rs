use std::{
    error::Error,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use tokio_util::sync::CancellationToken;
use wfe_core::{Result, WfeError};

/// Whether the store is lost ([`WfeError::Unusable`]). A lost store never becomes usable again, and the host
/// that uses it ends.
#[derive(Default)]
pub(crate) struct Loss {
    found: OnceLock<Found>,
    told: CancellationToken,
}

/// Like `logging::warn!`, but for a failure of the store. Once the store is lost, the macro logs further
/// failures at debug level only, because the host logs the loss itself when it ends.
macro_rules! warn_unless_lost {
    ($loss:expr, $($event:tt)+) => {
        if $loss.has_come() {
            wfe_core::logging::debug!($($event)+);
        } else {
            wfe_core::logging::warn!($($event)+);
        }
    };
}

/// Logs an error of the store and what follows from it: as a warning, but at debug level if the error is a fault of
/// the store, which [`Faults`](super::faults::Faults) logs once and then counts, or if the store is lost. The error is
/// the first argument after the loss.
macro_rules! warn_unless_fault {
    ($loss:expr, $error:ident, $($event:tt)+) => {
        if $loss.has_come() || $crate::store::faults::is_fault(&$error) {
            wfe_core::logging::debug!(error = %$error, $($event)+);
        } else {
            wfe_core::logging::warn!(error = %$error, $($event)+);
        }
    };
}

pub(crate) use {warn_unless_fault, warn_unless_lost};

/// The parts of the error that reported the loss. The error can be built from these parts any number of
/// times.
struct Found {
    path: PathBuf,
    reason: String,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl Found {
    fn error(&self) -> WfeError {
        WfeError::Unusable {
            path: self.path.clone(),
            reason: self.reason.clone(),
            source: self.source.clone().map(|source| Box::new(source) as _),
        }
    }
}

impl Loss {
    /// Takes the result of a call to the store. If the result reports that the store is lost, records the
    /// loss. Returns the result.
    pub fn seen<T>(&self, answer: Result<T>) -> Result<T> {
        answer.map_err(|error| self.noted(error))
    }

    /// Like [`seen`](Self::seen), for the error of a call.
    pub fn noted(&self, error: WfeError) -> WfeError {
        let WfeError::Unusable { path, reason, source } = error else { return error };
        let found = Found { path, reason, source: source.map(Arc::from) };
        let error = found.error();
        // Only the first error is recorded.
        self.found.get_or_init(|| found);
        self.told.cancel();
        error
    }

    /// The error of the lost store. `None` means that the store is not known to be lost.
    pub fn error(&self) -> Option<WfeError> {
        self.found.get().map(Found::error)
    }

    /// The error that calls to a host return after the host has ended.
    pub fn or_closed(&self) -> WfeError {
        self.error().unwrap_or(WfeError::Closed("the host"))
    }

    pub fn has_come(&self) -> bool {
        self.told.is_cancelled()
    }

    /// Waits until the store is lost.
    pub async fn comes(&self) {
        self.told.cancelled().await;
    }
}
