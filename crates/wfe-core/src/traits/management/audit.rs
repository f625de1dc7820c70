use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Cursor, TimeRange};

/// The name of the events that record the actions of operators. The key of such an event is the id of the instance, or
/// [`Audit::STORE`].
pub const AUDIT: &str = "wfe.audit";
/// The name of the events that hold the outlines of definitions. The key of such an event is the id of the definition.
pub const DEFINITION: &str = "wfe.definition";

/// Through what an operator acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Face {
    /// The command line.
    Cli,
    /// The HTTP API.
    Api,
    /// The dashboard.
    Dashboard,
    /// A program.
    Program,
}

impl Face {
    /// One word, as in JSON: `cli`, `api`, `dashboard` or `program`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cli => "cli",
            Self::Api => "api",
            Self::Dashboard => "dashboard",
            Self::Program => "program",
        }
    }
}

impl fmt::Display for Face {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The record of an action of an operator: who did what, and why. It is stored in the transaction of the action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Audit {
    /// Who acted: a name that the face has taken from its own authentication, such as `ann@host1`.
    pub actor: String,
    /// Through what the operator acted.
    pub face: Face,
    /// The action: `suspend`, `resume`, `retry`, `restart`, `skip`, `resume_from`, `cancel`, `terminate`, `start`,
    /// `publish`, `answer`, `release`, `acknowledge`, `delete`, `purge`, …
    pub action: String,
    /// Why, in the words of the operator.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// The id of the instance that the action concerns. `None` means that it concerns the whole store, or many instances.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub instance: Option<String>,
    /// The id of the bulk action of which this action is a part. Its first and last record have the id, too.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub bulk: Option<String>,
    /// What else there is to know, such as the filter of a bulk action and its counts, or the step of a `resume_from`.
    #[serde(skip_serializing_if = "Value::is_null", default)]
    pub detail: Value,
}

impl Audit {
    /// The key of the records that concern no single instance.
    pub const STORE: &str = "*";

    /// The record of an action that concerns the whole store.
    pub fn new(actor: impl Into<String>, face: Face, action: impl Into<String>) -> Self {
        Self {
            actor: actor.into(),
            face,
            action: action.into(),
            reason: None,
            instance: None,
            bulk: None,
            detail: Value::Null,
        }
    }

    /// The same record, for an action that concerns one instance.
    #[must_use]
    pub fn of(self, instance: impl Into<String>) -> Self {
        Self { instance: Some(instance.into()), ..self }
    }

    /// The key of the stored record.
    #[must_use]
    pub fn key(&self) -> &str {
        self.instance.as_deref().unwrap_or(Self::STORE)
    }
}

/// A stored record of an action. Its JSON is flat:
///
/// ```json
/// {
///   "cursor": 17, "time": "2026-01-05T08:00:00Z", "actor": "ann@host1", "face": "cli", "action": "suspend",
///   "reason": "the bank is closed", "instance": "0193…"
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// The position of the record in the order in which records were stored.
    pub cursor: Cursor,
    /// When the action was stored, by the store's clock.
    pub time: DateTime<Utc>,
    /// The record.
    #[serde(flatten)]
    pub audit: Audit,
}

/// Selects records of actions. The default selects all of them. A record must match every field that is set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditFilter {
    /// Selects records that concern the instance with this id.
    pub instance: Option<String>,
    /// Selects records of this actor.
    pub actor: Option<String>,
    /// Selects records of this action.
    pub action: Option<String>,
    /// Selects records that were stored in this range.
    pub time: TimeRange,
}
