use std::{marker::PhantomData, sync::Arc, time::Duration};

use tokio::time;

use super::{
    arrivals::{self, Arrivals, after},
    fan_in::starting,
    now_ns, open,
};
use crate::{Done, Measured, Place, Range, Run, Workload, ability::Host};

const TIMERS: u64 = 10_000;
/// They are due within one second.
const APART_NS: u64 = 1_000_000_000 / TIMERS;
/// How long before its due time the first timer is started, and how long before it the last one must be.
const AHEAD_NS: u64 = 10_000_000_000;
const REST_NS: u64 = 2_000_000_000;

/// `timers`. 10 000 workflows sleep, each until a time of its own; all these times lie within one second. An operation is a
/// timer. The times are the lateness: from the due time to the beginning of the step. The figures of the process begin one
/// second before the first due time. Each workflow is read back, and none may begin early.
pub struct Timers<S>(PhantomData<S>);

impl<S: Host> Workload for Timers<S> {
    const NAME: &'static str = "timers";

    async fn run(run: &Run) -> Done<Measured> {
        let folder = run.scratch()?;
        let (place, arrivals) = (Place::file(folder.path().join("run.db")), Arrivals::default());
        let host = Arc::new(S::host(&place, arrivals.on_step()).await?);
        host.run().await?;
        let first = now_ns() + AHEAD_NS;
        let due = move |number: u64| first + number * APART_NS;
        let ids =
            starting(
                &host,
                TIMERS,
                64,
                move |host, number| async move { host.start_timer(due(number)).await },
            )
            .await?;
        let left = first.saturating_sub(now_ns());
        if left < REST_NS {
            return Err("timers: the machine is too slow to start all timers in time".into());
        }
        time::sleep(Duration::from_nanos(left - REST_NS / 2)).await;
        let range = Range::begin();
        arrivals.reach(ids.len()).await?;
        let sum = range.end();
        let mut times = Vec::new();
        for number in 0..TIMERS {
            let begun = arrivals.of(due(number)).ok_or("a step began with another number")?;
            if begun < due(number) {
                return Err(format!("timers: one began {:?} early", after(begun, due(number))).into());
            }
            times.push(after(due(number), begun));
        }
        for id in &ids {
            host.outcome(id).await?;
        }
        host.close().await?;
        drop(host);
        let host = open::<S>(&place).await?;
        arrivals::check(&host, ids.into_iter().zip((0..TIMERS).map(due)).collect()).await?;
        host.close().await?;
        sum.of(times)
    }
}
