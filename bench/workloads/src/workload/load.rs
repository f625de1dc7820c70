use std::marker::PhantomData;

use super::{check_instances, open, prepared};
use crate::{
    Done, Measured, Run, Workload,
    ability::Instances,
    clients::{self, Ending},
    read_back,
};

/// `load/POINTERS/cached` and `load/POINTERS/cold`. An operation loads an instance. Cached, the store may keep copies of what
/// it has read, and each instance was loaded before the run; cold, it reads all rows each time, from pages that the operating
/// system has in memory. Large instances are fewer than the clients, which then load the same ones. Each answer must have all
/// pointers, and the last answer for each instance is compared with what a newly opened store reads.
pub struct Load<S>(PhantomData<S>);

impl<S: Instances> Workload for Load<S> {
    const NAME: &'static str = "load";

    async fn prepare(run: &Run) -> Done {
        prepared::instances::<S>(run, run.number(1)?).await
    }

    async fn run(run: &Run) -> Done<Measured> {
        let (pointers, place) = (run.number(1)?, run.prepared());
        let is_cached = match run.parameter(2)? {
            "cached" => true,
            "cold" => false,
            other => return Err(format!("load: {other:?} is neither cached nor cold").into()),
        };
        let ids = prepared::ids(run)?;
        let store =
            open::<S>(&if is_cached { place.clone() } else { place.clone().without_copies() }).await?;
        for id in ids.iter().take(if is_cached { run.clients } else { 0 }) {
            store.load(id).await?;
        }
        let (measured, last) = clients::measure_until(run, Ending::of_reads(run), |mut client| {
            let (store, ids) = (store.clone(), ids.clone());
            async move {
                let (id, mut last) = (&ids[client.number % ids.len()], None);
                while client.goes_on() {
                    if let Some(instance) = client.operation(store.load(id)).await {
                        if S::pointers(&instance) != pointers {
                            return Err(read_back::differs(id));
                        }
                        // One client for each instance: many large answers would fill the memory.
                        last = (client.number < ids.len()).then_some(instance);
                    }
                }
                Ok((client, last))
            }
        })
        .await?;
        // Another store, while the first one still reads for clients that have gone. To close that one would take longer than
        // the run. Nothing was written, and the process ends soon.
        let again = open::<S>(&place.without_copies()).await?;
        check_instances(&again, last.into_iter().flatten().map(|last| vec![last])).await?;
        std::mem::forget(store);
        again.close().await?;
        Ok(measured)
    }
}
