//! Listings of instances.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use wfe_core::{
    Result, WfeError,
    models::WorkflowStatus,
    traits::{
        Cause, Ending, InstanceState, InstanceSummary, ListCursor, MAX_PAGE, OWN_NAMES, Query, WaitSummary,
        Window,
    },
};

use super::{
    filter::Filter,
    scan::{self, Detail, from_millis, scan},
};
use crate::{
    SqlitePersistenceProvider,
    codec::{Fields, names, time},
    request::Script,
    row::Row,
    sql,
};

pub(super) async fn list(
    store: &SqlitePersistenceProvider,
    query: &Query,
    as_at: DateTime<Utc>,
    after: Option<ListCursor>,
    limit: usize,
) -> Result<Window<InstanceSummary>> {
    let Some(filter) = Filter::new(query, as_at, false)? else {
        return Ok(Window { rows: Vec::new(), next: None, looked_at: 0, is_whole: true });
    };
    let limit = limit.min(MAX_PAGE) as u64;
    let decode = move |row: Row<'_>| decode(row, as_at);
    let found = scan(store, &filter, after, limit, Detail::Summary, decode).await?;
    Ok(Window {
        rows: store.sound(found.rows)?,
        next: found.next,
        looked_at: found.looked_at,
        is_whole: found.is_whole,
    })
}

pub(super) async fn summary(
    store: &SqlitePersistenceProvider,
    id: &str,
    as_at: DateTime<Utc>,
) -> Result<InstanceSummary> {
    let mut script = Script::default();
    script.add(&sql::listings::SUMMARY, [true.into(), true.into(), true.into(), id.into()]);
    let done = store.read(script).await?;
    let row = done.first().and_then(|done| done.rows.first());
    decode(row.ok_or_else(|| WfeError::WorkflowNotFound(id.to_owned()))?, as_at)
}

/// The parts of a stored failure that a summary has. The failure may be large.
#[derive(Deserialize)]
pub(super) struct StoredCause {
    pub(super) error: StoredError,
    pub(super) step: String,
    attempt: u32,
    pub(super) code: String,
    #[serde(default)]
    causes: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct StoredError {
    message: String,
    pub(super) error_time: DateTime<Utc>,
}

impl StoredCause {
    /// The first line of the message, cut at the number of characters that a summary has at most.
    pub(super) fn first_line(&self) -> String {
        let mut line = String::new();
        for (at, cause) in self.causes.iter().enumerate() {
            line.push_str(if at == 0 { "" } else { ": " });
            line.push_str(cause.lines().next().unwrap_or_default());
            if cause.contains('\n') || line.len() > 4 * Cause::MAX_MESSAGE {
                break;
            }
        }
        if self.causes.is_empty() {
            line.push_str(self.error.message.lines().next().unwrap_or_default());
        }
        if let Some((end, _)) = line.char_indices().nth(Cause::MAX_MESSAGE) {
            line.truncate(end);
        }
        line
    }
}

/// Decodes a summary.
fn decode(row: Row<'_>, as_at: DateTime<Utc>) -> Result<InstanceSummary> {
    let mut fields = scan::columns(row);
    let id = fields.key("id")?;
    let name = fields.string("name")?;
    let definition = fields.string("workflow_definition_id")?;
    let version = fields.number("version")?;
    let reference = fields.optional_string("reference")?;
    let status = fields.name("status", names::as_status)?;
    let ending = fields.optional_name("ending", names::as_ending)?;
    let request = fields.optional_name("control", names::as_control)?;
    let cause: Option<StoredCause> = fields.optional_json("cause")?;
    let parent = fields.optional_string("parent")?;
    let owner: Option<u64> = fields.optional_number("owner")?;
    let create_time = fields.time("create_time")?;
    let complete_time = fields.optional_time("complete_time")?;
    let next = fields.optional_int("next_execution")?;
    let ending = Ending::of(status, ending);
    let state = match (status, ending) {
        (_, Some(ending)) => state_of(ending),
        (WorkflowStatus::Suspended, None) => InstanceState::Suspended,
        (_, None) => match next {
            _ if owner.is_some() => InstanceState::Running,
            None => InstanceState::Waiting,
            Some(next) if next <= time::millis_bound(as_at) => InstanceState::Due,
            Some(_) => InstanceState::Asleep,
        },
    };
    let mut summary = InstanceSummary::new(id, definition, version, state, create_time);
    summary.name = name;
    summary.reference = reference;
    summary.request = request.filter(|_| ending.is_none());
    summary.parent = parent;
    summary.owner = owner;
    summary.complete_time = complete_time;
    summary.due = next.filter(|_| status == WorkflowStatus::Runnable).map(from_millis);
    summary.waits = waits(&mut fields)?;
    let attributes: Option<serde_json::Map<_, _>> = fields.optional_json("attributes")?;
    summary.attributes = attributes.unwrap_or_default();
    if let Some(cause) = cause {
        summary.cause = Some(Cause {
            message: cause.first_line(),
            step: cause.step,
            code: cause.code,
            attempt: cause.attempt,
            time: cause.error.error_time,
        });
    }
    let acknowledged = summary.attributes.get(super::act::ACKNOWLEDGED).and_then(serde_json::Value::as_str);
    summary.is_acknowledged = acknowledged.is_some_and(|time| {
        summary.cause.as_ref().is_some_and(|cause| super::act::mark_of(cause.time) == time)
    });
    summary.attributes.retain(|key, _| !key.starts_with(OWN_NAMES));
    Ok(summary)
}

fn waits(fields: &mut Fields<'_>) -> Result<Option<WaitSummary>> {
    let name = fields.optional_string("event_name")?;
    let key = fields.optional_string("event_key")?;
    let count = fields.number("seq")?;
    Ok(name.zip(key).map(|(name, key)| WaitSummary { name, key, count }))
}

/// The state of an instance that has ended.
pub(super) fn state_of(ending: Ending) -> InstanceState {
    match ending {
        Ending::Completed => InstanceState::Completed,
        Ending::Failed => InstanceState::Failed,
        Ending::Cancelled => InstanceState::Cancelled,
        Ending::Terminated => InstanceState::Terminated,
    }
}
