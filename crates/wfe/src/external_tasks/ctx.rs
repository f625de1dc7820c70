use tokio_util::sync::CancellationToken;
use wfe_core::steps::StepError;

use super::OpenActivity;

/// The context of an activity's body: the activity, and whether the worker is stopping.
/// [`Worker::run`](super::Worker::run) passes it to the body. It is cheap to clone.
#[derive(Debug, Clone)]
pub struct ActivityCtx {
    activity: OpenActivity,
    stopping: CancellationToken,
}

impl ActivityCtx {
    pub(in crate::external_tasks) fn new(activity: OpenActivity, stopping: CancellationToken) -> Self {
        Self { activity, stopping }
    }

    /// Returns the activity as it was when it was claimed.
    #[must_use]
    pub fn activity(&self) -> &OpenActivity {
        &self.activity
    }

    /// Returns the [idempotency key](OpenActivity::idempotency_key) of the activity.
    #[must_use]
    pub fn idempotency_key(&self) -> &str {
        &self.activity.idempotency_key
    }

    /// Returns a token that is cancelled when the worker stops. The worker stops when its host stops or when the
    /// `stop` future of [`run_until`](super::Worker::run_until) has resolved. The body may still finish within
    /// the grace time, and its answer is then stored. When the grace time is over, the body is dropped. A body
    /// that needs longer should return [`give_back`](Self::give_back) as soon as the token is cancelled.
    #[must_use]
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Returns an error that gives the activity back instead of answering it. If the body returns this error, the
    /// activity is available at once for the next worker, and the step's attempt is not counted as failed. Unless
    /// this worker is stopping, it may claim the same activity again.
    ///
    /// ```
    /// use wfe::{steps::StepError, external_tasks::ActivityCtx};
    ///
    /// async fn convert(pages: Vec<String>, ctx: ActivityCtx) -> Result<usize, StepError> {
    ///     for page in &pages {
    ///         if ctx.stopping().is_cancelled() {
    ///             return Err(ctx.give_back());
    ///         }
    ///         convert_page(page).await;
    ///     }
    ///     Ok(pages.len())
    /// }
    /// # async fn convert_page(_: &str) {}
    /// ```
    #[must_use]
    pub fn give_back(&self) -> StepError {
        StepError::retryable("the worker gave the activity back").with_code(StepError::GIVEN_BACK)
    }
}
