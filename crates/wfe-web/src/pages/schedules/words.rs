//! Timetables, in words.

use std::{str::FromStr, time::Duration};

use croner::Cron;
use wfe::schedules::{CatchUp, Timetable};

/// The longest cron expression that is described, in bytes.
const MAX_CRON: usize = 256;
/// The longest description, in characters.
const MAX_WORDS: usize = 200;

/// The timetable as it was written.
pub(super) fn written(timetable: &Timetable) -> String {
    match timetable {
        Timetable::Cron { expression, zone } => {
            format!("{expression} ({})", zone.as_deref().unwrap_or("UTC"))
        }
        Timetable::Interval(interval) | Timetable::IntervalInZone { interval, .. } => {
            format!("every {}", length(*interval))
        }
        other => format!("{other:?}"),
    }
}

/// The timetable in words.
pub(super) fn in_words(timetable: &Timetable) -> String {
    let Timetable::Cron { expression, zone } = timetable else { return written(timetable) };
    let cron = Some(expression)
        .filter(|expression| expression.len() <= MAX_CRON)
        .and_then(|expression| Cron::from_str(expression).ok());
    let words = cron.map_or_else(|| expression.clone(), |cron| cron.describe());
    format!(
        "{}, {}",
        crate::html::cut(words.trim_end_matches('.'), MAX_WORDS),
        zone.as_deref().unwrap_or("UTC")
    )
}

/// What happens to ticks that no host has processed in time.
pub(super) fn catch_up(catch_up: CatchUp) -> String {
    match catch_up {
        CatchUp::One => "one instance starts for all of them, for the newest".to_owned(),
        CatchUp::All(0) | CatchUp::None => "no instance starts for them".to_owned(),
        CatchUp::All(1) => "one instance starts, for the newest".to_owned(),
        CatchUp::All(most) => format!("an instance starts for each, for the newest {most} at most"),
        other => format!("{other:?}"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timetables_are_told_in_words() {
        let nightly = Timetable::cron("0 3 * * *").in_zone("Europe/Berlin");
        assert_eq!(written(&nightly), "0 3 * * * (Europe/Berlin)");
        let words = in_words(&nightly);
        assert!(words.contains("03:00") && words.ends_with(", Europe/Berlin"), "{words}");
        assert_eq!(in_words(&Timetable::interval(Duration::from_mins(90))), "every 1 h 30 min");
        assert_eq!(in_words(&Timetable::interval(Duration::from_millis(1_500))), "every 1 s 500 ms");
        assert_eq!(in_words(&Timetable::cron("no cron")), "no cron, UTC");
        // However long the expression is, its words are bounded.
        let long = (0..60).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        assert!(in_words(&Timetable::cron(format!("{long} * * * *"))).chars().count() < 250);
        assert_eq!(catch_up(CatchUp::All(3)), "an instance starts for each, for the newest 3 at most");
    }
}
