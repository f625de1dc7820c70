//! Medians, spread and ratios, as a table.

use std::fmt::Write as _;

use wfe_bench_workloads::{Extra, Measured};

use crate::table::{Chart, Spec};

/// A row is marked if other processes used more cores than this: they disturb the figures.
const BUSY_CORES: f64 = 1.0 / 3.0;

/// The medians of one subject in one workload with one number of clients.
#[derive(Debug, Clone)]
pub struct Row {
    /// The name with its parameters.
    pub workload: String,
    pub subject: String,
    pub clients: usize,
    pub rounds: usize,
    pub median: Measured,
    /// Whether the chart shows times instead of the speed.
    pub has_times: bool,
    /// Operations per second of the slowest and of the fastest round.
    spread: (f64, f64),
    /// The speed of the first subject divided by the speed of this one, computed for each round: median, least, greatest.
    /// `None`: this is the first subject.
    ratio: Option<[f64; 3]>,
    is_disturbed: bool,
}

/// One row for each subject, from the results of its rounds.
pub fn rows(spec: &Spec, workload: &str, clients: usize, subjects: Vec<(String, Vec<Measured>)>) -> Vec<Row> {
    let first: Vec<f64> = subjects.first().map_or_else(Vec::new, |(_, rounds)| speeds(rounds));
    let row = |(at, (subject, rounds)): (usize, (String, Vec<Measured>))| {
        let own = speeds(&rounds);
        let ratio = (at > 0).then(|| {
            let ratios = sorted(first.iter().zip(&own).map(|(first, own)| first / own).collect());
            [middle(&ratios), ratios[0], ratios[ratios.len() - 1]]
        });
        let is_busy = |measured: &Measured| measured.others_cores.is_some_and(|cores| cores > BUSY_CORES);
        let all = sorted(own);
        Row {
            workload: workload.to_owned(),
            subject,
            clients,
            rounds: rounds.len(),
            median: median(&rounds),
            has_times: spec.chart == Chart::Times,
            spread: (all[0], all[all.len() - 1]),
            ratio,
            is_disturbed: rounds.iter().any(is_busy),
        }
    };
    subjects.into_iter().enumerate().map(row).collect()
}

fn speeds(rounds: &[Measured]) -> Vec<f64> {
    rounds.iter().map(|round| round.ops_per_s).collect()
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// The median of sorted values.
fn middle(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[half] } else { f64::midpoint(sorted[half - 1], sorted[half]) }
}

fn median(rounds: &[Measured]) -> Measured {
    let of = |value: fn(&Measured) -> f64| middle(&sorted(rounds.iter().map(value).collect()));
    let maybe = |value: fn(&Measured) -> Option<f64>| {
        let values: Option<Vec<f64>> = rounds.iter().map(value).collect();
        values.map(|values| middle(&sorted(values)))
    };
    let extra = |at: usize, first: &Extra| {
        let values: Vec<f64> = rounds.iter().filter_map(|round| Some(round.extras.get(at)?.value)).collect();
        Extra { value: middle(&sorted(values)), ..first.clone() }
    };
    Measured {
        ops_per_s: of(|round| round.ops_per_s),
        p50_us: of(|round| round.p50_us),
        p99_us: of(|round| round.p99_us),
        max_us: of(|round| round.max_us),
        written_bytes_per_op: maybe(|round| round.written_bytes_per_op),
        cpu_us_per_op: maybe(|round| round.cpu_us_per_op),
        errors: rounds.iter().map(|round| round.errors).sum(),
        error: rounds.iter().find_map(|round| round.error.clone()),
        others_cores: maybe(|round| round.others_cores),
        extras: rounds[0].extras.iter().enumerate().map(|(at, first)| extra(at, first)).collect(),
    }
}

impl Row {
    pub fn print(&self) {
        println!("{}", self.text());
    }

    fn text(&self) -> String {
        let (of, (least, most)) = (&self.median, self.spread);
        let mut line = format!(
            "{:<18} {:>3} clients  {:<12} {}/s ({} to {})  p50 {:.0} p99 {:.0} max {:.0} us",
            self.workload,
            self.clients,
            self.subject,
            speed(of.ops_per_s),
            speed(least).trim_start(),
            speed(most).trim_start(),
            of.p50_us,
            of.p99_us,
            of.max_us
        );
        // Writing to a text cannot fail.
        if let (Some(bytes), Some(cpu)) = (of.written_bytes_per_op, of.cpu_us_per_op) {
            let _ = write!(line, "  {:.1} KiB {cpu:.0} us CPU", bytes / 1024.0);
        }
        for Extra { name, value, unit } in &of.extras {
            let _ = write!(line, "  {name} {value:.1} {unit}");
        }
        if let Some([median, least, most]) = self.ratio {
            let _ = write!(line, "  wfe is {median:.3} of it ({least:.3} to {most:.3})");
        }
        if of.errors > 0 {
            let _ = write!(line, "  {} ERRORS: {}", of.errors, of.error.as_deref().unwrap_or_default());
        }
        if self.is_disturbed {
            line.push_str("  DISTURBED: other processes used more than a third of a core");
        }
        line
    }
}

/// Operations per second, with a digit behind the point where there are few.
fn speed(ops_per_s: f64) -> String {
    if ops_per_s < 100.0 { format!("{ops_per_s:>8.1}") } else { format!("{ops_per_s:>8.0}") }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::table::WORKLOADS;

    fn measured(ops_per_s: f64) -> Measured {
        Measured {
            ops_per_s,
            p50_us: 1.0,
            p99_us: 2.0,
            max_us: 3.0,
            written_bytes_per_op: None,
            cpu_us_per_op: None,
            errors: 1,
            error: Some("busy".to_owned()),
            others_cores: Some(0.1),
            extras: vec![Extra::new("memory", ops_per_s * 2.0, "MiB")],
        }
    }

    /// A row for the tests of what is made of rows.
    pub fn row(workload: &str, subject: &str, clients: usize, ops_per_s: f64) -> Row {
        let subjects = vec![(subject.to_owned(), vec![measured(ops_per_s)])];
        rows(&WORKLOADS[0], workload, clients, subjects).remove(0)
    }

    #[test]
    fn a_ratio_is_the_median_of_the_ratios_of_the_rounds() {
        let of = |speeds: [f64; 3]| speeds.map(measured).to_vec();
        // The machine was twice as fast in the second round.
        let subjects = vec![("a".to_owned(), of([10.0, 20.0, 9.0])), ("b".to_owned(), of([8.0, 16.0, 9.0]))];
        let rows = rows(&WORKLOADS[0], "create", 1, subjects);
        assert!(rows[0].ratio.is_none());
        assert_eq!(rows[1].ratio, Some([1.25, 1.0, 1.25]));
        assert_eq!((rows[0].median.ops_per_s, rows[0].spread), (10.0, (9.0, 20.0)));
        assert!(!rows[0].is_disturbed);
    }

    #[test]
    fn errors_are_added_and_other_figures_are_medians() {
        let median = median(&[measured(3.0), measured(1.0), measured(2.0)]);
        assert_eq!((median.errors, median.extras[0].value), (3, 4.0));
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert!((middle(&sorted(vec![4.0, 1.0, 3.0, 2.0])) - 2.5).abs() < 1e-9);
    }

    #[test]
    fn a_row_that_other_processes_disturbed_is_marked() {
        let busy = Measured { others_cores: Some(0.34), ..measured(1.0) };
        let quiet = Measured { others_cores: Some(0.33), ..measured(1.0) };
        for (one, is_marked) in [(busy, true), (quiet, false)] {
            let rows = rows(&WORKLOADS[0], "create", 1, vec![("a".to_owned(), vec![measured(1.0), one])]);
            assert_eq!(rows[0].text().contains("DISTURBED"), is_marked);
        }
    }

    #[test]
    fn errors_and_extra_figures_are_in_the_table() {
        let text = row("create", "published", 1, 50.0).text();
        assert!(text.contains("1 ERRORS: busy") && text.contains("memory 100.0 MiB"), "{text}");
    }
}
