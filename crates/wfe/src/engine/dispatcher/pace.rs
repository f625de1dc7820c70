//! Decides how often the host scans for instances whose definitions are not registered here.

use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

/// The pause after a scan, as a multiple of the scan's duration. A scan lists all due instances, including those that
/// other hosts work on. With this pause, scans use at most a thousandth of a core, however many instances are due.
const PAUSE_FOR_LOOK: u32 = 1000;
/// The pause between scans while no write is reported. The pause is finite, because a crash can lose the report of a
/// write.
const WITHOUT_NEWS: Duration = Duration::from_mins(1);

/// When to scan again for instances whose definitions are not registered here. The pace is in real time, because it
/// bounds the cost of a scan.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the last scan ended, and how long it took. `None` means that no scan has ended yet.
    pub(super) last: Option<(Instant, Duration)>,
    /// Whether something was stored since the last scan began.
    pub(super) news: bool,
    /// How many due instances earlier scans have read.
    pub(super) read: usize,
    /// The scan that is in progress, and when it began.
    pub(super) look: Option<(Instant, JoinHandle<usize>)>,
}

impl Pace {
    /// Whether a scan is in progress. The host does not count as idle before the scan has ended.
    pub fn is_looking(&self) -> bool {
        self.look.is_some()
    }

    /// Waits until the scan that is in progress has ended.
    pub async fn look_ends(&mut self) {
        if let Some((began, look)) = &mut self.look {
            let (began, read) = (*began, look.await);
            self.look = None;
            // An error means that the scan panicked; the next scan begins at the same position.
            self.read = read.unwrap_or(self.read);
            self.looked(began, Instant::now());
        }
    }

    pub(super) fn is_time(&self, now: Instant) -> bool {
        if self.is_looking() {
            return false;
        }
        let Some((end, took)) = self.last else { return true };
        let pause = took.saturating_mul(PAUSE_FOR_LOOK);
        let pause = if self.news { pause } else { pause.max(WITHOUT_NEWS) };
        now.saturating_duration_since(end) >= pause
    }

    pub(super) fn looked(&mut self, began: Instant, ended: Instant) {
        self.last = Some((ended, ended.saturating_duration_since(began)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_with_what_a_look_costs_and_without_news_it_is_long() {
        let start = Instant::now();
        let mut pace = Pace::default();
        assert!(pace.is_time(start), "the first one, when the host starts");
        let end = start + Duration::from_millis(20);
        pace.looked(start, end);
        pace.news = true;
        assert!(!pace.is_time(end + Duration::from_millis(19_999)));
        assert!(pace.is_time(end + Duration::from_secs(20)));
        pace.news = false;
        assert!(!pace.is_time(end + Duration::from_secs(59)));
        assert!(pace.is_time(end + Duration::from_mins(1)));
        let late = end + Duration::from_mins(9);
        pace.looked(late, late + Duration::from_secs(1));
        assert!(!pace.is_time(late + Duration::from_mins(16)), "also without news");
    }
}
