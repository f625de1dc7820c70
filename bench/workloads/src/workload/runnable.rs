use std::marker::PhantomData;

use super::{open, prepared};
use crate::{
    Done, Measured, Run, Workload,
    ability::DueInstances,
    clients::{self, Ending},
    read_back,
};

const DUE: usize = 10;

/// `runnable/OTHERS`. An operation lists the instances that are due: ten among so many others for which nothing is scheduled.
/// Each answer is compared with the ids of the ten, in the order of their due times. The others are copies of one stored
/// instance, made in the file; a newly opened store counts them.
pub struct Runnable<S>(PhantomData<S>);

impl<S: DueInstances> Workload for Runnable<S> {
    const NAME: &'static str = "runnable";

    async fn prepare(run: &Run) -> Done {
        prepared::due_among::<S>(run, DUE, run.number(1)?).await
    }

    async fn run(run: &Run) -> Done<Measured> {
        let expected = prepared::ids(run)?;
        let store = open::<S>(&run.prepared()).await?;
        let (measured, _) = clients::measure_until(run, Ending::of_reads(run), |mut client| {
            let (store, expected) = (store.clone(), expected.clone());
            async move {
                while client.goes_on() {
                    if client.operation(store.due()).await.is_some_and(|found| found != expected) {
                        return Err(read_back::differs("the list of due instances"));
                    }
                }
                Ok((client, ()))
            }
        })
        .await?;
        store.close().await?;
        Ok(measured)
    }
}
