//! Default implementations of methods of [`StepStore`]. These implementations call other methods of the store.

use std::collections::HashMap;

use super::{Claimed, ErrorRecord, Loaded, StepFailure, StepStore};
use crate::{Result, WfeError, logging};

/// The number of failures that [`last_failures`] reads at once. The number is limited because each failure may
/// contain long messages.
const FAILURES_AT_ONCE: usize = 256;

/// Loads the claimed instances. Several instances are loaded with one call, because this call costs little more than
/// the load of one instance.
///
/// If that call fails, each instance is loaded separately and has its own result. So an instance that cannot be
/// loaded does not affect the other claimed instances.
pub(super) async fn load_claimed<S: StepStore + ?Sized>(
    store: &S,
    claimed: Vec<Claimed>,
) -> Vec<(Claimed, Result<Loaded>)> {
    let mut loaded = HashMap::new();
    if claimed.len() > 1 {
        let ids: Vec<String> = claimed.iter().map(|claimed| claimed.id.clone()).collect();
        match store.load_many(&ids).await {
            Ok(rows) => loaded.extend(rows),
            Err(error) => logging::debug!(%error, "claimed instances are read one by one"),
        }
    }
    let mut rows = Vec::with_capacity(claimed.len());
    for claimed in claimed {
        let row = match loaded.remove(&claimed.id) {
            Some(row) => row,
            None => store.load(&claimed.id).await,
        };
        rows.push((claimed, row));
    }
    rows
}

pub(super) async fn load_many<S: StepStore + ?Sized>(
    store: &S,
    ids: &[String],
) -> Result<Vec<(String, Result<Loaded>)>> {
    let mut loaded = Vec::with_capacity(ids.len());
    for id in ids {
        match store.load(id).await {
            Err(WfeError::WorkflowNotFound(_)) => {}
            one @ (Ok(_) | Err(WfeError::Corrupt { .. })) => loaded.push((id.clone(), one)),
            Err(error) => return Err(error),
        }
    }
    Ok(loaded)
}

pub(super) async fn ended<S: StepStore + ?Sized>(store: &S, ids: &[String]) -> Result<Vec<String>> {
    let mut ended = Vec::new();
    for id in ids {
        match store.load(id).await {
            Ok(loaded) if !loaded.instance.status.is_final() => {}
            // The store cannot tell whether this instance has ended. A caller that waits for the end loads the
            // instance itself, and gets the error.
            Err(WfeError::Corrupt { .. }) => {}
            Ok(_) | Err(WfeError::WorkflowNotFound(_)) => ended.push(id.clone()),
            Err(error) => return Err(error),
        }
    }
    Ok(ended)
}

pub(super) async fn last_failures<S: StepStore + ?Sized>(
    store: &S,
    id: &str,
    pointers: &[String],
) -> Result<Vec<StepFailure>> {
    let (mut last, mut after) = (HashMap::new(), None);
    if pointers.is_empty() {
        return Ok(Vec::new());
    }
    loop {
        let page = store.failures(id, after, FAILURES_AT_ONCE).await?;
        for ErrorRecord { failure, .. } in page.rows {
            if pointers.contains(&failure.error.execution_pointer_id) {
                last.insert(failure.error.execution_pointer_id.clone(), failure);
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(last.into_values().collect());
        }
    }
}
