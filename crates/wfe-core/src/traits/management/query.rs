use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::Value;

use crate::{WfeError, limits::nanos};

/// A half-open range of times: `from <= t < until`. If one of the two bounds is `None`, the range has no limit
/// on that side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TimeRange {
    /// The first time inside the range.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from: Option<DateTime<Utc>>,
    /// The first time after the range.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub until: Option<DateTime<Utc>>,
}

impl TimeRange {
    /// Whether the range has no limit on either side.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        self.from.is_none() && self.until.is_none()
    }

    /// Whether the time lies in the range.
    #[must_use]
    pub fn contains(&self, time: DateTime<Utc>) -> bool {
        self.from.is_none_or(|from| from <= time) && self.until.is_none_or(|until| time < until)
    }
}

/// What an instance does now, as far as a store can tell from the instance's row, at a given time. Every instance is in
/// exactly one of these states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum InstanceState {
    /// An owner holds the instance: a host works on it, or has claimed it and died.
    Running,
    /// The instance is due, and no owner holds it.
    Due,
    /// The instance sleeps until a time: a timer, a tick or the end of a backoff.
    Asleep,
    /// The instance waits for something other than a time: an event, an external worker, a person or a child.
    Waiting,
    /// The instance is suspended.
    Suspended,
    /// The instance completed.
    Completed,
    /// The instance failed.
    Failed,
    /// The instance was cancelled.
    Cancelled,
    /// The instance was terminated.
    Terminated,
}

impl InstanceState {
    /// All states, the open ones first.
    pub const ALL: [Self; 9] = [
        Self::Running,
        Self::Due,
        Self::Asleep,
        Self::Waiting,
        Self::Suspended,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Terminated,
    ];
    /// The states of instances that have not ended.
    pub const OPEN: [Self; 5] = [Self::Running, Self::Due, Self::Asleep, Self::Waiting, Self::Suspended];
    /// The states of instances that have ended.
    pub const ENDED: [Self; 4] = [Self::Completed, Self::Failed, Self::Cancelled, Self::Terminated];

    /// One word, as in JSON: `running`, `due`, `asleep`, `waiting`, `suspended`, `completed`, `failed`, `cancelled` or
    /// `terminated`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Due => "due",
            Self::Asleep => "asleep",
            Self::Waiting => "waiting",
            Self::Suspended => "suspended",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Terminated => "terminated",
        }
    }

    /// Whether an instance in this state has ended.
    #[must_use]
    pub fn is_final(self) -> bool {
        Self::ENDED.contains(&self)
    }
}

impl fmt::Display for InstanceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for InstanceState {
    type Err = WfeError;

    /// # Errors
    /// [`Invalid`](WfeError::Invalid): the text is not the name of a state. The message lists the names.
    fn from_str(text: &str) -> Result<Self, WfeError> {
        Self::ALL.into_iter().find(|state| state.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            WfeError::Invalid(format!("no state {text:?}; the states are {names}"))
        })
    }
}

/// Selects texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextMatch {
    /// The text is equal to this one.
    Exact(String),
    /// The text begins with this one.
    Prefix(String),
}

/// Selects instances by what their open subscriptions wait for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "for", rename_all = "snake_case")]
#[non_exhaustive]
pub enum WaitFilter {
    /// The instance waits for an event with this name.
    Event {
        /// The name of the event.
        name: String,
        /// The key of the event. `None` selects every key.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        key: Option<String>,
    },
    /// The instance waits for an activity with this name.
    Activity {
        /// The name under which workers claim the activity.
        name: String,
    },
    /// The instance waits for the answer of a person.
    Task,
    /// The instance waits for a child.
    Child,
    /// The instance sleeps until a time.
    Timer,
    /// The instance waits for nobody and for no time, although it is not suspended: nothing continues it by itself.
    Nobody,
}

/// The order of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Order {
    /// The instance that was started last comes first.
    #[default]
    Newest,
    /// The instance that was started first comes first.
    Oldest,
    /// The instance that ended last comes first. Only instances that have ended are listed, and of these only those of which
    /// the time of the end is stored: a program may store an end without one.
    LastEnded,
    /// The instance that is due first comes first. Only instances that are due or asleep are listed.
    FirstDue,
}

/// Selects and orders instances. The default selects all instances of programs, the newest first. An instance must
/// match every field that is set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Query {
    /// Selects instances in one of these states. An empty list selects every state.
    pub states: Vec<InstanceState>,
    /// Selects instances of this definition.
    pub definition: Option<String>,
    /// Selects instances of this version of their definition.
    pub version: Option<u32>,
    /// Selects instances by the references with which they were started.
    pub reference: Option<TextMatch>,
    /// Selects the instance with this name.
    pub name: Option<String>,
    /// Selects instances whose ids begin with this text.
    pub id_prefix: Option<String>,
    /// Selects the children of the instance with this id.
    pub parent: Option<String>,
    /// Selects instances that have all these attributes with exactly these values.
    pub attributes: Vec<(String, Value)>,
    /// Selects instances by what they wait for.
    pub waits: Option<WaitFilter>,
    /// Selects instances that were started in this range.
    pub created: TimeRange,
    /// Selects instances that ended in this range.
    pub completed: TimeRange,
    /// Selects instances that were suspended or ended by a failure of the step with this stable id.
    pub failed_at: Option<String>,
    /// Selects instances that were suspended or ended by a failure with this code.
    pub code: Option<String>,
    /// Selects instances whose data contains this text, without regard to the case of ASCII letters.
    pub text: Option<String>,
    /// Selects only instances with a pending control request.
    pub requested: bool,
    /// Selects failed or suspended instances whose failure was acknowledged (`true`) or was not (`false`).
    pub acknowledged: Option<bool>,
    /// The order of the listing.
    pub order: Order,
    /// Whether the instances that belong to the engine are selected too, such as those of schedules.
    pub include_own: bool,
}

/// The longest text, in bytes, that a [`Query`] may search for in the data of instances.
pub const MAX_SEARCH_BYTES: usize = 512;
/// The highest number of attributes in a [`Query`].
pub const MAX_QUERY_ATTRIBUTES: usize = 16;

impl Query {
    /// Checks what every store refuses in the same way.
    ///
    /// # Errors
    /// [`Invalid`](WfeError::Invalid): the searched text is empty or longer than [`MAX_SEARCH_BYTES`]; there are more
    /// than [`MAX_QUERY_ATTRIBUTES`] attributes, or a value is no text, number or boolean; a version is given without
    /// a definition; or the states contradict the order.
    pub fn check(&self) -> Result<(), WfeError> {
        let invalid = |text: String| Err(WfeError::Invalid(text));
        if let Some(text) = &self.text
            && (text.is_empty() || text.len() > MAX_SEARCH_BYTES)
        {
            return invalid(format!("the searched text must have 1 to {MAX_SEARCH_BYTES} bytes"));
        }
        if self.attributes.len() > MAX_QUERY_ATTRIBUTES {
            return invalid(format!("a query may name at most {MAX_QUERY_ATTRIBUTES} attributes"));
        }
        if let Some((key, _)) =
            self.attributes.iter().find(|(_, value)| value.is_array() || value.is_object())
        {
            return invalid(format!(
                "attribute {key:?}: only a text, a number, a boolean or null can be looked for"
            ));
        }
        if self.version.is_some() && self.definition.is_none() {
            return invalid("a version needs the id of its definition".to_owned());
        }
        let admits =
            |fits: fn(InstanceState) -> bool| self.states.is_empty() || self.states.iter().any(|s| fits(*s));
        match self.order {
            Order::LastEnded if !admits(InstanceState::is_final) => {
                invalid("only instances that have ended can be listed by their end".to_owned())
            }
            Order::FirstDue if !admits(|s| matches!(s, InstanceState::Due | InstanceState::Asleep)) => {
                invalid("only instances that are due or asleep can be listed by their due time".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// The position at which a page of a [listing](super::Management::list) ends. Pass it to get the next page, with the
/// same query. Instances that are started, change or end between two calls do not cause other instances to be repeated or
/// skipped.
///
/// Its text is opaque: letters, digits and `-`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListCursor {
    /// The value by which the listing is ordered, if that is not the order of starts: nanoseconds since the Unix epoch
    /// for the time of the end, milliseconds for the due time.
    pub key: i64,
    /// The number of the instance in the store.
    pub seq: u64,
}

impl fmt::Display for ListCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", u64::from_ne_bytes(self.key.to_ne_bytes()), self.seq)
    }
}

impl Serialize for ListCursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ListCursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl FromStr for ListCursor {
    type Err = WfeError;

    /// # Errors
    /// [`Invalid`](WfeError::Invalid): the text is not one that a cursor was printed as.
    fn from_str(text: &str) -> Result<Self, WfeError> {
        let parse = || {
            let (key, seq) = text.split_once('-')?;
            let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            if !is_number(key) || !is_number(seq) {
                return None;
            }
            Some(Self {
                key: i64::from_ne_bytes(key.parse::<u64>().ok()?.to_ne_bytes()),
                seq: seq.parse().ok()?,
            })
        };
        parse().ok_or_else(|| {
            WfeError::Invalid("not a cursor; pass the one that the page before ended with".to_owned())
        })
    }
}

/// Selects instances to [purge](super::Management::purge): those that ended before a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgeFilter {
    /// Selects instances that ended earlier.
    pub before: DateTime<Utc>,
    /// Selects instances with one of these endings. An empty list selects every ending.
    #[serde(default)]
    pub states: Vec<InstanceState>,
    /// Selects instances of this definition. `None` selects all definitions.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub definition: Option<String>,
    /// Selects instances of other definitions than these.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub except: Vec<String>,
}

impl PurgeFilter {
    /// Selects all instances that ended before this time.
    #[must_use]
    pub fn before(before: DateTime<Utc>) -> Self {
        Self { before, states: Vec::new(), definition: None, except: Vec::new() }
    }

    /// Checks what every store refuses in the same way.
    ///
    /// # Errors
    /// [`Invalid`](WfeError::Invalid): one of the states is not final. [`Unstorable`](WfeError::Unstorable): no store
    /// can compare with the time.
    pub fn check(&self) -> Result<(), WfeError> {
        nanos("the time before which instances are purged", self.before)?;
        match self.states.iter().find(|state| !state.is_final()) {
            Some(state) => Err(WfeError::Invalid(format!(
                "instances that are {state} cannot be purged: they have not ended"
            ))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cursor_is_read_back_from_its_text() {
        for cursor in [
            ListCursor { key: 0, seq: 1 },
            ListCursor { key: i64::MIN, seq: u64::MAX },
            ListCursor { key: -1, seq: 0 },
        ] {
            assert_eq!(cursor.to_string().parse::<ListCursor>().unwrap(), cursor);
            let stored = serde_json::to_value(cursor).unwrap();
            assert_eq!(
                (&stored, serde_json::from_value(stored.clone()).unwrap()),
                (&json!(cursor.to_string()), cursor)
            );
        }
        for wrong in ["", "-", "1", "1-", "-1", "+1-2", "1-2-3", "a-b", "99999999999999999999-1"] {
            assert!(matches!(wrong.parse::<ListCursor>(), Err(WfeError::Invalid(_))), "{wrong}");
        }
    }

    #[test]
    fn a_state_is_read_back_from_its_name() {
        for state in InstanceState::ALL {
            assert_eq!(state.to_string().parse::<InstanceState>().unwrap(), state);
            assert_eq!(json!(state), state.name());
        }
        assert_eq!(InstanceState::OPEN.len() + InstanceState::ENDED.len(), InstanceState::ALL.len());
    }

    #[test]
    fn a_query_that_no_store_can_answer_is_refused() {
        let query = Query::default;
        query().check().unwrap();
        for wrong in [
            Query { text: Some(String::new()), ..query() },
            Query { text: Some("a".repeat(MAX_SEARCH_BYTES + 1)), ..query() },
            Query { version: Some(1), ..query() },
            Query { attributes: vec![("a".to_owned(), json!([]))], ..query() },
            Query { attributes: vec![("a".to_owned(), json!(1)); MAX_QUERY_ATTRIBUTES + 1], ..query() },
            Query { states: vec![InstanceState::Waiting], order: Order::LastEnded, ..query() },
            Query { states: vec![InstanceState::Waiting], order: Order::FirstDue, ..query() },
        ] {
            assert!(matches!(wrong.check(), Err(WfeError::Invalid(_))), "{wrong:?}");
        }
        let before = DateTime::UNIX_EPOCH;
        PurgeFilter::before(before).check().unwrap();
        let open = PurgeFilter { states: vec![InstanceState::Suspended], ..PurgeFilter::before(before) };
        assert!(matches!(open.check(), Err(WfeError::Invalid(_))));
    }
}
