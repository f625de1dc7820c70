//! Conversion of rows of the table `execution_pointers`.

use serde_json::value::RawValue;
use std::collections::HashMap;
use wfe_core::{Result, WfeError, models::ExecutionPointer};

use super::{Fields, json, names, time, to_integer};
use crate::{error, request::Value, row::Row};

const TABLE: &str = "execution_pointers";

/// The values of the columns of a pointer, in the order in which `sql::pointers` names the columns, and with
/// the container as the last column.
pub(crate) fn encode(pointer: &ExecutionPointer) -> Result<[Value; 21]> {
    let ExecutionPointer {
        id,
        step_id,
        active,
        status,
        sleep_until,
        persistence_data,
        start_time,
        end_time,
        event_name,
        event_key,
        event_published,
        event_data,
        step_name,
        retry_count,
        children,
        context_item,
        predecessor_id,
        outcome,
        scope,
        extension_attributes,
    } = pointer;
    let container = scope.last().map_or(Value::Fixed(""), Value::from);
    Ok([
        id.into(),
        to_integer("a pointer's step_id", *step_id)?.into(),
        (*active).into(),
        names::pointer_status(*status),
        time::optional_nanos("a pointer's sleep_until", *sleep_until)?.into(),
        json::optional_text("a pointer's persistence_data", persistence_data.as_ref())?.into(),
        time::optional_nanos("a pointer's start_time", *start_time)?.into(),
        time::optional_nanos("a pointer's end_time", *end_time)?.into(),
        event_name.into(),
        event_key.into(),
        (*event_published).into(),
        json::optional_text("a pointer's event_data", event_data.as_ref())?.into(),
        step_name.into(),
        (*retry_count).into(),
        list(children)?,
        json::optional_text("a pointer's context_item", context_item.as_ref())?.into(),
        predecessor_id.into(),
        json::optional_text("a pointer's outcome", outcome.as_ref())?.into(),
        list(scope)?,
        attributes_text(extension_attributes)?,
        container,
    ])
}

/// The JSON text of a list. Most lists are empty, and an empty list needs no serializer.
fn list(values: &[String]) -> Result<Value> {
    Ok(if values.is_empty() { Value::Fixed("[]") } else { serde_json::to_string(values)?.into() })
}

fn attributes_text(values: &HashMap<String, serde_json::Value>) -> Result<Value> {
    Ok(if values.is_empty() {
        Value::Fixed("{}")
    } else {
        json::map_text("a pointer's extension_attributes", values)?.into()
    })
}

/// Decodes a pointer of `instance` from a row. The row has `skip` other columns, then an integer (position or
/// number), then the model's columns. Returns the integer, the pointer, and the number of bytes of the
/// pointer's text columns.
pub(crate) fn decode(row: Row<'_>, skip: usize, instance: &str) -> Result<(i64, ExecutionPointer, usize)> {
    let mut fields = Fields::new(row, TABLE, instance);
    for _ in 0..skip {
        fields.skip();
    }
    let number = fields.int("position");
    let id = fields.text("id")?;
    let of_pointer = |error| match error {
        WfeError::Corrupt { table, column, message, source, .. } => {
            WfeError::Corrupt { table, column, row: format!("{id} of {instance}"), message, source }
        }
        other => other,
    };
    let number = number.map_err(|error| of_pointer(unlike_live(row, skip, error)))?;
    let pointer = model(&mut fields, id).map_err(of_pointer)?;
    Ok((number, pointer, fields.text_bytes()))
}

/// Returns the given error, unless another column shows that the row cannot be a live pointer. In that case,
/// the row's column with the index `at` contains the name of that other column, and the returned error names
/// that other column.
fn unlike_live(row: Row<'_>, at: usize, error: WfeError) -> WfeError {
    let column = match row.get(at) {
        Ok("number") => "number",
        Ok("item_values") => "item_values",
        _ => return error,
    };
    error::corrupt(TABLE, column, "", "a live pointer has no value in this column", None)
}

fn model(fields: &mut Fields<'_>, id: &str) -> Result<ExecutionPointer> {
    Ok(ExecutionPointer {
        id: id.to_owned(),
        step_id: fields.number("step_id")?,
        active: fields.flag("active")?,
        status: fields.name("status", names::as_pointer_status)?,
        sleep_until: fields.optional_time("sleep_until")?,
        persistence_data: fields.optional_json("persistence_data")?,
        start_time: fields.optional_time("start_time")?,
        end_time: fields.optional_time("end_time")?,
        event_name: fields.optional_string("event_name")?,
        event_key: fields.optional_string("event_key")?,
        event_published: fields.flag("event_published")?,
        event_data: fields.optional_json("event_data")?,
        step_name: fields.optional_string("step_name")?,
        retry_count: fields.number("retry_count")?,
        children: strings(fields, "children")?,
        context_item: fields.optional_json("context_item")?,
        predecessor_id: fields.optional_string("predecessor_id")?,
        outcome: fields.optional_json("outcome")?,
        scope: strings(fields, "scope")?,
        extension_attributes: attributes(fields)?,
    })
}

fn attributes(fields: &mut Fields<'_>) -> Result<HashMap<String, serde_json::Value>> {
    const COLUMN: &str = "extension_attributes";
    let text = fields.text(COLUMN)?;
    if text == "{}" {
        return Ok(HashMap::new());
    }
    serde_json::from_str::<HashMap<String, Box<RawValue>>>(text)
        .and_then(json::map)
        .map_err(|source| fields.not_json(COLUMN, source))
}

fn strings(fields: &mut Fields<'_>, column: &'static str) -> Result<Vec<String>> {
    let text = fields.text(column)?;
    if text == "[]" { Ok(Vec::new()) } else { fields.parse(column, text) }
}

/// Whether two pointers are equal bit for bit.
pub(crate) fn same(one: &ExecutionPointer, other: &ExecutionPointer) -> bool {
    // The pattern has no `..`, so that a field that is added later must be compared too.
    let ExecutionPointer {
        id,
        step_id,
        active,
        status,
        sleep_until,
        persistence_data,
        start_time,
        end_time,
        event_name,
        event_key,
        event_published,
        event_data,
        step_name,
        retry_count,
        children,
        context_item,
        predecessor_id,
        outcome,
        scope,
        extension_attributes,
    } = other;
    one.status == *status
        && one.active == *active
        && one.id == *id
        && one.step_id == *step_id
        && one.sleep_until == *sleep_until
        && one.start_time == *start_time
        && one.end_time == *end_time
        && one.event_name == *event_name
        && one.event_key == *event_key
        && one.event_published == *event_published
        && one.step_name == *step_name
        && one.retry_count == *retry_count
        && one.children == *children
        && one.predecessor_id == *predecessor_id
        && one.scope == *scope
        && json::same_optional(one.persistence_data.as_ref(), persistence_data.as_ref())
        && json::same_optional(one.event_data.as_ref(), event_data.as_ref())
        && json::same_optional(one.context_item.as_ref(), context_item.as_ref())
        && json::same_optional(one.outcome.as_ref(), outcome.as_ref())
        && one.extension_attributes.len() == extension_attributes.len()
        && one
            .extension_attributes
            .iter()
            .all(|(key, value)| extension_attributes.get(key).is_some_and(|other| json::same(value, other)))
}
