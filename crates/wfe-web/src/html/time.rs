//! Times: relative, with the absolute time at hand.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use maud::{Markup, html};

/// A length of time in its largest unit: `4 s`, `40 min`, `26 h`, `9 d`.
pub(crate) fn span(length: TimeDelta) -> String {
    let seconds = length.num_seconds().unsigned_abs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// How long ago a time was, or in how long it comes: `2 h`, `in 4 s`.
pub(crate) fn since(now: DateTime<Utc>, time: DateTime<Utc>) -> Markup {
    let text = if time > now { format!("in {}", span(time - now)) } else { span(now - time) };
    element(time, "", &text)
}

/// Like [`since`], in a sentence: `2 h ago`.
pub(crate) fn ago(now: DateTime<Utc>, time: DateTime<Utc>) -> Markup {
    if time > now { since(now, time) } else { element(time, "ago", &format!("{} ago", span(now - time))) }
}

/// The time itself, in the viewer's zone, or in UTC without a script.
pub(crate) fn moment(time: DateTime<Utc>) -> Markup {
    element(time, "at", &time.format("%Y-%m-%d %H:%M:%S UTC").to_string())
}

fn element(time: DateTime<Utc>, kind: &str, text: &str) -> Markup {
    let exact = time.to_rfc3339_opts(SecondsFormat::Millis, true);
    let title = time.format("%Y-%m-%d %H:%M:%S UTC").to_string();
    html! { time datetime=(exact) title=(title) data-kind=(kind) { (text) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_relative_and_has_the_absolute_one_beside_it() {
        let now: DateTime<Utc> = "2026-11-30T12:00:00Z".parse().unwrap();
        let shown = ago(now, now - TimeDelta::hours(2)).into_string();
        assert!(shown.contains(">2 h ago<") && shown.contains("2026-11-30 10:00:00 UTC"), "{shown}");
        assert!(since(now, now + TimeDelta::seconds(4)).into_string().contains(">in 4 s<"));
        assert!(moment(now).into_string().contains(">2026-11-30 12:00:00 UTC<"));
        assert_eq!(span(TimeDelta::hours(47)), "47 h");
        assert_eq!(span(TimeDelta::hours(48)), "2 d");
    }
}
