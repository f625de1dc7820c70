use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use wfe_core::definition::Every;

/// When a schedule starts instances.
///
/// ```
/// use std::time::Duration;
/// use wfe::schedules::Timetable;
///
/// let often = Timetable::interval(Duration::from_secs(30));
/// let daily = Timetable::cron("0 9 * * *"); // at nine o'clock UTC
/// let on_workdays = Timetable::cron("0 9 * * MON-FRI").in_zone("Europe/Berlin");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Timetable {
    /// Starts instances at this interval. The first tick is one interval after the creation of the schedule.
    Interval(Duration),
    /// Starts instances at the times of a cron expression; see [`Every::cron`].
    Cron {
        /// The cron expression, of five to seven fields; see [`Every::cron`].
        expression: String,
        /// The name of the time zone in the IANA database. `None` means UTC.
        zone: Option<String>,
    },
    /// An interval with a time zone. This combination is not valid:
    /// [`Schedules::create`](crate::schedules::Schedules::create) refuses it.
    IntervalInZone {
        /// The interval.
        interval: Duration,
        /// The name of the time zone.
        zone: String,
    },
}

impl Timetable {
    /// Starts instances at this interval. [`Schedules::create`](crate::schedules::Schedules::create) refuses an
    /// interval of zero.
    #[must_use]
    pub fn interval(interval: Duration) -> Self {
        Self::Interval(interval)
    }

    /// Starts instances at the times of this cron expression, in UTC or in the [zone](Self::in_zone) that is set. The
    /// expression has five to seven fields. With six fields, the seconds come first. With seven fields, the seconds
    /// come first and the year comes last. [`Every::cron`] describes the syntax, and what happens when the clocks of a
    /// zone change. [`Schedules::create`](crate::schedules::Schedules::create) refuses an expression that is not valid
    /// or has no time in the future.
    pub fn cron(expression: impl Into<String>) -> Self {
        Self::Cron { expression: expression.into(), zone: None }
    }

    /// Sets the time zone of a cron expression by its IANA name, such as `Europe/Berlin`.
    /// [`Schedules::create`](crate::schedules::Schedules::create) refuses an unknown name. It also refuses an interval
    /// that has a time zone.
    #[must_use]
    pub fn in_zone(self, name: impl Into<String>) -> Self {
        match self {
            Self::Cron { expression, .. } => Self::Cron { expression, zone: Some(name.into()) },
            Self::Interval(interval) | Self::IntervalInZone { interval, .. } => {
                Self::IntervalInZone { interval, zone: name.into() }
            }
        }
    }

    pub(crate) fn every(&self) -> Every {
        match self {
            Self::Interval(interval) => Every::interval(*interval),
            Self::IntervalInZone { interval, zone } => Every::interval(*interval).in_zone(zone),
            Self::Cron { expression, zone: None } => Every::cron(expression),
            Self::Cron { expression, zone: Some(zone) } => Every::cron(expression).in_zone(zone),
        }
    }
}

/// What a schedule does about missed ticks. A tick is missed if it was due while no host ran, or while the schedule was
/// paused.
///
/// ```
/// use wfe::schedules::{CatchUp, NewSchedule, Timetable};
///
/// let hourly = || Timetable::cron("0 * * * *");
/// // No host runs from 00:30 to 05:30: the ticks from 01:00 to 05:00 are missed. What happens at 05:30:
/// // `report` starts one instance, for the tick of 05:00,
/// let report = NewSchedule::new("report", "report", hourly());
/// // `bills` starts three, for the ticks of 03:00, 04:00 and 05:00,
/// let bills = NewSchedule::new("bills", "bill", hourly()).catch_up(CatchUp::All(3));
/// // `reminders` starts none before 06:00.
/// let reminders = NewSchedule::new("reminders", "remind", hourly()).catch_up(CatchUp::None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CatchUp {
    /// Starts one instance, for the newest missed tick.
    #[default]
    One,
    /// Starts one instance for each missed tick, but at most this many instances. The newest ticks have priority.
    All(u32),
    /// Starts no instance for missed ticks. A tick counts as missed when it is more than ten seconds late.
    None,
}

/// How late a tick may be before it counts as missed. Even on a busy host, delays are much shorter.
const MISSED: chrono::TimeDelta = chrono::TimeDelta::seconds(10);

/// Returns the due ticks after `last` for which instances must be started, oldest first.
pub(crate) fn due(every: &Every, last: DateTime<Utc>, now: DateTime<Utc>, catch_up: CatchUp) -> Due<'_> {
    let most = match catch_up {
        CatchUp::One | CatchUp::None => 1,
        CatchUp::All(most) => u64::from(most.max(1)),
    };
    let (mut ticks, newest) = newest(every, last, now, most);
    let is_missed = newest.is_some_and(|newest| now - newest > MISSED);
    if is_missed && matches!(catch_up, CatchUp::None | CatchUp::All(0)) {
        ticks.now = ticks.at; // leaves no ticks
    }
    Due { ticks, newest }
}

pub(crate) struct Due<'e> {
    pub ticks: Ticks<'e>,
    /// The newest due tick, whether or not an instance is started for it.
    pub newest: Option<DateTime<Utc>>,
}

/// Iterates over ticks without storing them, so the memory that it takes does not depend on the number of ticks.
pub(crate) struct Ticks<'e> {
    every: &'e Every,
    last: DateTime<Utc>,
    /// The remaining ticks are later than this time.
    at: DateTime<Utc>,
    /// No tick is later than this time.
    now: DateTime<Utc>,
}

impl Iterator for Ticks<'_> {
    type Item = DateTime<Utc>;

    fn next(&mut self) -> Option<DateTime<Utc>> {
        self.at = self.every.next(self.last, self.at).filter(|tick| *tick <= self.now)?;
        Some(self.at)
    }
}

/// Returns the first tick after `now`. Returns `None` if there is no later tick, or if its time cannot be stored.
pub(crate) fn next_tick(every: &Every, last: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    every.next(last, now).filter(|next| next.timestamp_nanos_opt().is_some())
}

/// Returns the newest ticks that are later than `last` and not later than `now`: `most` ticks at most. Also returns the
/// last of these ticks. Searches backwards from `now`, and each search goes back twice as far as the search before, so
/// that the cost grows with the number of returned ticks and not with the elapsed time. The first search covers no more
/// than a few of the shortest intervals.
fn newest(
    every: &Every,
    last: DateTime<Utc>,
    now: DateTime<Utc>,
    most: u64,
) -> (Ticks<'_>, Option<DateTime<Utc>>) {
    let mut back = chrono::TimeDelta::microseconds(1);
    loop {
        let from = now.checked_sub_signed(back).map_or(last, |from| from.max(last));
        let ticks = || Ticks { every, last, at: from, now };
        let (seen, newest) = ticks().fold((0_u64, None), |(seen, _), tick| (seen + 1, Some(tick)));
        if seen >= most || from <= last {
            let mut ticks = ticks();
            for _ in most..seen {
                ticks.next();
            }
            return (ticks, newest);
        }
        back = back.checked_mul(2).unwrap_or(chrono::TimeDelta::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap_or_default()
    }

    fn run(every: &Every, last: &str, now: &str, catch_up: CatchUp) -> Vec<DateTime<Utc>> {
        due(every, at(last), at(now), catch_up).ticks.collect()
    }

    #[test]
    fn what_was_missed_is_caught_up_with_as_the_schedule_says() {
        let hourly = Every::cron("0 * * * *");
        let (last, now) = ("2030-01-01T00:00:00Z", "2030-01-01T05:20:00Z");
        let hour = |hour: u32| at(&format!("2030-01-01T0{hour}:00:00Z"));
        assert_eq!(run(&hourly, last, now, CatchUp::One), [hour(5)]);
        assert_eq!(run(&hourly, last, now, CatchUp::All(3)), [hour(3), hour(4), hour(5)]);
        assert_eq!(run(&hourly, last, now, CatchUp::All(99)), [1, 2, 3, 4, 5].map(hour));
        assert!(run(&hourly, last, now, CatchUp::None).is_empty());
        assert_eq!(due(&hourly, at(last), at(now), CatchUp::None).newest, Some(hour(5)));
        assert_eq!(run(&hourly, last, "2030-01-01T05:00:01Z", CatchUp::None), [hour(5)], "not missed");
        assert!(run(&hourly, last, "2030-01-01T00:59:59Z", CatchUp::All(9)).is_empty());
    }

    #[test]
    fn a_long_time_costs_no_more_than_what_is_caught_up_with() {
        let every = Every::interval(Duration::from_millis(7));
        let (last, now) = ("1970-01-01T00:00:00Z", "2262-01-01T00:00:00Z");
        assert_eq!(run(&every, last, now, CatchUp::One).len(), 1);
        assert_eq!(run(&every, last, now, CatchUp::All(1000)).len(), 1000);
        let shortest = Every::interval(Duration::from_nanos(1));
        assert_eq!(run(&shortest, last, now, CatchUp::One), [at(now)]);
        assert_eq!(run(&shortest, last, now, CatchUp::All(5_000)).len(), 5_000);
        let cron = Every::cron("* * * * * *");
        assert_eq!(run(&cron, last, now, CatchUp::One), [at(now)]);
    }
}
