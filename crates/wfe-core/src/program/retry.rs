use std::{fmt, sync::Arc, time::Duration};

use crate::error::{StepError, drop_payload};

/// How often, and after which pauses, a failed step is tried again.
///
/// The pause before retry `n` (from 1) is `first_pause * factor^(n-1)`, at most `longest_pause`, shortened by a
/// random part of up to `jitter`. A pause is stored: it goes on after a crash, and costs nothing while it lasts.
///
/// ```
/// use std::{io, time::Duration};
/// use wfe_core::definition::Retry;
///
/// let retry = Retry::up_to(5)
///     .first_pause(Duration::from_millis(200))
///     .factor(3.0) // 200 ms, 600 ms, 1.8 s …
///     .longest_pause(Duration::from_secs(30))
///     .jitter(0.5) // each up to a half longer or shorter
///     .only_if(|error| error.find::<io::Error>().is_some());
/// ```
#[derive(Clone)]
pub struct Retry {
    pub(crate) limit: u32,
    pub(crate) first_pause: Duration,
    pub(crate) longest_pause: Duration,
    pub(crate) factor: f64,
    pub(crate) jitter: f64,
    pub(crate) only_if: Option<Arc<Predicate>>,
    pub(crate) even_if_fatal: Option<Arc<Predicate>>,
}

type Predicate = dyn Fn(&StepError) -> bool + Send + Sync;

impl Retry {
    /// Never again.
    #[must_use]
    pub fn never() -> Self {
        Self::up_to(0)
    }

    /// At most this many further attempts; the first pause is 1 s, each next one twice as long, the longest 5 min,
    /// the jitter 0.2.
    #[must_use]
    pub fn up_to(retries: u32) -> Self {
        Self {
            limit: retries,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_mins(5),
            factor: 2.0,
            jitter: 0.2,
            only_if: None,
            even_if_fatal: None,
        }
    }

    /// The pause before the first retry.
    #[must_use]
    pub fn first_pause(mut self, pause: Duration) -> Self {
        self.first_pause = pause;
        self
    }

    /// No pause is longer than this.
    #[must_use]
    pub fn longest_pause(mut self, pause: Duration) -> Self {
        self.longest_pause = pause;
        self
    }

    /// Each pause is this much longer than the one before; 1: all are equal. Less than 1 is refused when the
    /// definition is built.
    #[must_use]
    pub fn factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// By which part, from 0 to 1, a pause is shortened at most, at random, so that steps that failed together are
    /// not tried again together. Anything else is refused when the definition is built.
    #[must_use]
    pub fn jitter(mut self, part: f64) -> Self {
        self.jitter = part;
        self
    }

    /// Tries again only after errors for which this holds. It is not asked about fatal errors, which are not tried
    /// again ([`even_if_fatal`](Self::even_if_fatal)). A panic in it counts as *no*. It must be quick: it runs on the engine's
    /// thread.
    #[must_use]
    pub fn only_if(mut self, holds: impl Fn(&StepError) -> bool + Send + Sync + 'static) -> Self {
        self.only_if = Some(Arc::new(holds));
        self
    }

    /// Tries again also after those fatal errors for which this holds; by default, after none. For a step whose failure is
    /// told by somebody who cannot know what another attempt would bring: a child workflow, a worker. A panic in it counts as
    /// *no*, and it must be quick, as [`only_if`](Self::only_if).
    ///
    /// ```
    /// use wfe_core::{definition::Retry, steps::StepError};
    ///
    /// // Somebody cancelled the child workflow: the step begins another one, once.
    /// let retry = Retry::up_to(1).even_if_fatal(|error| error.code() == StepError::CHILD_ENDED);
    /// ```
    #[must_use]
    pub fn even_if_fatal(mut self, holds: impl Fn(&StepError) -> bool + Send + Sync + 'static) -> Self {
        self.even_if_fatal = Some(Arc::new(holds));
        self
    }

    /// The pause after `failed` failed attempts in a row (from 1), or `None`: not again. `random` is in 0..1.
    pub(crate) fn pause(&self, failed: u32, error: &StepError, random: f64) -> Option<Duration> {
        let predicate = if error.is_retryable() { &self.only_if } else { &self.even_if_fatal };
        let wanted = || match predicate {
            None => error.is_retryable(),
            Some(holds) => std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| holds(error)))
                .unwrap_or_else(|payload| {
                    drop_payload(payload);
                    false
                }),
        };
        if failed > self.limit || !wanted() {
            return None;
        }
        if self.first_pause.is_zero() {
            return Some(Duration::ZERO); // times a power that overflowed it would be no number
        }
        let power = self.factor.powf(f64::from(failed.saturating_sub(1)));
        let full = Duration::try_from_secs_f64(self.first_pause.as_secs_f64() * power)
            .unwrap_or(Duration::MAX) // the power overflowed: any cap is shorter
            .min(self.longest_pause);
        // As a number of seconds it is rounded: it may have become a little longer, or too long for a duration.
        let pause = Duration::try_from_secs_f64(full.as_secs_f64() * (1.0 - self.jitter * random));
        Some(pause.map_or(full, |pause| pause.min(full)))
    }

    pub(crate) fn problem(&self) -> Option<String> {
        if !(self.factor >= 1.0 && self.factor.is_finite()) {
            return Some(format!("the factor of its retry pauses is {}, it must be 1 or more", self.factor));
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return Some(format!(
                "the jitter of its retry pauses is {}, it must be from 0 to 1",
                self.jitter
            ));
        }
        None
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("limit", &self.limit)
            .field("first_pause", &self.first_pause)
            .field("longest_pause", &self.longest_pause)
            .field("factor", &self.factor)
            .field("jitter", &self.jitter)
            .finish_non_exhaustive()
    }
}

/// What happens when a step has failed for good.
///
/// By default, a step with a [fallback](crate::definition::Sequence::fallback) runs it, one inside a
/// [saga](crate::definition::Sequence::saga) has the saga undone, and any other one ends the instance as failed. A saga on the main
/// path that was undone goes on behind itself by default, and so does a compensating step: the others still follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OnFailure {
    /// The instance ends as failed; its other branches are taken away, and nothing is undone.
    #[default]
    Terminate,
    /// The instance stands still until somebody resumes it; then the step is tried again, with all its retries.
    Suspend,
    /// The instance goes on behind the step, after its fallback if it has one; the error is the step's outcome.
    Continue,
    /// The saga around the step is undone. Outside of a saga it is refused when the definition is built.
    Compensate,
}

/// What a step does about failures.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub retry: Retry,
    /// `None`: whatever fits the place where the step stands.
    pub on_failure: Option<OnFailure>,
    /// How long one attempt of its body may take.
    pub timeout: Option<Duration>,
}

impl Policy {
    pub fn problem(&self) -> Option<String> {
        if self.timeout.is_some_and(|limit| limit.is_zero()) {
            return Some("its timeout is 0, it must be longer".to_owned());
        }
        self.retry.problem()
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self { retry: Retry::never(), on_failure: None, timeout: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error() -> StepError {
        StepError::retryable("no")
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_end_at_the_limit() {
        let retry = Retry::up_to(4)
            .first_pause(Duration::from_secs(1))
            .longest_pause(Duration::from_secs(3))
            .jitter(0.0);
        let pauses: Vec<_> =
            (1..=5).map(|n| retry.pause(n, &error(), 0.9).map(|p| p.as_secs_f64())).collect();
        assert_eq!(pauses, [Some(1.0), Some(2.0), Some(3.0), Some(3.0), None]);
    }

    const TIMES: [Duration; 9] = [
        Duration::ZERO,
        Duration::from_nanos(1),
        Duration::from_micros(999),
        Duration::from_secs(1),
        Duration::new(1 << 53, 1), // above, seconds as a double are rounded
        Duration::from_millis(i64::MAX as u64),
        Duration::from_secs(u64::MAX / 2),
        Duration::from_secs(u64::MAX),
        Duration::MAX,
    ];
    const FACTORS: [f64; 10] =
        [f64::NAN, f64::NEG_INFINITY, -1.0, 0.0, 1.0, 1.0 + f64::EPSILON, 2.0, 1e9, f64::MAX, f64::INFINITY];
    const PARTS: [f64; 8] =
        [f64::NAN, -0.1, 0.0, f64::MIN_POSITIVE, 0.5, 1.0 - f64::EPSILON, 1.0, f64::INFINITY];

    #[test]
    fn whatever_the_numbers_a_pause_is_refused_or_lies_between_its_bounds() {
        let mut accepted = 0;
        for (first, longest) in TIMES.iter().flat_map(|a| TIMES.map(|b| (*a, b))) {
            for (factor, jitter) in FACTORS.iter().flat_map(|a| PARTS.map(|b| (*a, b))) {
                let retry = Retry::up_to(u32::MAX)
                    .first_pause(first)
                    .longest_pause(longest)
                    .factor(factor)
                    .jitter(jitter);
                if let Some(problem) = retry.problem() {
                    assert!(problem.contains("factor") || problem.contains("jitter"), "{problem}");
                    continue;
                }
                accepted += 1;
                for (failed, random) in [(1, 0.0), (2, 0.5), (u32::MAX, 1.0 - f64::EPSILON)] {
                    let pause = retry.pause(failed, &error(), random).unwrap();
                    assert!(pause <= longest, "{retry:?} {failed} {random}: {pause:?}");
                    let shortest = first.min(longest).as_secs_f64() * (1.0 - jitter) * (1.0 - 1e-9);
                    assert!(pause.as_secs_f64() + 1e-9 >= shortest, "{retry:?} {failed} {random}: {pause:?}");
                }
            }
        }
        assert_eq!(accepted, TIMES.len() * TIMES.len() * 5 * 5);
    }

    #[test]
    fn an_overflowing_power_is_capped() {
        let retry = Retry::up_to(u32::MAX).jitter(0.0);
        assert_eq!(retry.pause(100_000, &error(), 0.0), Some(Duration::from_mins(5)));
    }

    #[test]
    fn no_pause_stays_none_however_often() {
        let retry = Retry::up_to(u32::MAX).first_pause(Duration::ZERO);
        assert_eq!(retry.pause(100_000, &error(), 0.5), Some(Duration::ZERO));
    }

    #[test]
    fn jitter_only_shortens_a_pause() {
        let retry = Retry::up_to(1).first_pause(Duration::from_secs(10)).jitter(0.5);
        assert_eq!(retry.pause(1, &error(), 0.0), Some(Duration::from_secs(10)));
        assert_eq!(retry.pause(1, &error(), 0.5), Some(Duration::from_millis(7500)));
    }

    #[test]
    fn a_fatal_error_a_refusing_predicate_and_a_panicking_one_end_the_retries() {
        let retry = Retry::up_to(9);
        assert_eq!(retry.pause(1, &StepError::fatal("no"), 0.0), None);
        assert_eq!(retry.clone().only_if(|_| false).pause(1, &error(), 0.0), None);
        assert_eq!(retry.only_if(|_| panic!("predicate")).pause(1, &error(), 0.0), None);
    }

    #[test]
    fn only_a_predicate_of_its_own_lets_a_fatal_error_be_tried_again() {
        let fatal = StepError::fatal("no").with_code("known");
        let retry = Retry::up_to(1).first_pause(Duration::ZERO);
        assert_eq!(retry.clone().only_if(|_| true).pause(1, &fatal, 0.0), None);
        let retry = retry.even_if_fatal(|error| error.code() == "known");
        assert_eq!(retry.pause(1, &fatal, 0.0), Some(Duration::ZERO));
        assert_eq!(retry.pause(2, &fatal, 0.0), None, "within the limit");
        assert_eq!(retry.pause(1, &StepError::fatal("no"), 0.0), None);
        assert_eq!(retry.pause(1, &error(), 0.0), Some(Duration::ZERO), "it is not asked");
        assert_eq!(retry.even_if_fatal(|_| panic!("predicate")).pause(1, &fatal, 0.0), None);
    }
}
