use std::marker::PhantomData;

use super::{check_instances, open, reopen};
use crate::{Done, Measured, Run, Workload, ability::Instances, clients};

/// `create`. An operation stores a new instance with one pointer. Each instance is read back and compared.
pub struct Create<S>(PhantomData<S>);

impl<S: Instances> Workload for Create<S> {
    const NAME: &'static str = "create";

    async fn run(run: &Run) -> Done<Measured> {
        let folder = run.scratch()?;
        let place = crate::Place::file(folder.path().join("run.db"));
        let store = open::<S>(&place).await?;
        let (measured, created) = clients::measure(run, |mut client| {
            let store = store.clone();
            async move {
                let mut created = Vec::new();
                while client.goes_on() {
                    let mut instance = S::draft(client.numbered(created.len()), 1);
                    if client.operation(store.create(&mut instance)).await.is_some() {
                        created.push(vec![instance]);
                    }
                }
                Ok((client, created))
            }
        })
        .await?;
        let store = reopen(store, &place).await?;
        check_instances(&store, created.into_iter().flatten()).await?;
        store.close().await?;
        Ok(measured)
    }
}
