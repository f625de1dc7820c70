//! The result of a run.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::{Done, machine::Reading};

/// What one run measured. There is one only if everything that was acknowledged was read back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    pub ops_per_s: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub max_us: f64,
    /// `None`: the operating system does not report it.
    pub written_bytes_per_op: Option<f64>,
    pub cpu_us_per_op: Option<f64>,
    /// Operations that the subject refused with an error. They count nowhere else.
    pub errors: u64,
    /// The first of these errors.
    pub error: Option<String>,
    /// How many cores other processes used. `None`: the operating system does not report it.
    pub others_cores: Option<f64>,
    /// What the workload measures besides.
    pub extras: Vec<Extra>,
}

/// A figure that only some workloads have. The table shows it, the lines of JSON do not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Extra {
    pub name: String,
    pub value: f64,
    pub unit: String,
}

impl Extra {
    pub fn new(name: &str, value: f64, unit: &str) -> Self {
        Self { name: name.to_owned(), value, unit: unit.to_owned() }
    }
}

/// A part of the run over which the machine is observed.
pub struct Range {
    began: Instant,
    before: Option<Reading>,
}

/// What happened within a [`Range`].
pub struct Sum {
    pub seconds: f64,
    cpu_us: Option<u64>,
    written_bytes: Option<u64>,
    others_cores: Option<f64>,
}

impl Range {
    pub fn begin() -> Self {
        Self { before: Reading::now(), began: Instant::now() }
    }

    pub fn end(&self) -> Sum {
        let seconds = self.began.elapsed().as_secs_f64();
        let used = self.before.zip(Reading::now()).map(|(before, after)| after.since(before));
        Sum {
            seconds,
            cpu_us: used.as_ref().map(|used| used.cpu_us),
            written_bytes: used.as_ref().map(|used| used.written_bytes),
            others_cores: used.as_ref().map(|used| float(used.others_cpu_us) / 1e6 / seconds),
        }
    }
}

impl Sum {
    /// The figures of operations that took these times.
    pub fn of(&self, times: Vec<Duration>) -> Done<Measured> {
        let count = times.len();
        self.of_part(times, count)
    }

    /// The figures of so many operations, of which only some have a time.
    pub fn of_part(&self, mut times: Vec<Duration>, operations: usize) -> Done<Measured> {
        if times.is_empty() {
            return Err("no operation ended within the measurement; measure longer".into());
        }
        times.sort_unstable();
        let per_op = |amount: u64| float(amount) / float(operations as u64);
        Ok(Measured {
            ops_per_s: float(operations as u64) / self.seconds,
            p50_us: at(&times, 50),
            p99_us: at(&times, 99),
            max_us: at(&times, 100),
            written_bytes_per_op: self.written_bytes.map(per_op),
            cpu_us_per_op: self.cpu_us.map(per_op),
            errors: 0,
            error: None,
            others_cores: self.others_cores,
            extras: Vec::new(),
        })
    }
}

impl Measured {
    #[must_use]
    pub fn with(mut self, extra: Extra) -> Self {
        self.extras.push(extra);
        self
    }
}

/// The duration within which this percentage of the operations ended, in microseconds.
fn at(sorted: &[Duration], percent: usize) -> f64 {
    let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted[index].as_secs_f64() * 1e6
}

#[expect(clippy::cast_precision_loss, reason = "these are measurements")]
pub fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let sum = Sum { seconds: 2.0, cpu_us: Some(300), written_bytes: None, others_cores: None };
        let measured = sum.of((1..=100).map(Duration::from_micros).collect()).unwrap();
        let figures = [measured.p50_us, measured.p99_us, measured.max_us, measured.ops_per_s];
        assert_eq!(figures.map(|figure| figure.round().to_string()), ["50", "99", "100", "50"]);
        assert_eq!((measured.cpu_us_per_op, measured.written_bytes_per_op), (Some(3.0), None));
    }

    #[test]
    fn a_run_without_an_operation_has_no_figures() {
        assert!(Range::begin().end().of(Vec::new()).is_err());
    }
}
