//! How times and durations are shown.

use chrono::{DateTime, Local, SecondsFormat, TimeDelta, Utc};
use chrono_tz::Tz;

/// The zone in which times are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Zone {
    /// The zone of this machine.
    Local,
    Utc,
    Named(Tz),
}

impl Zone {
    /// The time to the second, for people: `2026-11-30 08:00:00 +01:00`.
    pub(crate) fn readable(self, time: DateTime<Utc>) -> String {
        const FORMAT: &str = "%Y-%m-%d %H:%M:%S %:z";
        match self {
            Self::Local => time.with_timezone(&Local).format(FORMAT).to_string(),
            Self::Utc => time.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
            Self::Named(zone) => time.with_timezone(&zone).format("%Y-%m-%d %H:%M:%S %Z").to_string(),
        }
    }

    /// The exact time in RFC 3339.
    pub(crate) fn exact(self, time: DateTime<Utc>) -> String {
        match self {
            Self::Local | Self::Utc => exact(time),
            Self::Named(zone) => time.with_timezone(&zone).to_rfc3339_opts(SecondsFormat::AutoSi, true),
        }
    }
}

/// The exact time in RFC 3339, in UTC.
pub(crate) fn exact(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// The distance of a time from now, in its largest unit: `3 h ago`, `in 5 min`, `now`.
pub(crate) fn relative(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let distance = now.signed_duration_since(time);
    let length = length(distance.abs(), 1);
    match distance.num_seconds() {
        0 => "now".to_owned(),
        1.. => format!("{length} ago"),
        _ => format!("in {length}"),
    }
}

/// A length of time in its largest `units` units: `2 d 4 h`. Less than a second is `0 s`.
pub(crate) fn length(length: TimeDelta, units: usize) -> String {
    const UNITS: [(&str, i64); 5] = [("y", 31_536_000), ("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];
    let mut rest = length.num_seconds();
    let Some(first) = UNITS.iter().position(|(_, seconds)| rest >= *seconds) else {
        return "0 s".to_owned();
    };
    let mut parts = Vec::new();
    for (unit, seconds) in UNITS.iter().skip(first).take(units) {
        let count = rest / seconds;
        rest %= seconds;
        if count > 0 {
            parts.push(format!("{count} {unit}"));
        }
    }
    parts.join(" ")
}

/// A number of bytes in its largest unit: `1.2 MB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut unit = 0;
    let mut divisor = 1_u64;
    while unit + 1 < UNITS.len() && bytes / divisor >= 1000 {
        divisor *= 1000;
        unit += 1;
    }
    let tenths = u128::from(bytes) * 10 / u128::from(divisor);
    match UNITS.get(unit) {
        Some(name) if unit > 0 && tenths < 1000 => format!("{}.{} {name}", tenths / 10, tenths % 10),
        Some(name) => format!("{} {name}", tenths / 10),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_distance_is_told_in_its_largest_unit() {
        let now = at("2026-11-30T12:00:00Z");
        for (time, text) in [
            ("2026-11-30T12:00:00.5Z", "now"),
            ("2026-11-30T11:59:59Z", "1 s ago"),
            ("2026-11-30T11:01:00Z", "59 min ago"),
            ("2026-11-28T08:00:00Z", "2 d ago"),
            ("2024-11-28T08:00:00Z", "2 y ago"),
            ("2026-11-30T12:05:30Z", "in 5 min"),
        ] {
            assert_eq!(relative(at(time), now), text);
        }
        assert_eq!(length(TimeDelta::seconds(187_200), 2), "2 d 4 h");
        assert_eq!(length(TimeDelta::seconds(86_400), 2), "1 d");
        assert_eq!(length(TimeDelta::zero(), 2), "0 s");
    }

    #[test]
    fn a_zone_changes_the_text_not_the_time() {
        let time = at("2026-11-30T12:00:00.25Z");
        let berlin = Zone::Named(Tz::Europe__Berlin);
        assert_eq!(Zone::Utc.readable(time), "2026-11-30 12:00:00 UTC");
        assert_eq!(berlin.readable(time), "2026-11-30 13:00:00 CET");
        assert_eq!(Zone::Utc.exact(time), "2026-11-30T12:00:00.250Z");
        assert_eq!(at(&berlin.exact(time)), time);
    }

    #[test]
    fn bytes_are_rounded_down_to_a_tenth() {
        for (number, text) in
            [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (812_400_000, "812 MB"), (u64::MAX, "18446744 TB")]
        {
            assert_eq!(bytes(number), text);
        }
    }
}
