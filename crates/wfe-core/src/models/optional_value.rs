//! Deserializes `Option<Value>` fields so that `Some(Value::Null)` and `None` stay different. By default,
//! serde reads both as `None`.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Serde calls this only for a field that is present, so its value is `Some`, even if it is `null`.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}
