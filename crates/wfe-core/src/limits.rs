//! What a store need not hold: the one place that says which values are refused.
//!
//! A store refuses them when they are written ([`WfeError::Unstorable`]). The executor asks the same questions earlier, while
//! it knows which step has made the value, so that it is the failure of that step and of nothing else; a time that only
//! bounds something is moved to the [nearest](nearest_time) that can be stored.

use std::time::Duration;

use chrono::{DateTime, Timelike, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::{Result, WfeError};

/// How deep JSON may be nested: as deep as the parser of `serde_json` reads. A container is one level, what is in it the
/// next.
pub const DEEPEST_JSON: usize = 127;

/// The longest id of a definition, in bytes. A host sends the ids of all its definitions with every claim; whoever needs more
/// than a kilobyte to tell one from another keeps something else in it.
pub const LONGEST_DEFINITION_ID: usize = 1024;

/// Refuses JSON that is nested deeper than can be read back.
///
/// # Errors
/// [`WfeError::Unstorable`]; `what` names the value there.
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

/// Whether the value has at most so many levels. Without recursion: a value nested a million deep must not overflow the
/// stack before it is refused.
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

/// A time as nanoseconds since the Unix epoch, exactly.
///
/// # Errors
/// [`WfeError::Unstorable`]: it lies outside the years 1677 to 2262, or within a leap second: it would not come back as it
/// is. `what` names the time there.
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

/// The time itself, or the nearest one that can be stored: for times that are bounds, such as a wait's effective date, or
/// the end of a pause. One within a leap second becomes the second after it, so that nothing is due early.
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

/// The time after a pause; at the latest the last one that can be stored.
#[must_use]
pub fn later(now: DateTime<Utc>, pause: Duration) -> DateTime<Utc> {
    let later = chrono::Duration::from_std(pause).ok().and_then(|pause| now.checked_add_signed(pause));
    nearest_time(later.unwrap_or(DateTime::<Utc>::MAX_UTC))
}

/// As [`inside`], where there is no field to say so.
#[derive(Serialize)]
pub(crate) struct Inside<'v>(#[serde(with = "inside")] pub &'v Value);

/// For the values of others that the engine stores inside of its own (`#[serde(with = …)]`): as they are, unless that would
/// nest them too deep; then as their text. What a store took once, it takes there too.
pub(crate) mod inside {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
    use serde_json::Value;

    use super::{DEEPEST_JSON, is_nested_within};

    /// The one key of an object that holds the text of a value. A value that looks like such an object is kept as its text
    /// too, so that each comes back as it was.
    const TEXT: &str = "wfe.text";
    /// How many levels what is around a value may have: an answer inside of an answer has two.
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

    /// The same for a value that need not be there.
    pub mod optional {
        use serde::{Deserialize, Deserializer, Serialize, Serializer};
        use serde_json::Value;

        use crate::limits::Inside;

        #[derive(Deserialize)]
        struct Owned(#[serde(with = "super")] Value);

        #[allow(clippy::ref_option, reason = "this is how serde calls it")]
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
    fn a_value_inside_of_another_one_comes_back_and_can_be_stored() {
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
