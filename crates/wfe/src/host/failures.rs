use std::{collections::VecDeque, fmt, sync::Arc};

use wfe_core::{
    Result,
    traits::{Cursor, ErrorRecord, StepFailure, StepStore},
};

/// How many failures are read at once. Each failure may carry long messages.
const PAGE: usize = 256;

/// The stored failures of an instance, oldest first. [`WorkflowHost::failures`](crate::WorkflowHost::failures)
/// returns this type.
///
/// At most one page of failures is in memory. Failures that are stored while the list is read are found too.
pub struct Failures {
    store: Arc<dyn StepStore>,
    instance: String,
    after: Option<Cursor>,
    page: VecDeque<ErrorRecord>,
}

impl Failures {
    pub(crate) fn new(store: Arc<dyn StepStore>, instance: &str) -> Self {
        Self { store, instance: instance.to_owned(), after: None, page: VecDeque::new() }
    }

    /// Returns the next failure, or `None` after the last one. A failure whose stored row does not decode is left out
    /// and logged once.
    ///
    /// # Errors
    /// * [`Unsupported`](wfe_core::WfeError::Unsupported): the store cannot list failures.
    /// * The errors of the store.
    pub async fn next(&mut self) -> Result<Option<StepFailure>> {
        while self.page.is_empty() {
            let page = self.store.failures(&self.instance, self.after, PAGE).await?;
            self.page = page.rows.into();
            if self.page.is_empty() {
                // No row of this page decoded. Further pages may follow.
                let Some(next) = page.next else { return Ok(None) };
                self.after = Some(next);
            }
        }
        let Some(record) = self.page.pop_front() else { return Ok(None) };
        self.after = Some(record.cursor);
        Ok(Some(record.failure))
    }

    /// Reads all remaining failures into memory.
    ///
    /// # Errors
    /// The errors of [`next`](Self::next).
    pub async fn all(mut self) -> Result<Vec<StepFailure>> {
        let mut all = Vec::new();
        while let Some(failure) = self.next().await? {
            all.push(failure);
        }
        Ok(all)
    }
}

impl fmt::Debug for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failures")
            .field("instance", &self.instance)
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}
