//! What operators do: each action in one transaction with the record of it.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value as Json};
use wfe_core::{
    Result, WfeError,
    models::{Event, WorkflowStatus, fresh_id},
    traits::{AUDIT, Acted, Action, Audit, Ending, StoredFailure},
};

use super::delete::delete_with;
use crate::{
    SqlitePersistenceProvider,
    codec::{self, Fields, names, single_int},
    request::{Role, Script, Value, Written},
    sql,
    step_store::{
        external_tasks::answer_and,
        names::replace_and,
        publish::publish_and,
        retries::reopen_and,
        start::{restart_and, start_and},
    },
};

/// The attribute that records that the failure of an instance is dealt with: the time of the failure (see [`mark_of`]). It is
/// void once the instance fails again.
pub(super) const ACKNOWLEDGED: &str = "wfe.ack";

/// The time of a failure as the store has it in the cause of the instance.
pub(super) fn mark_of(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

pub(super) async fn act(
    store: &SqlitePersistenceProvider,
    action: Action<'_>,
    audit: &Audit,
) -> Result<Acted> {
    let record = record(store, audit)?;
    let record = |script: &mut Script| {
        script.add(&sql::events::INSERT, record.clone());
    };
    Ok(match action {
        Action::Note => {
            let mut script = Script::about(audit.key());
            record(&mut script);
            store.writer.run(script).await?;
            Acted::Noted
        }
        Action::Request { id, control, intervention } => {
            Acted::Requested(store.put_request(id, control, intervention, &record).await?)
        }
        Action::Start { instance, known, attributes } => {
            Acted::Started(start_and(store, None, instance, known, attributes, &record).await?)
        }
        Action::Restart { of, instance } => {
            Acted::Started(restart_and(store, None, of, instance, &record).await?)
        }
        Action::Reopen { revision, at, step } => {
            Acted::Reopened(reopen_and(store, revision, at, step, &record).await?)
        }
        Action::Replace { old, new } => Acted::Replaced(replace_and(store, old, new, &record).await?),
        Action::Publish { event, is_dated, receiver } => {
            Acted::Published(publish_and(store, event, is_dated, receiver, &record).await?)
        }
        Action::Answer { wait, token, event } => {
            Acted::Answered(answer_and(store, wait, token, event, &record).await?)
        }
        Action::Release { wait } => Acted::Released(release(store, wait, record).await?),
        Action::Acknowledge { id, acknowledged } => {
            Acted::Acknowledged(acknowledge(store, id, acknowledged, record).await?)
        }
        Action::Delete { id } => Acted::Deleted(delete_with(store, id, record).await?),
        other => {
            return Err(WfeError::Invalid(format!("this version of the store does not know {other:?}")));
        }
    })
}

/// The columns of the event that records an action.
fn record(store: &SqlitePersistenceProvider, audit: &Audit) -> Result<[Value; 9]> {
    let now = store.clock.now();
    let event = Event {
        id: format!("{AUDIT}:{}", fresh_id()),
        event_time: now,
        is_processed: true,
        ..Event::new(AUDIT, audit.key(), serde_json::to_value(audit)?)
    };
    codec::event::encode(&event, &event.id, None, now)
}

async fn release(
    store: &SqlitePersistenceProvider,
    wait: &str,
    record: impl Fn(&mut Script),
) -> Result<bool> {
    let mut script = Script::about(wait).notifying();
    script.add_as(Role::MustChange, &sql::external_tasks::RELEASE, [wait.into()]);
    record(&mut script);
    if let Written::Done(_) = store.writer.write(script).await? {
        return Ok(true);
    }
    let mut script = Script::default();
    script.add(&sql::external_tasks::IS_OPEN, [wait.into()]);
    match single_int(store.read(script).await?.first()) {
        Some(1) => Ok(false),
        _ => Err(WfeError::SubscriptionNotFound(wait.to_owned())),
    }
}

async fn acknowledge(
    store: &SqlitePersistenceProvider,
    id: &str,
    acknowledged: bool,
    record: impl Fn(&mut Script),
) -> Result<bool> {
    loop {
        let mut script = Script::default();
        script.add(&sql::reports::FAILED, [id.into()]);
        let done = store.read(script).await?;
        let row = done.first().and_then(|done| done.rows.first());
        let mut fields =
            Fields::new(row.ok_or_else(|| WfeError::WorkflowNotFound(id.to_owned()))?, "workflows", id);
        let revision = fields.int("revision")?;
        let status = fields.name("status", names::as_status)?;
        let ending = fields.optional_name("ending", names::as_ending)?;
        let cause: Option<StoredFailure> = fields.optional_json("cause")?;
        let attributes: Option<Map<String, Json>> = fields.optional_json("attributes")?;
        let has_failed =
            status == WorkflowStatus::Suspended || Ending::of(status, ending) == Some(Ending::Failed);
        let Some(cause) = cause.filter(|_| has_failed) else {
            return Err(WfeError::Invalid(format!(
                "instance {id:?} was neither suspended nor ended by a failure, so there is nothing to acknowledge"
            )));
        };
        let (mark, mut attributes) =
            (Json::from(mark_of(cause.0.error.error_time)), attributes.unwrap_or_default());
        let was_acknowledged = attributes.get(ACKNOWLEDGED) == Some(&mark);
        if was_acknowledged == acknowledged {
            return Ok(false);
        }
        if acknowledged {
            attributes.insert(ACKNOWLEDGED.to_owned(), mark);
        } else {
            attributes.remove(ACKNOWLEDGED);
        }
        let text = (!attributes.is_empty()).then(|| serde_json::to_string(&attributes)).transpose()?;
        let mut script = Script::about(id);
        script.add_as(
            Role::MustChange,
            &sql::reports::ACKNOWLEDGE,
            [text.into(), id.into(), revision.into()],
        );
        record(&mut script);
        if let Written::Done(_) = store.writer.write(script).await? {
            return Ok(true);
        }
        // The instance has changed since it was read.
    }
}
