use std::{
    collections::{HashMap, VecDeque},
    fmt,
    marker::PhantomData,
    sync::Arc,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::StepError;
use crate::{
    models::{ExecutionPointer, PointerStatus, attributes, pointer_id},
    traits::{Finished, StepStore},
};

/// The number of history rows per read. This number limits the memory that a page takes, and is small enough
/// for the store to return a page of small rows in one response.
const PAGE: usize = 256;

/// The result of one item of a for-each.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ItemResult<T> {
    /// The position of the item, from 0.
    pub index: u64,
    /// The item.
    pub item: T,
    /// The outcome of the last step of the item's iteration, or the failure of that step. `Ok(None)` means that
    /// the step produced no outcome, or was skipped or cancelled.
    ///
    /// A saga that was compensated counts as failed, with the failure that caused the compensation. If a step
    /// failed and its [fallback](crate::definition::Sequence::fallback) completed, the result is the outcome of
    /// the fallback's last step. If the fallback failed too and the instance continued, the result is the
    /// step's own failure.
    pub result: Result<Option<Value>, ItemFailure>,
}

/// The final failure of a step, as it is stored for later steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ItemFailure {
    /// The error's code.
    pub code: String,
    /// The messages of the error and its causes, outermost first.
    pub causes: Vec<String>,
    /// The number of attempts that were made.
    pub attempts: u32,
}

/// The messages of the error and its causes in one line, outermost first: `charging failed: the bank is closed`.
impl fmt::Display for ItemFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.causes.join(": "))
    }
}

/// The results of a finished for-each, in order of completion. [`Ctx::results`](super::Ctx::results) returns
/// this type.
///
/// Holds at most one page of 256 results in memory.
pub struct Results<T> {
    store: Option<Arc<dyn StepStore>>,
    instance: Arc<str>,
    /// The pointer of the step that reads the results. The string is empty if the reader is not a step; then
    /// the reader sees only the main path.
    seen_from: String,
    step: String,
    container: Option<String>,
    after: u64,
    page: VecDeque<(u64, crate::Result<Finished>)>,
    at_end: bool,
    item: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Results<T> {
    /// The results of a for-each on the main path of an instance. The instance may be running or ended.
    #[must_use]
    pub fn of_instance(store: Arc<dyn StepStore>, instance: &str, for_each: &str) -> Self {
        Self::new(Some(store), instance.into(), String::new(), for_each)
    }

    pub(super) fn new(
        store: Option<Arc<dyn StepStore>>,
        instance: Arc<str>,
        seen_from: String,
        for_each: &str,
    ) -> Self {
        Self {
            store,
            instance,
            seen_from,
            step: for_each.to_owned(),
            container: None,
            after: 0,
            page: VecDeque::new(),
            at_end: false,
            item: PhantomData,
        }
    }

    /// The next result, or `None` after the last result.
    ///
    /// # Errors
    /// * There is no finished for-each with this id that this step may read. The error is fatal.
    /// * An item is not a `T`, or the stored result of an item cannot be decoded. The error is fatal. A further
    ///   call continues with the result after this item.
    /// * The store failed. After this error, the next call reads the same page again.
    pub async fn next(&mut self) -> Result<Option<ItemResult<T>>, StepError> {
        loop {
            while let Some((number, row)) = self.page.pop_front() {
                self.after = number;
                let row = row.map_err(|corrupt| StepError::fatal(corrupt).with_code(StepError::CORRUPT))?;
                if row.pointer.has(attributes::LAST) {
                    return item_result(row.pointer).map(Some);
                }
            }
            if self.at_end {
                return Ok(None);
            }
            self.read_page().await?;
        }
    }

    /// Does the same as [`next`](Self::next), but for blocking steps.
    ///
    /// # Errors
    /// The same errors as [`next`](Self::next). The call also fails if it is not made from a blocking step.
    pub fn next_blocking(&mut self) -> Result<Option<ItemResult<T>>, StepError> {
        tokio::runtime::Handle::try_current()?.block_on(self.next())
    }

    async fn read_page(&mut self) -> Result<(), StepError> {
        let Some(store) = self.store.clone() else {
            return Err(StepError::fatal("a detached context has no results of a for-each"));
        };
        let container = match self.container.take() {
            Some(container) => container,
            None => self.find_container(&*store).await?,
        };
        let page = store.finished(&self.instance, &container, self.after, PAGE).await?;
        self.container = Some(container);
        self.at_end = page.len() < PAGE;
        self.page = page.into();
        Ok(())
    }

    async fn find_container(&self, store: &dyn StepStore) -> Result<String, StepError> {
        let loaded = store.inspect(&self.instance).await?;
        // Other iterations may have finished a for-each of the same step. This step may read the for-each whose
        // path, without its last part, is a prefix of this step's path.
        let visible = |p: &&ExecutionPointer| {
            p.step_name.as_deref() == Some(&*self.step)
                && p.status.is_final()
                && pointer_id::is_visible_from(&p.id, &self.seen_from)
        };
        loaded.instance.execution_pointers.iter().rev().find(visible).map(|p| p.id.clone()).ok_or_else(|| {
            let (step, instance) = (&self.step, &self.instance);
            StepError::fatal(format!(
                "workflow {instance:?} has no finished for-each {step:?} that this step can read"
            ))
        })
    }
}

fn item_result<T: DeserializeOwned>(pointer: ExecutionPointer) -> Result<ItemResult<T>, StepError> {
    let unreadable = |e: serde_json::Error| StepError::fatal(e).with_code(StepError::UNSTORABLE);
    let index = pointer.number(attributes::INDEX).ok_or_else(|| {
        StepError::fatal(format!(
            "pointer {:?} of the for-each has no attribute {:?}",
            pointer.id,
            attributes::INDEX
        ))
    })?;
    let item = serde_json::from_value(pointer.context_item.unwrap_or(Value::Null)).map_err(unreadable)?;
    let item_result = match result_of(pointer.status, pointer.outcome, &pointer.extension_attributes) {
        Ok(outcome) => Ok(outcome),
        Err(failure) => Err(serde_json::from_value(failure).map_err(unreadable)?),
    };
    Ok(ItemResult { index, item, result: item_result })
}

/// The result of a step that has ended: its outcome, or its stored [`ItemFailure`] if no fallback completed.
pub(crate) fn result_of(
    status: PointerStatus,
    outcome: Option<Value>,
    attributes: &HashMap<String, Value>,
) -> Result<Option<Value>, Value> {
    match (status, attributes.get(attributes::RESCUED), outcome) {
        (PointerStatus::Failed, Some(rescued), _) => Ok(Some(rescued.clone()).filter(|v| !v.is_null())),
        (PointerStatus::Failed | PointerStatus::Compensated, None, Some(failure)) => Err(failure),
        (_, _, outcome) => Ok(outcome),
    }
}
