//! Medians and ratios, as a table and as lines of JSON.

use std::{fmt::Write as _, fs, path::Path};

use serde_json::json;

use crate::{Done, measure::Measured, workload::Workload};

/// A row is marked if other processes used more cores than this: they disturb the figures.
const BUSY_CORES: f64 = 1.0 / 3.0;

/// The medians of one subject in one workload with one number of clients.
pub struct Row {
    workload: Workload,
    subject: String,
    clients: usize,
    rounds: usize,
    median: Measured,
    /// Operations per second of the slowest and of the fastest round.
    spread: (f64, f64),
    /// The speed of the first subject divided by the speed of this one, computed for each round: median, least, greatest.
    /// `None`: this is the first subject.
    ratio: Option<[f64; 3]>,
    is_disturbed: bool,
}

/// One row for each subject, from the results of its rounds.
pub fn rows(workload: Workload, clients: usize, subjects: Vec<(String, Vec<Measured>)>) -> Vec<Row> {
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
            workload,
            subject,
            clients,
            rounds: rounds.len(),
            median: median(&rounds),
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
    Measured {
        ops_per_s: of(|round| round.ops_per_s),
        p50_us: of(|round| round.p50_us),
        p99_us: of(|round| round.p99_us),
        max_us: of(|round| round.max_us),
        written_bytes_per_op: maybe(|round| round.written_bytes_per_op),
        cpu_us_per_op: maybe(|round| round.cpu_us_per_op),
        others_cores: maybe(|round| round.others_cores),
    }
}

impl Row {
    pub fn print(&self) {
        let (of, (least, most)) = (&self.median, self.spread);
        let mut line = format!(
            "{:<11} {:>4} clients  {:<14} {:>8.0}/s ({least:.0} to {most:.0})  p50 {:.0} p99 {:.0} max {:.0} us",
            self.workload.to_string(),
            self.clients,
            self.subject,
            of.ops_per_s,
            of.p50_us,
            of.p99_us,
            of.max_us
        );
        // Writing to a text cannot fail.
        if let (Some(bytes), Some(cpu)) = (of.written_bytes_per_op, of.cpu_us_per_op) {
            let _ = write!(line, "  {:.1} KiB {cpu:.0} us CPU", bytes / 1024.0);
        }
        if let Some([median, least, most]) = self.ratio {
            let _ = write!(line, "  wfe is {median:.3} of it ({least:.3} to {most:.3})");
        }
        if self.is_disturbed {
            line.push_str("  DISTURBED: other processes used more than a third of a core");
        }
        println!("{line}");
    }

    fn json(&self) -> serde_json::Value {
        let of = &self.median;
        json!({
            "workload": self.workload.to_string(), "subject": self.subject, "clients": self.clients,
            "ops_per_s": of.ops_per_s, "p50_us": of.p50_us, "p99_us": of.p99_us, "max_us": of.max_us,
            "written_bytes_per_op": of.written_bytes_per_op, "cpu_us_per_op": of.cpu_us_per_op,
            // Always 0: a run with an error ends the benchmark without a report.
            "errors": 0, "rounds": self.rounds, "ratio": self.ratio.map(|[median, ..]| median),
            "disturbed": self.is_disturbed,
        })
    }
}

pub fn write_json(path: &Path, rows: &[Row]) -> Done {
    let mut text = String::new();
    for row in rows {
        text.push_str(&serde_json::to_string(&row.json())?);
        text.push('\n');
    }
    Ok(fs::write(path, text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(ops_per_s: f64) -> Measured {
        Measured {
            ops_per_s,
            p50_us: 1.0,
            p99_us: 2.0,
            max_us: 3.0,
            written_bytes_per_op: None,
            cpu_us_per_op: None,
            others_cores: Some(0.1),
        }
    }

    #[test]
    fn a_ratio_is_the_median_of_the_ratios_of_the_rounds() {
        let of = |speeds: [f64; 3]| speeds.map(measured).to_vec();
        // The machine was twice as fast in the second round.
        let subjects = vec![("a".to_owned(), of([10.0, 20.0, 9.0])), ("b".to_owned(), of([8.0, 16.0, 9.0]))];
        let rows = rows(Workload::Flow, 1, subjects);
        assert!(rows[0].ratio.is_none());
        assert_eq!(rows[1].ratio, Some([1.25, 1.0, 1.25]));
        assert_eq!((rows[0].median.ops_per_s, rows[0].spread), (10.0, (9.0, 20.0)));
        assert!(!rows[0].is_disturbed);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert!((middle(&sorted(vec![4.0, 1.0, 3.0, 2.0])) - 2.5).abs() < 1e-9);
    }
}
