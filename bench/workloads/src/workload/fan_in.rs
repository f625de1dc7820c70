use std::{marker::PhantomData, sync::Arc, time::Instant};

use super::{
    arrivals::{self, Arrivals, after},
    now_ns, open, prepared,
};
use crate::{Done, Measured, Range, Run, Workload, ability::Host};

const WAITING: u64 = 10_000;
/// The clients stop after so many times the usual duration, even if workflows still wait.
const LONGEST: u32 = 5;

/// `fan-in`. 10 000 workflows wait, each for an event of its own. The clients publish these events, each one event after the
/// other, until all are published or much time has passed. An operation is an event; it ends when the workflow that it reaches has ended. The times are those from the call
/// that publishes to the beginning of the step. Each workflow is read back: it must be completed, with the data of its event.
pub struct FanIn<S>(PhantomData<S>);

impl<S: Host> Workload for FanIn<S> {
    const NAME: &'static str = "fan-in";

    async fn prepare(run: &Run) -> Done {
        let host = Arc::new(S::host(&run.prepared(), Arc::new(|_| ())).await?);
        host.run().await?;
        let ids =
            starting(&host, WAITING, 64, |host, key| async move { host.start_waiting(key).await }).await?;
        host.idle().await?;
        prepared::note(run, &ids)?;
        host.close().await
    }

    async fn run(run: &Run) -> Done<Measured> {
        let folder = run.scratch()?;
        let place = run.prepared().copied_into(folder.path())?;
        let arrivals = Arrivals::default();
        let host = Arc::new(S::host(&place, arrivals.on_step()).await?);
        host.run().await?;
        host.idle().await?;
        let (range, until) = (Range::begin(), Instant::now() + LONGEST * run.measured());
        let sent = starting(&host, WAITING, run.clients, move |host, key| async move {
            if Instant::now() >= until {
                return Ok(None);
            }
            let sent = now_ns();
            host.publish(key, key).await?;
            Ok(Some((key, sent)))
        })
        .await?;
        let sent: Vec<(u64, u64)> = sent.into_iter().flatten().collect();
        arrivals.reach(sent.len()).await?;
        let (all, mut workflows) = (prepared::ids(run)?, Vec::new());
        for (key, _) in &sent {
            let id = all[usize::try_from(*key)?].clone();
            host.outcome(&id).await?;
            workflows.push((id, *key));
        }
        let sum = range.end();
        let begun = sent.iter().map(|(key, sent)| Some(after(*sent, arrivals.of(*key)?)));
        let times: Option<Vec<_>> = begun.collect();
        let measured = sum.of(times.ok_or("a step began without an event")?)?;
        host.close().await?;
        drop(host);
        let host = open::<S>(&place).await?;
        arrivals::check(&host, workflows).await?;
        host.close().await?;
        Ok(measured)
    }
}

/// Makes calls with the numbers from 0, so many of them at once. Returns the answers in the order of the numbers.
pub async fn starting<S, T, F>(
    host: &Arc<S>,
    count: u64,
    at_once: usize,
    call: impl Fn(Arc<S>, u64) -> F + Copy + Send + 'static,
) -> Done<Vec<T>>
where
    S: Send + Sync + 'static,
    T: Send + 'static,
    F: Future<Output = Done<T>> + Send + 'static,
{
    let callers = (0..at_once as u64).map(|caller| {
        let host = host.clone();
        tokio::spawn(async move {
            let mut answers = Vec::new();
            for number in (caller..count).step_by(at_once) {
                answers.push((number, call(host.clone(), number).await?));
            }
            Done::Ok(answers)
        })
    });
    let mut all = Vec::new();
    for caller in callers.collect::<Vec<_>>() {
        all.extend(caller.await??);
    }
    all.sort_unstable_by_key(|(number, _)| *number);
    Ok(all.into_iter().map(|(_, answer)| answer).collect())
}
