use std::marker::PhantomData;

use super::{flow, open, reopen};
use crate::{Done, Measured, Place, Run, Workload, ability::EndedFlows, read_back};

/// Files with more ended workflows than this are used by all runs, instead of being copied for each: what the runs add is
/// little beside what there is.
const COPIED: usize = 200_000;

/// `growth/ENDED`. The operation of [`flow`](super::Flow) on a file in which so many workflows have ended before. They are
/// copies of one that the subject ran, made in the file; they are counted, also after the run.
pub struct Growth<S>(PhantomData<S>);

impl<S: EndedFlows> Workload for Growth<S> {
    const NAME: &'static str = "growth";

    async fn prepare(run: &Run) -> Done {
        let (ended, place) = (run.number(1)?, run.prepared());
        let host = open::<S>(&place).await?;
        if ended > 0 {
            let id = host.flow(0).await?;
            host.close().await?;
            drop(host);
            S::multiply_ended(&place, &id, ended - 1)?;
        } else {
            host.close().await?;
        }
        count::<S>(&place, ended)
    }

    async fn run(run: &Run) -> Done<Measured> {
        let (ended, folder) = (run.number(1)?, run.scratch()?);
        let place =
            if ended > COPIED { run.prepared() } else { run.prepared().copied_into(folder.path())? };
        let host = open::<S>(&place).await?;
        let (measured, flows) = flow::measure(run, &host).await?;
        let own = flows.len();
        let host = reopen(host, &place).await?;
        flow::check(&host, flows).await?;
        host.close().await?;
        drop(host);
        count::<S>(&place, ended + own)?;
        Ok(measured)
    }
}

fn count<S: EndedFlows>(place: &Place, least: usize) -> Done {
    let count = S::count_ended(place)?;
    if count < least { Err(read_back::differs(format!("one of {least} ended workflows"))) } else { Ok(()) }
}
