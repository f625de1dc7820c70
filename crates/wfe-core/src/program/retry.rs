use std::{fmt, sync::Arc, time::Duration};

use crate::error::{StepError, drop_payload};

/// How many attempts a step gets, and the backoff before each further attempt.
///
/// By default, a step gets one attempt ([`never`](Self::never)): only its author knows whether it may run twice. A
/// definition can set another default for its steps ([`retry_steps`](crate::definition::Sequence::retry_steps)).
/// [`exponential`](Self::exponential) allows 5 attempts; [`every`](Self::every) has no limit. When the attempts are used
/// up, [`OnFailure`] decides.
///
/// The full backoff before retry `n` is `min(max, initial * factor^(n-1))`; the first retry has `n = 1`. The full
/// backoff is then shortened at random, by at most the fraction `jitter` of its length. The time of the next attempt is
/// stored. So a crash does not change it, and to wait for it costs nothing.
///
/// ```
/// use std::{io, time::Duration};
/// use wfe_core::definition::Retry;
///
/// let retry = Retry::exponential().attempts(6)
///     .initial(Duration::from_millis(200))
///     .factor(3.0) // 200 ms, 600 ms, 1.8 s …
///     .max(Duration::from_secs(30))
///     .jitter(0.5) // each up to a half shorter
///     .only_if(|error| error.find::<io::Error>().is_some());
/// ```
#[derive(Clone)]
pub struct Retry {
    /// How many attempts there are, the first one included.
    pub(crate) attempts: u32,
    pub(crate) initial: Duration,
    pub(crate) max: Duration,
    pub(crate) factor: f64,
    pub(crate) jitter: f64,
    pub(crate) only_if: Option<Arc<Predicate>>,
    pub(crate) even_if_fatal: Option<Arc<Predicate>>,
}

type Predicate = dyn Fn(&StepError) -> bool + Send + Sync;

impl Retry {
    /// One attempt: a failed step is not retried.
    #[must_use]
    pub fn never() -> Self {
        Self { attempts: 1, ..Self::exponential() }
    }

    /// The same backoff before each attempt, without jitter, and **no limit of attempts**: the step is retried until it
    /// succeeds, until it fails with a fatal error, or until the instance is cancelled or reaches its deadline. For a
    /// limit, add [`attempts`](Self::attempts).
    #[must_use]
    pub fn every(backoff: Duration) -> Self {
        Self {
            attempts: u32::MAX,
            initial: backoff,
            max: backoff,
            factor: 1.0,
            jitter: 0.0,
            ..Self::exponential()
        }
    }

    /// Sets the number of attempts, the first one included: with 3, a failed step is retried twice. Building the
    /// definition refuses 0. `u32::MAX` means no limit.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// Up to 5 attempts. The backoff begins with 1 s, doubles each time up to 5 min, and is shortened at random by
    /// up to a fifth.
    #[must_use]
    pub fn exponential() -> Self {
        Self {
            attempts: 5,
            initial: Duration::from_secs(1),
            max: Duration::from_mins(5),
            factor: 2.0,
            jitter: 0.2,
            only_if: None,
            even_if_fatal: None,
        }
    }

    /// Sets the backoff before the first retry.
    #[must_use]
    pub fn initial(mut self, backoff: Duration) -> Self {
        self.initial = backoff;
        self
    }

    /// Sets the longest backoff.
    #[must_use]
    pub fn max(mut self, backoff: Duration) -> Self {
        self.max = backoff;
        self
    }

    /// Sets the factor by which a backoff is multiplied to get the next one. With a factor of 1, all backoffs are
    /// equal. Building the definition refuses a factor below 1.
    #[must_use]
    pub fn factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// Sets the jitter, a number from 0 to 1. Each backoff is shortened at random, by at most this fraction of its
    /// length. So steps that failed at the same time are retried at different times. Building the definition refuses a
    /// jitter that is not from 0 to 1.
    #[must_use]
    pub fn jitter(mut self, part: f64) -> Self {
        self.jitter = part;
        self
    }

    /// Retries only after errors for which `holds` returns true.
    ///
    /// After a fatal error, `holds` is not called, and the step is not retried; but see
    /// [`even_if_fatal`](Self::even_if_fatal). A panic in `holds` counts as *no*. `holds` must be quick, because it
    /// runs on the engine's thread.
    #[must_use]
    pub fn only_if(mut self, holds: impl Fn(&StepError) -> bool + Send + Sync + 'static) -> Self {
        self.only_if = Some(Arc::new(holds));
        self
    }

    /// Also retries after fatal errors, but only after those for which `holds` returns true. By default, no fatal error
    /// is retried.
    ///
    /// Use this setting if the errors of the step come from a child workflow or an external worker. Neither of them can
    /// know whether another attempt of the step would succeed. As with [`only_if`](Self::only_if), `holds` must be
    /// quick, and a panic in `holds` counts as *no*.
    ///
    /// ```
    /// use wfe_core::{definition::Retry, steps::StepError};
    ///
    /// // An operator cancelled the child workflow: the step starts another one, once.
    /// let retry = Retry::exponential().attempts(2).even_if_fatal(|error| error.code() == StepError::CHILD_ENDED);
    /// ```
    #[must_use]
    pub fn even_if_fatal(mut self, holds: impl Fn(&StepError) -> bool + Send + Sync + 'static) -> Self {
        self.even_if_fatal = Some(Arc::new(holds));
        self
    }

    /// The backoff when the last `failed` attempts have failed, or `None` if the step is not retried. `failed` is at
    /// least 1. `random` is in 0..1.
    pub(crate) fn backoff(&self, failed: u32, error: &StepError, random: f64) -> Option<Duration> {
        let predicate = if error.is_retryable() { &self.only_if } else { &self.even_if_fatal };
        let is_retried = || match predicate {
            None => error.is_retryable(),
            Some(holds) => std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| holds(error)))
                .unwrap_or_else(|payload| {
                    drop_payload(payload);
                    false
                }),
        };
        let is_last = failed >= self.attempts && self.attempts < u32::MAX;
        if is_last || !is_retried() {
            return None;
        }
        if self.initial.is_zero() {
            return Some(Duration::ZERO); // zero times an infinite power would be NaN
        }
        let power = self.factor.powf(f64::from(failed.saturating_sub(1)));
        let full = Duration::try_from_secs_f64(self.initial.as_secs_f64() * power)
            .unwrap_or(Duration::MAX) // the power overflowed, and `max` is shorter
            .min(self.max);
        // A floating-point number of seconds is rounded. So it may be slightly longer than `full`, or too
        // long for a `Duration`.
        let backoff = Duration::try_from_secs_f64(full.as_secs_f64() * (1.0 - self.jitter * random));
        Some(backoff.map_or(full, |backoff| backoff.min(full)))
    }

    pub(crate) fn problem(&self) -> Option<String> {
        if self.attempts == 0 {
            return Some("its retry policy allows 0 attempts; it must be 1 or more".to_owned());
        }
        if !(self.factor >= 1.0 && self.factor.is_finite()) {
            return Some(format!("the factor of its retry backoff is {}; it must be 1 or more", self.factor));
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return Some(format!(
                "the jitter of its retry backoff is {}; it must be from 0 to 1",
                self.jitter
            ));
        }
        None
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("attempts", &self.attempts)
            .field("initial", &self.initial)
            .field("max", &self.max)
            .field("factor", &self.factor)
            .field("jitter", &self.jitter)
            .finish_non_exhaustive()
    }
}

/// What happens when a step has failed for good.
///
/// The default depends on the step:
///
/// * If a step with a [fallback](crate::definition::Sequence::fallback) fails, the fallback runs, and the instance
///   continues.
/// * If a step inside a [saga](crate::definition::Sequence::saga) fails, the saga is compensated.
/// * If a saga fails that is not inside another saga, it is compensated, and the instance continues after it.
/// * If a compensating step fails, the saga's other compensations still run.
/// * If any other step fails, the instance fails. A definition can set another behaviour for these steps
///   ([`on_failure`](crate::definition::Sequence::on_failure) before its first step).
///
/// Why the instance fails by default: an instance that has failed reports it to its caller at once, holds nothing, and keeps its
/// data, its failures and where it stood. It is not lost: a *retry* continues at the failed step, with all its attempts,
/// and a *restart* begins a new instance at the first step (`retry` and `restart` of the host). Choose
/// [`Suspend`](Self::Suspend) where the caller should wait while an operator repairs the cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OnFailure {
    /// Fail the instance: the other branches of the instance are cancelled, and nothing is compensated. The instance can
    /// be retried: the step then runs again, and the cancelled branches continue where they stood.
    #[default]
    Fail,
    /// Suspend the instance. When the instance is resumed, the step runs again, with its full number of retries.
    Suspend,
    /// Continue with the next step; the error becomes the outcome of the failed step. If the step has a fallback, the
    /// fallback runs first.
    Continue,
    /// Compensate the saga that encloses the step. Building the definition refuses this setting for a step that is not
    /// inside a saga.
    Compensate,
}

/// The failure settings of a step.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub retry: Retry,
    /// The failure behaviour. `None` stands for the default, which depends on the place of the step in the definition.
    pub on_failure: Option<OnFailure>,
    /// The longest time that one attempt of the body may take, or `None` if there is no limit.
    pub timeout: Option<Duration>,
}

impl Policy {
    pub fn problem(&self) -> Option<String> {
        if self.timeout.is_some_and(|limit| limit.is_zero()) {
            return Some("its timeout is 0; it must be longer".to_owned());
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
    fn backoffs_double_up_to_the_maximum_and_end_at_the_limit() {
        let retry = Retry::exponential()
            .attempts(5)
            .initial(Duration::from_secs(1))
            .max(Duration::from_secs(3))
            .jitter(0.0);
        let backoffs: Vec<_> =
            (1..=5).map(|n| retry.backoff(n, &error(), 0.9).map(|p| p.as_secs_f64())).collect();
        assert_eq!(backoffs, [Some(1.0), Some(2.0), Some(3.0), Some(3.0), None]);
    }

    const TIMES: [Duration; 9] = [
        Duration::ZERO,
        Duration::from_nanos(1),
        Duration::from_micros(999),
        Duration::from_secs(1),
        Duration::new(1 << 53, 1), // above this, seconds as a double are rounded
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
    fn every_retry_policy_is_refused_or_gives_backoffs_within_its_bounds() {
        let mut accepted = 0;
        for (initial, max) in TIMES.iter().flat_map(|a| TIMES.map(|b| (*a, b))) {
            for (factor, jitter) in FACTORS.iter().flat_map(|a| PARTS.map(|b| (*a, b))) {
                let retry = Retry::exponential()
                    .attempts(u32::MAX)
                    .initial(initial)
                    .max(max)
                    .factor(factor)
                    .jitter(jitter);
                if let Some(problem) = retry.problem() {
                    assert!(problem.contains("factor") || problem.contains("jitter"), "{problem}");
                    continue;
                }
                accepted += 1;
                for (failed, random) in [(1, 0.0), (2, 0.5), (u32::MAX, 1.0 - f64::EPSILON)] {
                    let backoff = retry.backoff(failed, &error(), random).unwrap();
                    assert!(backoff <= max, "{retry:?} {failed} {random}: {backoff:?}");
                    let shortest = initial.min(max).as_secs_f64() * (1.0 - jitter) * (1.0 - 1e-9);
                    let seconds = backoff.as_secs_f64();
                    assert!(seconds + 1e-9 >= shortest, "{retry:?} {failed} {random}: {backoff:?}");
                }
            }
        }
        assert_eq!(accepted, TIMES.len() * TIMES.len() * 5 * 5);
    }

    #[test]
    fn an_overflowing_power_is_capped() {
        let retry = Retry::exponential().attempts(u32::MAX).jitter(0.0);
        assert_eq!(retry.backoff(100_000, &error(), 0.0), Some(Duration::from_mins(5)));
    }

    #[test]
    fn a_backoff_of_zero_stays_zero_after_many_failures() {
        let retry = Retry::exponential().attempts(u32::MAX).initial(Duration::ZERO);
        assert_eq!(retry.backoff(100_000, &error(), 0.5), Some(Duration::ZERO));
    }

    #[test]
    fn jitter_only_shortens_a_backoff() {
        let retry = Retry::exponential().attempts(2).initial(Duration::from_secs(10)).jitter(0.5);
        assert_eq!(retry.backoff(1, &error(), 0.0), Some(Duration::from_secs(10)));
        assert_eq!(retry.backoff(1, &error(), 0.5), Some(Duration::from_millis(7500)));
    }

    #[test]
    fn a_fatal_error_a_predicate_that_does_not_hold_and_one_that_panics_end_the_retries() {
        let retry = Retry::exponential().attempts(10);
        assert_eq!(retry.backoff(1, &StepError::fatal("no"), 0.0), None);
        assert_eq!(retry.clone().only_if(|_| false).backoff(1, &error(), 0.0), None);
        assert_eq!(retry.only_if(|_| panic!("predicate")).backoff(1, &error(), 0.0), None);
    }

    #[test]
    fn a_fatal_error_is_retried_only_if_even_if_fatal_holds() {
        let fatal = StepError::fatal("no").with_code("known");
        let retry = Retry::exponential().attempts(2).initial(Duration::ZERO);
        assert_eq!(retry.clone().only_if(|_| true).backoff(1, &fatal, 0.0), None);
        let retry = retry.even_if_fatal(|error| error.code() == "known");
        assert_eq!(retry.backoff(1, &fatal, 0.0), Some(Duration::ZERO));
        assert_eq!(retry.backoff(2, &fatal, 0.0), None, "within the limit");
        assert_eq!(retry.backoff(1, &StepError::fatal("no"), 0.0), None);
        assert_eq!(retry.backoff(1, &error(), 0.0), Some(Duration::ZERO), "the predicate is not called");
        assert_eq!(retry.even_if_fatal(|_| panic!("predicate")).backoff(1, &fatal, 0.0), None);
    }
}
