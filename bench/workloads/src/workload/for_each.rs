use std::{
    marker::PhantomData,
    time::{Duration, Instant},
};

use super::{open, reopen};
use crate::{Done, Measured, Place, Range, Run, Workload, ability::Items, read_back};

const ITEMS: u32 = 10_000;
const WARM_UP: u64 = 1_000;

/// `for-each`. A workflow runs an empty step for each of 10 000 items, 32 at once. An operation is one item. Workflows run
/// one after the other until the time is over; the times are their means for one item, so the slowest is that of the slowest
/// workflow. The results of all items are read back.
pub struct ForEach<S>(PhantomData<S>);

impl<S: Items> Workload for ForEach<S> {
    const NAME: &'static str = "for-each";

    async fn run(run: &Run) -> Done<Measured> {
        let folder = run.scratch()?;
        let place = Place::file(folder.path().join("run.db"));
        let host = open::<S>(&place).await?;
        host.for_each(WARM_UP).await?;
        let (range, began) = (Range::begin(), Instant::now());
        let (mut times, mut workflows) = (Vec::new(), Vec::new());
        while times.is_empty() || began.elapsed() < run.measured() {
            let began = Instant::now();
            workflows.push(host.for_each(u64::from(ITEMS)).await?);
            times.push(Duration::from_secs_f64(began.elapsed().as_secs_f64() / f64::from(ITEMS)));
        }
        let items = times.len() * ITEMS as usize;
        let measured = range.end().of_part(times, items)?;
        let host = reopen(host, &place).await?;
        for id in workflows {
            let mut results = host.results(&id).await?;
            results.sort_unstable();
            if !results.into_iter().eq(0..u64::from(ITEMS)) {
                return Err(read_back::differs(format!("the result of an item of {id}")));
            }
        }
        host.close().await?;
        Ok(measured)
    }
}
