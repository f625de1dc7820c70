//! The execution pointers of an instance: a list that is always replaced as a whole.

use wfe_core::{
    Kind,
    models::{ExecutionPointer, PointerStatus},
};

use super::prelude::*;

cases! { "pointers":
    pointers_come_back_in_their_order,
    every_status_of_a_pointer_comes_back,
    a_bare_pointer_comes_back_bare,
    every_field_of_a_pointer_can_be_changed_and_emptied,
    pointers_are_added_changed_removed_and_reordered_in_one_write,
    a_pointer_can_be_put_in_front_and_in_between,
    all_pointers_can_be_removed,
    a_removed_pointer_that_comes_back_is_a_new_one,
    the_same_pointer_id_in_two_instances_is_two_pointers,
    two_pointers_with_one_id_are_refused_and_nothing_is_written,
    data_can_change_while_pointers_stay,
    thousands_of_pointers_come_and_go,
}

/// Stores one list of pointers after the other in the same instance, and asserts that each list is read back
/// unchanged.
async fn replace(store: &Store, lists: &[Vec<ExecutionPointer>]) -> Checked<()> {
    for (at, list) in lists.iter().enumerate() {
        let wanted = WorkflowInstance { execution_pointers: list.clone(), ..instance("i") };
        if at == 0 {
            store.create_new_workflow(&wanted).await?;
        } else {
            store.persist_workflow(&wanted).await?;
        }
        assert_eq!(store.get_workflow_instance("i").await?, wanted, "after write {at}");
    }
    Ok(())
}

fn bare(ids: &[&str]) -> Vec<ExecutionPointer> {
    ids.iter().map(|id| pointer(id)).collect()
}

async fn pointers_come_back_in_their_order(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let ids = ["m", "z", "a", "10", "9", "Z", "b"];
    replace(&store, &[bare(&ids)]).await?;
    let by_name = store.get_workflow_instance_by_name("i").await?;
    let listed = store.get_workflow_instances(&texts(&["i"])).await?;
    assert_eq!(by_name.execution_pointers, bare(&ids));
    assert_eq!(listed[0].execution_pointers, bare(&ids));
    Ok(())
}

async fn every_status_of_a_pointer_comes_back(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let statuses = [
        PointerStatus::Pending,
        PointerStatus::Running,
        PointerStatus::Complete,
        PointerStatus::Skipped,
        PointerStatus::Sleeping,
        PointerStatus::WaitingForEvent,
        PointerStatus::Failed,
        PointerStatus::Compensated,
        PointerStatus::Cancelled,
        PointerStatus::PendingPredecessor,
    ];
    let list =
        statuses.map(|status| ExecutionPointer { status, ..pointer(&format!("{status} pointer")) }).into();
    replace(&store, &[list]).await
}

async fn a_bare_pointer_comes_back_bare(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    replace(&store, &[vec![ExecutionPointer::new(0), ExecutionPointer::new(1)]]).await
}

async fn every_field_of_a_pointer_can_be_changed_and_emptied(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let states = [full_pointer("p", 1), full_pointer("p", 2), pointer("p"), full_pointer("p", 3)];
    replace(&store, &states.map(|pointer| vec![pointer])).await
}

async fn pointers_are_added_changed_removed_and_reordered_in_one_write(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let before = ["a", "b", "c", "d"].map(|id| full_pointer(id, 1)).into();
    let after = vec![
        full_pointer("d", 1),
        full_pointer("new", 1),
        full_pointer("b", 2),
        full_pointer("a", 1),
        full_pointer("newer", 2),
    ];
    let reversed = after.iter().rev().cloned().collect();
    replace(&store, &[before, after, reversed]).await
}

async fn a_pointer_can_be_put_in_front_and_in_between(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let lists = [
        bare(&["c"]),
        bare(&["a", "c"]),
        bare(&["a", "b", "c"]),
        bare(&["a", "b", "c", "d"]),
        bare(&["d", "a", "b", "c"]),
        bare(&["d", "c"]),
        bare(&["c", "d"]),
    ];
    replace(&store, &lists).await
}

async fn all_pointers_can_be_removed(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    store.create_new_workflow(&instance_with("other", &["a"])).await?;
    replace(&store, &[bare(&["a", "b"]), bare(&[]), bare(&["c"]), bare(&[])]).await?;
    assert_eq!(store.get_workflow_instance("other").await?.execution_pointers, bare(&["a"]).as_slice());
    Ok(())
}

async fn a_removed_pointer_that_comes_back_is_a_new_one(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    replace(&store, &[vec![full_pointer("p", 1)], bare(&["q"]), bare(&["q", "p"])]).await
}

async fn the_same_pointer_id_in_two_instances_is_two_pointers(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let with =
        |id, tag| WorkflowInstance { execution_pointers: vec![full_pointer("p", tag)], ..instance(id) };
    store.create_new_workflow(&with("one", 1)).await?;
    store.create_new_workflow(&with("two", 2)).await?;
    store.persist_workflow(&with("one", 3)).await?;
    assert_eq!(store.get_workflow_instance("one").await?, with("one", 3));
    assert_eq!(store.get_workflow_instance("two").await?, with("two", 2));
    store.persist_workflow(&instance("one")).await?;
    assert_eq!(store.get_workflow_instance("two").await?, with("two", 2));
    Ok(())
}

async fn two_pointers_with_one_id_are_refused_and_nothing_is_written(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let twice = |id| WorkflowInstance {
        execution_pointers: vec![pointer("p"), full_pointer("q", 1), full_pointer("p", 1)],
        data: json!("changed"),
        ..instance(id)
    };
    assert_err!(
        store.create_new_workflow(&twice("i")).await,
        WfeError::AlreadyExists { kind: Kind::Pointer, id } if id == "p"
    );
    assert_err!(store.get_workflow_instance("i").await, WfeError::WorkflowNotFound(_));

    let stored = instance_with("j", &["p", "r"]);
    store.create_new_workflow(&stored).await?;
    assert_err!(
        store.persist_workflow(&twice("j")).await,
        WfeError::AlreadyExists { kind: Kind::Pointer, id } if id == "p"
    );
    assert_eq!(store.get_workflow_instance("j").await?, stored);
    Ok(())
}

async fn data_can_change_while_pointers_stay(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let mut wanted = instance_with("i", &["b", "a"]);
    store.create_new_workflow(&wanted).await?;
    for round in 0..5 {
        wanted.data = json!({ "round": round });
        store.persist_workflow(&wanted).await?;
        assert_eq!(store.get_workflow_instance("i").await?, wanted);
    }
    Ok(())
}

async fn thousands_of_pointers_come_and_go(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let many: Vec<_> = (0..3_000).map(|n| pointer(&format!("p{n}"))).collect();
    let thinned = many.iter().step_by(3).cloned().collect();
    let reversed = many.iter().rev().cloned().collect();
    replace(&store, &[many, thinned, reversed]).await
}
