use std::{
    marker::PhantomData,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time;

use super::{
    YEAR_MS,
    arrivals::{Arrivals, after},
    now_ms, now_ns,
};
use crate::{
    Done, Extra, Measured, Place, Range, Run, Workload,
    ability::{self, Host},
    machine,
    measured::float,
    read_back,
};

pub const SLEEPING: usize = 100_000;
/// After this time, what the host does at its start is over.
const SETTLING: Duration = Duration::from_secs(1);
/// The host is observed for so long, at least.
const OBSERVED: Duration = Duration::from_secs(3);

/// `sleepers`. In the file, 100 000 workflows sleep: one half until a time in a year, the other half until an event. A host
/// starts, and runs one workflow; then the host is idle. An operation is one second of this idleness, so CPU and written bytes
/// are those of a second: 10 000 µs are one percent of a core. The times are those from opening the file to the beginning of
/// the step of the first workflow. Besides, the table shows how often threads began to wait in a second (wake-ups), and the
/// memory for each sleeping workflow. The workflows are copies of two stored ones, made in the file; they are counted.
pub struct Sleepers<S>(PhantomData<S>);

impl<S: ability::Sleepers> Workload for Sleepers<S> {
    const NAME: &'static str = "sleepers";

    async fn prepare(run: &Run) -> Done {
        prepare::<S>(&run.prepared()).await
    }

    async fn run(run: &Run) -> Done<Measured> {
        let folder = run.scratch()?;
        let (empty, _) = begin::<S>(&Place::file(folder.path().join("empty.db")), 1).await?;
        let without = machine::resident_bytes();
        empty.close().await?;
        drop(empty);
        let (host, took) = begin::<S>(&run.prepared(), 2).await?;
        time::sleep(SETTLING).await;
        let with = machine::resident_bytes();
        let (range, waits, running) = (Range::begin(), machine::waits(), machine::running_ns());
        time::sleep(run.measured().max(OBSERVED)).await;
        let (waits_after, running_after, sum) = (machine::waits(), machine::running_ns(), range.end());
        host.close().await?;
        drop(host);
        let count = S::count_sleeping(&run.prepared())?;
        if count != SLEEPING {
            return Err(read_back::differs(format!(
                "one of {SLEEPING} sleeping workflows ({count} are there)"
            )));
        }
        let mut measured = sum.of(vec![took])?;
        measured.ops_per_s = 1.0;
        measured.written_bytes_per_op = measured.written_bytes_per_op.map(|bytes| bytes / sum.seconds);
        let difference =
            |before: Option<u64>, after: Option<u64>| Some(float(after?.saturating_sub(before?)));
        measured.cpu_us_per_op = difference(running, running_after).map(|ns| ns / 1e3 / sum.seconds);
        let wake_ups =
            difference(waits, waits_after).map(|waits| Extra::new("wake-ups", waits / sum.seconds, "/s"));
        let memory = difference(without, with)
            .map(|bytes| Extra::new("memory", bytes / float(SLEEPING as u64), "B each"));
        measured.extras.extend(wake_ups.into_iter().chain(memory));
        Ok(measured)
    }
}

/// Fills a file with workflows that sleep.
pub async fn prepare<S: ability::Sleepers>(place: &Place) -> Done {
    let host = S::host(place, Arc::new(|_| ())).await?;
    host.run().await?;
    let in_a_year = u64::try_from(now_ms() + YEAR_MS)? * 1_000_000;
    let ids = [host.start_timer(in_a_year).await?, host.start_waiting(u64::from(u32::MAX)).await?];
    host.idle().await?;
    host.close().await?;
    drop(host);
    for id in ids {
        S::multiply_sleeping(place, &id, SLEEPING / 2 - 1)?;
    }
    let count = S::count_sleeping(place)?;
    if count == SLEEPING { Ok(()) } else { Err(format!("{count} sleeping workflows were prepared").into()) }
}

/// Opens a host and runs one workflow. Returns the time until the step of the workflow began.
async fn begin<S: Host>(place: &Place, number: u64) -> Done<(S, Duration)> {
    let (arrivals, began, wall) = (Arrivals::default(), Instant::now(), now_ns());
    let host = S::host(place, arrivals.on_step()).await?;
    host.run().await?;
    let id = host.start(number).await?;
    arrivals.reach(1).await?;
    let took = after(wall, arrivals.of(number).ok_or("the step began with another number")?);
    if host.outcome(&id).await? != number {
        return Err(read_back::differs(id));
    }
    Ok((host, took.min(began.elapsed())))
}
