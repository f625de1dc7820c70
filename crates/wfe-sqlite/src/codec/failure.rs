//! `execution_errors`.

use wfe_core::{Result, models::ExecutionError};

use super::time;
use crate::script::Value;

/// The plain columns of a failure.
pub(crate) fn encode_plain(error: &ExecutionError) -> Result<[Value; 4]> {
    Ok([
        time::nanos("an error's time", error.error_time)?.into(),
        (&error.workflow_id).into(),
        (&error.execution_pointer_id).into(),
        (&error.message).into(),
    ])
}
