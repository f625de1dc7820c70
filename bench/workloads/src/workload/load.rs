use std::{collections::HashMap, marker::PhantomData};

use super::{check_instances, open, prepared};
use crate::{Done, Measured, Run, Workload, ability::Instances, clients, read_back};

/// `load/POINTERS/cached` and `load/POINTERS/cold`. An operation loads an instance. Cached, the store may keep copies of what
/// it has read; cold, it reads all rows each time, from pages that the operating system has in memory. Each answer must have
/// all pointers, and the last answer for each instance is compared with what a newly opened store reads.
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
        let (measured, last) = clients::measure(run, |mut client| {
            let (store, id) = (store.clone(), ids[client.number % ids.len()].clone());
            async move {
                let mut last = None;
                while client.goes_on() {
                    if let Some(instance) = client.operation(store.load(&id)).await {
                        if S::pointers(&instance) != pointers {
                            return Err(read_back::differs(&id));
                        }
                        last = Some(instance);
                    }
                }
                Ok((client, last))
            }
        })
        .await?;
        // Another store, while the first one still reads for clients that have gone: nothing was written.
        let again = open::<S>(&place.without_copies()).await?;
        let once: HashMap<String, S::Instance> =
            last.into_iter().flatten().map(|last| (S::id(&last).to_owned(), last)).collect();
        check_instances(&again, once.into_values().map(|last| vec![last])).await?;
        drop(store);
        again.close().await?;
        Ok(measured)
    }
}
