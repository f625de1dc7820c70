use std::marker::PhantomData;

use super::{YEAR_MS, now_ms, open, prepared};
use crate::{
    Done, Measured, Run, Workload,
    ability::DueEvents,
    clients::{self, Ending},
    read_back,
};

const DUE: u64 = 10;

/// `runnable-events/OTHERS`. An operation lists the events that are due and not processed: ten among so many others, of which
/// one half is processed and the other half is due in a year. Each answer is compared with the ids of the ten, in the order
/// of their times. The others are copies of two stored events, made in the file.
pub struct RunnableEvents<S>(PhantomData<S>);

impl<S: DueEvents> Workload for RunnableEvents<S> {
    const NAME: &'static str = "runnable-events";

    async fn prepare(run: &Run) -> Done {
        let (others, now, place) = (run.number(1)?, now_ms(), run.prepared());
        let store = open::<S>(&place).await?;
        let processed = store.create_event(0, None).await?;
        store.mark_processed(&processed).await?;
        let ahead = store.create_event(0, Some(now + YEAR_MS)).await?;
        store.close().await?;
        drop(store);
        for id in [&processed, &ahead] {
            S::multiply_event(&place, id, others / 2 - 1)?;
        }
        let store = open::<S>(&place).await?;
        let mut ids = Vec::new();
        for number in 1..=DUE {
            let due = now - 1000 + i64::try_from(number)?;
            ids.push(store.create_event(number, Some(due)).await?);
        }
        prepared::note(run, &ids)?;
        store.close().await
    }

    async fn run(run: &Run) -> Done<Measured> {
        let expected = prepared::ids(run)?;
        let store = open::<S>(&run.prepared()).await?;
        let (measured, _) = clients::measure_until(run, Ending::of_reads(run), |mut client| {
            let (store, expected) = (store.clone(), expected.clone());
            async move {
                while client.goes_on() {
                    if client.operation(store.due_events()).await.is_some_and(|found| found != expected) {
                        return Err(read_back::differs("the list of due events"));
                    }
                }
                Ok((client, ()))
            }
        })
        .await?;
        for (number, id) in (1..).zip(&expected) {
            if store.event(id).await? != (number, false) {
                return Err(read_back::differs(id));
            }
        }
        store.close().await?;
        Ok(measured)
    }
}
