//! Marks an event as processed when no instance needs the event, so that the search for deliverable events stays cheap.

use std::time::Duration;

use futures_util::future::join_all;
use wfe_core::{WfeError, logging};

use crate::engine::state::{shared::Shared, unprocessed::Unprocessed};

/// How many events are marked at once. The store combines these writes into a few transactions.
const AT_ONCE: usize = 256;
/// The pause between two scans of all unprocessed events. The pause limits the cost of the scans: a scan is requested
/// whenever a subscription is closed without an event, which may happen at a high rate. The pause is in real time,
/// because the load that a store can bear does not depend on a virtual clock.
const REST: Duration = Duration::from_millis(500);

/// Sweeps events for ever. While no events change, this task waits.
pub(in crate::engine) async fn run(shared: &Shared) {
    loop {
        let Unprocessed { ids, all } = shared.sweep_list.take().await;
        let mut is_well = finish(shared, &ids.into_iter().collect::<Vec<_>>()).await;
        if all {
            is_well &= sweep(shared).await;
        }
        if !is_well {
            shared.sweep_list.note_all(); // tries again after a pause
        }
        if all || !is_well {
            tokio::time::sleep(REST).await;
        }
    }
}

async fn sweep(shared: &Shared) -> bool {
    let mut after = None;
    loop {
        match shared.store.finish_events(after.as_deref(), AT_ONCE).await {
            Ok(swept) if swept.next.is_none() => return true,
            Ok(swept) => after = swept.next,
            Err(WfeError::Unsupported(_)) => break,
            Err(error) => {
                logging::debug!(%error, "the unprocessed events could not be scanned");
                return false;
            }
        }
    }
    match shared.store.loss.seen(shared.store.provider.get_runnable_events(shared.now()).await) {
        Ok(ids) => finish(shared, &ids).await,
        Err(error) => {
            logging::debug!(%error, "the unprocessed events could not be read");
            false
        }
    }
}

/// Marks each of these events as processed if no subscription needs it. Returns `false` if a call to the store failed.
/// An event that a subscription needs is checked again when the subscription has received the event or is closed.
async fn finish(shared: &Shared, ids: &[String]) -> bool {
    let mut is_well = true;
    for ids in ids.chunks(AT_ONCE) {
        for done in join_all(ids.iter().map(|id| shared.store.finish_event(id))).await {
            match done {
                Ok(_) | Err(WfeError::EventNotFound(_)) => {}
                Err(error) => {
                    logging::debug!(%error, "an event could not be marked as processed");
                    is_well = false;
                }
            }
        }
    }
    is_well
}
