//! Waiting for a condition, or for some time.

use std::{future::Future, pin::pin};

use tokio::{sync::Notify, time::Instant};

/// Waits until `is_so` answers: it is called now, and each time that this is notified.
pub(super) async fn until<T>(notify: &Notify, mut is_so: impl FnMut() -> Option<T>) -> T {
    let mut notified = pin!(notify.notified());
    loop {
        // Before the call: else what happens in between would be missed.
        notified.as_mut().enable();
        if let Some(answer) = is_so() {
            return answer;
        }
        notified.as_mut().await;
        notified.set(notify.notified());
    }
}

/// What came of it until then; `None`: nothing.
pub(super) async fn before<T>(end: Instant, work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout_at(end, work).await.ok()
}
