//! Stores all changes of a commit in one script: first its guards, then the parts of the delta.

use std::collections::HashSet;

use serde_json::Value as Json;
use wfe_core::{
    Kind, Result, WfeError,
    models::{WorkflowInstance, WorkflowStatus},
    traits::{Committed, Consumed, Fence, Items, OWN_NAMES, StepCommit},
};

use super::control;
use crate::{
    SqlitePersistenceProvider,
    codec::{self, Fields, json, names, time, to_integer},
    connection::admission::Caller,
    instance::diff::{New, next_revision},
    repository::{
        add_positions, add_subscription_guard, add_subscription_row, id_or_fresh, with_id_and_name,
    },
    request::{Role, Script, Value, Written},
    sql,
};

/// The highest number of items in a chunk.
const ITEMS_IN_CHUNK: usize = 256;
/// The size in bytes that a chunk of several items may not exceed. If items are large, a reader that needs
/// only the next item therefore reads little more than this item.
const BYTES_IN_CHUNK: usize = 64 << 10;

pub(super) async fn commit_step(
    store: &SqlitePersistenceProvider,
    fence: Fence,
    step: &StepCommit,
) -> Result<Committed> {
    loop {
        let Ok(stored_fence) = i64::try_from(fence.0) else { return Ok(Committed::Lost) };
        let script = store.script(stored_fence, step)?;
        let written = match store.writer.write_for(Caller::Engine, script).await {
            Err(error @ WfeError::Corrupt { .. }) => {
                return Err(store.located(&step.instance_id, error).await);
            }
            written => written?,
        };
        match written {
            Written::Done(_) => {
                store.cache.remove(&step.instance_id);
                return Ok(Committed::Done);
            }
            Written::Refused(_) => {
                // No reason for a refusal is left, because the control request was carried out meanwhile. The
                // commit is tried again.
                if let Some(answer) = store.why_not(stored_fence, step).await? {
                    return Ok(answer);
                }
            }
        }
    }
}

impl SqlitePersistenceProvider {
    /// Adds the row to the error of a commit that broke a rule of the schema, if the row can be found.
    async fn located(&self, id: &str, error: WfeError) -> WfeError {
        let mut script = Script::default();
        script.add(&sql::commits::OBSTACLES, [id.into(), id.into()]);
        // If this read fails too, the original error remains, which names the table and the instance.
        let Ok(done) = self.read_for(Caller::Engine, script).await else { return error };
        let Some(row) = done.first().and_then(|done| done.rows.first()) else { return error };
        let (Ok(found), Ok(at)) = (row.get::<&str>(0), row.get::<&str>(1)) else {
            return error;
        };
        let (table, column) = match found {
            "number" => ("execution_pointers", "number"),
            "item_values" => ("execution_pointers", "item_values"),
            _ => ("event_subscriptions", "consumed"),
        };
        match error {
            WfeError::Corrupt { message, source, .. } => {
                WfeError::Corrupt { table, column, row: at.to_owned(), message, source }
            }
            error => error,
        }
    }

    async fn why_not(&self, fence: i64, step: &StepCommit) -> Result<Option<Committed>> {
        let mut script = Script::default();
        script.add(&sql::commits::FENCE_AND_CONTROL, [(&step.instance_id).into()]);
        let done = self.read_for(Caller::Engine, script).await?;
        let Some(row) = done.first().and_then(|done| done.rows.first()) else {
            return Ok(Some(Committed::Lost));
        };
        let mut fields = Fields::new(row, "workflows", &step.instance_id);
        if fields.int("fence")? != fence {
            return Ok(Some(Committed::Lost));
        }
        let control = control::decode(&mut fields)?;
        Ok(control.filter(|request| step.applied != Some(request.number)).map(Committed::Control))
    }

    fn script(&self, fence: i64, step: &StepCommit) -> Result<Script> {
        self.add_commit(Script::about(&step.instance_id), Some(fence), step)
    }

    /// Adds the changes of the commit. They refuse the script if the fencing token is another one. `None` means that the
    /// script begins with a guard of its own.
    pub(super) fn add_commit(
        &self,
        mut script: Script,
        fence: Option<i64>,
        step: &StepCommit,
    ) -> Result<Script> {
        let id = Value::from(&step.instance_id);
        // A released instance has ended, or has a due time that other hosts must know in case this host
        // crashes. A step that is followed by the next step does not concern other hosts.
        let concerns_others =
            !(step.published.is_empty() && step.created.is_empty() && step.requested.is_empty());
        script.notifies = step.release || concerns_others;
        let now = self.clock.now();
        // First, because nearly all refusals come from it: then nothing was written yet.
        add_instance(&mut script, fence, step)?;
        let touches_events =
            !(step.consumed.is_empty() && step.subscribed.is_empty() && step.published.is_empty());
        if touches_events || !step.created.is_empty() {
            add_positions(&mut script, now);
        }
        if let Some(attributes) = &step.attributes {
            let attributes = codec::attributes::encode(attributes)?;
            script.add(&sql::commits::SET_ATTRIBUTES, [attributes.into(), id.clone()]);
        }
        add_consumed(&mut script, step)?;
        add_pointers(&mut script, step)?;
        for items in &step.items {
            add_items(&mut script, &id, items)?;
        }
        for wait in &step.unsubscribed {
            script.add(&sql::subscriptions::CLOSE, [wait.into()]);
        }
        for Consumed { subscription_id, .. } in &step.consumed {
            script.add(&sql::streams::REVIVE_FOR_OTHERS, [subscription_id.into()]);
        }
        add_waits(&mut script, step)?;
        for wait in &step.unanswerable {
            script.add(&sql::external_tasks::TAKE_NO_ANSWER, [wait.into()]);
        }
        for wait in &step.unanswerable_unless_claimed {
            script.add(&sql::external_tasks::TAKE_NO_ANSWER_UNLESS_CLAIMED, [wait.into()]);
        }
        for event in &step.published {
            let event_id = id_or_fresh(&event.id);
            script.guard_or(
                &sql::events::ID_IS_FREE_FOR,
                [event_id.as_str().into(), (&event.event_name).into(), (&event.event_key).into()],
                WfeError::AlreadyExists { kind: Kind::Event, id: event_id.clone() },
            );
            let columns = codec::event::encode(event, &event_id, Some(event.event_time), now)?;
            script.add_with(&sql::events::INSERT_UNLESS, [], &columns, [event_id.into()]);
        }
        add_children(&mut script, &id, &step.created)?;
        for (other, control) in &step.requested {
            let control = names::control(*control);
            script.add(&sql::ownership::REQUEST_OF_COMMIT, [control.clone(), other.into(), control]);
        }
        for failure in &step.failures {
            script.add(&sql::errors::INSERT, codec::failure::encode(failure)?);
        }
        for command in &step.commands {
            script.add(&sql::commands::SCHEDULE, codec::command::encode(command));
        }
        Ok(script)
    }
}

/// Adds all guards first. Several subscriptions of one commit may consume the same event, so no guard may see
/// the changes for another subscription.
fn add_consumed(script: &mut Script, step: &StepCommit) -> Result<()> {
    let mut waits = HashSet::new();
    for Consumed { subscription_id, .. } in &step.consumed {
        if !waits.insert(subscription_id) {
            return Err(WfeError::Invalid(format!(
                "the subscription {subscription_id:?} cannot consume two events in one commit"
            )));
        }
        script.guard_or(
            &sql::streams::IS_WAITING,
            [subscription_id.into(), (&step.instance_id).into()],
            WfeError::SubscriptionNotFound(subscription_id.clone()),
        );
    }
    for Consumed { subscription_id, event_id } in &step.consumed {
        script.guard_or(
            &sql::streams::MATCHES,
            [subscription_id.into(), event_id.into()],
            WfeError::EventNotFound(event_id.clone()),
        );
    }
    for Consumed { subscription_id, event_id } in &step.consumed {
        script.add(&sql::subscriptions::CLOSE, [subscription_id.into()]);
        script.add(&sql::streams::ADVANCE, [subscription_id.into(), event_id.into()]);
        // Nobody publishes an event of the engine again.
        if !event_id.starts_with(OWN_NAMES) {
            script.add(&sql::streams::MARK_CONSUMED, [event_id.into()]);
        }
    }
    Ok(())
}

/// Adds the new subscriptions. All guards come first, as in `add_consumed`, so no guard sees another
/// subscription of the same commit.
fn add_waits(script: &mut Script, step: &StepCommit) -> Result<()> {
    let dated: HashSet<&String> = step.dated.iter().collect();
    let (mut ids, mut rows) = (HashSet::new(), Vec::with_capacity(step.subscribed.len()));
    for wait in &step.subscribed {
        let id = id_or_fresh(&wait.id);
        rows.push((codec::subscription::encode(wait, &id)?, dated.contains(&wait.id)));
        if !ids.insert(id.clone()) {
            return Err(WfeError::AlreadyExists { kind: Kind::Subscription, id });
        }
        add_subscription_guard(script, id);
    }
    for (row, is_dated) in &rows {
        add_subscription_row(script, row, *is_dated);
    }
    for ([id, ..], _) in rows {
        script.add(&sql::streams::REVIVE_NEXT, [id]);
    }
    Ok(())
}

/// Adds the changes of the instance's row. The first statement contains the condition of the commit. There is a separate
/// one for each of the two usual forms of a release.
fn add_instance(script: &mut Script, fence: Option<i64>, step: &StepCommit) -> Result<()> {
    if step.status.is_none() && (step.ending.is_some() || step.cause.is_some()) {
        return Err(WfeError::Invalid("an ending or a cause needs a new status".to_owned()));
    }
    let id = Value::from(&step.instance_id);
    let raise = Value::from(raise(step));
    let applied = step.applied.map(|number| to_integer("a control request's number", number)).transpose()?;
    let [own, fence, same_fence, applied]: [Value; 4] =
        [id.clone(), fence.into(), fence.into(), applied.into()];
    if step.only_gives_back() {
        let values = [raise.clone(), raise, own, fence, same_fence, applied];
        script.add_as(Role::MustChange, &sql::commits::GIVE_BACK, values);
        if let Some(next_execution) = step.next_execution {
            script.add(&sql::commits::SET_NEXT_EXECUTION, [next_execution.into(), id]);
        }
        return Ok(());
    }
    let completions = Value::from(i64::try_from(step.finished.len()).unwrap_or(i64::MAX));
    let complete_time = step.complete_time.map(|time| time::nanos("a workflow's complete_time", time));
    let complete_time = complete_time.transpose()?.map(Value::from);
    let status = step.status.map(|status| new_status(step, status)).transpose()?;
    let begins = Value::from(!step.upserted.is_empty());
    let data = step.data.as_ref().map(|data| json::text("a workflow's data", data)).transpose()?;
    let data = Value::from(data);
    match (step.release, step.next_execution, status, complete_time) {
        (true, Some(next), None, None) => {
            let values = [raise, completions, begins, data, next.into(), own, fence, same_fence, applied];
            script.add_as(Role::MustChange, &sql::commits::COMMIT_AND_PARK, values);
        }
        (true, Some(next), Some([status, ending, cause]), Some(complete_time)) => {
            let next = next.into();
            script.add_as(
                Role::MustChange,
                &sql::commits::COMMIT_AND_END,
                [
                    raise,
                    completions,
                    begins,
                    data,
                    next,
                    status,
                    ending,
                    cause,
                    complete_time,
                    own,
                    fence,
                    same_fence,
                    applied,
                ],
            );
        }
        (_, next_execution, status, complete_time) => {
            let values = [raise, completions, begins, data, own, fence, same_fence, applied];
            script.add_as(Role::MustChange, &sql::commits::COMMIT, values);
            if let Some([status, ending, cause]) = status {
                script.add(&sql::commits::SET_STATUS, [status, ending, cause, id.clone()]);
            }
            if let Some(next_execution) = next_execution {
                script.add(&sql::commits::SET_NEXT_EXECUTION, [next_execution.into(), id.clone()]);
            }
            if let Some(complete_time) = complete_time {
                script.add(&sql::commits::SET_COMPLETE_TIME, [complete_time, id.clone()]);
            }
            if step.release {
                script.add(&sql::commits::RELEASE, [id.clone()]);
            }
        }
    }
    if step.applied.is_some() {
        script.add(&sql::commits::CLEAR_CONTROL, [id]);
    }
    Ok(())
}

/// Returns the amount by which the revision grows. It depends on the number of pointers that stay live,
/// because only these get positions.
fn raise(step: &StepCommit) -> i64 {
    next_revision(0, step.upserted.len())
}

/// Encodes the status, the ending and the cause.
fn new_status(step: &StepCommit, status: WorkflowStatus) -> Result<[Value; 3]> {
    let ending = step.ending.map(names::ending);
    let cause = step.cause.as_ref().map(codec::failure::cause).transpose()?;
    Ok([names::status(status), ending.into(), cause.into()])
}

fn add_pointers(script: &mut Script, step: &StepCommit) -> Result<()> {
    let id = Value::from(&step.instance_id);
    let above = raise(step) - 1;
    for (index, pointer) in (0_i64..).zip(&step.upserted) {
        let columns = codec::pointer::encode(pointer)?;
        script.add_with(&sql::pointers::PUT_IN_COMMIT, [above.into(), index.into()], &columns, [id.clone()]);
    }
    for (after, pointer) in (0_i64..).zip(step.finished.iter().rev()) {
        let columns = codec::pointer::encode(pointer)?;
        let [pointer_id, rest @ ..] = &columns;
        let own = [id.clone(), pointer_id.clone()];
        script.add_with(&sql::pointers::FINISH, [after.into()], rest, own);
        script.add_with(&sql::pointers::FINISH_AT_ONCE, [after.into()], &columns, [id.clone()]);
        script.last_is(Role::IfUnchanged);
    }
    Ok(())
}

fn add_items(script: &mut Script, id: &Value, items: &Items) -> Result<()> {
    let container = Value::from(&items.container);
    script.add(&sql::pointers::REMOVE_ITEMS, [id.clone(), container.clone()]);
    let mut put = |first: i64, chunk: &str| {
        let chunk = format!("[{chunk}]");
        script.add(&sql::pointers::PUT_ITEMS, [first.into(), container.clone(), chunk.into(), id.clone()]);
    };
    let (mut first, mut chunk, mut count) = (0_i64, String::new(), 0_usize);
    for (index, value) in (0_i64..).zip(&items.values) {
        let text = item_text(value)?;
        if count == ITEMS_IN_CHUNK || (count > 0 && chunk.len() + text.len() > BYTES_IN_CHUNK) {
            put(first, &chunk);
            (first, count) = (index, 0);
            chunk.clear();
        }
        if count > 0 {
            chunk.push(',');
        }
        chunk.push_str(&text);
        count += 1;
    }
    if count > 0 {
        put(first, &chunk);
    }
    Ok(())
}

fn item_text(value: &Json) -> Result<String> {
    json::text("an item", value)
}

/// Adds the children of the instance. If a child exists already, neither the child nor its pointers are
/// stored again. If an instance has the id of a child, but is not a child of this parent, the commit fails.
/// All guards come first, as in `add_consumed`, so no guard sees another child of the same commit.
fn add_children(script: &mut Script, parent: &Value, children: &[WorkflowInstance]) -> Result<()> {
    let (mut ids, mut names, mut rows) = (HashSet::new(), HashSet::new(), Vec::with_capacity(children.len()));
    for child in children {
        let child = with_id_and_name(child)?;
        if !ids.insert(child.id.clone()) {
            continue;
        }
        let taken = || WfeError::AlreadyExists { kind: Kind::WorkflowName, id: child.name.clone() };
        if !names.insert(child.name.clone()) {
            return Err(taken());
        }
        let id = Value::from(&child.id);
        script.guard_or(
            &sql::commits::ID_IS_FREE_FOR_CHILD,
            [id.clone(), parent.clone(), (&child.workflow_definition_id).into()],
            WfeError::AlreadyExists { kind: Kind::Workflow, id: child.id.clone() },
        );
        let name = [(&child.name).into(), id.clone()];
        script.guard_or(&sql::workflows::NAME_IS_FREE_FOR, name, taken());
        rows.push((id, New::encode(&child)?));
    }
    for (id, new) in &rows {
        let before = [parent.clone(), new.begun(), new.revision.into()];
        script.add_with(&sql::commits::INSERT_CHILD, before, &new.columns, [id.clone()]);
    }
    for (id, new) in &rows {
        new.add_pointers_of_child(script, id);
    }
    for (id, _) in rows {
        script.add(&sql::commits::UNMARK_CHILD, [id]);
    }
    Ok(())
}
