use std::{
    error::Error,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use tokio_util::sync::CancellationToken;
use wfe_core::{Result, WfeError};

/// That the store has said it is lost ([`WfeError::Unusable`]), once and for all: then the host ends.
#[derive(Default)]
pub(crate) struct Loss {
    found: OnceLock<Found>,
    told: CancellationToken,
}

/// As `logging::warn!`, of a failure of the store. Once that is lost, the host says so as it ends, and nothing else is to say the
/// same with each thing that fails until then.
macro_rules! warn_unless_lost {
    ($loss:expr, $($event:tt)+) => {
        if $loss.has_come() {
            wfe_core::logging::debug!($($event)+);
        } else {
            wfe_core::logging::warn!($($event)+);
        }
    };
}

pub(crate) use warn_unless_lost;

/// An error that can be given again and again.
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
    /// Takes note of an answer of the store.
    pub fn seen<T>(&self, answer: Result<T>) -> Result<T> {
        match answer {
            Err(WfeError::Unusable { path, reason, source }) => {
                let found = Found { path, reason, source: source.map(Arc::from) };
                let error = found.error();
                // What was said first stays.
                self.found.get_or_init(|| found);
                self.told.cancel();
                Err(error)
            }
            answer => answer,
        }
    }

    /// What the store has said; `None`: it is not lost, as far as is known.
    pub fn error(&self) -> Option<WfeError> {
        self.found.get().map(Found::error)
    }

    /// What to answer on a host that has ended.
    pub fn or_closed(&self) -> WfeError {
        self.error().unwrap_or(WfeError::Closed("the host"))
    }

    pub fn has_come(&self) -> bool {
        self.told.is_cancelled()
    }

    /// Until the store is lost.
    pub async fn comes(&self) {
        self.told.cancelled().await;
    }
}
