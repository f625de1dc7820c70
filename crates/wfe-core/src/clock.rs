//! Where time comes from: injected, so that a test of a thirty-day delay takes milliseconds.

use std::{
    future::Future,
    pin::Pin,
    sync::LazyLock,
    time::{Duration, Instant, SystemTime},
};

use chrono::{DateTime, Utc};

/// The moment from which [`Clock::monotonic`] counts.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The time, and waiting for a time.
///
/// What is due is compared with the wall clock ([`now`](Self::now)), which people and time servers set, forwards and
/// backwards. How long something took, or has stood still, is measured by [`monotonic`](Self::monotonic), so that no
/// such jump makes a living process look dead or stops a poll.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> DateTime<Utc>;

    /// How long it is since some fixed moment of this process; it never goes backwards, whatever becomes of
    /// [`now`](Self::now). By default the operating system's monotonic clock.
    fn monotonic(&self) -> Duration {
        ORIGIN.elapsed()
    }

    /// Resolves once [`monotonic`](Self::monotonic) is later by `pause`. By default tokio's timer.
    ///
    /// Dropping the future forgets the wait and has no other effect.
    fn sleep(&self, pause: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(pause))
    }

    /// Resolves once [`now`](Self::now) is `deadline` or later; at once if it already is.
    ///
    /// Dropping the future forgets the wait and has no other effect.
    fn sleep_until(&self, deadline: DateTime<Utc>) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The operating system's wall clock; waits on tokio's timer.
///
/// A wall clock can be set. A wait therefore looks at it again at least every second
/// ([`LONGEST_NAP`]), so that a clock set forward delays nothing for longer than that.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// How long [`SystemClock`] sleeps without looking at the wall clock: one wake-up a second costs nothing measurable, and
/// no timer is later than this after somebody has set the clock forward.
pub const LONGEST_NAP: Duration = Duration::from_secs(1);

/// What the operating system's wall clock shows, before 1970 too: [`Utc::now`] panics then.
#[expect(clippy::disallowed_methods, reason = "this is the clock that others are given")]
pub(crate) fn system_time() -> DateTime<Utc> {
    SystemTime::now().into()
}

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        system_time()
    }

    fn sleep_until(&self, deadline: DateTime<Utc>) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            // `to_std` fails only for a negative rest: the time has come.
            while let Ok(rest) = (deadline - self.now()).to_std() {
                if rest.is_zero() {
                    break;
                }
                tokio::time::sleep_until((Instant::now() + rest.min(LONGEST_NAP)).into()).await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wait_ends_when_its_time_has_come_and_not_before() {
        let deadline = SystemClock.now() + Duration::from_millis(20);
        SystemClock.sleep_until(deadline).await;
        assert!(SystemClock.now() >= deadline);
        SystemClock.sleep_until(DateTime::<Utc>::MIN_UTC).await;
    }

    #[tokio::test]
    async fn a_pause_ends_when_it_is_over_by_the_monotonic_clock() {
        let (began, pause) = (SystemClock.monotonic(), Duration::from_millis(20));
        SystemClock.sleep(pause).await;
        assert!(SystemClock.monotonic() >= began + pause);
    }
}
