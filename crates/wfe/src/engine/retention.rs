//! Removes what the host's retention policy no longer keeps.
//!
//! Of all hosts with a policy, only the one with the lowest owner id removes anything: its card says that it has one. After
//! each batch this host rests for nine times as long as the batch took, so that a store with much to remove is at most a tenth
//! busy with it. A store that is busy with other work ends the run; the next one continues.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use wfe_core::{
    Result, WfeError, logging,
    traits::{Management, PurgeReport},
};

use super::state::shared::Shared;

/// The shortest rest after a batch. The rest is in real time, because the load that a store can bear does not depend on a
/// virtual clock.
const REST: Duration = Duration::from_millis(20);
/// How much longer than the batch the rest is.
const RESTS: u32 = 9;

/// Applies the policy again and again. The first run comes one interval after the start of the host.
pub(super) async fn run(shared: &Shared, management: Arc<dyn Management>) {
    let clock = &shared.options.clock;
    loop {
        clock.sleep(shared.options.retention.interval()).await;
        if !is_chosen(shared).await {
            continue;
        }
        let mut removed = PurgeReport::default();
        let ended = apply(shared, &*management, &mut removed).await;
        let PurgeReport { instances, events, rows, .. } = removed;
        match ended {
            Ok(()) if rows == 0 => {}
            Ok(()) => logging::info!(
                instances,
                events,
                rows,
                "the retention policy removed what it no longer keeps"
            ),
            // What was removed stays removed, and the next run continues.
            Err(WfeError::Busy { .. }) => {
                logging::info!(
                    instances,
                    events,
                    rows,
                    "the store is busy; the retention policy continues later"
                );
            }
            Err(error) => {
                logging::warn!(%error, instances, events, rows, "the retention policy could not be applied; it is tried again later");
            }
        }
    }
}

/// Whether this host is the one that removes. If the store does not list hosts, it is: two that remove at once do no harm.
async fn is_chosen(shared: &Shared) -> bool {
    let Some(own) = shared.owner().map(|owner| owner.id()) else { return false };
    match shared.store.hosts(Duration::ZERO).await {
        Ok(hosts) => !hosts.iter().any(|host| {
            host.owner < own
                && host.is_alive != Some(false)
                && host.card.as_ref().is_some_and(|card| card.has_retention)
        }),
        Err(error) => {
            logging::debug!(%error, "the hosts could not be listed");
            false
        }
    }
}

async fn apply(shared: &Shared, management: &dyn Management, removed: &mut PurgeReport) -> Result<()> {
    let (policy, now) = (&shared.options.retention, shared.now());
    for filter in policy.filters(now) {
        loop {
            let began = Instant::now();
            let report = shared.store.loss.seen(management.purge(&filter, 0).await)?;
            if add(removed, report, began).await {
                break;
            }
        }
    }
    if let Some(before) = policy.events_before(now) {
        loop {
            let began = Instant::now();
            let report = shared.store.loss.seen(management.purge_events(before, 0).await)?;
            if add(removed, report, began).await {
                break;
            }
        }
    }
    Ok(())
}

/// Counts what a batch has removed, and rests. Returns whether it was the last one.
async fn add(removed: &mut PurgeReport, batch: PurgeReport, began: Instant) -> bool {
    removed.instances += batch.instances;
    removed.events += batch.events;
    removed.rows += batch.rows;
    if batch.rows > 0 || batch.more {
        tokio::time::sleep((began.elapsed() * RESTS).max(REST)).await;
    }
    !batch.more
}
