//! Values as JSON that any store takes. What does not become that is refused here, as the failure of the step that made it;
//! refused by the store, it would keep all that was stored with it from being stored.

use serde::Serialize;
use serde_json::Value;

use super::{StepError, to_value};
use crate::{BoxError, limits};

/// The value as such JSON.
pub(crate) fn storable(what: &str, value: &(impl Serialize + ?Sized)) -> Result<Value, StepError> {
    let value = to_value(value).map_err(unstorable)?;
    check(what, &value)?;
    Ok(value)
}

/// The same for what is JSON already.
pub(crate) fn check(what: &str, value: &Value) -> Result<(), StepError> {
    limits::check_json(what, value).map_err(unstorable)
}

pub(crate) fn unstorable(error: impl Into<BoxError>) -> StepError {
    StepError::fatal(error).with_code(StepError::UNSTORABLE)
}
