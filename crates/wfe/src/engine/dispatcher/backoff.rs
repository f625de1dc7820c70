//! When a call of the store that failed is repeated.

use std::time::Duration;

use tokio::time::Instant;

/// The initial and the maximum backoff before a call of the store that failed is repeated. A store that is busy was waited
/// for already: its call is repeated soon, but not without pause. A store that is down is called twelve times a minute.
const INITIAL_BACKOFF: Duration = Duration::from_millis(25);
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// When a call that has failed is repeated. Real time: a store is no faster under a virtual clock.
#[derive(Debug)]
pub(super) struct Retry {
    at: Instant,
    backoff: Duration,
}

impl Retry {
    pub fn soon() -> Self {
        Self { at: Instant::now() + INITIAL_BACKOFF, backoff: INITIAL_BACKOFF }
    }

    /// After a backoff that is longer than the one before.
    pub fn after(before: Option<Self>) -> Self {
        let backoff = before.map_or(INITIAL_BACKOFF, |before| (before.backoff * 2).min(MAX_BACKOFF));
        Self { at: Instant::now() + backoff, backoff }
    }

    /// Waits until it is time; `None`: for ever.
    pub async fn wait(retry: Option<&Self>) {
        match retry {
            Some(retry) => tokio::time::sleep_until(retry.at).await,
            None => std::future::pending().await,
        }
    }
}
