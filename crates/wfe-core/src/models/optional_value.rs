//! Deserializes `Option<Value>` fields so that `Some(Value::Null)` and `None` stay different. By default,
//! serde reads a missing field and a `null` alike, as `None`.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Serde calls this function only if the field is present. So the function returns `Some`, even for `null`.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}
