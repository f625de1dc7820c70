//! Questions about instances.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::Value;
use wfe_core::{
    Result, WfeError,
    traits::{
        Count, Cursor, ErrorRecord, FailureGroup, InstanceSummary, ListCursor, Loaded, MAX_PAGE, Page, Query,
        Window,
    },
};

use super::{HistoryRow, InstanceView, Operator, Place, why::Facts};
use crate::{engine::BodyStates, status::InstanceStatus};

/// How often the end of an instance is looked for if the store does not notify of changes. It is real time, because a
/// store is no faster under a virtual clock.
const POLL: Duration = Duration::from_secs(1);

impl Operator {
    /// A page of the instances that the query selects, in its order. A store looks at a bounded number of instances for
    /// each page: a page may have few rows, or none, although more follow.
    ///
    /// # Errors
    /// * [`Invalid`](WfeError::Invalid): see [`Query::check`].
    /// * [`Forbidden`](WfeError::Forbidden): the query searches for what is [hidden](Self::redact).
    /// * The errors of the store.
    pub async fn list(
        &self,
        query: &Query,
        after: Option<ListCursor>,
        limit: usize,
    ) -> Result<Window<InstanceSummary>> {
        self.check_query(query)?;
        let limit = limit.min(MAX_PAGE);
        let mut window = self.seen(self.management.list(query, self.now(), after, limit).await)?;
        window.rows.iter_mut().for_each(|row| self.hide_summary(row));
        Ok(window)
    }

    /// The number of instances that the query selects, counted up to `cap`.
    ///
    /// # Errors
    /// The errors of [`list`](Self::list).
    pub async fn count(&self, query: &Query, cap: u64) -> Result<Count> {
        self.check_query(query)?;
        self.seen(self.management.count(query, self.now(), cap).await)
    }

    /// The instance as it stands in listings.
    ///
    /// # Errors
    /// [`WorkflowNotFound`](WfeError::WorkflowNotFound): no instance has this id.
    pub async fn summary(&self, id: &str) -> Result<InstanceSummary> {
        let mut summary = self.seen(self.management.summary(id, self.now()).await)?;
        self.hide_summary(&mut summary);
        Ok(summary)
    }

    /// Where the instance stands. Its JSON is that of [`WorkflowHost::status`](crate::WorkflowHost::status), with
    /// hidden values; what only a host knows, such as the bodies that run, is in [`hosts`](Self::hosts).
    ///
    /// # Errors
    /// * [`WorkflowNotFound`](WfeError::WorkflowNotFound): no instance has this id.
    /// * [`Corrupt`](WfeError::Corrupt): the stored state of the instance does not decode, or contradicts itself.
    pub async fn status(&self, id: &str) -> Result<InstanceStatus> {
        self.status_of(self.store.inspect(id).await?).await
    }

    pub(super) async fn status_of(&self, loaded: Loaded) -> Result<InstanceStatus> {
        let id = loaded.instance.id.clone();
        let mut status = InstanceStatus::of(loaded, true, &BodyStates::default(), self.now());
        let retried: Vec<String> = status.retries().map(|(pointer, _)| pointer.to_owned()).collect();
        if !retried.is_empty() {
            let failures = match self.store.last_failures(&id, &retried).await {
                Err(WfeError::Unsupported(_)) => Vec::new(), // the last failures stay `None`
                failures => failures?,
            };
            for failure in failures {
                let at = &failure.error.execution_pointer_id;
                if let Some((_, last)) = status.retries().find(|(pointer, _)| pointer == at) {
                    *last = Some(Box::new(failure));
                }
            }
        }
        self.hide_status(&mut status);
        Ok(status)
    }

    /// The instance as a person wants to see it.
    ///
    /// # Errors
    /// The errors of [`status`](Self::status).
    pub async fn show(&self, id: &str) -> Result<InstanceView> {
        let summary = self.summary(id).await?;
        let mut loaded = self.store.inspect(id).await?;
        loaded.instance.data = Value::Null; // neither the status nor the explanation needs them
        let status = self.status_of(loaded.clone()).await?;
        let facts = Facts::fresh(self).await?;
        let why = self.explain_loaded(&facts, loaded, status.clone()).await?;
        Ok(InstanceView { summary, status, why })
    }

    /// The data of the instance as they are stored now, without what is [hidden](Self::redact).
    ///
    /// # Errors
    /// The errors of [`status`](Self::status).
    pub async fn data(&self, id: &str) -> Result<Value> {
        let mut instance = self.store.inspect(id).await?.instance;
        self.hide(Place::Data, &instance.workflow_definition_id, &mut instance.data);
        Ok(instance.data)
    }

    /// A page of the steps of the instance that have ended, in the order in which they ended. A step that has failed, and
    /// that an operator can still resume, has no time of its end: it comes last.
    ///
    /// The steps of finished iterations are read page by page. The other steps that have ended, such as those of the main
    /// path, belong to the live state of the instance: they are added to the page in which they ended, so a page may have
    /// more rows than asked for.
    ///
    /// # Errors
    /// [`WorkflowNotFound`](WfeError::WorkflowNotFound): no instance has this id.
    pub async fn history(&self, id: &str, after: Option<Cursor>, limit: usize) -> Result<Page<HistoryRow>> {
        let page = self.seen(self.management.history(id, after, limit.min(MAX_PAGE)).await)?;
        let until = page.next.and_then(|_| page.rows.last()?.pointer.end_time);
        let from = match after.and_then(|after| after.0.checked_sub(1)) {
            Some(before) => {
                let last = self.seen(self.management.history(id, Some(Cursor(before)), 1).await)?;
                last.rows.first().and_then(|row| row.pointer.end_time)
            }
            None => None,
        };
        let mut rows: Vec<HistoryRow> = page.rows.into_iter().map(HistoryRow::of).collect();
        let mut definition = String::new();
        if let Some(loaded) = self.store.inspect_sound(id).await? {
            definition = loaded.instance.workflow_definition_id;
            let live = loaded.instance.execution_pointers.into_iter();
            let live = live.filter(|pointer| pointer.status.is_final()).map(HistoryRow::of_live);
            rows.extend(live.filter(|row| {
                from.is_none_or(|from| row.end.is_none_or(|end| end > from))
                    && until.is_none_or(|until| row.end.is_some_and(|end| end <= until))
            }));
        } else if self.hides() {
            definition = self.summary(id).await?.definition;
        }
        rows.sort_by_key(|row| (row.end.is_none(), row.end));
        for row in &mut rows {
            self.hide_row(&definition, row);
        }
        Ok(Page { rows, next: page.next })
    }

    fn hide_row(&self, definition: &str, row: &mut HistoryRow) {
        let event = row.event.as_mut().and_then(|event| event.data.as_mut());
        let (outcome, item) = (row.outcome.as_mut(), row.item.as_mut());
        for (place, value) in [(Place::Outcome, outcome), (Place::Item, item), (Place::Event, event)] {
            if let Some(value) = value {
                self.hide(place, definition, value);
            }
        }
    }

    /// The steps of the instance that have ended and belong to its live state.
    pub(super) async fn live_history(&self, id: &str) -> Result<Vec<HistoryRow>> {
        let Some(loaded) = self.store.inspect_sound(id).await? else { return Ok(Vec::new()) };
        let ended =
            loaded.instance.execution_pointers.into_iter().filter(|pointer| pointer.status.is_final());
        let mut rows: Vec<HistoryRow> = ended.map(HistoryRow::of_live).collect();
        for row in &mut rows {
            self.hide_row(&loaded.instance.workflow_definition_id, row);
        }
        Ok(rows)
    }

    /// The steps of finished iterations, without those of the live state.
    pub(super) async fn stored_history(
        &self,
        id: &str,
        after: u64,
        limit: usize,
    ) -> Result<Page<HistoryRow>> {
        let page = self.seen(self.management.history(id, Some(Cursor(after)), limit).await)?;
        let definition = if self.hides() { self.summary(id).await?.definition } else { String::new() };
        let mut rows: Vec<HistoryRow> = page.rows.into_iter().map(HistoryRow::of).collect();
        for row in &mut rows {
            self.hide_row(&definition, row);
        }
        Ok(Page { rows, next: page.next })
    }

    /// A page of the stored failures of the instance, oldest first, or of all instances, newest first. Each attempt that
    /// has failed is one failure.
    ///
    /// # Errors
    /// The errors of the store.
    pub async fn errors(
        &self,
        id: Option<&str>,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<ErrorRecord>> {
        let mut page = self.seen(self.management.errors(id, after, limit.min(MAX_PAGE)).await)?;
        if self.hides() {
            let mut known: Option<(String, String)> = None;
            for ErrorRecord { failure, .. } in &mut page.rows {
                let instance = &failure.error.workflow_id;
                if known.as_ref().is_none_or(|(id, _)| id != instance) {
                    let definition = match self.summary(instance).await {
                        Ok(summary) => summary.definition,
                        // Deleted since the page was read, or written by a program that names no instance.
                        Err(WfeError::WorkflowNotFound(_)) => String::new(),
                        Err(error) => return Err(error),
                    };
                    known = Some((instance.clone(), definition));
                }
                if let Some((_, definition)) = &known {
                    self.hide_failure(definition, failure);
                }
            }
        }
        Ok(page)
    }

    /// The failures that have suspended or ended the instances that the query selects, grouped by definition, step and
    /// code, the largest groups first.
    ///
    /// # Errors
    /// The errors of [`list`](Self::list).
    pub async fn failure_groups(&self, query: &Query) -> Result<Window<FailureGroup>> {
        self.check_query(query)?;
        let mut window = self.seen(self.management.failure_groups(query, self.now()).await)?;
        window.rows.iter_mut().for_each(|group| self.hide_group(group));
        Ok(window)
    }

    /// Waits until the instance has ended, and returns its status. `None` means that it has not ended within `timeout`.
    /// Without a timeout, the call waits for ever, also for a suspended instance.
    ///
    /// # Errors
    /// The errors of [`status`](Self::status).
    pub async fn outcome(&self, id: &str, timeout: Option<Duration>) -> Result<Option<InstanceStatus>> {
        self.summary(id).await?;
        let mut news = self.store.news();
        let is_over = async {
            loop {
                let ended = self.store.ended(&[id.to_owned()]).await?;
                if !ended.is_empty() {
                    return Ok::<(), WfeError>(());
                }
                tokio::select! {
                    // A store that is dropped has no more news.
                    Some(()) = news.next() => {}
                    () = tokio::time::sleep(POLL) => {}
                }
            }
        };
        let waited = match timeout {
            None => Some(is_over.await),
            Some(timeout) => tokio::select! {
                biased;
                over = is_over => Some(over),
                () = self.clock.sleep(timeout) => None,
            },
        };
        match waited {
            None => Ok(None),
            Some(over) => {
                over?;
                Ok(Some(self.status(id).await?))
            }
        }
    }
}
