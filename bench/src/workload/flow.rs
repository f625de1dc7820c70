//! Workflows of three empty steps. An operation lasts from the start of a workflow until the caller has its outcome.

use std::{path::Path, sync::Arc, time::Instant};

use wfe::{
    Outcome, WfeError, WorkflowHost,
    definition::{Definition, WorkflowBuilder},
    models::WorkflowStatus,
    traits::WorkflowRepository,
};
use wfe_sqlite::SqlitePersistenceProvider;

use crate::{
    Done,
    arguments::Lasting,
    measure::{self, Measured},
};

pub async fn run(path: &Path, clients: usize, lasting: Lasting) -> Done<Measured> {
    let host = Arc::new(WorkflowHost::new(SqlitePersistenceProvider::file(path).open().await?));
    host.register(definition()?)?;
    host.start().await?;
    let (measured, stored) = measure::clients(clients, lasting, |client, stage| {
        let host = host.clone();
        async move {
            let (mut times, mut stored, mut number) = (Vec::new(), Vec::new(), client as u64 * 1_000_000);
            while !stage.is_over() {
                let (began, counts) = (Instant::now(), stage.is_measured());
                let id = host.start_workflow("flow", &number).await?;
                match host.outcome::<u64>(&id).await? {
                    Outcome::Completed(data) if data == number => {}
                    other => return Err(WfeError::Invalid(format!("flow {id} ended as {other:?}"))),
                }
                stage.note(&mut times, began, counts);
                stored.push((id, number));
                number += 1;
            }
            Ok((times, stored))
        }
    })
    .await?;
    host.stop().await?;
    drop(host);
    let store = SqlitePersistenceProvider::file(path).open().await?;
    for (id, number) in stored.into_iter().flatten() {
        let found = store.get_workflow_instance(&id).await?;
        if found.status != WorkflowStatus::Complete || found.data != number {
            return Err(
                format!("flow: instance {id} is stored differently from what was acknowledged").into()
            );
        }
    }
    store.close().await;
    Ok(measured)
}

fn definition() -> wfe::Result<Definition<u64>> {
    WorkflowBuilder::<u64>::new("flow", 1)
        .then("one", async |_, _| Ok(()))
        .then("two", async |_, _| Ok(()))
        .then("three", async |_, _| Ok(()))
        .build()
}
