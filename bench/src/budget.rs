//! How long each run is measured. With `--quick`, all runs of a workload fit into the time that the workload has.

use std::time::{Duration, Instant};

use crate::table::Lasting;

/// A run is measured for at least so long: shorter, the ticks of the processor time would show.
const LEAST: Duration = Duration::from_millis(150);
/// Longer measurements would not make a quick run more precise than the machine is.
const MOST: Duration = Duration::from_secs(2);
const USUAL: Duration = Duration::from_secs(3);
const USUAL_WARM_UP: Duration = Duration::from_millis(500);
/// What a run takes besides, before one has been observed: the start of the process, the files, the check.
const EXPECTED_OVERHEAD: Duration = Duration::from_millis(400);

/// How long a run lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub warm_up: Duration,
    pub measured: Duration,
}

/// The time of one workload.
pub struct Budget {
    lasting: Lasting,
    is_quick: bool,
    began: Instant,
    runs_left: u32,
    observed: u32,
    overheads: Duration,
}

impl Budget {
    /// For so many runs.
    pub fn new(lasting: Lasting, is_quick: bool, runs: usize) -> Self {
        Self {
            lasting,
            is_quick,
            began: Instant::now(),
            runs_left: u32::try_from(runs).unwrap_or(u32::MAX),
            observed: 0,
            overheads: Duration::ZERO,
        }
    }

    /// The window of the next runs.
    pub fn window(&self) -> Window {
        match self.lasting {
            Lasting::Exactly(measured) => Window { warm_up: USUAL_WARM_UP, measured },
            Lasting::Within(_) if !self.is_quick => Window { warm_up: USUAL_WARM_UP, measured: USUAL },
            Lasting::Within(limit) => {
                let left = limit.saturating_sub(self.began.elapsed());
                let overhead = self.overheads.checked_div(self.observed).unwrap_or(EXPECTED_OVERHEAD);
                window(left, self.runs_left, overhead)
            }
        }
    }

    /// Notes a run with this window, and how long it took altogether.
    pub fn spend(&mut self, window: Window, took: Duration) {
        self.runs_left = self.runs_left.saturating_sub(1);
        self.observed += 1;
        self.overheads += took.saturating_sub(window.warm_up + window.measured);
    }
}

/// The window with which so many runs fit into the time that is left. A fifth of it warms up.
fn window(left: Duration, runs: u32, overhead: Duration) -> Window {
    let share = (left / runs.max(1)).saturating_sub(overhead);
    let measured = (share * 4 / 5).clamp(LEAST, MOST);
    Window { warm_up: measured / 4, measured }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn quick_runs_share_the_time_that_is_left_after_what_they_take_besides() {
        let window = window(100 * SECOND, 50, SECOND);
        assert_eq!((window.measured, window.warm_up), (SECOND * 4 / 5, SECOND / 5));
        assert_eq!(50 * (window.measured + window.warm_up + SECOND), 100 * SECOND);
    }

    #[test]
    fn quick_runs_are_neither_too_short_nor_longer_than_useful() {
        assert_eq!(window(SECOND, 1000, SECOND).measured, LEAST);
        assert_eq!(window(Duration::ZERO, 0, SECOND).measured, LEAST);
        assert_eq!(window(1000 * SECOND, 1, SECOND).measured, MOST);
    }

    #[test]
    fn slow_runs_shorten_those_that_follow() {
        let mut budget = Budget::new(Lasting::Within(100 * SECOND), true, 40);
        let before = budget.window();
        budget.spend(before, before.warm_up + before.measured + 2 * SECOND);
        assert!(budget.window().measured < before.measured);
    }

    #[test]
    fn only_quick_runs_depend_on_the_time() {
        let usual = Budget::new(Lasting::Within(SECOND), false, 1000).window();
        assert_eq!(usual, Window { warm_up: USUAL_WARM_UP, measured: USUAL });
        assert_eq!(Budget::new(Lasting::Exactly(60 * SECOND), true, 9).window().measured, 60 * SECOND);
    }
}
