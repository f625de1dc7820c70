//! JSON as text. A value that could not be read back is refused when it is written. `wfe_core::limits` defines
//! how deep a value may be nested.

use std::collections::HashMap;

use serde_json::{Value, value::RawValue};
use wfe_core::{Result, limits::check_json};

/// The JSON text of a value.
///
/// # Errors
/// [`Unstorable`](wfe_core::WfeError::Unstorable): the value is nested deeper than can be read back.
pub(crate) fn text(what: &str, value: &Value) -> Result<String> {
    check_json(what, value)?;
    Ok(serde_json::to_string(value)?)
}

/// The JSON text of an optional value. `Some(Value::Null)` becomes the text `null`; `None` becomes no text.
pub(crate) fn optional_text(what: &str, value: Option<&Value>) -> Result<Option<String>> {
    value.map(|value| text(what, value)).transpose()
}

/// The JSON text of a map of values. Each value of the map may be nested as deeply as a value that is stored
/// alone, because [`map`] parses each value separately.
pub(crate) fn map_text(what: &str, values: &HashMap<String, Value>) -> Result<String> {
    if values.is_empty() {
        return Ok("{}".to_owned());
    }
    for value in values.values() {
        check_json(what, value)?;
    }
    Ok(serde_json::to_string(values)?)
}

/// Decodes the values of a map that [`map_text`] wrote.
pub(crate) fn map(raw: HashMap<String, Box<RawValue>>) -> serde_json::Result<HashMap<String, Value>> {
    raw.into_iter().map(|(key, value)| Ok((key, serde_json::from_str(value.get())?))).collect()
}

/// Whether two values are equal bit for bit. The operator `==` does not distinguish `-0.0` from `0.0`.
///
/// The recursion is bounded: one of the two values was stored, so that value is not nested too deeply.
pub(crate) fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            one == other
                && one.as_f64().map(f64::is_sign_negative) == other.as_f64().map(f64::is_sign_negative)
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, value)| other.get(key).is_some_and(|other| same(value, other)))
        }
        (one, other) => one == other,
    }
}

/// [`same`] for optional values.
pub(crate) fn same_optional(one: Option<&Value>, other: Option<&Value>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => same(one, other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;
    use wfe_core::{WfeError, limits::DEEPEST_JSON as DEEPEST};

    fn nested(levels: usize) -> Value {
        (0..levels).fold(json!(1), |value, level| {
            if level % 2 == 0 {
                Value::Array(vec![value])
            } else {
                Value::Object([("a".to_owned(), value)].into_iter().collect())
            }
        })
    }

    #[test]
    fn what_is_written_can_be_read_and_what_cannot_is_refused() {
        let deep = text("data", &nested(DEEPEST)).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&deep).unwrap(), nested(DEEPEST));
        assert!(matches!(text("data", &nested(DEEPEST + 1)), Err(WfeError::Unstorable { .. })));
        let empty_below = (0..DEEPEST - 1).fold(json!([]), |value, _| json!([value]));
        assert_eq!(serde_json::from_str::<Value>(&text("data", &empty_below).unwrap()).unwrap(), empty_below);
    }

    #[test]
    fn a_list_one_level_too_deep_is_refused_though_it_holds_nothing() {
        let value = (0..DEEPEST).fold(json!([]), |value, _| json!([value]));
        let readable = serde_json::from_str::<Value>(&serde_json::to_string(&value).unwrap()).is_ok();
        assert_eq!(text("data", &value).is_ok(), readable);
    }

    #[test]
    fn a_very_deep_value_is_refused_without_overflowing_the_stack() {
        let mut value = nested(1_000_000);
        assert!(text("data", &value).is_err());
        // A recursive drop would overflow the stack, so the test dismantles the value level by level.
        while let Value::Array(_) | Value::Object(_) = value {
            value = match value {
                Value::Array(mut inner) => inner.pop().unwrap(),
                Value::Object(mut inner) => inner.remove("a").unwrap(),
                other => other,
            };
        }
    }

    #[test]
    fn a_value_in_a_map_may_be_as_deep_as_one_alone() {
        let values = HashMap::from([("k".to_owned(), nested(DEEPEST))]);
        let written = map_text("attributes", &values).unwrap();
        assert_eq!(map(serde_json::from_str(&written).unwrap()).unwrap(), values);
    }

    #[test]
    fn a_changed_sign_of_zero_is_a_change() {
        assert!(!same(&json!([0.0]), &json!([-0.0])));
        assert!(same(&json!({"a": [1, "x", null]}), &json!({"a": [1, "x", null]})));
        assert!(!same(&json!({"a": 1}), &json!({"b": 1})));
        assert!(!same_optional(Some(&Value::Null), None));
    }

    proptest! {
        #[test]
        fn every_double_comes_back_bit_for_bit(bits: u64) {
            let number = f64::from_bits(bits);
            prop_assume!(number.is_finite());
            let back: Value = serde_json::from_str(&text("data", &json!(number)).unwrap()).unwrap();
            prop_assert_eq!(back.as_f64().unwrap().to_bits(), bits);
        }
    }
}
