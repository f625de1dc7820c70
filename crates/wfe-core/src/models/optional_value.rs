//! Serde for `Option<Value>` fields that keeps `Some(Value::Null)` apart from `None`: plain serde reads both as `None`.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Called only for a field that is present, so whatever stands there, `null` included, is `Some`.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}
