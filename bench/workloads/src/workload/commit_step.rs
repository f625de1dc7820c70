use std::{marker::PhantomData, sync::Arc};

use super::{open, reopen};
use crate::{Done, Measured, Place, Run, Workload, ability::Steps, clients, read_back};

const COMMITS: usize = 10;

/// `commit-step`. An operation is the engine's commit of a finished step: one pointer completed, one added, one transaction.
/// Each client owns an instance, which grows by ten commits; then the client continues with a new instance. Each instance is
/// read back, and its pointers are compared.
pub struct CommitStep<S>(PhantomData<S>);

impl<S: Steps> Workload for CommitStep<S> {
    const NAME: &'static str = "commit-step";

    async fn run(run: &Run) -> Done<Measured> {
        let folder = run.scratch()?;
        let place = Place::file(folder.path().join("run.db"));
        let store = open::<S>(&place).await?;
        let (measured, stored) = clients::measure(run, |mut client| {
            let store = store.clone();
            async move {
                let mut stored: Vec<(S::Owned, bool)> = Vec::new();
                while client.goes_on() {
                    let number = client.numbered(stored.len());
                    let Some(mut owned) = client.beforehand(store.begin(number)).await else { continue };
                    let mut is_certain = true;
                    while is_certain && S::committed(&owned) < COMMITS && client.goes_on() {
                        is_certain = client.operation(store.commit(&mut owned)).await.is_some();
                    }
                    stored.push((owned, is_certain));
                }
                Ok((client, stored))
            }
        })
        .await?;
        let store = reopen(store, &place).await?;
        let stored = stored.into_iter().flatten();
        read_back::each(&store, stored, |store: Arc<S>, (owned, is_certain): (S::Owned, bool)| async move {
            let is_stored = store.is_stored(&owned, !is_certain).await?;
            if is_stored { Ok(()) } else { Err(read_back::differs(format!("{owned:?}"))) }
        })
        .await?;
        store.close().await?;
        Ok(measured)
    }
}
