//! Small pictures of numbers: bars of a day, sparklines, meters.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::spaced;

/// The numbers of one hour.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hour {
    /// Its name, such as `16:00`.
    pub name: String,
    /// How many completed.
    pub completed: u64,
    /// How many failed.
    pub failed: u64,
    /// The relative URL of those that ended then. `None` means that it has no link.
    pub url: Option<String>,
}

/// A number to the right of which no number of the bars is: 1, 2 or 5 times a power of ten.
fn round(most: u64) -> u64 {
    let mut scale: u64 = 1;
    loop {
        for factor in [1, 2, 5] {
            if let Some(round) = scale.checked_mul(factor).filter(|round| *round >= most) {
                return round;
            }
        }
        let Some(next) = scale.checked_mul(10) else { return u64::MAX };
        scale = next;
    }
}

/// `room * part / all`, in tenths of a pixel, at least one pixel for what is not nothing.
fn tenths(part: u64, all: u64, room: u64) -> u64 {
    let exact = u128::from(part) * u128::from(room) * 10 / u128::from(all.max(1));
    u64::try_from(exact).unwrap_or(room * 10).max(if part > 0 { 10 } else { 0 })
}

fn pixels(tenths: u64) -> String {
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// How many ended in each hour: those that completed upwards, those that failed downwards on a scale of their own, because a
/// few failures beside many that completed would not be seen. The last hour is now.
#[must_use]
pub fn bars(hours: &[Hour], label: &str) -> Markup {
    let top = round(hours.iter().map(|it| it.completed).max().unwrap_or(0));
    let worst = hours.iter().map(|it| it.failed).max().unwrap_or(0);
    let many = hours.len().max(1) as u64;
    let x = |n: usize| {
        let thousandths = n as u64 * 100_000 / many;
        format!("{}.{:03}%", thousandths / 1_000, thousandths % 1_000)
    };
    let width = {
        let hundredths = 8_000 / many;
        format!("{}.{:02}%", hundredths / 100, hundredths % 100)
    };
    html! {
        svg.bars role="group" aria-label=(label) {
            g.grid { @for y in ["6.5", "36.5", "68.5"] { line.hair x1="0" x2="100%" y1=(y) y2=(y) {} } }
            @for (n, hour) in hours.iter().enumerate() {
                @let title = format!("{}, {} completed, {} failed", hour.name, spaced(hour.completed), spaced(hour.failed));
                @let (up, down) = (tenths(hour.completed, top, 60), tenths(hour.failed, worst.max(1), 18));
                @let inside = html! {
                    title { (title) }
                    // The whole column answers the pointer, also where it is empty.
                    rect x=(x(n)) y="6" width=(width) height="84" fill="none" pointer-events="all" {}
                    @if up > 0 { rect.ok x=(x(n)) y=(pixels(660 - up)) width=(width) height=(pixels(up)) {} }
                    @if down > 0 { rect.bad x=(x(n)) y="70" width=(width) height=(pixels(down.max(30))) {} }
                };
                @if let Some(url) = &hour.url { a href=(url) { (inside) } } @else { g { (inside) } }
            }
            g.x aria-hidden="true" {
                @for (n, hour) in hours.iter().enumerate().step_by(8) { text x=(x(n)) y="103" { (hour.name) } }
                text x="100%" y="103" text-anchor="end" { "now" }
                text x="0" y="3" { (spaced(top)) }
            }
        }
    }
}

/// The table that tells the same as [`bars`], folded. Hours in which nothing ended are left out.
#[must_use]
pub fn bars_table(hours: &[Hour]) -> Markup {
    html! {
        details.twin {
            summary { "As a table" }
            table.t {
                thead {
                    tr { th scope="col" { "Hour" } th.n scope="col" { "Completed" } th.n scope="col" { "Failed" } }
                }
                tbody {
                    @for hour in hours.iter().filter(|it| it.completed + it.failed > 0) {
                        tr {
                            th scope="row" {
                                @if let Some(url) = &hour.url { a href=(url) { (hour.name) } } @else { (hour.name) }
                            }
                            td.n { (spaced(hour.completed)) }
                            td.n { (spaced(hour.failed)) }
                        }
                    }
                }
            }
        }
    }
}

/// Numbers over time as bars of 3 pixels, 20 high: the last one is the running hour. `class` is the class of a state, which
/// gives the colour. The label has the sum, and when the largest was, counted from the end.
#[must_use]
pub fn sparkline(numbers: &[u64], class: &str, unit: &str) -> Markup {
    let most = numbers.iter().copied().max().unwrap_or(0);
    let (mut zero, mut past, mut last) = (String::new(), String::new(), String::new());
    for (n, number) in numbers.iter().enumerate() {
        let h = tenths(*number, most, 20).div_ceil(10).min(20);
        let h = if *number > 0 { h.max(2) } else { 1 };
        let path = match (*number, n + 1 == numbers.len()) {
            (0, _) => &mut zero,
            (_, true) => &mut last,
            _ => &mut past,
        };
        // Writing to a text cannot fail.
        let _ = write!(path, "M{} {}h3v{h}h-3z", n * 4, 20 - h);
    }
    let width = (numbers.len() * 4).saturating_sub(1);
    let label = format!("{} in {} {unit}{}", spaced(numbers.iter().sum()), numbers.len(), trend(numbers));
    html! {
        svg class={ "spark " (class) } viewBox={ "0 0 " (width) " 20" } role="img" aria-label=(label) {
            @for (class, path) in [("zero", zero), ("past", past), ("last", last)] {
                @if !path.is_empty() { path class=(class) d=(path) {} }
            }
        }
    }
}

/// How the second half compares with the first one.
fn trend(numbers: &[u64]) -> &'static str {
    let (before, after) = numbers.split_at(numbers.len() / 2);
    let (before, after) = (before.iter().sum::<u64>(), after.iter().sum::<u64>());
    match (before, after) {
        (0, 0) => "",
        (0, _) => ", new",
        (_, 0) => ", none of late",
        _ if after > before.saturating_mul(2) => ", rising",
        _ if before > after.saturating_mul(2) => ", falling",
        _ => ", even",
    }
}

/// How much of a whole is used.
#[must_use]
pub fn meter(part: u64, whole: u64, label: &str) -> Markup {
    let width = tenths(part.min(whole), whole, 100);
    html! {
        svg.meter height="6" role="img" aria-label=(label) {
            rect.track width="100%" height="6" {}
            rect.c2 x="0%" width={ (pixels(width)) "%" } height="6" {}
        }
    }
}

/// The parts of a whole, side by side, up to six: each is a name and a number, and `shown` writes the number.
#[must_use]
pub fn stack(parts: &[(&str, u64)], label: &str, shown: &dyn Fn(u64) -> String) -> Markup {
    let whole: u64 = parts.iter().map(|it| it.1).sum();
    let mut at = 0;
    let placed: Vec<(usize, &str, u64, u64, u64)> = parts
        .iter()
        .take(6)
        .enumerate()
        .map(|(n, (name, number))| {
            let width = u64::try_from(u128::from(*number) * 1_000 / u128::from(whole.max(1))).unwrap_or(0);
            at += width;
            (n + 1, *name, *number, at - width, width)
        })
        .collect();
    html! {
        svg.stack role="img" aria-label=(label) {
            @for (n, name, number, x, width) in placed {
                @if number > 0 {
                    rect class={ "c" (n) } x={ (pixels(x)) "%" } width={ (pixels(width.saturating_sub(1).max(1))) "%" } height="14" {
                        title { (name) ", " (shown(number)) }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_seen_beside_many_that_completed() {
        let mut hours = vec![Hour::default(); 24];
        hours[3] = Hour {
            name: "03:00".to_owned(),
            completed: 1_693,
            failed: 1,
            url: Some("instances?f=x".to_owned()),
        };
        let shown = bars(&hours, "Ended").into_string();
        assert!(shown.contains("<title>03:00, 1\u{202f}693 completed, 1 failed</title>"), "{shown}");
        assert!(
            shown.contains(r#"<rect class="bad" x="12.500%" y="70" width="3.33%" height="18.0">"#),
            "{shown}"
        );
        assert!(shown.contains("2\u{202f}000") && !shown.contains("style"));
        let table = bars_table(&hours).into_string();
        assert_eq!(table.matches("<tr").count(), 2, "{table}");
        assert!(bars(&[], "Ended").into_string().contains("<svg"));
        hours[5].completed = u64::MAX;
        assert!(bars(&hours, "Ended").into_string().contains("</svg>"));
    }

    #[test]
    fn a_sparkline_shows_zeros_and_tells_how_it_goes() {
        let mut numbers = [0; 24];
        numbers[20] = 4;
        numbers[23] = 1;
        let shown = sparkline(&numbers, "fail", "hours").into_string();
        assert!(shown.contains(r#"aria-label="5 in 24 hours, new""#), "{shown}");
        assert!(
            shown.contains(r#"viewBox="0 0 95 20""#)
                && shown.contains(r#"<path class="past" d="M80 0h3v20h-3z">"#),
            "{shown}"
        );
        assert!(shown.contains(r#"<path class="last" d="M92 15h3v5h-3z">"#), "{shown}");
        assert_eq!(trend(&[5, 5, 1, 1]), ", falling");
        assert_eq!(trend(&[1, 1, 2, 1]), ", even");
        assert!(sparkline(&[], "fail", "hours").into_string().contains("svg"));
    }

    #[test]
    fn a_meter_and_a_stack_are_as_wide_as_their_parts() {
        assert!(meter(28, 128, "28 of 128").into_string().contains(r#"width="21.8%""#));
        assert!(meter(9, 0, "9 of 0").into_string().contains(r#"width="0.0%""#));
        let shown = stack(&[("Instances", 75), ("Free", 25)], "Parts", &|n| n.to_string()).into_string();
        assert!(shown.contains(r#"<rect class="c2" x="75.0%" width="24.9%""#), "{shown}");
    }

    #[test]
    fn a_scale_ends_with_a_round_number() {
        for (most, expected) in [(0, 1), (1, 1), (3, 5), (1_693, 2_000), (u64::MAX, u64::MAX)] {
            assert_eq!(round(most), expected);
        }
    }
}
