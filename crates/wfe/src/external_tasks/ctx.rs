use tokio_util::sync::CancellationToken;
use wfe_core::steps::StepError;

use super::OpenActivity;

/// What the body of an activity is told about its run; from [`Worker::run`](super::Worker::run). Cheap to clone.
#[derive(Debug, Clone)]
pub struct ActivityCtx {
    activity: OpenActivity,
    stopping: CancellationToken,
}

impl ActivityCtx {
    pub(in crate::external_tasks) fn new(activity: OpenActivity, stopping: CancellationToken) -> Self {
        Self { activity, stopping }
    }

    /// The activity, as it was claimed.
    #[must_use]
    pub fn activity(&self) -> &OpenActivity {
        &self.activity
    }

    /// As [`OpenActivity::idempotency_key`].
    #[must_use]
    pub fn idempotency_key(&self) -> &str {
        &self.activity.idempotency_key
    }

    /// Fires when the worker is to end: its host stops, or the `stop` of
    /// [`run_until`](super::Worker::run_until) has come. The body may still finish within the grace time, and its answer is
    /// stored; one that takes longer than that returns [`give_back`](Self::give_back) here, or is dropped when the grace time
    /// is over.
    #[must_use]
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// An error that is no answer: the body that returns it gives the activity back, and the next worker gets it at once.
    /// No attempt of the step is counted. While the worker is not to end, it may be the next one itself.
    ///
    /// ```
    /// use wfe::{ActivityCtx, steps::StepError};
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
