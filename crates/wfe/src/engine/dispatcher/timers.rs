use std::collections::BTreeSet;

use wfe_core::logging;

/// A queue of due times, in milliseconds since the Unix epoch. The queue has one entry for each due time, not one for
/// each instance, because all due instances are claimed together.
#[derive(Debug)]
pub(crate) struct Timers {
    due: BTreeSet<i64>,
    /// Due times after this time are in the store, but not in this queue. `None` means that the queue holds all due
    /// times.
    horizon: Option<i64>,
    /// Instances are claimed this long before they are due. A due time is announced when half of this duration is left,
    /// so that instances with similar due times are claimed together.
    ahead: i64,
    /// All due times up to this time were announced.
    announced: i64,
    /// All instances that are due up to this time were claimed ahead, so nothing has to be done when they become due.
    claimed: i64,
}

/// The actions that are due now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    /// The queue has a time that is due soon and that was not announced yet.
    pub soon: bool,
    /// A time is due now, and some of the instances that are due at this time were not claimed ahead.
    pub now: bool,
    /// More times must be read from the store.
    pub refill: bool,
}

impl Timers {
    /// Creates a queue for instances that are claimed `ahead` milliseconds before they are due. Zero means that
    /// instances are claimed when they are due.
    pub fn new(ahead: i64) -> Self {
        Self { due: BTreeSet::new(), horizon: None, ahead, announced: i64::MIN, claimed: i64::MIN }
    }

    /// Adds a due time that no claim has covered yet.
    pub fn add(&mut self, at: i64) {
        if self.horizon.is_none_or(|horizon| at <= horizon) {
            self.announced = self.announced.min(at.saturating_sub(1));
            self.insert(at);
        }
    }

    /// Adds a due time whose instances the claim ahead may have left out for lack of capacity. If the time was
    /// announced before, it is not announced again before it is due.
    pub fn add_left(&mut self, at: i64) {
        if self.horizon.is_none_or(|horizon| at <= horizon) {
            self.insert(at);
        }
    }

    fn insert(&mut self, at: i64) {
        self.due.insert(at);
        self.claimed = self.claimed.min(at.saturating_sub(1));
    }

    /// Records that all instances that are due up to this time were claimed.
    pub fn claimed(&mut self, until: i64) {
        self.claimed = self.claimed.max(until);
    }

    /// Adds the next due times from the store, earliest first. This is called after the instances that are due soon
    /// were claimed. If `more` is set, the store may have further, later times.
    pub fn refill(&mut self, times: impl IntoIterator<Item = i64>, more: bool) {
        let before = self.due.len();
        let mut horizon = None;
        for at in times {
            // The horizon is the last time that was read, not the last time in the queue: times that were added before
            // may be later than unread times.
            horizon = horizon.max(Some(at));
            self.insert(at);
        }
        self.horizon = horizon.filter(|_| more);
        logging::trace!(before, now = self.due.len(), "timers read from the store");
    }

    /// The next time at which [`take_due`](Self::take_due) has something to do.
    pub fn next(&self) -> Option<i64> {
        let soon = self.due.range(self.announced.saturating_add(1)..).next().copied();
        let soon = soon.into_iter().chain(self.horizon.filter(|horizon| *horizon > self.announced));
        soon.map(|at| at.saturating_sub(self.ahead / 2)).chain(self.upcoming()).min()
    }

    /// The next due time.
    pub fn upcoming(&self) -> Option<i64> {
        self.due.first().copied().into_iter().chain(self.horizon).min()
    }

    /// Removes the times that are due at `now`, and announces the times that are due soon.
    pub fn take_due(&mut self, now: i64) -> Due {
        let later = self.due.split_off(&now.saturating_add(1));
        let due = std::mem::replace(&mut self.due, later);
        let soon = now.saturating_add(self.ahead / 2);
        let is_new = |at: &i64| *at > self.announced && *at <= soon;
        let refill = self.horizon.is_some_and(|at| at <= now || is_new(&at));
        let soon = self.due.range(..=soon).next_back().is_some_and(is_new);
        if soon || refill {
            self.announced = self.announced.max(now.saturating_add(self.ahead));
        }
        Due { soon, now: due.last().is_some_and(|at| *at > self.claimed), refill }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Due = Due { soon: false, now: false, refill: false };
    const NOW: Due = Due { soon: false, now: true, refill: false };
    const SOON: Due = Due { soon: true, now: false, refill: false };
    const REFILL: Due = Due { soon: false, now: true, refill: true };

    #[test]
    fn due_times_come_together_and_later_ones_stay() {
        let mut timers = Timers::new(0);
        for at in [30, 10, 20, 10] {
            timers.add(at);
        }
        assert_eq!(timers.next(), Some(10));
        assert_eq!(timers.take_due(9), NOTHING);
        assert_eq!(timers.take_due(20), NOW);
        assert_eq!(timers.next(), Some(30));
    }

    #[test]
    fn times_beyond_the_horizon_are_left_to_the_store_which_is_read_again_in_time() {
        let mut timers = Timers::new(0);
        timers.refill([10, 20], true);
        timers.add(25);
        timers.add(15);
        assert_eq!(timers.take_due(15), NOW);
        assert_eq!(timers.next(), Some(20));
        assert_eq!(timers.take_due(20), REFILL);
        timers.refill([25], false);
        assert_eq!(timers.next(), Some(25));
    }

    #[test]
    fn a_time_known_before_does_not_hide_the_store_s_times_in_front_of_it() {
        let mut timers = Timers::new(0);
        timers.add(100);
        timers.refill([10, 20], true);
        assert_eq!(timers.take_due(20), REFILL, "there may be more between 20 and 100");
    }

    #[test]
    fn a_time_is_announced_ahead_and_once_more_when_it_comes_unless_all_was_claimed() {
        let mut timers = Timers::new(100);
        timers.add(1_000);
        timers.add(1_040);
        timers.add(2_000);
        assert_eq!(timers.next(), Some(950));
        assert_eq!(timers.take_due(949), NOTHING);
        assert_eq!(timers.take_due(950), SOON);
        assert_eq!(timers.next(), Some(1_000), "those close by are claimed with it");
        assert_eq!(timers.take_due(1_000), NOW, "not all was claimed");
        timers.claimed(1_050);
        assert_eq!(timers.take_due(1_040), NOTHING);
        assert_eq!(timers.next(), Some(1_950));
        assert_eq!(timers.take_due(1_950), SOON);
        timers.claimed(2_050);
        timers.add(1_980);
        assert_eq!(timers.next(), Some(1_930), "it came after all up to then were claimed: at once");
        assert_eq!(timers.take_due(1_951), SOON);
    }

    #[test]
    fn a_time_that_was_left_when_it_was_announced_is_announced_again_only_when_it_comes() {
        let mut timers = Timers::new(100);
        timers.add(1_000);
        assert_eq!(timers.take_due(950), SOON);
        timers.add_left(1_000);
        assert_eq!(timers.next(), Some(1_000));
        timers.claimed(1_050);
        timers.add_left(1_000);
        assert_eq!(timers.take_due(1_000), NOW);
    }

    #[test]
    fn a_horizon_that_was_announced_is_announced_again_only_when_it_comes() {
        let mut timers = Timers::new(100);
        timers.refill([1_000], true);
        assert_eq!(timers.next(), Some(950));
        assert_eq!(timers.take_due(950), Due { soon: true, now: false, refill: true });
        timers.refill([1_000], true); // there was no capacity for it
        assert_eq!(timers.next(), Some(1_000));
        assert_eq!(timers.take_due(1_000), REFILL);
    }
}
