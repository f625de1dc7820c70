//! How many failures there were in each of the last 24 hours.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};
use wfe::{
    WfeError,
    traits::{InstanceState, MAX_PAGE, Order, Query, TimeRange},
};

use super::{Filter, Key};
use crate::{ask::Ask, html::num};

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

/// A bar for each hour: 3 wide, up to 20 high, the running hour in full colour.
pub(super) fn spark(class: &str, hours: &[u64; HOURS]) -> Markup {
    let highest = hours.iter().copied().max().unwrap_or(0).max(1);
    let (mut zero, mut past, mut last) = (String::new(), String::new(), String::new());
    for (at, count) in hours.iter().enumerate() {
        let high = if *count == 0 { 1 } else { (count * 20).div_ceil(highest).max(2) };
        let bar = format!("M{} {}h3v{high}h-3z", at * 4, 20 - high);
        let path = if *count == 0 {
            &mut zero
        } else if at + 1 == HOURS {
            &mut last
        } else {
            &mut past
        };
        path.push_str(&bar);
    }
    html! {
        svg class={ "spark " (class) } viewBox="0 0 95 20" role="img" aria-label=(says(hours)) {
            @for (class, path) in [("zero", zero), ("past", past), ("last", last)] {
                @if !path.is_empty() { path class=(class) d=(path) {} }
            }
        }
    }
}

/// What the bars say, in words.
fn says(hours: &[u64; HOURS]) -> String {
    let all: u64 = hours.iter().sum();
    if all == 0 {
        return "none in 24 hours".to_owned();
    }
    let running = hours.last().copied().unwrap_or(0);
    if all == running {
        return format!("{} in the last hour", num(all));
    }
    let (earlier, later): (u64, u64) =
        (hours.iter().take(HOURS - 3).sum(), hours.iter().skip(HOURS - 3).sum());
    let trend = match (earlier, later) {
        (0, _) => ", all in the last three hours",
        // Three hours of twenty-four.
        (earlier, later) if later * 7 > earlier * 2 => ", rising",
        (earlier, later) if later * 14 < earlier => ", falling",
        _ => ", even",
    };
    format!("{} in 24 hours{trend}", num(all))
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

    #[test]
    fn the_bars_say_in_words_what_they_show() {
        let mut hours = [0; HOURS];
        assert_eq!(says(&hours), "none in 24 hours");
        hours[23] = 4;
        assert_eq!(says(&hours), "4 in the last hour");
        hours[22] = 4;
        assert_eq!(says(&hours), "8 in 24 hours, all in the last three hours");
        hours[3] = 3;
        assert_eq!(says(&hours), "11 in 24 hours, rising");
        let shown = spark("fail", &hours).into_string();
        assert!(
            shown.contains(r#"class="last" d="M92 0h3v20h-3z""#) && shown.contains("M12 5h3v15h-3z"),
            "{shown}"
        );
        assert_eq!(says(&[1; HOURS]), "24 in 24 hours, even");
        hours = [9; HOURS];
        hours[21..].fill(0);
        assert_eq!(says(&hours), "189 in 24 hours, falling");
    }
}
