//! How many failures there were in each of the last 24 hours.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use wfe::{
    WfeError,
    traits::{InstanceState, MAX_PAGE, Order, Query, TimeRange},
};

use super::{Filter, Key};
use crate::ask::Ask;

/// The number of bars.
pub(super) const HOURS: usize = 24;
/// The most pages of instances that are read for the bars.
const PAGES: usize = 2;

/// The numbers of failures by hour, for each row.
#[derive(Debug, Default)]
pub(super) struct Trends(BTreeMap<Key, [u64; HOURS]>);

impl Trends {
    /// Counts the failures of instances that have ended in the last 24 hours, and of those that are suspended: up to
    /// 1 000 of each.
    pub(super) async fn read(ask: &Ask, filter: &Filter) -> Result<Self, WfeError> {
        let since = Some(ask.now - TimeDelta::hours(24));
        let mut trends = Self::default();
        let ended = Query {
            completed: TimeRange { from: since, until: None },
            order: Order::LastEnded,
            ..filter.query(&[InstanceState::Failed])
        };
        for query in [ended, filter.query(&[InstanceState::Suspended])] {
            let mut after = None;
            for _ in 0..PAGES {
                let window = ask.operator.list(&query, after, MAX_PAGE).await?;
                for row in window.rows {
                    let Some(cause) = row.cause else { continue };
                    trends.add(
                        Key::of(filter.by, &row.definition, &cause.step, &cause.code),
                        cause.time,
                        ask.now,
                    );
                }
                after = window.next;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(trends)
    }

    fn add(&mut self, key: Key, time: DateTime<Utc>, now: DateTime<Utc>) {
        // The running hour is the last one. A failure of the future, by another machine's clock, counts as of now.
        let ago = usize::try_from((now - time).num_hours().max(0)).unwrap_or(HOURS);
        let Some(at) = (HOURS - 1).checked_sub(ago) else { return };
        if let Some(count) = self.0.entry(key).or_default().get_mut(at) {
            *count += 1;
        }
    }

    pub(super) fn of(&self, key: &Key) -> [u64; HOURS] {
        self.0.get(key).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::By, *};

    #[test]
    fn failures_are_counted_in_their_hour() {
        let now: DateTime<Utc> = "2026-11-30T12:00:00Z".parse().unwrap();
        let key = Key::of(By::Reason, "order", "ship", "timeout");
        let mut trends = Trends::default();
        for minutes in [-5, 0, 59, 60, 23 * 60 + 59, 24 * 60, 9_000_000] {
            trends.add(key.clone(), now - TimeDelta::minutes(minutes), now);
        }
        let hours = trends.of(&key);
        assert_eq!((hours[23], hours[22], hours[0]), (3, 1, 1));
        assert_eq!(hours.iter().sum::<u64>(), 5);
    }
}
