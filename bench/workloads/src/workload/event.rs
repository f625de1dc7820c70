use std::{marker::PhantomData, sync::Arc};

use super::{open, reopen};
use crate::{Done, Measured, Place, Run, Workload, ability::Events, clients, read_back};

/// `event`. An operation stores an event, reads it, and marks it as processed: three calls. Each event is read back: its data,
/// and whether it is processed.
pub struct Event<S>(PhantomData<S>);

impl<S: Events> Workload for Event<S> {
    const NAME: &'static str = "event";

    async fn run(run: &Run) -> Done<Measured> {
        let folder = run.scratch()?;
        let place = Place::file(folder.path().join("run.db"));
        let store = open::<S>(&place).await?;
        let (measured, stored) = clients::measure(run, |mut client| {
            let store = store.clone();
            async move {
                let mut stored = Vec::new();
                while client.goes_on() {
                    let number = client.numbered(stored.len());
                    let processed = client.operation(async {
                        let id = store.create_event(number, None).await?;
                        let found = store.event(&id).await?;
                        store.mark_processed(&id).await?;
                        if found == (number, false) { Ok(id) } else { Err(read_back::differs(id)) }
                    });
                    stored.extend(processed.await.map(|id| (id, number)));
                }
                Ok((client, stored))
            }
        })
        .await?;
        let store = reopen(store, &place).await?;
        let stored = stored.into_iter().flatten();
        read_back::each(&store, stored, |store: Arc<S>, (id, number): (String, u64)| async move {
            let found = store.event(&id).await?;
            if found == (number, true) { Ok(()) } else { Err(read_back::differs(id)) }
        })
        .await?;
        store.close().await?;
        Ok(measured)
    }
}
