//! Retries: an ended instance runs again.

use chrono::{DateTime, Utc};
use wfe_core::{
    Result, RetryRefusal, WfeError,
    traits::{Reopened, StepCommit},
};

use crate::{
    SqlitePersistenceProvider,
    codec::{Fields, time},
    request::{More, NOTHING, Script, Value, Written},
    sql,
};

pub(super) async fn reopen(
    store: &SqlitePersistenceProvider,
    revision: u64,
    at: DateTime<Utc>,
    step: &StepCommit,
) -> Result<Reopened> {
    reopen_and(store, revision, at, step, NOTHING).await
}

/// Reopens an instance. `more` adds statements that run only if the instance is reopened.
pub(crate) async fn reopen_and(
    store: &SqlitePersistenceProvider,
    revision: u64,
    at: DateTime<Utc>,
    step: &StepCommit,
    more: More<'_>,
) -> Result<Reopened> {
    let id = Value::from(&step.instance_id);
    let retried = time::nanos("the time of a retry", at)?;
    if let Ok(revision) = i64::try_from(revision) {
        let mut script = Script::about(&step.instance_id);
        script.guard(&sql::retries::MAY_REOPEN, [id.clone(), revision.into()]);
        let mut script = store.add_commit(script, None, step)?;
        script.add(&sql::retries::REOPEN, [retried.into(), id.clone()]);
        // A published end is that of a child of this instance, and has another key.
        script.add(&sql::retries::WITHDRAW_END, [id.clone()]);
        more(&mut script);
        if let Written::Done(_) = store.writer.write(script.notifying()).await? {
            store.cache.remove(&step.instance_id);
            return Ok(Reopened::Done);
        }
    }
    let mut script = Script::default();
    script.add(&sql::retries::WHY_NOT_REOPEN, [id]);
    let done = store.read(script).await?;
    let Some(row) = done.first().and_then(|done| done.rows.first()) else {
        return Err(WfeError::WorkflowNotFound(step.instance_id.clone()));
    };
    let mut fields = Fields::new(row, "workflows", &step.instance_id);
    let (has_ended, found) = (fields.flag("status")?, fields.number::<u64>("revision")?);
    let (restarted_as, parent) = (fields.optional_string("restarted_as")?, fields.optional_string("parent")?);
    Ok(Reopened::Refused(match (restarted_as, parent) {
        _ if !has_ended => RetryRefusal::NotEnded,
        (Some(id), _) => RetryRefusal::Restarted { id },
        (None, Some(parent)) if found == revision => RetryRefusal::Child { parent },
        _ => RetryRefusal::Changed,
    }))
}
