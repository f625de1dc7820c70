use std::{marker::PhantomData, sync::Arc};

use super::{open, reopen};
use crate::{
    Done, Measured, Place, Run, Workload,
    ability::Flows,
    clients::{self, Ending},
    read_back,
};

/// `flow` on a file, and `flow/memory`. An operation is a workflow of three empty steps, from the call that starts it until
/// the caller has its outcome. Each workflow is read back: it must be completed, with its own data. On a file, the subject is
/// closed and opened anew before.
pub struct Flow<S>(PhantomData<S>);

impl<S: Flows> Workload for Flow<S> {
    const NAME: &'static str = "flow";

    async fn run(run: &Run) -> Done<Measured> {
        let folder = run.scratch()?;
        let place = match run.parameter(1) {
            Err(_) => Place::file(folder.path().join("run.db")),
            Ok("memory") => Place::memory(),
            Ok(other) => return Err(format!("flow: {other:?} is not memory").into()),
        };
        let host = open::<S>(&place).await?;
        let (measured, flows) = measure(run, &host).await?;
        let host = if place.path().is_some() { reopen(host, &place).await? } else { host };
        check(&host, flows).await?;
        host.close().await?;
        Ok(measured)
    }
}

/// Lets the clients run flows. Returns their ids and numbers.
pub async fn measure<S: Flows>(run: &Run, host: &Arc<S>) -> Done<(Measured, Vec<(String, u64)>)> {
    let (measured, flows) = clients::measure_until(run, Ending::of_each_client(run), |mut client| {
        let host = host.clone();
        async move {
            let mut flows = Vec::new();
            for count in 0.. {
                if !client.goes_on() {
                    break;
                }
                let number = client.numbered(count);
                flows.extend(client.operation(host.flow(number)).await.map(|id| (id, number)));
            }
            Ok((client, flows))
        }
    })
    .await?;
    Ok((measured, flows.into_iter().flatten().collect()))
}

pub async fn check<S: Flows>(host: &Arc<S>, flows: Vec<(String, u64)>) -> Done {
    read_back::each(host, flows, |host: Arc<S>, (id, number): (String, u64)| async move {
        if host.is_completed(&id, number).await? { Ok(()) } else { Err(read_back::differs(id)) }
    })
    .await
}
