//! The source of time. The clock is injected, so that a test of a thirty-day delay takes milliseconds.

use std::{
    future::Future,
    pin::Pin,
    sync::LazyLock,
    time::{Duration, Instant, SystemTime},
};

use chrono::{DateTime, Utc};

/// The moment at which [`Clock::monotonic`] is zero.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A clock returns the current time. It can also wait until a given time, or for a given duration. The engine
/// and the stores read the time only from their clock.
///
/// Due times are compared with the wall clock ([`now`](Self::now)), which people and time servers can set
/// forward and back. Durations are measured with the monotonic clock ([`monotonic`](Self::monotonic)).
/// Otherwise, a change of the wall clock could make a living process look dead, or stop a poll.
pub trait Clock: Send + Sync + 'static {
    /// The current time of the wall clock.
    fn now(&self) -> DateTime<Utc>;

    /// The time since a fixed moment of this process. The time never goes back, even if the wall clock is set
    /// back. The default is the operating system's monotonic clock.
    fn monotonic(&self) -> Duration {
        ORIGIN.elapsed()
    }

    /// Waits until [`monotonic`](Self::monotonic) has advanced by `duration`. The default is tokio's timer.
    ///
    /// Dropping the future ends the wait and has no other effect.
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep(duration))
    }

    /// Waits until [`now`](Self::now) is `deadline` or later. If the deadline has passed, the wait ends at
    /// once.
    ///
    /// Dropping the future ends the wait and has no other effect.
    fn sleep_until(&self, deadline: DateTime<Utc>) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The operating system's wall clock, with tokio's timer for waits.
///
/// Because the wall clock can be set to another time, a wait reads the clock at least once a second
/// ([`LONGEST_NAP`]). If the clock is set forward past the end of a wait, the wait ends within a second.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// The longest time that [`SystemClock`] sleeps without reading the wall clock. One wake-up a second costs
/// nothing measurable. If the wall clock is set forward, timers are late by at most this duration.
pub const LONGEST_NAP: Duration = Duration::from_secs(1);

/// The time of the operating system's wall clock. Unlike [`Utc::now`], this function does not panic if the
/// clock shows a time before 1970.
#[expect(clippy::disallowed_methods, reason = "this is the clock that is injected elsewhere")]
pub(crate) fn system_time() -> DateTime<Utc> {
    SystemTime::now().into()
}

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        system_time()
    }

    fn sleep_until(&self, deadline: DateTime<Utc>) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            // `to_std` fails only for a negative duration, which means that the deadline has passed.
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
    async fn sleep_until_ends_at_its_deadline_and_not_before() {
        let deadline = SystemClock.now() + Duration::from_millis(20);
        SystemClock.sleep_until(deadline).await;
        assert!(SystemClock.now() >= deadline);
        SystemClock.sleep_until(DateTime::<Utc>::MIN_UTC).await;
    }

    #[tokio::test]
    async fn sleep_ends_by_the_monotonic_clock() {
        let (began, duration) = (SystemClock.monotonic(), Duration::from_millis(20));
        SystemClock.sleep(duration).await;
        assert!(SystemClock.monotonic() >= began + duration);
    }
}
