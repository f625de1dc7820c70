//! Failures: what is broken, how often, whether it is new, and whether it is dealt with.

mod act;
mod attempts;
mod detail;
mod groups;
mod trend;

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use wfe::{
    operator::Role,
    traits::{FailureGroup, InstanceState, Query},
};

use self::trend::Trends;
use crate::{
    ask::{Ask, Fields},
    filter,
    reply::{Failure, Reply},
    routes::{Group, Nav, Route},
};

pub(crate) const GROUP: Group = Group {
    nav: Some(Nav { title: "Failures", path: "failures", key: 'f' }),
    routes: &[
        // It reads many rows, so an open page is sent again less often than others.
        Route::page("/failures", |ask| Box::pin(page(ask))).pace(Duration::from_secs(3)),
        Route {
            needs: Some(Role::Operator),
            ..Route::page("/failures/act", |ask| Box::pin(act::ask(ask))).still()
        },
        Route::action("/failures/act", Role::Operator, |ask| Box::pin(act::act(ask))),
    ],
};

/// The time within which a failure is new.
const NEW: TimeDelta = TimeDelta::hours(24);

async fn page(ask: Ask) -> Result<Reply, Failure> {
    match ask.query.get("tab") {
        Some("attempts") => attempts::page(&ask).await,
        _ => groups::page(&ask).await,
    }
}

/// Which failures are shown, as the address says it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Filter {
    definition: Option<String>,
    /// The stable id of the step. An empty one means that no step was running.
    step: Option<String>,
    code: Option<String>,
    /// A text in the group: it selects what is shown, and nothing can be done to all of these at once.
    text: Option<String>,
    /// Failures that are dealt with, instead of open ones.
    acknowledged: bool,
    by: By,
}

/// What makes a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum By {
    #[default]
    Reason,
    Definition,
    Code,
}

impl By {
    const ALL: [(Self, &'static str, &'static str); 3] = [
        (Self::Reason, "", "By step and code"),
        (Self::Definition, "definition", "By definition"),
        (Self::Code, "code", "By code"),
    ];
}

/// The words that a filter may begin with.
const WORDS: [&str; 3] = ["definition", "step", "code"];

impl Filter {
    /// Reads the address. What was typed into the line of the filter stands in `f`: `step:charge`, or a text.
    fn of(query: &Fields) -> Self {
        let typed = query.get("f").map(str::trim).filter(|typed| !typed.is_empty());
        let word = typed.and_then(|typed| typed.split_once(':')).filter(|(word, _)| WORDS.contains(word));
        let value = |name: &str| match word {
            Some((word, value)) if word == name => Some(value.trim().to_owned()),
            _ => query.all(name).next().map(str::to_owned),
        };
        let by = query.get("by").unwrap_or("");
        Self {
            definition: value("definition").filter(|id| !id.is_empty()),
            step: value("step"),
            code: value("code").filter(|code| !code.is_empty()),
            text: typed.filter(|_| word.is_none()).or(query.get("text")).map(str::to_owned),
            acknowledged: query.get("tab") == Some("acknowledged"),
            by: By::ALL.into_iter().find(|(_, name, _)| *name == by).map_or(By::Reason, |(by, ..)| by),
        }
    }

    /// The fields of an address that say the same.
    fn fields(&self) -> Fields {
        let mut fields = Vec::new();
        let mut add = |name: &str, value: Option<&str>| {
            fields.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        };
        add("tab", self.acknowledged.then_some("acknowledged"));
        add("definition", self.definition.as_deref());
        add("step", self.step.as_deref());
        add("code", self.code.as_deref());
        add("text", self.text.as_deref());
        let by = By::ALL.into_iter().find(|(by, ..)| *by == self.by).map(|(_, name, _)| name);
        add("by", by.filter(|name| !name.is_empty()));
        Fields(fields)
    }

    /// The instances with these failures, in one of these states.
    fn query(&self, states: &[InstanceState]) -> Query {
        Query {
            states: states.to_vec(),
            definition: self.definition.clone(),
            failed_at: self.step.clone(),
            code: self.code.clone(),
            acknowledged: Some(self.acknowledged),
            ..Query::default()
        }
    }

    /// The filter that selects this reason alone.
    fn of_reason(&self, reason: &Reason) -> Self {
        let Key { definition, step, code } = &reason.key;
        Self {
            definition: definition.clone().or_else(|| self.definition.clone()),
            step: step.clone().or_else(|| self.step.clone()),
            code: code.clone().or_else(|| self.code.clone()),
            text: None,
            acknowledged: self.acknowledged,
            by: self.by,
        }
    }

    /// The fields of the list of instances that select the same instances.
    fn instances(&self) -> Fields {
        let mut words = vec!["status:failed,suspended".to_owned()];
        for (name, value) in
            [("definition", &self.definition), ("failed-at", &self.step), ("code", &self.code)]
        {
            words.extend(
                value.as_ref().filter(|value| !value.is_empty()).map(|value| format!("{name}:{value}")),
            );
        }
        words.push(format!("acknowledged:{}", self.acknowledged));
        filter::Filter(words).fields()
    }

    fn is_shown(&self, group: &FailureGroup) -> bool {
        let Some(text) = &self.text else { return true };
        let text = text.to_lowercase();
        [&group.definition, &group.step, &group.code, &group.message]
            .into_iter()
            .any(|of| of.to_lowercase().contains(&text))
    }
}

/// What the failures of a row have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    definition: Option<String>,
    step: Option<String>,
    code: Option<String>,
}

impl Key {
    fn of(by: By, definition: &str, step: &str, code: &str) -> Self {
        let own = |is_part: bool, text: &str| is_part.then(|| text.to_owned());
        Self {
            definition: own(by != By::Code, definition),
            step: own(by == By::Reason, step),
            code: own(by != By::Definition, code),
        }
    }

    /// The text that names the row in an address.
    fn name(&self) -> String {
        let parts = [&self.definition, &self.step, &self.code];
        parts.map(|part| part.as_deref().unwrap_or("")).join("/")
    }
}

/// A row: failures that have the key in common.
#[derive(Debug, Clone)]
struct Reason {
    key: Key,
    failed: u64,
    suspended: u64,
    first: DateTime<Utc>,
    last: DateTime<Utc>,
    /// The instance that failed last.
    example: String,
    message: String,
    /// The numbers of failures in each of the last 24 hours, the running hour last.
    hours: [u64; trend::HOURS],
}

impl Reason {
    fn count(&self) -> u64 {
        self.failed + self.suspended
    }

    fn is_new(&self, now: DateTime<Utc>) -> bool {
        now - self.first < NEW
    }

    /// The rows of these groups, the largest first.
    fn all(by: By, groups: Vec<FailureGroup>, trends: &Trends) -> Vec<Self> {
        let mut rows = BTreeMap::<Key, Self>::new();
        for group in groups {
            let key = Key::of(by, &group.definition, &group.step, &group.code);
            let hours = trends.of(&key);
            let row = Self {
                key: key.clone(),
                failed: group.count.saturating_sub(group.suspended),
                suspended: group.suspended,
                first: group.first,
                last: group.last,
                example: group.example,
                message: group.message,
                hours,
            };
            match rows.get_mut(&key) {
                None => drop(rows.insert(key, row)),
                Some(same) => same.add(row),
            }
        }
        let mut rows: Vec<Self> = rows.into_values().collect();
        rows.sort_by_key(|row| std::cmp::Reverse((row.count(), row.last)));
        rows
    }

    fn add(&mut self, other: Self) {
        self.failed += other.failed;
        self.suspended += other.suspended;
        self.first = self.first.min(other.first);
        if other.last > self.last {
            (self.last, self.example, self.message) = (other.last, other.example, other.message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_into_the_filter_becomes_a_part_of_the_address() {
        let of = |query: &str| Filter::of(&Fields::parse(query.as_bytes()));
        let filter = of("f=step%3A+charge&code=timeout");
        assert_eq!((filter.step.as_deref(), filter.code.as_deref()), (Some("charge"), Some("timeout")));
        assert_eq!(of(filter.fields().link().trim_start_matches('?')), filter);
        // A text with a colon is a text.
        assert_eq!(of("f=http%3A503").text.as_deref(), Some("http:503"));
        // A failure without a step has an empty one.
        assert_eq!(of("step=").step.as_deref(), Some(""));
        assert_eq!(of("definition=").definition, None);
        let other = of("tab=acknowledged&by=code");
        assert!(other.acknowledged && other.by == By::Code);
        assert_eq!(of(other.fields().link().trim_start_matches('?')), other);
    }
}
