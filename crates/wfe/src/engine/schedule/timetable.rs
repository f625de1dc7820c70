use std::{fmt, str::FromStr, time::Duration};

use croner::Cron;
use serde::{Deserialize, Serialize};
use wfe_core::definition::Every;

/// The longest cron expression that is described, in bytes: describing takes time that grows with it.
const MAX_CRON: usize = 256;
/// The longest description, in characters.
const MAX_WORDS: usize = 200;

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
    /// Starts instances at this interval. The first tick is one interval after the creation of the schedule. If the
    /// schedule had another timetable before, the interval counts from the last tick.
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

    /// The timetable in words: `At 03:00, Europe/Berlin`, `every 1 h 30 min`. An expression that is longer than 256 bytes or not
    /// valid is shown as it stands. The words of an expression have 200 characters at most.
    #[must_use]
    pub fn in_words(&self) -> String {
        let Self::Cron { expression, zone } = self else { return self.to_string() };
        let cron = Some(expression)
            .filter(|expression| expression.len() <= MAX_CRON)
            .and_then(|expression| Cron::from_str(expression).ok());
        let mut words = cron.map_or_else(|| expression.clone(), |cron| cron.describe());
        words.truncate(words.trim_end_matches('.').len());
        if let Some((at, _)) = words.char_indices().nth(MAX_WORDS) {
            words.truncate(at);
            words.push('…');
        }
        format!("{words}, {}", zone.as_deref().unwrap_or("UTC"))
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

/// The timetable as it was written: `0 3 * * * (Europe/Berlin)`, `every 1 h 30 min`.
impl fmt::Display for Timetable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cron { expression, zone } => {
                write!(f, "{expression} ({})", zone.as_deref().unwrap_or("UTC"))
            }
            Self::Interval(interval) | Self::IntervalInZone { interval, .. } => {
                write!(f, "every {}", length(*interval))
            }
        }
    }
}

/// A length of time in all its units: `1 h 30 min`.
fn length(interval: Duration) -> String {
    const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];
    let mut rest = interval.as_secs();
    let mut parts = Vec::new();
    for (unit, seconds) in UNITS {
        let count = rest / seconds;
        rest %= seconds;
        if count > 0 {
            parts.push(format!("{count} {unit}"));
        }
    }
    let millis = interval.subsec_millis();
    if millis > 0 {
        parts.push(format!("{millis} ms"));
    }
    if parts.is_empty() { format!("{interval:?}") } else { parts.join(" ") }
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

impl CatchUp {
    /// The highest number of due ticks that matter.
    pub(crate) fn most(self) -> u64 {
        match self {
            Self::One | Self::None => 1,
            Self::All(most) => u64::from(most.max(1)),
        }
    }
}

#[cfg(test)]
mod words {
    use super::*;

    #[test]
    fn timetables_are_shown_in_words() {
        let nightly = Timetable::cron("0 3 * * *").in_zone("Europe/Berlin");
        assert_eq!(nightly.to_string(), "0 3 * * * (Europe/Berlin)");
        let words = nightly.in_words();
        assert!(words.contains("03:00") && words.ends_with(", Europe/Berlin"), "{words}");
        assert_eq!(Timetable::interval(Duration::from_mins(90)).in_words(), "every 1 h 30 min");
        assert_eq!(Timetable::interval(Duration::from_millis(1_500)).in_words(), "every 1 s 500 ms");
        assert_eq!(Timetable::cron("no cron").in_words(), "no cron, UTC");
        // However long the expression is, its words are bounded.
        let long = (0..60).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        assert!(Timetable::cron(format!("{long} * * * *")).in_words().chars().count() < 250);
    }
}
