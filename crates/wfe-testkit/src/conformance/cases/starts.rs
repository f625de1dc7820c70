//! Starting an instance through the step store.

use futures_util::future::join_all;
use wfe_core::{Kind, traits::Started};

use super::prelude::*;

cases! { "starts":
    a_started_instance_is_stored_as_given,
    a_start_makes_an_id_and_a_name_where_none_is_given,
    a_start_with_an_id_or_name_that_exists_is_refused_and_nothing_is_written,
    a_start_without_a_reference_always_makes_a_new_instance,
    a_second_start_with_the_same_reference_gives_the_first_instance_and_writes_nothing,
    the_reference_counts_whatever_the_version_or_status,
    the_same_reference_of_another_definition_starts_another_instance,
    a_stored_reference_that_is_changed_later_still_counts,
    of_many_starts_with_one_reference_exactly_one_makes_an_instance,
    of_starts_with_one_reference_at_two_providers_exactly_one_makes_an_instance,
    a_start_with_an_owner_is_owned_from_the_start,
    a_start_that_makes_nothing_gives_no_ownership,
    a_start_that_cannot_be_stored_exactly_is_refused,
}

fn referred(id: &str, reference: &str) -> WorkflowInstance {
    WorkflowInstance { reference: Some(reference.to_owned()), ..instance(id) }
}

async fn a_started_instance_is_stored_as_given(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let given = full_instance("i", 1);
    let started = steps.start(None, &given).await?;
    assert_eq!(started, Started { id: "i".to_owned(), fence: None, is_new: true, restart_of: None });
    assert_eq!(store.get_workflow_instance("i").await?, given);
    let loaded = steps.load("i").await?;
    assert_eq!(loaded.instance, given);
    assert_eq!((loaded.control, loaded.ending, loaded.cause, loaded.parent), (None, None, None, None));
    assert_eq!((loaded.waits, loaded.deliveries), (vec![], vec![]));
    Ok(())
}

async fn a_start_makes_an_id_and_a_name_where_none_is_given(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let nameless = WorkflowInstance { id: String::new(), name: String::new(), ..instance("") };
    let id = steps.start(None, &nameless).await?.id;
    assert_ne!(id, "");
    let expected = WorkflowInstance { id: id.clone(), name: id.clone(), ..nameless };
    assert_eq!(store.get_workflow_instance_by_name(&id).await?, expected);
    Ok(())
}

async fn a_start_with_an_id_or_name_that_exists_is_refused_and_nothing_is_written(
    bench: Bench,
) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    store.create_new_workflow(&instance("i")).await?;
    assert_err!(
        steps.start(None, &referred("i", "order")).await,
        WfeError::AlreadyExists { kind: Kind::Workflow, id } if id == "i"
    );
    let named = WorkflowInstance { name: "i".to_owned(), ..referred("j", "order") };
    assert_err!(
        steps.start(None, &named).await,
        WfeError::AlreadyExists { kind: Kind::WorkflowName, id } if id == "i"
    );
    assert_eq!(store.get_workflow_instance("i").await?, instance("i"));
    assert_err!(store.get_workflow_instance("j").await, WfeError::WorkflowNotFound(_));
    assert!(steps.start(None, &referred("k", "order")).await?.is_new);
    Ok(())
}

async fn a_start_without_a_reference_always_makes_a_new_instance(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    for id in ["i", "j"] {
        assert!(steps.start(None, &instance(id)).await?.is_new);
    }
    Ok(())
}

async fn a_second_start_with_the_same_reference_gives_the_first_instance_and_writes_nothing(
    bench: Bench,
) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    for reference in ["order 1", "", "Order 1"] {
        let id = format!("first with {reference:?}");
        assert!(steps.start(None, &referred(&id, reference)).await?.is_new);
        let again = WorkflowInstance { data: json!("other"), ..referred("second", reference) };
        let started = steps.start(None, &again).await?;
        assert_eq!(started, Started { id: id.clone(), fence: None, is_new: false, restart_of: None });
        let same = WorkflowInstance { id: String::new(), name: String::new(), ..again };
        assert_eq!(steps.start(None, &same).await?.id, id);
        assert_eq!(store.get_workflow_instance(&id).await?, referred(&id, reference));
        assert_err!(store.get_workflow_instance("second").await, WfeError::WorkflowNotFound(_));
    }
    Ok(())
}

async fn the_reference_counts_whatever_the_version_or_status(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    steps.start(None, &referred("i", "order")).await?;
    for status in [WorkflowStatus::Suspended, WorkflowStatus::Complete, WorkflowStatus::Terminated] {
        store.persist_workflow(&WorkflowInstance { status, ..referred("i", "order") }).await?;
        let newer = WorkflowInstance { version: 2, ..referred("j", "order") };
        let started = steps.start(None, &newer).await?;
        assert_eq!((started.id.as_str(), started.is_new), ("i", false));
    }
    Ok(())
}

async fn the_same_reference_of_another_definition_starts_another_instance(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    steps.start(None, &referred("i", "order")).await?;
    let other = WorkflowInstance { workflow_definition_id: "bill".to_owned(), ..referred("j", "order") };
    assert!(steps.start(None, &other).await?.is_new);
    Ok(())
}

async fn a_stored_reference_that_is_changed_later_still_counts(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    steps.start(None, &referred("i", "order")).await?;
    store.persist_workflow(&instance("i")).await?;
    let started = steps.start(None, &referred("j", "order")).await?;
    assert_eq!((started.id.as_str(), started.is_new), ("i", false));
    Ok(())
}

async fn one_start_of_many(stores: &[Store]) -> Checked<()> {
    for round in 0..4 {
        let instances: Vec<_> =
            (0..12).map(|n| referred(&format!("i{round}-{n}"), &round.to_string())).collect();
        let mut starting = Vec::new();
        for (n, instance) in instances.iter().enumerate() {
            let steps = steps(&stores[n % stores.len()])?;
            starting.push(async move { steps.start(None, instance).await });
        }
        let mut started = Vec::new();
        for result in join_all(starting).await {
            started.push(result?);
        }
        assert_eq!(started.iter().filter(|one| one.is_new).count(), 1);
        assert!(started.iter().all(|one| one.id == started[0].id), "{started:?}");
        let ids: Vec<_> = instances.iter().map(|one| one.id.clone()).collect();
        assert_eq!(stores[0].get_workflow_instances(&ids).await?.len(), 1);
    }
    Ok(())
}

async fn of_many_starts_with_one_reference_exactly_one_makes_an_instance(bench: Bench) -> Checked<()> {
    one_start_of_many(&[bench.open().await?]).await
}

async fn of_starts_with_one_reference_at_two_providers_exactly_one_makes_an_instance(
    bench: Bench,
) -> Checked<()> {
    let one = bench.open().await?;
    steps(&one)?;
    one_start_of_many(&[one, bench.open_another().await?]).await
}

async fn a_start_with_an_owner_is_owned_from_the_start(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let (_mine, fence) = owned(&store, &instance_with("i", &["p"])).await?;
    let other = steps.register().await?;
    assert_eq!(steps.load("i").await?.fence, fence);
    assert_eq!(steps.claim(&other, &definitions(), bench.now(), 9).await?, []);
    assert_eq!(steps.acquire(&other, &definitions(), "i", bench.now()).await?, None);
    done(&store, fence, StepCommit { data: Some(json!("run")), ..commit("i") }).await?;
    assert_eq!(store.get_workflow_instance("i").await?.data, "run");
    Ok(())
}

async fn a_start_that_makes_nothing_gives_no_ownership(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let (mine, other) = (steps.register().await?, steps.register().await?);
    steps.start(None, &referred("i", "order")).await?;
    let again = steps.start(Some(&mine), &referred("j", "order")).await?;
    assert_eq!(again, Started { id: "i".to_owned(), fence: None, is_new: false, restart_of: None });
    let claimed = steps.claim(&other, &definitions(), bench.now(), 9).await?;
    assert_eq!(claimed.len(), 1);
    Ok(())
}

async fn a_start_that_cannot_be_stored_exactly_is_refused(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    let refused = WorkflowInstance { data: deep, ..referred("i", "order") };
    assert_err!(steps.start(None, &refused).await, WfeError::Unstorable { .. });
    assert_err!(store.get_workflow_instance("i").await, WfeError::WorkflowNotFound(_));
    assert!(steps.start(None, &referred("i", "order")).await?.is_new);
    Ok(())
}
