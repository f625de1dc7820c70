//! Conversion of rows of the table `execution_errors`.

use wfe_core::{
    Result,
    models::ExecutionError,
    traits::{Cursor, ErrorRecord, StepFailure, StoredFailure},
};

use super::{Fields, time};
use crate::{request::Value, row::Row};

/// The values of the columns that every failure has: the fields of its `ExecutionError`.
pub(crate) fn encode_plain(error: &ExecutionError) -> Result<[Value; 4]> {
    Ok([
        time::nanos("an error's time", error.error_time)?.into(),
        (&error.workflow_id).into(),
        (&error.execution_pointer_id).into(),
        (&error.message).into(),
    ])
}

/// All columns of a step's failure.
pub(crate) fn encode(failure: &StepFailure) -> Result<[Value; 8]> {
    let [time, workflow, pointer, message] = encode_plain(&failure.error)?;
    Ok([
        time,
        workflow,
        pointer,
        message,
        (&failure.step).into(),
        failure.attempt.into(),
        (&failure.code).into(),
        serde_json::to_string(&failure.causes)?.into(),
    ])
}

/// A failure and its number.
pub(crate) fn decode(row: Row<'_>) -> Result<ErrorRecord> {
    let row_name = Fields::new(row, "execution_errors", "").int("seq")?.to_string();
    let mut fields = Fields::new(row, "execution_errors", &row_name);
    let cursor = Cursor(fields.number("seq")?);
    let error = ExecutionError {
        error_time: fields.time("error_time")?,
        workflow_id: fields.string("workflow_id")?,
        execution_pointer_id: fields.string("execution_pointer_id")?,
        message: fields.string("message")?,
    };
    let failure = StepFailure {
        error,
        step: fields.string("step")?,
        attempt: fields.number("attempt")?,
        code: fields.string("code")?,
        causes: fields.json("causes")?,
    };
    Ok(ErrorRecord { cursor, failure })
}

/// A failure as JSON. This JSON is stored alongside the instance that the failure suspended or ended.
pub(crate) fn cause(failure: &StepFailure) -> Result<String> {
    // The failure must be read back unchanged, so a time that a column would refuse is refused here too.
    time::nanos("an error's time", failure.error.error_time)?;
    Ok(serde_json::to_string(&StoredFailure(failure.clone()))?)
}
