//! Marks events as processed that no instance needs, so that looking for deliverable ones stays cheap.

use std::time::Duration;

use futures_util::future::join_all;
use wfe_core::{WfeError, logging};

use crate::engine::state::{shared::Shared, unprocessed::Unprocessed};

/// Events marked at once: the store joins their writes in few transactions.
const AT_ONCE: usize = 256;
/// Between two looks through all unprocessed events. Waits that are closed without their event can come without pause.
/// Real time: how much a store can bear does not depend on a virtual clock.
const REST: Duration = Duration::from_millis(500);

/// Does so for ever; while nothing happens to events, it rests.
pub(in crate::engine) async fn run(shared: &Shared) {
    loop {
        let Unprocessed { ids, all } = shared.sweep_list.take().await;
        let mut is_well = finish(shared, &ids.into_iter().collect::<Vec<_>>()).await;
        if all {
            is_well &= sweep(shared).await;
        }
        if !is_well {
            shared.sweep_list.note_all(); // in a while, once more
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
                logging::debug!(%error, "the unprocessed events could not be looked through");
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

/// Whether the store has answered for each event whether a subscription needs it. One that is needed is looked at again
/// when that subscription has taken it, or is closed.
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
