//! Load an instance, complete its last pointer, add a new pointer, persist. Each client has an instance of its own, which
//! grows from 1 to 11 pointers. Then the client continues with a new instance.

use std::{path::Path, sync::Arc, time::Instant};

use serde_json::json;
use wfe::{
    models::{ExecutionPointer, PointerStatus, WorkflowInstance},
    traits::WorkflowRepository,
};
use wfe_sqlite::SqlitePersistenceProvider;

use crate::{
    Done,
    arguments::Lasting,
    measure::{self, Measured},
};

const POINTERS: usize = 11;

pub async fn run(path: &Path, clients: usize, lasting: Lasting) -> Done<Measured> {
    let store = Arc::new(SqlitePersistenceProvider::file(path).open().await?);
    let (measured, stored) = measure::clients(clients, lasting, |client, stage| {
        let store = store.clone();
        async move {
            let (mut times, mut stored) = (Vec::new(), Vec::new());
            while !stage.is_over() {
                let mut instance = new(client);
                instance.id = store.create_new_workflow(&instance).await?;
                instance.name.clone_from(&instance.id);
                while instance.execution_pointers.len() < POINTERS && !stage.is_over() {
                    let (began, counts) = (Instant::now(), stage.is_measured());
                    let mut loaded = store.get_workflow_instance(&instance.id).await?;
                    step(&mut loaded);
                    store.persist_workflow(&loaded).await?;
                    stage.note(&mut times, began, counts);
                    instance = loaded;
                }
                stored.push(instance);
            }
            Ok((times, stored))
        }
    })
    .await?;
    store.close().await;
    drop(store);
    check(path, stored.into_iter().flatten()).await?;
    Ok(measured)
}

fn new(client: usize) -> WorkflowInstance {
    let data = json!({ "customer": client, "note": "x".repeat(200), "lines": [1, 2, 3] });
    let mut instance = WorkflowInstance::new("bench", 1, data);
    instance.execution_pointers.push(pointer(0));
    instance
}

fn pointer(step: usize) -> ExecutionPointer {
    let mut pointer = ExecutionPointer::new(step);
    pointer.step_name = Some(format!("step {step}"));
    pointer
}

fn step(instance: &mut WorkflowInstance) {
    let step = instance.execution_pointers.len();
    if let Some(last) = instance.execution_pointers.last_mut() {
        last.status = PointerStatus::Complete;
        last.active = false;
        last.outcome = Some(json!({ "step": step }));
    }
    instance.execution_pointers.push(pointer(step));
    instance.next_execution = i64::try_from(step).ok();
}

/// Reads back everything that was acknowledged to the clients, through a newly opened provider.
async fn check(path: &Path, stored: impl Iterator<Item = WorkflowInstance>) -> Done {
    let store = SqlitePersistenceProvider::file(path).open().await?;
    for expected in stored {
        let found = store.get_workflow_instance(&expected.id).await?;
        if serde_json::to_value(&found)? != serde_json::to_value(&expected)? {
            return Err(format!(
                "step-cycle: instance {} is stored differently from what was acknowledged",
                expected.id
            )
            .into());
        }
    }
    store.close().await;
    Ok(())
}
