//! Waits for a condition, or for a limited time.

use std::{future::Future, pin::pin};

use tokio::{sync::Notify, time::Instant};

/// Waits until `is_so` returns a value, and returns this value. `is_so` is called at once, and then each time that
/// `notify` is notified.
pub(super) async fn until<T>(notify: &Notify, mut is_so: impl FnMut() -> Option<T>) -> T {
    let mut notified = pin!(notify.notified());
    loop {
        // The wait is enabled before the call. Otherwise a notification between the call and the wait would be missed.
        notified.as_mut().enable();
        if let Some(answer) = is_so() {
            return answer;
        }
        notified.as_mut().await;
        notified.set(notify.notified());
    }
}

/// Returns the result of `work`, or `None` if `work` does not finish before `end`.
pub(super) async fn before<T>(end: Instant, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout_at(end, work).await.ok()
}
