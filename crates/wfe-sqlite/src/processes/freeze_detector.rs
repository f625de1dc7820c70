//! Which owners are frozen: alive, but without a sign of life for their lease.
//!
//! Signs of life are what an owner stores (any claim, commit or release of its instances) and its heartbeats. They
//! are compared from look to look, by the observer's monotonic clock alone: no clock of the other process, and no wall
//! clock, has a say.

use std::{collections::HashMap, time::Duration};

use crate::options::LEASE;

/// What an owner has, as sums over its instances: of their row numbers, which are never used twice, and of what every
/// claim and commit raises. Two looks find the same only where nothing has happened, or by an accident that no workload
/// repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) owner: u64,
    pub(crate) rows: i64,
    pub(crate) fences: i64,
    pub(crate) revisions: i64,
}

/// What an owner's heartbeats say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sign {
    /// Its own lease, whatever the observer's is.
    pub(crate) lease: Duration,
    /// Grows with every heartbeat.
    pub(crate) beat: u64,
}

/// Looks in a lease: an owner is found frozen at most one of them late.
const LOOKS: u32 = 16;
/// The time between two looks counts as at most this part of a lease. An observer that was frozen itself, with all
/// others perhaps, has not seen anybody stand still meanwhile.
const COUNTED: u32 = 4;

/// What was seen at the last look.
pub(crate) struct Observer {
    every: Duration,
    looked: Option<Duration>,
    seen: HashMap<u64, Seen>,
}

struct Seen {
    progress: Progress,
    sign: Sign,
    stood_still: Duration,
}

impl Observer {
    /// An observer that looks often enough for its own lease, and for the default one: that its own lease is longer must
    /// not keep it from finding others that are frozen.
    pub(crate) fn new(lease: Duration) -> Self {
        Self { every: lease.min(LEASE) / LOOKS, looked: None, seen: HashMap::new() }
    }

    /// Whether it is time to look again.
    pub(crate) fn is_due(&self, now: Duration) -> bool {
        self.looked.is_none_or(|looked| now.saturating_sub(looked) >= self.every)
    }

    /// Looks at all owners that have something and live; gives those that are frozen.
    pub(crate) fn look(&mut self, now: Duration, owners: Vec<(Progress, Sign)>) -> Vec<Progress> {
        let passed = now.saturating_sub(self.looked.unwrap_or(now));
        let mut before = std::mem::take(&mut self.seen);
        self.looked = Some(now);
        let mut frozen = Vec::new();
        for (progress, sign) in owners {
            let stood_still = match before.remove(&progress.owner) {
                Some(seen) if seen.progress == progress && seen.sign == sign => {
                    seen.stood_still + passed.min(sign.lease / COUNTED)
                }
                _ => Duration::ZERO,
            };
            if stood_still >= sign.lease {
                frozen.push(progress);
            }
            self.seen.insert(progress.owner, Seen { progress, sign, stood_still });
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
    fn an_owner_that_stands_still_for_its_lease_is_frozen_and_not_before() {
        let mut observer = Observer::new(LEASE);
        assert!(observer.is_due(Duration::ZERO));
        for second in 0..16 {
            assert!(observer.look(second * SECOND, owner(1, 0)).is_empty(), "{second}");
            assert!(!observer.is_due(second * SECOND));
        }
        assert!(observer.is_due(16 * SECOND));
        assert_eq!(observer.look(16 * SECOND, owner(1, 0)).len(), 1);
    }

    #[test]
    fn a_commit_and_a_heartbeat_are_signs_of_life() {
        let mut observer = Observer::new(LEASE);
        for second in 0..100_u32 {
            let (commits, beats) = (second / 15, u64::from((second + 7) / 15));
            let one = if second < 50 { owner(commits.into(), 0) } else { owner(9, beats) };
            assert!(observer.look(second * SECOND, one).is_empty(), "{second}");
        }
    }

    #[test]
    fn an_observer_that_was_frozen_itself_accuses_nobody() {
        let mut observer = Observer::new(LEASE);
        observer.look(SECOND, owner(1, 0));
        assert!(observer.look(1_000 * SECOND, owner(1, 0)).is_empty());
        for second in 1_001..1_012 {
            assert!(observer.look(second * SECOND, owner(1, 0)).is_empty(), "{second}");
        }
        assert_eq!(observer.look(1_012 * SECOND, owner(1, 0)).len(), 1, "4 s counted before, 12 s since");
    }

    #[test]
    fn an_observer_whose_own_lease_is_for_ever_finds_others_that_are_frozen() {
        let mut observer = Observer::new(Duration::MAX);
        let looks = (0..40).filter(|second| {
            let is_due = observer.is_due(*second * SECOND);
            is_due && !observer.look(*second * SECOND, owner(1, 0)).is_empty()
        });
        assert!(looks.count() > 0);
    }

    #[test]
    fn an_owner_keeps_the_lease_that_it_announced() {
        let mut observer = Observer::new(LEASE / 8);
        for second in 0..16 {
            assert!(observer.look(second * SECOND, owner(1, 0)).is_empty(), "{second}");
        }
    }
}
