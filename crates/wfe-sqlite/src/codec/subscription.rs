//! Conversion of rows of the table `event_subscriptions`.

use wfe_core::{Result, WfeError, models::EventSubscription};

use super::{Fields, json, time, to_integer};
use crate::{error, request::Value, row::Row};

const TABLE: &str = "event_subscriptions";

/// The values of the columns of a subscription, in the order in which `sql::subscriptions` names the columns.
pub(crate) fn encode(subscription: &EventSubscription, id: &str) -> Result<[Value; 11]> {
    Ok([
        id.into(),
        (&subscription.workflow_id).into(),
        to_integer("a subscription's step_id", subscription.step_id)?.into(),
        (&subscription.execution_pointer_id).into(),
        (&subscription.event_name).into(),
        (&subscription.event_key).into(),
        time::nanos("a subscription's subscribe_as_of", subscription.subscribe_as_of)?.into(),
        json::optional_text("a subscription's data", subscription.subscription_data.as_ref())?.into(),
        (&subscription.external_token).into(),
        (&subscription.external_worker_id).into(),
        time::optional_nanos("a token's expiry", subscription.external_token_expiry)?.into(),
    ])
}

/// The id of a subscription's instance.
pub(crate) fn instance(row: Row<'_>) -> Result<&str> {
    let mut fields = Fields::new(row, TABLE, "");
    fields.skip();
    fields.text("workflow_id")
}

/// Decodes a subscription.
pub(crate) fn decode(row: Row<'_>) -> Result<EventSubscription> {
    let mut fields = Fields::new(row, TABLE, "");
    let wait = model(&mut fields)?;
    if fields.text("kind")? == "wait" { Ok(wait) } else { Err(no_wait(&fields)) }
}

fn no_wait(fields: &Fields<'_>) -> WfeError {
    fields.corrupt("kind", "the row is a subscription, so it must be 'wait'", None)
}

/// Decodes an open subscription of an instance. After the model's columns comes one more column. If the
/// subscription can never receive its event, this column names the reason; otherwise the column is NULL.
pub(crate) fn decode_open(row: Row<'_>) -> Result<EventSubscription> {
    let mut fields = Fields::new(row, TABLE, "");
    let wait = model(&mut fields)?;
    let Some(column) = fields.optional_text("answer")? else { return Ok(wait) };
    let (at, instance, child) = (&wait.execution_pointer_id, &wait.workflow_id, &wait.event_key);
    Err(match column {
        "kind" => no_wait(&fields),
        "born" => {
            let message = "it is above all assigned event positions: no event would reach the subscription";
            fields.corrupt("born", message, None)
        }
        "answer" => fields.corrupt("answer", "it names an event that is not stored", None),
        "parent" => {
            let message =
                format!("{at:?} of {instance:?} waits for its end, but it is not a child of that instance");
            error::corrupt("workflows", "parent", child, message, None)
        }
        _ => {
            let message =
                format!("{at:?} of {instance:?} waits for the end of this child, but its row is missing");
            error::corrupt("workflows", "id", child, message, None)
        }
    })
}

pub(crate) fn model(fields: &mut Fields<'_>) -> Result<EventSubscription> {
    let id = fields.key("id")?;
    Ok(EventSubscription {
        id: id.to_owned(),
        workflow_id: fields.string("workflow_id")?,
        step_id: fields.number("step_id")?,
        execution_pointer_id: fields.string("execution_pointer_id")?,
        event_name: fields.string("event_name")?,
        event_key: fields.string("event_key")?,
        subscribe_as_of: fields.time("subscribe_as_of")?,
        subscription_data: fields.optional_json("subscription_data")?,
        external_token: fields.optional_string("external_token")?,
        external_worker_id: fields.optional_string("external_worker_id")?,
        external_token_expiry: fields.optional_time("external_token_expiry")?,
    })
}
