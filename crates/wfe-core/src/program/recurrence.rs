use std::{fmt, str::FromStr, time::Duration};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::Cron;

use super::cron_problem::cron_problem;

/// A recurrence: an interval, or a cron expression with a time zone.
///
/// ```
/// use std::time::Duration;
/// use wfe_core::definition::Every;
///
/// let often = Every::interval(Duration::from_secs(30));
/// let daily = Every::cron("0 9 * * *"); // at nine o'clock UTC
/// let on_workdays = Every::cron("0 9 * * MON-FRI").in_zone("Europe/Berlin");
/// ```
#[derive(Debug, Clone)]
pub struct Every(Rhythm);

#[derive(Debug, Clone)]
enum Rhythm {
    Interval(Duration),
    Cron { expression: String, cron: Result<Box<Cron>, String>, zone: Tz },
    Unknown(String),
}

impl Every {
    /// Recurs at this interval. The first tick is one interval after the start. Building the definition refuses
    /// an interval of zero.
    #[must_use]
    pub fn interval(interval: Duration) -> Self {
        Self(Rhythm::Interval(interval))
    }

    /// Recurs at the times of this cron expression, in UTC unless a [time zone](Self::in_zone) is set.
    ///
    /// * An expression has five fields: minute, hour, day of the month, month, day of the week.
    /// * An expression with six fields begins with a field for the second. An expression with seven fields also ends
    ///   with a field for the year.
    /// * Days of the week are 0 to 7 or `SUN` to `SAT`. 0 and 7 are Sunday, 1 is Monday.
    /// * A range must not run past the end of its values: write `22-23,0-2`, not `22-2`.
    /// * A day of the month may be `L` (the last day of the month), `LW` (the last workday) or `15W` (the workday
    ///   nearest to the 15th).
    /// * A day of the week may be `MON#2` (the second Monday of the month) or `MONL` (the last Monday).
    /// * If both the day of the month and the day of the week are given, a day need match only one of them. With `+` in
    ///   front of the day of the week (`+FRI`), a day must match both.
    /// * `@hourly`, `@daily`, `@weekly`, `@monthly` and `@yearly` are shorthands.
    ///
    /// **Daylight saving time.** An expression with a single hour and a single minute ticks once on the days
    /// when the clocks change. If the clocks skip its time in spring, the tick is at the end of the gap. In
    /// Berlin, `30 2 * * *` then ticks at 03:00. If the time of the expression occurs twice because the clocks are set
    /// back, the tick is at the first occurrence.
    ///
    /// An expression with several hours or minutes (a list, a step, an asterisk) ticks whenever the clock
    /// shows one of its times. In Berlin, on the days when the clocks change, `*/20 2 * * *` does not tick in
    /// spring, and ticks six times in autumn.
    ///
    /// Building the definition refuses an invalid expression, and an expression that matches no time after
    /// 1970. An expression whose last time has passed is accepted, but never ticks. An example is an
    /// expression with a past year.
    #[must_use]
    pub fn cron(expression: &str) -> Self {
        let cron =
            Cron::from_str(expression).map(Box::new).map_err(|e| cron_problem(expression, &e.to_string()));
        Self(Rhythm::Cron { expression: expression.to_owned(), cron, zone: Tz::UTC })
    }

    /// Sets the time zone of the cron expression. `name` is the name of the time zone in the IANA database,
    /// such as `Europe/Berlin`. Building the definition refuses a name that is unknown. It also refuses an
    /// interval for which a time zone was set.
    #[must_use]
    pub fn in_zone(self, name: &str) -> Self {
        Self(match self.0 {
            Rhythm::Cron { expression, cron, .. } => match name.parse() {
                Ok(zone) => Rhythm::Cron { expression, cron, zone },
                Err(_) => Rhythm::Unknown(format!("its time zone {name:?} does not exist")),
            },
            Rhythm::Interval(_) => Rhythm::Unknown(format!(
                "its interval has the time zone {name:?}; only a cron expression can have one"
            )),
            unknown @ Rhythm::Unknown(_) => unknown,
        })
    }

    /// The reason why this recurrence is invalid, or `None` if it is valid. A recurrence that can never tick
    /// is invalid. Examples are the 30th of February, and an interval that ends after the last year that a
    /// time can have. A recurrence whose last time has passed is valid, and [`next`](Self::next) returns
    /// `None` for it.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        match &self.0 {
            Rhythm::Interval(interval) if interval.is_zero() => {
                Some("its interval is 0; it must be longer".to_owned())
            }
            Rhythm::Interval(interval) => {
                self.has_no_time().then(|| format!("its interval is {interval:?}; its time never comes"))
            }
            Rhythm::Cron { expression, cron: Ok(_), .. } => self
                .has_no_time()
                .then(|| format!("its cron expression is {expression:?}; its time never comes")),
            Rhythm::Cron { expression, cron: Err(e), .. } => {
                Some(format!("its cron expression {expression:?} is invalid: {e}"))
            }
            Rhythm::Unknown(problem) => Some(problem.clone()),
        }
    }

    fn has_no_time(&self) -> bool {
        self.next(DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH).is_none()
    }

    /// The first tick after `now`, or `None` if no tick follows. An interval is counted from `previous`,
    /// which is the previous tick. Missed intervals are skipped.
    #[must_use]
    pub fn next(&self, previous: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.0 {
            Rhythm::Interval(interval) => {
                let interval = chrono::Duration::from_std(*interval).ok()?;
                let next = previous.checked_add_signed(interval)?;
                if next > now {
                    return Some(next);
                }
                // Skips the missed intervals, so that the next tick is after `now`.
                let (interval, missed) = (nanos(interval)?, nanos(now - next)?);
                let whole = (missed / interval).checked_add(1)?.checked_mul(interval)?;
                next.checked_add_signed(span(whole)?)
            }
            Rhythm::Cron { cron: Ok(cron), zone, .. } => {
                // An error means that the expression has no further time.
                cron.find_next_occurrence(&now.with_timezone(zone), false).ok().map(|at| at.to_utc())
            }
            Rhythm::Cron { cron: Err(_), .. } | Rhythm::Unknown(_) => None,
        }
    }
}

/// Shows the interval, or the cron expression with its time zone.
impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Rhythm::Interval(interval) => write!(f, "{interval:?}"),
            Rhythm::Cron { expression, zone, .. } => write!(f, "{expression} ({zone})"),
            Rhythm::Unknown(problem) => f.write_str(problem),
        }
    }
}

fn nanos(span: chrono::Duration) -> Option<i128> {
    let whole = i128::from(span.num_seconds()).checked_mul(1_000_000_000)?;
    whole.checked_add(i128::from(span.subsec_nanos()))
}

/// A duration of this many nanoseconds, or `None` if the duration is too long for its type.
fn span(nanos: i128) -> Option<chrono::Duration> {
    const SECOND: i128 = 1_000_000_000;
    let whole = i64::try_from(nanos.div_euclid(SECOND)).ok()?;
    chrono::Duration::new(whole, u32::try_from(nanos.rem_euclid(SECOND)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn an_interval_keeps_its_grid_and_skips_missed_ticks() {
        let every = Every::interval(Duration::from_mins(10));
        let start = at("2030-01-01T00:00:00Z");
        assert_eq!(every.next(start, start), Some(at("2030-01-01T00:10:00Z")));
        assert_eq!(every.next(start, at("2030-01-01T00:10:00Z")), Some(at("2030-01-01T00:20:00Z")));
        assert_eq!(every.next(start, at("2030-03-01T00:09:59Z")), Some(at("2030-03-01T00:10:00Z")));
    }

    #[test]
    fn a_cron_expression_is_in_utc_unless_a_zone_is_given_and_follows_daylight_saving_time() {
        let now = at("2030-03-30T12:00:00Z");
        assert_eq!(Every::cron("0 9 * * *").next(now, now), Some(at("2030-03-31T09:00:00Z")));
        let berlin = Every::cron("0 9 * * *").in_zone("Europe/Berlin");
        assert_eq!(berlin.next(now, now), Some(at("2030-03-31T07:00:00Z")));
        assert_eq!(berlin.next(now, at("2030-03-29T12:00:00Z")), Some(at("2030-03-30T08:00:00Z")));
    }

    /// The first `count` ticks after this time, as local times of Berlin.
    fn in_berlin(expression: &str, after: &str, count: usize) -> Vec<String> {
        let every = Every::cron(expression).in_zone("Europe/Berlin");
        let times = std::iter::successors(every.next(at(after), at(after)), |at| every.next(*at, *at));
        let zone = chrono_tz::Europe::Berlin;
        times.take(count).map(|at| at.with_timezone(&zone).format("%d %H:%M %Z").to_string()).collect()
    }

    #[test]
    fn when_the_clocks_change_a_single_time_ticks_once_and_a_step_ticks_as_the_clock_shows_it() {
        let spring = "2030-03-30T12:00:00Z";
        assert_eq!(in_berlin("30 2 * * *", spring, 2), ["31 03:00 CEST", "01 02:30 CEST"]);
        assert_eq!(in_berlin("*/20 2 * * *", spring, 2), ["01 02:00 CEST", "01 02:20 CEST"]);
        let autumn = "2030-10-26T12:00:00Z";
        assert_eq!(in_berlin("30 2 * * *", autumn, 2), ["27 02:30 CEST", "28 02:30 CET"]);
        let all = [
            "27 02:00 CEST",
            "27 02:20 CEST",
            "27 02:40 CEST",
            "27 02:00 CET",
            "27 02:20 CET",
            "27 02:40 CET",
            "28 02:00 CET",
        ];
        assert_eq!(in_berlin("*/20 2 * * *", autumn, 7), all);
    }

    #[test]
    fn an_expression_has_five_to_seven_fields_and_names_days_in_many_ways() {
        let now = at("2030-03-01T12:00:00Z");
        for (expression, next) in [
            ("0 9 2 3 *", "2030-03-02T09:00:00Z"),
            ("30 0 9 2 3 *", "2030-03-02T09:00:30Z"),
            ("0 0 0 1 1 * 2033", "2033-01-01T00:00:00Z"),
            ("@hourly", "2030-03-01T13:00:00Z"),
            ("@daily", "2030-03-02T00:00:00Z"),
            ("@weekly", "2030-03-03T00:00:00Z"),
            ("@monthly", "2030-04-01T00:00:00Z"),
            ("@yearly", "2031-01-01T00:00:00Z"),
            ("0 0 L * *", "2030-03-31T00:00:00Z"),
            ("0 0 17W * *", "2030-03-18T00:00:00Z"),
            ("0 0 * * MON#2", "2030-03-11T00:00:00Z"),
            ("0 0 * * MONL", "2030-03-25T00:00:00Z"),
            ("0 0 9 * MON", "2030-03-04T00:00:00Z"),
        ] {
            assert_eq!(Every::cron(expression).problem(), None, "{expression:?}");
            assert_eq!(Every::cron(expression).next(now, now), Some(at(next)), "{expression:?}");
        }
        for expression in ["* * * *", "* * * * * * * *"] {
            let problem = Every::cron(expression).problem().unwrap();
            let fields = format!("it has {} fields; write minute, hour", expression.split(' ').count());
            assert!(problem.contains(&fields), "{problem}");
        }
        let over = Every::cron("0 0 0 1 1 * 2020");
        assert_eq!((over.problem(), over.next(now, now)), (None, None));
    }

    #[test]
    fn an_interval_ticks_again_after_a_gap_of_more_nanoseconds_than_64_bits_hold() {
        let every = Every::interval(Duration::from_nanos(3));
        let (first, last) =
            (DateTime::from_timestamp_nanos(i64::MIN), DateTime::from_timestamp_nanos(i64::MAX));
        let next = every.next(first, last).unwrap();
        assert!(next > last && next - last <= chrono::TimeDelta::nanoseconds(3));
    }

    #[test]
    fn an_invalid_recurrence_has_a_problem() {
        assert!(Every::interval(Duration::ZERO).problem().is_some());
        assert!(Every::cron("61 * * * *").problem().unwrap().contains("61 * * * *"));
        assert!(Every::cron("0 9 * * *").in_zone("Mars/Base").problem().unwrap().contains("Mars/Base"));
        assert!(Every::interval(Duration::from_secs(1)).in_zone("UTC").problem().is_some());
        assert_eq!(Every::cron("30 0 9 * * *").problem(), None);
        assert_eq!(
            Every::interval(Duration::MAX).next(at("2030-01-01T00:00:00Z"), at("2030-01-01T00:00:00Z")),
            None
        );
    }
}
