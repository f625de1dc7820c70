//! Stores the outlines of the registered definitions as data, so that operators can see and draw a definition where no host
//! has it.
//!
//! An outline is an event whose id contains a hash of the content, so each content is stored once, by whichever host has it
//! first. The event is stored as processed, under a name that no definition can wait for.

use std::{collections::HashSet, time::Duration};

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use wfe_core::{
    Kind, Result, WfeError,
    definition::AnyDefinition,
    models::Event,
    stable_hash,
    traits::{DEFINITION, OWN_NAMES},
};

use super::state::shared::Shared;
use crate::store::loss::warn_unless_lost;

/// How many outlines are stored at once. The store combines these writes into a few transactions.
const AT_ONCE: usize = 64;
/// The initial and the maximum time after which outlines that could not be stored are stored again. Nothing waits for them.
/// The times are real time, because a virtual clock does not make the store faster.
const INITIAL_BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_mins(10);

/// Stores outlines for ever: those of the definitions that are registered now, and of each that is registered later. Costs
/// nothing in between.
pub(super) async fn run(shared: &Shared) {
    let (mut known, mut backoff) = (HashSet::new(), INITIAL_BACKOFF);
    loop {
        let new = new_ones(shared, &known);
        let mut failed = None;
        for some in new.chunks(AT_ONCE) {
            let stored = join_all(some.iter().map(|definition| store(shared, definition))).await;
            for (definition, stored) in some.iter().zip(stored) {
                match stored {
                    Ok(()) => {
                        known.insert((definition.id().to_owned(), definition.version()));
                    }
                    Err(error) => failed = Some((definition.id(), error)),
                }
            }
        }
        let Some((definition, error)) = failed else {
            backoff = INITIAL_BACKOFF;
            shared.registered.notified().await;
            continue;
        };
        let is_final = matches!(error, WfeError::Unsupported(_));
        if matches!(error, WfeError::Unusable { .. } | WfeError::Closed(_)) {
            return; // the host ends, and logs why
        }
        // A fault that is over a second later concerns nobody, nor does a store that is busy.
        if is_final || (backoff == 2 * INITIAL_BACKOFF && !matches!(error, WfeError::Busy { .. })) {
            warn_unless_lost!(
                shared.store.loss,
                %error,
                wfe.definition.id = definition,
                "the outline of a definition could not be stored; operators do not see the definition where no host has it"
            );
        }
        if is_final {
            return;
        }
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(MAX_BACKOFF);
    }
}

/// The definitions of the program that are registered and not known.
fn new_ones(shared: &Shared, known: &HashSet<(String, u32)>) -> Vec<AnyDefinition> {
    let keys = shared.definitions().into_iter();
    let new = keys.filter(|key| !key.0.starts_with(OWN_NAMES) && !known.contains(key));
    new.filter_map(|(id, version)| shared.definition(&id, version)).collect()
}

/// Stores the outline of a definition, unless it is stored already.
async fn store(shared: &Shared, definition: &AnyDefinition) -> Result<()> {
    let event = event_of(definition, shared.now())?;
    let (provider, loss) = (&shared.store.provider, &shared.store.loss);
    match loss.seen(provider.get_event(&event.id).await) {
        // A row that does not decode has the id, too.
        Ok(_) | Err(WfeError::Corrupt { .. }) => return Ok(()),
        Err(WfeError::EventNotFound(_)) => {}
        Err(error) => return Err(error),
    }
    match loss.seen(provider.create_event_now(&event).await) {
        Ok(_) | Err(WfeError::AlreadyExists { kind: Kind::Event, .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn event_of(definition: &AnyDefinition, now: DateTime<Utc>) -> Result<Event> {
    let outline = definition.outline();
    let hash = stable_hash(serde_json::to_string(&outline)?.bytes());
    let id = format!("{DEFINITION}:{}:{}:{hash:016x}", outline.id, outline.version);
    Ok(Event {
        id,
        event_name: DEFINITION.to_owned(),
        event_key: outline.id.clone(),
        event_data: serde_json::to_value(&outline)?,
        event_time: now,
        is_processed: true,
    })
}
