//! Conversion of rows of the table `workflows`.

use wfe_core::{Result, models::WorkflowInstance};

use super::{Fields, json, names, time};
use crate::{request::Value, row::Row};

const TABLE: &str = "workflows";

/// The values of the columns of an instance, in the order in which `sql::workflows` names the columns.
pub(crate) fn encode(instance: &WorkflowInstance) -> Result<[Value; 12]> {
    let [name, root, definition, version, description, reference, next, status, created, completed] =
        encode_all_but_id_and_data(instance)?;
    let data = json::text("a workflow's data", &instance.data)?.into();
    let id = (&instance.id).into();
    Ok([id, name, root, definition, version, description, reference, next, status, created, completed, data])
}

/// Like [`encode`], without the id and the data.
pub(crate) fn encode_all_but_id_and_data(instance: &WorkflowInstance) -> Result<[Value; 10]> {
    let [next_execution, status, complete_time] = encode_state(instance)?;
    Ok([
        (&instance.name).into(),
        (&instance.root_workflow_id).into(),
        (&instance.workflow_definition_id).into(),
        instance.version.into(),
        (&instance.description).into(),
        (&instance.reference).into(),
        next_execution,
        status,
        time::nanos("a workflow's create_time", instance.create_time)?.into(),
        complete_time,
    ])
}

/// The columns that change while an instance runs: `next_execution`, `status`, `complete_time`.
pub(crate) fn encode_state(instance: &WorkflowInstance) -> Result<[Value; 3]> {
    Ok([
        instance.next_execution.into(),
        names::status(instance.status),
        time::optional_nanos("a workflow's complete_time", instance.complete_time)?.into(),
    ])
}

/// The row number and the id of a row that [`decode`] can read.
pub(crate) fn key(row: Row<'_>) -> Result<(i64, &str)> {
    let mut fields = Fields::new(row, TABLE, "");
    let seq = fields.int("seq")?;
    fields.skip();
    Ok((seq, fields.key("id")?))
}

/// Decodes an instance without its pointers, from a row of `seq`, `revision` and the model's columns. Returns
/// `seq`, `revision`, the instance, and the number of bytes of the instance's text columns.
pub(crate) fn decode(row: Row<'_>) -> Result<(i64, i64, WorkflowInstance, usize)> {
    let mut fields = Fields::new(row, TABLE, "");
    let (seq, revision) = (fields.int("seq")?, fields.int("revision")?);
    let id = fields.key("id")?;
    let instance = WorkflowInstance {
        id: id.to_owned(),
        name: fields.string("name")?,
        root_workflow_id: fields.optional_string("root_workflow_id")?,
        workflow_definition_id: fields.string("workflow_definition_id")?,
        version: fields.number("version")?,
        description: fields.optional_string("description")?,
        reference: fields.optional_string("reference")?,
        execution_pointers: Vec::new(),
        next_execution: fields.optional_int("next_execution")?,
        status: fields.name("status", names::as_status)?,
        create_time: fields.time("create_time")?,
        complete_time: fields.optional_time("complete_time")?,
        data: fields.json("data")?,
    };
    Ok((seq, revision, instance, fields.text_bytes()))
}
