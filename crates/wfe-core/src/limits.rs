//! The limits of stored values: which values a store may refuse.
//!
//! If a value is outside of these limits, a store refuses to write it ([`WfeError::Unstorable`]). The
//! executor checks the same limits earlier, when it still knows which step produced the value. So only this
//! step fails. Some times are only bounds, such as the end of a delay. Such a time is replaced by the
//! [nearest one](nearest_time) that a store can hold.

use std::time::Duration;

use chrono::{DateTime, Timelike, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{Result, WfeError, traits::OWN_NAMES};

/// The deepest nesting of JSON that can be stored, in levels. It is the deepest nesting that the parser of
/// `serde_json` reads. Each array or object is one level deeper than the array or object that contains it.
pub const DEEPEST_JSON: usize = 127;

/// The longest id of a definition, in bytes. The length is limited because a host sends the ids of all its
/// definitions with every claim.
pub const LONGEST_DEFINITION_ID: usize = 1024;

/// The highest number of attributes of an instance.
pub const MOST_ATTRIBUTES: usize = 64;

/// The longest key of an attribute, in bytes.
pub const LONGEST_ATTRIBUTE_KEY: usize = 128;

/// The longest text that is the value of an attribute, in bytes.
pub const LONGEST_ATTRIBUTE: usize = 1024;

/// Refuses a key or a value that no attribute of an instance can have.
///
/// # Errors
/// * [`WfeError::Invalid`]: the key is empty, contains a control character, or begins with [`OWN_NAMES`]; or the value is
///   neither a text nor a number nor a boolean.
/// * [`WfeError::Unstorable`]: the key is longer than [`LONGEST_ATTRIBUTE_KEY`], or the value is a text that is longer than
///   [`LONGEST_ATTRIBUTE`].
pub fn check_attribute(key: &str, value: &Value) -> Result<()> {
    let too_long = |what: &str, bytes: usize, limit: usize| {
        Err(WfeError::Unstorable {
            what: format!("the {what} of an attribute"),
            reason: format!("it has {bytes} bytes; the limit is {limit}"),
            source: None,
        })
    };
    if key.len() > LONGEST_ATTRIBUTE_KEY {
        return too_long("key", key.len(), LONGEST_ATTRIBUTE_KEY);
    }
    let invalid = |reason: &str| Err(WfeError::Invalid(format!("the attribute {key:?} {reason}")));
    if key.is_empty() || key.chars().any(char::is_control) {
        return invalid("must have a key of 1 to 128 bytes without control characters");
    }
    if key.starts_with(OWN_NAMES) {
        return invalid("has a key that begins with \"wfe.\", which is reserved for the engine");
    }
    match value {
        Value::String(text) if text.len() > LONGEST_ATTRIBUTE => {
            too_long("value", text.len(), LONGEST_ATTRIBUTE)
        }
        Value::String(_) | Value::Number(_) | Value::Bool(_) => Ok(()),
        Value::Null | Value::Array(_) | Value::Object(_) => invalid("must be a text, a number or a boolean"),
    }
}

/// Refuses attributes that no instance can have.
///
/// # Errors
/// The errors of [`check_attribute`]; and [`WfeError::Unstorable`] if there are more than [`MOST_ATTRIBUTES`].
pub fn check_attributes(attributes: &Map<String, Value>) -> Result<()> {
    if attributes.len() > MOST_ATTRIBUTES {
        return Err(WfeError::Unstorable {
            what: "the attributes of an instance".to_owned(),
            reason: format!("there are {}; the limit is {MOST_ATTRIBUTES}", attributes.len()),
            source: None,
        });
    }
    attributes.iter().try_for_each(|(key, value)| check_attribute(key, value))
}

/// Refuses JSON that is nested deeper than [`DEEPEST_JSON`].
///
/// # Errors
/// [`WfeError::Unstorable`], in which `what` names the value.
pub fn check_json(what: &str, value: &Value) -> Result<()> {
    if is_nested_within(value, DEEPEST_JSON) {
        return Ok(());
    }
    Err(WfeError::Unstorable {
        what: what.to_owned(),
        reason: format!("its JSON is nested deeper than the {DEEPEST_JSON} levels that can be read back"),
        source: None,
    })
}

/// Whether the value has at most this many levels. The function does not use recursion, so that a value with
/// a million levels cannot overflow the stack.
fn is_nested_within(value: &Value, levels: usize) -> bool {
    let is_container = |value: &&Value| value.is_array() || value.is_object();
    let mut level: Vec<&Value> = Some(value).filter(is_container).into_iter().collect();
    for _ in 0..levels {
        if level.is_empty() {
            return true;
        }
        let mut deeper = Vec::new();
        for value in level {
            match value {
                Value::Array(values) => deeper.extend(values.iter().filter(is_container)),
                Value::Object(values) => deeper.extend(values.values().filter(is_container)),
                _ => {}
            }
        }
        level = deeper;
    }
    level.is_empty()
}

/// Converts a time to nanoseconds since the Unix epoch, without loss.
///
/// # Errors
/// [`WfeError::Unstorable`], in which `what` names the time. The time lies before 1677-09-21, after
/// 2262-04-11, or within a leap second.
pub fn nanos(what: &str, time: DateTime<Utc>) -> Result<i64> {
    time.timestamp_nanos_opt().filter(|&nanos| DateTime::from_timestamp_nanos(nanos) == time).ok_or_else(|| {
        WfeError::Unstorable {
            what: what.to_owned(),
            reason: format!(
                "{time:?} does not fit into 64 bits of nanoseconds (1677-09-21 to 2262-04-11, no leap seconds)"
            ),
            source: None,
        }
    })
}

/// If the time can be stored, returns it unchanged. Otherwise, returns the nearest time that can be stored.
/// This function is for times that are bounds, such as the effective date of a wait or the end of a delay. A
/// time within a leap second is rounded up to the next second, so that nothing is due early.
#[must_use]
pub fn nearest_time(time: DateTime<Utc>) -> DateTime<Utc> {
    let first = DateTime::from_timestamp_nanos(i64::MIN);
    let after_leap = if time.nanosecond() < 1_000_000_000 {
        Some(time)
    } else {
        DateTime::from_timestamp(time.timestamp().saturating_add(1), 0)
    };
    after_leap.unwrap_or(last_time()).clamp(first, last_time())
}

/// The last time that can be stored, in the year 2262.
#[must_use]
pub fn last_time() -> DateTime<Utc> {
    DateTime::from_timestamp_nanos(i64::MAX)
}

/// Returns `now + duration`. If this time is too late to be stored, returns the last time that can be stored.
#[must_use]
pub fn later(now: DateTime<Utc>, duration: Duration) -> DateTime<Utc> {
    let later =
        chrono::Duration::from_std(duration).ok().and_then(|duration| now.checked_add_signed(duration));
    nearest_time(later.unwrap_or(DateTime::<Utc>::MAX_UTC))
}

/// A wrapper that serializes its value with the functions of [`inside`]. It is for a value that is not in a
/// field of its own, so that the attribute `#[serde(with = …)]` cannot be used.
#[derive(Serialize)]
pub(crate) struct Inside<'v>(#[serde(with = "inside")] pub &'v Value);

/// Serde functions (`#[serde(with = …)]`) for values of the program that the engine stores inside its own
/// values. A value is written unchanged if its nesting is not too deep for this. Otherwise, an object is
/// written that holds the JSON text of the value in a string. So every value that can be stored alone can
/// also be stored inside another value.
pub(crate) mod inside {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
    use serde_json::Value;

    use super::{DEEPEST_JSON, is_nested_within};

    /// The only key of the object that holds the JSON text of a value. If a value of the program has
    /// this form by chance, it is written as JSON text too. So every value is read back unchanged.
    const TEXT: &str = "wfe.text";
    /// The number of levels that the engine's own values may add around a value of the program. For example,
    /// an answer inside an answer adds two levels.
    const AROUND: usize = 4;

    fn is_text(value: &Value) -> Option<&Value> {
        value.as_object().filter(|object| object.len() == 1).and_then(|object| object.get(TEXT))
    }

    pub fn serialize<S: Serializer>(value: &Value, serializer: S) -> Result<S::Ok, S::Error> {
        if is_text(value).is_none() && is_nested_within(value, DEEPEST_JSON - AROUND) {
            return value.serialize(serializer);
        }
        let text = serde_json::to_string(value).map_err(ser::Error::custom)?;
        serde_json::json!({ TEXT: text }).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        let value = Value::deserialize(deserializer)?;
        match is_text(&value) {
            Some(Value::String(text)) => serde_json::from_str(text).map_err(de::Error::custom),
            _ => Ok(value),
        }
    }

    /// The same functions for an optional value.
    pub mod optional {
        use serde::{Deserialize, Deserializer, Serialize, Serializer};
        use serde_json::Value;

        use crate::limits::Inside;

        #[derive(Deserialize)]
        struct Owned(#[serde(with = "super")] Value);

        #[allow(clippy::ref_option, reason = "serde requires this signature")]
        pub fn serialize<S: Serializer>(value: &Option<Value>, serializer: S) -> Result<S::Ok, S::Error> {
            value.as_ref().map(Inside).serialize(serializer)
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
            Ok(Option::<Owned>::deserialize(deserializer)?.map(|Owned(value)| value))
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    fn nested(levels: usize) -> Value {
        (0..levels).fold(json!(1), |value, _| json!([value]))
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Holder {
        #[serde(with = "inside")]
        value: Value,
        #[serde(default, with = "inside::optional")]
        other: Option<Value>,
    }

    #[test]
    fn a_value_inside_another_one_can_be_stored_and_is_read_back_unchanged() {
        let looks_like_text = json!({ "wfe.text": "[1]" });
        for value in [json!({ "a": [1] }), nested(120), nested(126), nested(DEEPEST_JSON), looks_like_text] {
            for other in [None, Some(value.clone())] {
                let holder = Holder { value: value.clone(), other };
                let written = serde_json::to_value(&holder).unwrap();
                check_json("it", &json!([[written]])).unwrap();
                assert_eq!(serde_json::from_value::<Holder>(written).unwrap(), holder);
            }
        }
        assert_eq!(
            serde_json::to_value(Holder { value: json!([1]), other: None }).unwrap()["value"],
            json!([1])
        );
        let without = serde_json::from_value::<Holder>(json!({ "value": 1 })).unwrap();
        assert_eq!(without.other, None);
    }

    #[test]
    fn the_nearest_time_can_be_stored_and_is_the_time_itself_if_that_can() {
        let (first, last) =
            (DateTime::from_timestamp_nanos(i64::MIN), DateTime::from_timestamp_nanos(i64::MAX));
        assert_eq!(nearest_time(DateTime::<Utc>::MIN_UTC), first);
        assert_eq!(nearest_time(DateTime::<Utc>::MAX_UTC), last);
        assert_eq!(nearest_time(first - TimeDelta::nanoseconds(1)), first);
        let leap = DateTime::from_timestamp(59, 1_500_000_000).unwrap();
        assert_eq!(nearest_time(leap), DateTime::from_timestamp(60, 0).unwrap());
        for time in [first, last, DateTime::UNIX_EPOCH, DateTime::from_timestamp(59, 999_999_999).unwrap()] {
            assert_eq!(nearest_time(time), time);
            nanos("it", time).unwrap();
        }
    }
}
