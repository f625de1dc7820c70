use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use wfe_core::traits::{InstanceState, PurgeFilter};

/// How long instances that have ended, and processed events, stay in the store. A host that has a policy
/// ([`HostBuilder::retain`](crate::host::HostBuilder::retain)) removes what is older. An ending for which no time is set is kept
/// for ever.
///
/// ```
/// use std::time::Duration;
/// use wfe::{host::Retention, prelude::*};
///
/// const DAY: Duration = Duration::from_hours(24);
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> wfe::Result<()> {
/// let host = WorkflowHost::builder(SqliteStore::new(":memory:").await?)
///     .retain(
///         Retention::new()
///             .completed(30 * DAY)
///             .failed(90 * DAY)
///             .definition("order", Retention::new().completed(365 * DAY)) // failed orders stay for ever
///             .events(30 * DAY),
///     )
///     .build();
/// # host.stop().await
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Retention {
    times: BTreeMap<InstanceState, Duration>,
    definitions: BTreeMap<String, BTreeMap<InstanceState, Duration>>,
    events: Option<Duration>,
    every: Option<Duration>,
}

/// The default of [`Retention::every`].
const EVERY: Duration = Duration::from_hours(1);

impl Retention {
    /// A policy that keeps everything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Removes instances this long after they have completed.
    #[must_use]
    pub fn completed(self, after: Duration) -> Self {
        self.ended(InstanceState::Completed, after)
    }

    /// Removes instances this long after they have failed. They can no longer be retried then.
    #[must_use]
    pub fn failed(self, after: Duration) -> Self {
        self.ended(InstanceState::Failed, after)
    }

    /// Removes instances this long after they were cancelled.
    #[must_use]
    pub fn cancelled(self, after: Duration) -> Self {
        self.ended(InstanceState::Cancelled, after)
    }

    /// Removes instances this long after they were terminated.
    #[must_use]
    pub fn terminated(self, after: Duration) -> Self {
        self.ended(InstanceState::Terminated, after)
    }

    /// Removes instances this long after they have ended in whatever way.
    #[must_use]
    pub fn all(self, after: Duration) -> Self {
        InstanceState::ENDED.into_iter().fold(self, |this, state| this.ended(state, after))
    }

    fn ended(mut self, state: InstanceState, after: Duration) -> Self {
        self.times.insert(state, after);
        self
    }

    /// Sets the times for one definition, in all its versions. They take the place of the policy's other times: what is set
    /// elsewhere does not hold for instances of this definition. Only the times of endings of `times` count here.
    #[must_use]
    pub fn definition(mut self, id: impl Into<String>, times: Self) -> Self {
        self.definitions.insert(id.into(), times.times);
        self
    }

    /// Removes processed events whose time is this long ago. An event that is published again with the id of a removed one is a
    /// new event. A wait that begins later does not receive removed events.
    #[must_use]
    pub fn events(mut self, after: Duration) -> Self {
        self.events = Some(after);
        self
    }

    /// Sets the time between two runs. Default: an hour; minimum: a second.
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Self {
        self.every = Some(interval.max(Duration::from_secs(1)));
        self
    }

    pub(crate) fn interval(&self) -> Duration {
        self.every.unwrap_or(EVERY)
    }

    /// Whether the policy removes nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.times.is_empty() && self.events.is_none() && self.definitions.values().all(BTreeMap::is_empty)
    }

    /// Selects what is to be removed at this time.
    pub(crate) fn filters(&self, now: DateTime<Utc>) -> Vec<PurgeFilter> {
        let filter = |definition: Option<&String>, state: InstanceState, after: Duration| {
            let before = earlier(now, after)?;
            let except =
                if definition.is_some() { Vec::new() } else { self.definitions.keys().cloned().collect() };
            Some(PurgeFilter {
                states: vec![state],
                definition: definition.cloned(),
                except,
                ..PurgeFilter::before(before)
            })
        };
        let of_all = self.times.iter().map(|(state, after)| (None, *state, *after));
        let of_each = self.definitions.iter().flat_map(|(definition, times)| {
            times.iter().map(move |(state, after)| (Some(definition), *state, *after))
        });
        of_all
            .chain(of_each)
            .filter_map(|(definition, state, after)| filter(definition, state, after))
            .collect()
    }

    /// The time before which events are to be removed.
    pub(crate) fn events_before(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        earlier(now, self.events?)
    }
}

/// The time this long ago. `None` means that it is before all times that a store has.
fn earlier(now: DateTime<Utc>, after: Duration) -> Option<DateTime<Utc>> {
    let before = now.checked_sub_signed(TimeDelta::from_std(after).ok()?)?;
    before.timestamp_nanos_opt().map(|_| before)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    #[test]
    fn each_definition_has_its_own_times_and_what_has_none_is_kept() {
        assert!(Retention::new().is_empty() && Retention::new().definition("d", Retention::new()).is_empty());
        let policy = Retention::new()
            .all(DAY)
            .failed(3 * DAY)
            .definition("d", Retention::new().completed(2 * DAY))
            .definition("kept", Retention::new());
        assert!(!policy.is_empty() && policy.interval() == EVERY);
        let now = DateTime::from_timestamp(100 * 86_400, 0).unwrap();
        let filters = policy.filters(now);
        assert_eq!(filters.len(), 5);
        for filter in &filters {
            let days = (now - filter.before).num_days();
            let expected = match (filter.definition.as_deref(), filter.states[0]) {
                (Some("d"), InstanceState::Completed) => 2,
                (None, InstanceState::Failed) => 3,
                (None, _) => 1,
                other => panic!("{other:?}"),
            };
            assert_eq!(days, expected);
            assert_eq!(filter.except.len(), if filter.definition.is_some() { 0 } else { 2 });
        }
    }

    #[test]
    fn a_time_longer_than_the_calendar_keeps_everything() {
        let policy = Retention::new().all(Duration::MAX).events(Duration::MAX).every(Duration::ZERO);
        assert_eq!(policy.filters(DateTime::UNIX_EPOCH), []);
        assert_eq!(policy.events_before(DateTime::UNIX_EPOCH), None);
        assert_eq!(policy.interval(), Duration::from_secs(1));
    }
}
