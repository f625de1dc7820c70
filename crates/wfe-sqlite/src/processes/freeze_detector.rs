//! Finds frozen owners. An owner is frozen if its process is alive, but the owner has shown no sign of life for the
//! length of its lease.
//!
//! The signs of life of an owner are its writes (any claim, commit or release of its instances) and its heartbeats. An
//! observer compares the signs of each observation with those of the previous observation. The observer measures time
//! only with its own monotonic clock, so the clocks of other processes and the wall clock do not matter.

use std::{collections::HashMap, time::Duration};

use crate::options::LEASE;

/// The progress of an owner, as three sums over its instances. One is the sum of their row numbers, and no row number
/// is used twice. The others are the sum of their fencing tokens and the sum of their revisions, which grow with claims
/// and commits. Two observations are equal only if nothing has happened, or by a coincidence that no workload repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) owner: u64,
    pub(crate) rows: i64,
    pub(crate) fences: i64,
    pub(crate) revisions: i64,
}

/// The sign of life in an owner's lock file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sign {
    /// The owner's own lease, which may differ from the observer's.
    pub(crate) lease: Duration,
    /// A number that grows with every heartbeat.
    pub(crate) beat: u64,
}

/// The number of observations in one lease. A frozen owner is found when its lease has expired, or later by at most the
/// interval between two observations.
const OBSERVATIONS: u32 = 16;
/// Of the time between two observations, at most the lease divided by this number is counted. The observer itself may
/// have been frozen, perhaps together with all other processes, and the time of that freeze says nothing about the
/// other owners.
const COUNTED: u32 = 4;

/// Finds frozen owners. Keeps the last observation, to compare it with the next one.
pub(crate) struct Observer {
    every: Duration,
    observed: Option<Duration>,
    last: HashMap<u64, Observed>,
}

struct Observed {
    progress: Progress,
    sign: Sign,
    unchanged_for: Duration,
}

impl Observer {
    /// Creates an observer. The interval between its observations is derived from its own lease or from the default
    /// lease, whichever is shorter. An observer that has a long lease must still find frozen owners that have a shorter
    /// lease.
    pub(crate) fn new(lease: Duration) -> Self {
        Self { every: lease.min(LEASE) / OBSERVATIONS, observed: None, last: HashMap::new() }
    }

    /// Whether the next observation is due.
    pub(crate) fn is_due(&self, now: Duration) -> bool {
        self.observed.is_none_or(|observed| now.saturating_sub(observed) >= self.every)
    }

    /// Observes all living owners that own instances, and returns the progress of the frozen owners.
    pub(crate) fn find_frozen(&mut self, now: Duration, owners: Vec<(Progress, Sign)>) -> Vec<Progress> {
        let passed = now.saturating_sub(self.observed.unwrap_or(now));
        let mut before = std::mem::take(&mut self.last);
        self.observed = Some(now);
        let mut frozen = Vec::new();
        for (progress, sign) in owners {
            let unchanged_for = match before.remove(&progress.owner) {
                Some(last) if last.progress == progress && last.sign == sign => {
                    last.unchanged_for + passed.min(sign.lease / COUNTED)
                }
                _ => Duration::ZERO,
            };
            if unchanged_for >= sign.lease {
                frozen.push(progress);
            }
            self.last.insert(progress.owner, Observed { progress, sign, unchanged_for });
        }
        frozen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(16);
    const SECOND: Duration = Duration::from_secs(1);

    fn owner(revisions: i64, beat: u64) -> Vec<(Progress, Sign)> {
        vec![(Progress { owner: 7, rows: 1, fences: 1, revisions }, Sign { lease: LEASE, beat })]
    }

    #[test]
    fn an_owner_without_progress_for_its_lease_is_frozen_and_not_before() {
        let mut observer = Observer::new(LEASE);
        assert!(observer.is_due(Duration::ZERO));
        for second in 0..16 {
            assert!(observer.find_frozen(second * SECOND, owner(1, 0)).is_empty(), "{second}");
            assert!(!observer.is_due(second * SECOND));
        }
        assert!(observer.is_due(16 * SECOND));
        assert_eq!(observer.find_frozen(16 * SECOND, owner(1, 0)).len(), 1);
    }

    #[test]
    fn a_commit_and_a_heartbeat_are_signs_of_life() {
        let mut observer = Observer::new(LEASE);
        for second in 0..100_u32 {
            let (commits, beats) = (second / 15, u64::from((second + 7) / 15));
            let one = if second < 50 { owner(commits.into(), 0) } else { owner(9, beats) };
            assert!(observer.find_frozen(second * SECOND, one).is_empty(), "{second}");
        }
    }

    #[test]
    fn an_observer_that_was_frozen_itself_finds_no_owner_frozen() {
        let mut observer = Observer::new(LEASE);
        observer.find_frozen(SECOND, owner(1, 0));
        assert!(observer.find_frozen(1_000 * SECOND, owner(1, 0)).is_empty());
        for second in 1_001..1_012 {
            assert!(observer.find_frozen(second * SECOND, owner(1, 0)).is_empty(), "{second}");
        }
        assert_eq!(
            observer.find_frozen(1_012 * SECOND, owner(1, 0)).len(),
            1,
            "4 s counted before, 12 s since"
        );
    }

    #[test]
    fn an_observer_whose_own_lease_is_for_ever_finds_others_that_are_frozen() {
        let mut observer = Observer::new(Duration::MAX);
        let looks = (0..40).filter(|second| {
            let is_due = observer.is_due(*second * SECOND);
            is_due && !observer.find_frozen(*second * SECOND, owner(1, 0)).is_empty()
        });
        assert!(looks.count() > 0);
    }

    #[test]
    fn an_owner_keeps_the_lease_that_it_announced() {
        let mut observer = Observer::new(LEASE / 8);
        for second in 0..16 {
            assert!(observer.find_frozen(second * SECOND, owner(1, 0)).is_empty(), "{second}");
        }
    }
}
