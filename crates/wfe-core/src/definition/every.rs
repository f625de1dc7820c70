use std::{str::FromStr, time::Duration};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use croner::Cron;

/// When something recurs: at an interval, or by a cron expression.
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
    /// At this interval, the first time one interval after the begin. Zero is refused when the definition is built.
    #[must_use]
    pub fn interval(interval: Duration) -> Self {
        Self(Rhythm::Interval(interval))
    }

    /// Whenever this cron expression says so, in UTC unless a [zone](Self::in_zone) is given: five fields (minute, hour,
    /// day of the month, month, day of the week), or six with seconds in front. An expression that makes no sense is
    /// refused when the definition is built.
    #[must_use]
    pub fn cron(expression: &str) -> Self {
        let cron = Cron::from_str(expression).map(Box::new).map_err(|e| e.to_string());
        Self(Rhythm::Cron { expression: expression.to_owned(), cron, zone: Tz::UTC })
    }

    /// The cron expression's times are those of this zone of the IANA database, such as `Europe/Berlin`. A name that is
    /// not in it, and a zone for an interval, are refused when the definition is built.
    #[must_use]
    pub fn in_zone(self, name: &str) -> Self {
        Self(match self.0 {
            Rhythm::Cron { expression, cron, .. } => match name.parse() {
                Ok(zone) => Rhythm::Cron { expression, cron, zone },
                Err(_) => Rhythm::Unknown(format!("there is no time zone {name:?}")),
            },
            Rhythm::Interval(_) => Rhythm::Unknown(format!("an interval has no time zone ({name:?})")),
            unknown @ Rhythm::Unknown(_) => unknown,
        })
    }

    /// What makes no sense about it; `None`: nothing. A time that never comes (the 30th of February, an interval of more
    /// than all years) makes none.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        match &self.0 {
            Rhythm::Interval(interval) if interval.is_zero() => {
                Some("its interval is 0, it must be longer".to_owned())
            }
            Rhythm::Interval(_) | Rhythm::Cron { cron: Ok(_), .. } => {
                let first = self.next(DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH);
                first.is_none().then(|| "its time never comes".to_owned())
            }
            Rhythm::Cron { expression, cron: Err(e), .. } => {
                Some(format!("its cron expression {expression:?} makes no sense: {e}"))
            }
            Rhythm::Unknown(problem) => Some(problem.clone()),
        }
    }

    /// The first time after `now`. An interval counts from `previous`. `None`: never again.
    #[must_use]
    pub fn next(&self, previous: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match &self.0 {
            Rhythm::Interval(interval) => {
                let interval = chrono::Duration::from_std(*interval).ok()?;
                let next = previous.checked_add_signed(interval)?;
                if next > now {
                    return Some(next);
                }
                // Whole intervals that were missed are passed over: as many as make the time lie ahead.
                let (interval, missed) = (nanos(interval)?, nanos(now - next)?);
                let whole = (missed / interval).checked_add(1)?.checked_mul(interval)?;
                next.checked_add_signed(chrono::Duration::nanoseconds(i64::try_from(whole).ok()?))
            }
            Rhythm::Cron { cron: Ok(cron), zone, .. } => {
                // An error: the expression has no further time.
                cron.find_next_occurrence(&now.with_timezone(zone), false).ok().map(|at| at.to_utc())
            }
            Rhythm::Cron { cron: Err(_), .. } | Rhythm::Unknown(_) => None,
        }
    }
}

fn nanos(span: chrono::Duration) -> Option<i128> {
    let whole = i128::from(span.num_seconds()).checked_mul(1_000_000_000)?;
    whole.checked_add(i128::from(span.subsec_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn an_interval_keeps_its_grid_and_passes_over_what_was_missed() {
        let every = Every::interval(Duration::from_mins(10));
        let start = at("2030-01-01T00:00:00Z");
        assert_eq!(every.next(start, start), Some(at("2030-01-01T00:10:00Z")));
        assert_eq!(every.next(start, at("2030-01-01T00:10:00Z")), Some(at("2030-01-01T00:20:00Z")));
        assert_eq!(every.next(start, at("2030-03-01T00:09:59Z")), Some(at("2030-03-01T00:10:00Z")));
    }

    #[test]
    fn a_cron_expression_is_in_utc_unless_a_zone_is_given_and_knows_summer_time() {
        let now = at("2030-03-30T12:00:00Z");
        assert_eq!(Every::cron("0 9 * * *").next(now, now), Some(at("2030-03-31T09:00:00Z")));
        let berlin = Every::cron("0 9 * * *").in_zone("Europe/Berlin");
        assert_eq!(berlin.next(now, now), Some(at("2030-03-31T07:00:00Z")));
        assert_eq!(berlin.next(now, at("2030-03-29T12:00:00Z")), Some(at("2030-03-30T08:00:00Z")));
    }

    #[test]
    fn what_makes_no_sense_is_a_problem() {
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
