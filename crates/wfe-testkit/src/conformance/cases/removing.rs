//! Deletions, purges and what else keeps a store in order.

use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use wfe_core::{
    models::ExecutionError,
    traits::{CheckDepth, CheckpointMode, InstanceState, Management, PurgeFilter, PurgeReport},
};

use super::prelude::*;

cases! { "removing":
    a_deleted_instance_is_nowhere_any_more,
    nothing_of_a_removed_instance_is_left,
    only_an_instance_that_has_ended_is_deleted,
    a_purge_takes_what_ended_before_its_time_in_one_of_its_ways,
    a_purge_in_batches_of_one_row_comes_to_the_same_end,
    events_are_purged_once_they_are_processed,
    a_store_in_order_has_no_faults_and_counts_its_instances,
    a_backup_is_a_store_of_its_own_unless_it_was_cancelled,
}

/// Returns the management interface of a store. Skips the case if the store has none, or does not support this method.
fn managed(store: &Store) -> Checked<Arc<dyn Management>> {
    store.clone().management().ok_or(Stop::Skipped("the store has no management interface"))
}

/// An instance that ended in the second after the epoch with this number.
fn ended(id: &str, status: WorkflowStatus, at: i64) -> WorkflowInstance {
    let complete_time = Some(second(at));
    WorkflowInstance {
        status,
        complete_time,
        workflow_definition_id: DEFINITION.to_owned(),
        ..full_instance(id, 3)
    }
}

async fn purged(managed: &dyn Management, filter: &PurgeFilter, limit: usize) -> Checked<u64> {
    let mut instances = 0;
    for _ in 0..1_000 {
        let PurgeReport { instances: removed, more, .. } = offered(managed.purge(filter, limit).await)?;
        instances += removed;
        if !more {
            return Ok(instances);
        }
    }
    unmet("a purge does not come to its end")
}

async fn a_deleted_instance_is_nowhere_any_more(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (steps, managed) = (steps(&store)?, managed(&store)?);
    let instance = ended("i", WorkflowStatus::Complete, 1);
    steps.start(None, &instance).await?;
    let report = offered(managed.delete("i").await)?;
    assert_eq!((report.instances, report.more), (1, false));
    assert_err!(steps.load("i").await, WfeError::WorkflowNotFound(id) if id == "i");
    assert_err!(store.get_workflow_instance("i").await, WfeError::WorkflowNotFound(_));
    assert_err!(managed.delete("i").await, WfeError::WorkflowNotFound(_));
    // Its id and its reference are free.
    assert!(steps.start(None, &instance).await?.is_new);
    Ok(())
}

async fn nothing_of_a_removed_instance_is_left(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (steps, managed) = (steps(&store)?, managed(&store)?);
    for id in ["deleted", "purged"] {
        let instance = WorkflowInstance { reference: None, ..ended(id, WorkflowStatus::Complete, 1) };
        assert!(steps.start(None, &instance).await?.is_new);
        store.create_event_subscription(&wait(&format!("wait of {id}"), id, "e", "k", second(0))).await?;
        store.persist_errors(&[ExecutionError::new(id, "p", "broken")]).await?;
    }
    offered(managed.delete("deleted").await)?;
    assert_eq!(purged(&*managed, &PurgeFilter::before(second(5)), 1).await?, 1);
    for id in ["deleted", "purged"] {
        assert_err!(managed.history(id, None, 9).await, WfeError::WorkflowNotFound(_));
        assert_eq!(managed.errors(Some(id), None, 9).await?.rows, [], "failures of {id}");
        let wait = store.get_subscription(&format!("wait of {id}")).await;
        assert_err!(wait, WfeError::SubscriptionNotFound(_));
    }
    Ok(())
}

async fn only_an_instance_that_has_ended_is_deleted(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let managed = managed(&store)?;
    for status in [WorkflowStatus::Runnable, WorkflowStatus::Suspended] {
        let id = format!("{status:?}");
        store.create_new_workflow(&WorkflowInstance { status, ..instance(&id) }).await?;
        if let Err(WfeError::Unsupported(_)) = managed.delete(&id).await {
            return Err(Stop::Skipped("the store does not support this optional method"));
        }
        assert_err!(managed.delete(&id).await, WfeError::Invalid(_));
        store.get_workflow_instance(&id).await?;
    }
    Ok(())
}

async fn a_purge_takes_what_ended_before_its_time_in_one_of_its_ways(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let managed = managed(&store)?;
    for (id, status, at) in [
        ("early", WorkflowStatus::Complete, 1),
        ("terminated", WorkflowStatus::Terminated, 1),
        ("late", WorkflowStatus::Complete, 5),
    ] {
        store.create_new_workflow(&ended(id, status, at)).await?;
    }
    store.create_new_workflow(&instance("open")).await?;
    let completed = PurgeFilter { states: vec![InstanceState::Completed], ..PurgeFilter::before(second(5)) };
    let other = PurgeFilter { definition: Some("other".to_owned()), ..PurgeFilter::before(second(9)) };
    let except = PurgeFilter { except: vec![DEFINITION.to_owned()], ..PurgeFilter::before(second(9)) };
    assert_eq!(purged(&*managed, &other, 0).await?, 0);
    assert_eq!(purged(&*managed, &except, 0).await?, 0);
    assert_eq!(purged(&*managed, &completed, 0).await?, 1);
    assert_err!(store.get_workflow_instance("early").await, WfeError::WorkflowNotFound(_));
    assert_eq!(purged(&*managed, &PurgeFilter::before(second(9)), 0).await?, 2);
    store.get_workflow_instance("open").await?;
    let open = PurgeFilter { states: vec![InstanceState::Waiting], ..completed };
    assert_err!(managed.purge(&open, 0).await, WfeError::Invalid(_));
    Ok(())
}

async fn a_purge_in_batches_of_one_row_comes_to_the_same_end(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let managed = managed(&store)?;
    for id in ["i", "j"] {
        store.create_new_workflow(&ended(id, WorkflowStatus::Complete, 1)).await?;
    }
    assert_eq!(purged(&*managed, &PurgeFilter::before(second(9)), 1).await?, 2);
    for id in ["i", "j"] {
        assert_err!(store.get_workflow_instance(id).await, WfeError::WorkflowNotFound(_));
        assert_err!(store.get_workflow_instance_by_name(id).await, WfeError::WorkflowNotFound(_));
    }
    Ok(())
}

async fn events_are_purged_once_they_are_processed(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let managed = managed(&store)?;
    for id in ["open", "processed", "young"] {
        let at = if id == "young" { second(9) } else { second(1) };
        store.create_event(&event(id, "e", "k", at)).await?;
    }
    for id in ["processed", "young"] {
        store.mark_event_processed(id).await?;
    }
    let report = offered(managed.purge_events(second(5), 0).await)?;
    assert_eq!((report.events, report.instances, report.more), (1, 0, false));
    assert_err!(store.get_event("processed").await, WfeError::EventNotFound(_));
    for id in ["open", "young"] {
        store.get_event(id).await?;
    }
    Ok(())
}

async fn a_store_in_order_has_no_faults_and_counts_its_instances(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let managed = managed(&store)?;
    for id in ["i", "j"] {
        store.create_new_workflow(&full_instance(id, 2)).await?;
    }
    for depth in [CheckDepth::Quick, CheckDepth::Full] {
        assert_eq!(offered(managed.check(depth, &()).await)?.faults, Vec::<String>::new());
    }
    offered(managed.compact(&()).await)?;
    offered(managed.checkpoint(CheckpointMode::Truncate).await)?;
    assert_eq!(offered(managed.statistics().await)?.open_instances, 2);
    Ok(())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path()).collect()
}

async fn a_backup_is_a_store_of_its_own_unless_it_was_cancelled(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let managed = managed(&store)?;
    for number in 0..50 {
        store.create_new_workflow(&full_instance(&number.to_string(), number)).await?;
    }
    let Ok(folder) = tempfile::tempdir() else { unmet("the test cannot make a folder") };
    let target = folder.path().join("copy");
    let told = AtomicU64::new(0);
    let counts = |_: u64, _: Option<u64>| {
        told.fetch_add(1, Ordering::Relaxed);
        ControlFlow::Continue(())
    };
    let refuses = |_: u64, _: Option<u64>| ControlFlow::Break(());
    let cancelled = managed.backup(&target, &refuses).await;
    if let Err(WfeError::Unsupported(_)) = cancelled {
        return Err(Stop::Skipped("the store does not support this optional method"));
    }
    assert_err!(cancelled, WfeError::Cancelled);
    assert_eq!(files(folder.path()), Vec::<PathBuf>::new(), "a cancelled backup leaves nothing");
    let report = managed.backup(&target, &counts).await?;
    assert_eq!(report.instances, 50);
    assert!(told.into_inner() > 0, "a backup tells how far it has come");
    assert_eq!(files(folder.path()), std::slice::from_ref(&target));
    assert_err!(managed.backup(&target, &()).await, WfeError::Unusable { .. });
    Ok(())
}
