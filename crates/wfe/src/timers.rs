use std::collections::BTreeSet;

/// When something becomes due, in milliseconds. One entry for each time, not for each instance: what is due is claimed
/// together.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeSet<i64>,
    /// Times after this one are known to the store only; `None`: all are here.
    horizon: Option<i64>,
}

impl Timers {
    /// Something becomes due at `at`.
    pub fn add(&mut self, at: i64) {
        if self.horizon.is_none_or(|horizon| at <= horizon) {
            self.due.insert(at);
        }
    }

    /// The store's next times, earliest first; with `more`, it may have later ones.
    pub fn refill(&mut self, times: impl IntoIterator<Item = i64>, more: bool) {
        let before = self.due.len();
        let mut horizon = None;
        for at in times {
            // Not the last time of all: those that were known before may lie behind unread ones.
            horizon = horizon.max(Some(at));
            self.due.insert(at);
        }
        self.horizon = horizon.filter(|_| more);
        tracing::trace!(before, now = self.due.len(), "timers read from the store");
    }

    /// When to look next.
    pub fn next(&self) -> Option<i64> {
        self.due.first().copied().into_iter().chain(self.horizon).min()
    }

    /// Forgets what is due at `now`; gives whether something was, and whether the store has to be asked for more.
    pub fn take_due(&mut self, now: i64) -> (bool, bool) {
        let later = self.due.split_off(&now.saturating_add(1));
        let due = std::mem::replace(&mut self.due, later);
        (!due.is_empty(), self.horizon.is_some_and(|horizon| horizon <= now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_times_are_taken_together_and_later_ones_stay() {
        let mut timers = Timers::default();
        for at in [30, 10, 20, 10] {
            timers.add(at);
        }
        assert_eq!(timers.next(), Some(10));
        assert_eq!(timers.take_due(9), (false, false));
        assert_eq!(timers.take_due(20), (true, false));
        assert_eq!(timers.next(), Some(30));
    }

    #[test]
    fn times_beyond_the_horizon_are_left_to_the_store_which_is_asked_again_in_time() {
        let mut timers = Timers::default();
        timers.refill([10, 20], true);
        timers.add(25);
        timers.add(15);
        assert_eq!(timers.take_due(15), (true, false));
        assert_eq!(timers.next(), Some(20));
        assert_eq!(timers.take_due(20), (true, true));
        timers.refill([25], false);
        assert_eq!(timers.next(), Some(25));
    }

    #[test]
    fn a_time_known_before_does_not_hide_the_store_s_times_in_front_of_it() {
        let mut timers = Timers::default();
        timers.add(100);
        timers.refill([10, 20], true);
        assert_eq!(timers.take_due(20), (true, true), "there may be more between 20 and 100");
    }
}
