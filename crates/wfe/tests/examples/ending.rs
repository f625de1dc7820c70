//! How instances stand in a store, without what differs from run to run: ids made at random, and real times.

use std::{fmt::Write, path::Path};

use wfe::traits::{StepStore, WorkflowRepository};
use wfe_sqlite::SqlitePersistenceProvider;

/// Of the instances with these names: status, end, data and main path; and of the engine, that nothing is left to be
/// done for them.
pub fn ending(db: &Path, names: &[&str]) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = SqlitePersistenceProvider::file(db).open().await.unwrap();
        let mut ends = String::new();
        for name in names {
            let instance = store.get_workflow_instance_by_name(name).await.unwrap();
            let loaded = store.load(&instance.id).await.unwrap();
            assert!(
                loaded.waits.is_empty() || !loaded.instance.status.is_final(),
                "{name} is over, and waits"
            );
            let (status, ending) = (instance.status, loaded.ending);
            writeln!(ends, "{name}: {status:?}, {ending:?}, {}", instance.data).unwrap();
            for pointer in &instance.execution_pointers {
                writeln!(ends, "  {}: {:?}, {:?}", pointer.id, pointer.status, pointer.step_name).unwrap();
            }
        }
        store.close().await;
        ends
    })
}
