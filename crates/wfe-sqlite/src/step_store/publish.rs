//! Publishing: an event is stored, and the answer tells what it met.

use wfe_core::{
    Kind, NoEffectReason, Result, WfeError,
    models::Event,
    traits::{Ending, Published},
};

use crate::{
    SqlitePersistenceProvider,
    codec::{self, Fields, names},
    repository::{add_positions, id_or_fresh},
    request::{Done, More, NOTHING, Role, Script, Value},
    sql,
};

pub(super) async fn publish(
    store: &SqlitePersistenceProvider,
    event: &Event,
    is_dated: bool,
    receiver: Option<&str>,
) -> Result<Published> {
    publish_and(store, event, is_dated, receiver, NOTHING).await
}

/// Publishes an event. `more` adds one statement, which runs only if the event is stored.
pub(crate) async fn publish_and(
    store: &SqlitePersistenceProvider,
    event: &Event,
    is_dated: bool,
    receiver: Option<&str>,
    more: More<'_>,
) -> Result<Published> {
    let (id, now) = (id_or_fresh(&event.id), store.clock.now());
    let columns = codec::event::encode(event, &id, is_dated.then_some(event.event_time), now)?;
    let mut script = Script::about(&id).notifying();
    add_positions(&mut script, now);
    let receiver_value = Value::from(receiver);
    let inserted = script.add_with(
        &sql::events::PUBLISH,
        [],
        &columns,
        [id.as_str().into(), receiver_value.clone(), receiver_value],
    );
    let before = script.statements.len();
    more(&mut script);
    if script.statements.len() > before {
        script.last_is(Role::IfChanged);
    }
    let met = script.add(&sql::streams::MET, [id.as_str().into()]);
    let ending = receiver.map(|receiver| script.add(&sql::ownership::CONTROL_STATE, [receiver.into()]));
    let done = store.writer.run(script).await?;
    let row = |at: usize| done.get(at).and_then(|done: &Done| done.rows.first());
    let Some(met) = row(met) else {
        // The event was not stored, because its receiver cannot take it.
        let receiver = receiver.unwrap_or_default().to_owned();
        let Some(row) = ending.and_then(row) else { return Err(WfeError::WorkflowNotFound(receiver)) };
        let mut fields = Fields::new(row, "workflows", &receiver);
        let status = fields.name("status", names::as_status)?;
        let ending = fields.optional_name("ending", names::as_ending).unwrap_or_default();
        // The transaction has seen that the instance has ended, so the status is final.
        let ending = Ending::of(status, ending).unwrap_or(Ending::Terminated);
        let reason = NoEffectReason::Ended(ending);
        return Err(WfeError::NoEffect { id: receiver, request: "publish", reason });
    };
    let mut fields = Fields::new(met, "events", &id);
    if (fields.text("event_name")?, fields.text("event_key")?) != (&*event.event_name, &*event.event_key) {
        return Err(WfeError::AlreadyExists { kind: Kind::Event, id });
    }
    let mut published = Published::new(&id);
    published.is_consumed = fields.flag("consumed")?;
    published.waits = fields.number("waits")?;
    published.is_new = done.get(inserted).is_some_and(|done| done.changes > 0);
    Ok(published)
}
