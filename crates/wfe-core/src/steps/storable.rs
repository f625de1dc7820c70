//! Checks that a value can be stored. A value that fails the check fails only the step that produced the
//! value. If the store refused the value instead, the whole commit would fail, including the results of other
//! steps.

use serde::Serialize;
use serde_json::Value;

use super::{StepError, to_value};
use crate::{BoxError, limits};

/// Converts a value to JSON that every store accepts. `what` names the value in the error.
pub(crate) fn storable(what: &str, value: &(impl Serialize + ?Sized)) -> Result<Value, StepError> {
    let value = to_value(value).map_err(unstorable)?;
    check(what, &value)?;
    Ok(value)
}

/// Checks that every store accepts this JSON. `what` names the value in the error.
pub(crate) fn check(what: &str, value: &Value) -> Result<(), StepError> {
    limits::check_json(what, value).map_err(unstorable)
}

pub(crate) fn unstorable(error: impl Into<BoxError>) -> StepError {
    StepError::fatal(error).with_code(StepError::UNSTORABLE)
}
