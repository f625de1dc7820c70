//! Decides when a failed call to the store is repeated.

use std::time::Duration;

use tokio::time::Instant;

/// The initial and the maximum backoff before a failed call to the store is repeated. If the store was busy, the failed
/// call has already waited for the store, so a short pause is enough before the call is repeated. A store that is down
/// is called twelve times a minute.
const INITIAL_BACKOFF: Duration = Duration::from_millis(25);
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// The time at which a failed call is repeated. The time is real time, because a virtual clock does not make the store
/// faster.
#[derive(Debug)]
pub(super) struct Retry {
    at: Instant,
    backoff: Duration,
}

impl Retry {
    pub fn soon() -> Self {
        Self { at: Instant::now() + INITIAL_BACKOFF, backoff: INITIAL_BACKOFF }
    }

    /// Schedules the next call. Its backoff is twice the previous backoff, up to the maximum.
    pub fn after(before: Option<Self>) -> Self {
        let backoff = before.map_or(INITIAL_BACKOFF, |before| (before.backoff * 2).min(MAX_BACKOFF));
        Self { at: Instant::now() + backoff, backoff }
    }

    /// Waits until the call is repeated. Waits for ever if `retry` is `None`.
    pub async fn wait(retry: Option<&Self>) {
        match retry {
            Some(retry) => tokio::time::sleep_until(retry.at).await,
            None => std::future::pending().await,
        }
    }
}
