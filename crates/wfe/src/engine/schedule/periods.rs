//! The ticks of a schedule. Each timetable of a schedule counts in a period of its own: if the schedule is changed, the
//! former timetable decides the ticks until the change, and the new one decides those after the change.

use chrono::{DateTime, Utc};
use wfe_core::definition::Every;

use super::timetable::CatchUp;

/// How late a tick may be before it counts as missed. Even on a busy host, delays are much shorter.
const MISSED: chrono::TimeDelta = chrono::TimeDelta::seconds(10);

/// A time in which one timetable decides the ticks.
#[derive(Debug)]
pub(crate) struct Period {
    pub every: Every,
    /// The ticks are later than this time.
    pub after: DateTime<Utc>,
    /// No tick is later than this time. `None`: the timetable still counts.
    pub until: Option<DateTime<Utc>>,
}

/// Returns the due ticks after `last` for which instances must be started, oldest first. `last` is the last tick, or the
/// time at which the schedule was created. Intervals are counted from `last`.
pub(crate) fn due(periods: &[Period], last: DateTime<Utc>, now: DateTime<Utc>, catch_up: CatchUp) -> Due<'_> {
    let most = catch_up.most();
    let (mut ticks, mut count, mut newest) = (Vec::new(), 0_u64, None);
    for period in periods {
        let (from, to) = (period.after.max(last), period.until.map_or(now, |until| until.min(now)));
        let found = newest_of(&period.every, newest.unwrap_or(last), from, to, most);
        count = count.saturating_add(found.count);
        newest = found.last.or(newest);
        ticks.push(found.ticks);
    }
    let is_missed = newest.is_some_and(|newest| now - newest > MISSED);
    if is_missed && matches!(catch_up, CatchUp::None | CatchUp::All(0)) {
        ticks.clear();
    }
    let surplus = usize::try_from(count.saturating_sub(most)).unwrap_or(usize::MAX);
    Due { ticks: ticks.into_iter().flatten().skip(surplus), newest }
}

/// The first and the newest tick that are due at `now`, if the first is so late that it counts as missed. `newest` is that
/// of [`Due`].
pub(crate) fn missed(
    periods: &[Period],
    last: DateTime<Utc>,
    newest: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let first = next_tick(periods, last, last)?;
    (now - first > MISSED).then_some((first, newest?))
}

/// The number of ticks after `last` in a period that is over, but no more than `most`.
pub(crate) fn count_due(period: &Period, last: DateTime<Utc>, most: u64) -> u64 {
    let to = period.until.unwrap_or(period.after);
    newest_of(&period.every, last, period.after.max(last), to, most).count
}

pub(crate) struct Due<'e> {
    pub ticks: std::iter::Skip<std::iter::Flatten<std::vec::IntoIter<Ticks<'e>>>>,
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
    to: DateTime<Utc>,
}

impl Iterator for Ticks<'_> {
    type Item = DateTime<Utc>;

    fn next(&mut self) -> Option<DateTime<Utc>> {
        self.at = self.every.next(self.last, self.at).filter(|tick| *tick <= self.to)?;
        Some(self.at)
    }
}

/// Returns the first tick after `last` and after `from`. Returns `None` if there is no later tick, or if its time cannot
/// be stored.
pub(crate) fn next_tick(
    periods: &[Period],
    last: DateTime<Utc>,
    from: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let first = |period: &Period| {
        let next = period.every.next(last, period.after.max(last).max(from))?;
        (period.until.is_none_or(|until| next <= until)).then_some(next)
    };
    periods.iter().find_map(first).filter(|next| next.timestamp_nanos_opt().is_some())
}

/// The newest ticks of one timetable.
struct Newest<'e> {
    ticks: Ticks<'e>,
    /// The number of these ticks.
    count: u64,
    last: Option<DateTime<Utc>>,
}

/// Returns the newest ticks that are later than `from` and not later than `to`: `most` ticks at most. Searches backwards
/// from `to`, and each search goes back twice as far as the search before, so that the cost grows with the number of
/// returned ticks and not with the elapsed time. The first search covers no more than a few of the shortest intervals.
fn newest_of(
    every: &Every,
    last: DateTime<Utc>,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    most: u64,
) -> Newest<'_> {
    let mut back = chrono::TimeDelta::microseconds(1);
    loop {
        let at = to.checked_sub_signed(back).map_or(from, |at| at.max(from));
        let ticks = || Ticks { every, last, at, to };
        let (seen, newest) = ticks().fold((0_u64, None), |(seen, _), tick| (seen + 1, Some(tick)));
        if seen >= most || at <= from {
            let mut ticks = ticks();
            for _ in most..seen {
                ticks.next();
            }
            return Newest { ticks, count: seen.min(most), last: newest };
        }
        back = back.checked_mul(2).unwrap_or(chrono::TimeDelta::MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn only(every: &Every) -> [Period; 1] {
        [Period { every: every.clone(), after: DateTime::UNIX_EPOCH, until: None }]
    }

    fn run(every: &Every, last: &str, now: &str, catch_up: CatchUp) -> Vec<DateTime<Utc>> {
        due(&only(every), at(last), at(now), catch_up).ticks.collect()
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
        assert_eq!(due(&only(&hourly), at(last), at(now), CatchUp::None).newest, Some(hour(5)));
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

    /// Hourly until 03:30, every 20 minutes since then.
    fn changed() -> [Period; 2] {
        let change = at("2030-01-01T03:30:00Z");
        [
            Period { every: Every::cron("0 * * * *"), after: DateTime::UNIX_EPOCH, until: Some(change) },
            Period { every: Every::interval(Duration::from_mins(20)), after: change, until: None },
        ]
    }

    #[test]
    fn a_former_timetable_counts_until_the_change_and_the_new_one_after_it() {
        let (periods, last) = (changed(), at("2030-01-01T00:00:00Z"));
        let time = |text: &str| at(&format!("2030-01-01T{text}:00Z"));
        let run = |last, now, catch_up| due(&periods, last, now, catch_up).ticks.collect::<Vec<_>>();
        let all = ["01:00", "02:00", "03:00", "03:40", "04:00"].map(time);
        assert_eq!(run(last, time("04:10"), CatchUp::All(99)), all);
        assert_eq!(run(last, time("04:10"), CatchUp::All(3)), all[2..]);
        assert_eq!(run(last, time("04:10"), CatchUp::One), all[4..]);
        assert_eq!(run(last, time("03:35"), CatchUp::All(2)), all[1..3]);
        assert_eq!(run(last, time("02:30"), CatchUp::All(99)), all[..2], "the clock was set back");
        // The interval counts from the last tick: 03:00, whether or not that tick was processed before the change.
        assert_eq!(run(time("03:00"), time("04:10"), CatchUp::All(99)), all[3..]);
        assert_eq!(due(&periods, last, time("04:10"), CatchUp::None).newest, Some(all[4]));
        assert_eq!(due(&periods, time("03:00"), time("03:35"), CatchUp::One).newest, None);
    }

    #[test]
    fn the_next_tick_is_one_of_the_timetable_of_its_time() {
        let periods = changed();
        let time = |text: &str| at(&format!("2030-01-01T{text}:00Z"));
        let next = |last, from| next_tick(&periods, time(last), time(from));
        assert_eq!(next("00:00", "00:00"), Some(time("01:00")), "due, and not processed yet");
        assert_eq!(next("03:00", "03:00"), Some(time("03:40")));
        assert_eq!(next("03:00", "03:50"), Some(time("04:00")));
        assert_eq!(next("03:00", "00:30"), Some(time("03:40")), "the clock was set back");
    }
}
