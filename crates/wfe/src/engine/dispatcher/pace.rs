//! How often it is looked for instances of definitions that are not registered here.

use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

/// A look lists all that is due, also what other hosts work on: the pause after it is so many times as long as it took. So
/// however much that is, it takes a thousandth of a core.
const PAUSE_FOR_LOOK: u32 = 1000;
/// Without news that anything was stored there is a look this often, since a crash can swallow news.
const WITHOUT_NEWS: Duration = Duration::from_mins(1);

/// When to look for them again. Real time: it is about what a look costs.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the last look ended, and how long it took; `None`: there was none.
    pub(super) last: Option<(Instant, Duration)>,
    /// Something was stored since the last look began.
    pub(super) news: bool,
    /// How many due instances earlier looks have read.
    pub(super) read: usize,
    /// The look that is under way, and when it began.
    pub(super) look: Option<(Instant, JoinHandle<usize>)>,
}

impl Pace {
    /// A look is under way. The host is not idle before it has ended.
    pub fn is_looking(&self) -> bool {
        self.look.is_some()
    }

    /// Until the look that is under way has ended.
    pub async fn look_ends(&mut self) {
        if let Some((began, look)) = &mut self.look {
            let (began, read) = (*began, look.await);
            self.look = None;
            // An error: it panicked; the next one begins at the same place.
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
