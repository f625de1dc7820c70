//! Times and lengths of time on the command line.

use std::time::Duration;

use chrono::{DateTime, Local, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc};

use crate::output::Zone;

/// A time as it was given: a distance from now, or a time in the zone of the command.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum When {
    /// So far from now: ago, or ahead, as the option says.
    Distance(Duration),
    Exact(DateTime<Utc>),
    /// A date, with or without a time, in the zone of the command.
    Local(NaiveDateTime),
}

impl std::str::FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "now" {
            return Ok(Self::Distance(Duration::ZERO));
        }
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Ok(Self::Exact(time.with_timezone(&Utc)));
        }
        if let Ok(date) = text.parse::<NaiveDate>() {
            return Ok(Self::Local(date.and_time(NaiveTime::MIN)));
        }
        for format in ["%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"] {
            if let Ok(time) = NaiveDateTime::parse_from_str(text, format) {
                return Ok(Self::Local(time));
            }
        }
        length(text).map(Self::Distance).map_err(|_| {
            "not a time; write 2d or 2h30m for a distance, 2026-11-30, \"2026-11-30 08:00\", or RFC 3339 as in \
             2026-11-30T08:00:00Z"
                .to_owned()
        })
    }
}

impl When {
    /// The time, if a distance means the past.
    pub(crate) fn ago(self, now: DateTime<Utc>, zone: Zone) -> Result<DateTime<Utc>, String> {
        self.at(now, zone, DateTime::checked_sub_signed)
    }

    /// The time, if a distance means the future.
    pub(crate) fn ahead(self, now: DateTime<Utc>, zone: Zone) -> Result<DateTime<Utc>, String> {
        self.at(now, zone, DateTime::checked_add_signed)
    }

    fn at(
        self,
        now: DateTime<Utc>,
        zone: Zone,
        step: impl Fn(DateTime<Utc>, TimeDelta) -> Option<DateTime<Utc>>,
    ) -> Result<DateTime<Utc>, String> {
        let time = match self {
            Self::Exact(time) => Some(time),
            Self::Distance(distance) => {
                TimeDelta::from_std(distance).ok().and_then(|distance| step(now, distance))
            }
            // A time that a change of the clock repeats is the earlier one.
            Self::Local(time) => match zone {
                Zone::Utc => Some(time.and_utc()),
                Zone::Local => {
                    Local.from_local_datetime(&time).earliest().map(|time| time.with_timezone(&Utc))
                }
                Zone::Named(zone) => {
                    zone.from_local_datetime(&time).earliest().map(|time| time.with_timezone(&Utc))
                }
            },
        };
        time.ok_or_else(|| match self {
            Self::Local(time) => format!("there is no {time} in this zone: the clock is changed then"),
            _ => "the time is too far away".to_owned(),
        })
    }
}

/// A length of time: numbers with the units w, d, h, m, s or ms, as in `2d`, `2h30m`, `90s`.
pub(crate) fn length(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a length of time; write for example 30s, 2h30m or 2d");
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, more) = rest.split_at(digits);
        let unit = more.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(more.len());
        let (unit, more) = more.split_at(unit);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let millis: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return Err(wrong()),
        };
        let part = number.checked_mul(millis).map(Duration::from_millis).ok_or_else(wrong)?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = more;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;

    use super::*;

    #[test]
    fn lengths_add_up() {
        for (text, seconds) in [("2d", 172_800), ("2h30m", 9_000), ("1w", 604_800), ("90s", 90), ("0s", 0)] {
            assert_eq!(length(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(length("1500ms"), Ok(Duration::from_millis(1500)));
        for wrong in ["", "d", "2", "2x", "-2d", "2 d", "2d ", "99999999999999999999d", "9999999999999999w"] {
            assert!(length(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_read_in_the_zone_of_the_command() {
        let now: DateTime<Utc> = "2026-11-30T12:00:00Z".parse().unwrap();
        let berlin = Zone::Named(Tz::Europe__Berlin);
        let ago = |text: &str, zone| text.parse::<When>().unwrap().ago(now, zone).unwrap().to_string();
        assert_eq!(ago("2d", Zone::Utc), "2026-11-28 12:00:00 UTC");
        assert_eq!(ago("2026-11-29", Zone::Utc), "2026-11-29 00:00:00 UTC");
        assert_eq!(ago("2026-11-29 08:30", berlin), "2026-11-29 07:30:00 UTC");
        assert_eq!(ago("2026-11-29T08:30:00+01:00", Zone::Utc), "2026-11-29 07:30:00 UTC");
        assert_eq!(ago("now", berlin), "2026-11-30 12:00:00 UTC");
        // The clock is put forward from 2 to 3, and back from 3 to 2.
        assert!("2026-03-29 02:30".parse::<When>().unwrap().ago(now, berlin).is_err());
        assert_eq!(ago("2026-10-25 02:30", berlin), "2026-10-25 00:30:00 UTC");
        assert!("99999999w".parse::<When>().unwrap().ago(now, berlin).is_err());
        let ahead = "2h".parse::<When>().unwrap().ahead(now, Zone::Utc).unwrap();
        assert_eq!(ahead.to_string(), "2026-11-30 14:00:00 UTC");
        for wrong in ["", "yesterday", "2026-13-01", "30.11.2026"] {
            assert!(wrong.parse::<When>().is_err(), "{wrong}");
        }
    }
}
