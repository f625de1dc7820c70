//! Restarts: another instance takes the place of an ended one, and a reference decides what a start does.

use futures_util::future::join_all;
use wfe_core::{
    Kind, RetryRefusal,
    traits::{Known, Started},
};

use super::{
    prelude::*,
    retries::{end, ended},
};

cases! { "restarts":
    a_restart_links_both_instances_and_moves_the_reference,
    a_restart_without_a_reference_links_both_instances,
    a_restart_takes_the_name_of_the_instance_that_it_replaces,
    a_start_that_restarts_takes_the_name_too,
    a_restart_does_not_take_the_name_of_a_third_instance,
    a_restart_does_not_take_the_id_that_the_replaced_instance_has_as_its_name,
    only_an_ended_instance_is_restarted,
    an_instance_is_restarted_once,
    of_many_restarts_exactly_one_makes_an_instance,
    a_known_reference_is_refused_with_the_stored_id,
    a_failed_instance_is_restarted_by_its_reference_and_no_other,
    of_many_starts_that_restart_a_failed_instance_exactly_one_makes_an_instance,
    a_reference_that_is_not_known_is_not_found,
}

fn referred(id: &str, reference: &str) -> WorkflowInstance {
    WorkflowInstance { reference: Some(reference.to_owned()), ..instance_with(id, &["p"]) }
}

async fn a_restart_links_both_instances_and_moves_the_reference(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    offered(steps.find(DEFINITION, "order").await)?;
    ended(&store, &referred("i", "order"), Ending::Failed).await?;
    let before = steps.load("i").await?;
    let new = WorkflowInstance { version: 2, data: json!("new"), ..instance_with("j", &["p"]) };
    let started = steps.restart(None, "i", &new).await?;
    let restart_of = Some("i".to_owned());
    assert_eq!(started, Started { id: "j".to_owned(), fence: None, is_new: true, restart_of });
    let (old, new_one) = (steps.load("i").await?, steps.load("j").await?);
    assert_eq!((old.restarted_as.as_deref(), old.restart_of.as_deref()), (Some("j"), None));
    assert_eq!((new_one.restarted_as.as_deref(), new_one.restart_of.as_deref()), (None, Some("i")));
    assert_eq!(old.instance, before.instance, "the old one stays as it is, with its reference");
    assert_eq!((old.ending, old.cause), (before.ending, before.cause));
    let reference = Some("order".to_owned());
    assert_eq!(new_one.instance, WorkflowInstance { reference, ..new });
    assert_eq!(steps.find(DEFINITION, "order").await?.as_deref(), Some("j"));
    let again = steps.start(None, &referred("k", "order")).await?;
    assert_eq!((again.id.as_str(), again.is_new), ("j", false));
    // The one that replaced it is restarted in its turn.
    let (_owner, fence) = claim_of(&store, "j", 2).await?;
    done(&store, fence, end("j", Ending::Completed)).await?;
    steps.restart(None, "j", &instance_with("k", &["p"])).await?;
    assert_eq!(steps.find(DEFINITION, "order").await?.as_deref(), Some("k"));
    let middle = steps.load("j").await?;
    assert_eq!((middle.restart_of.as_deref(), middle.restarted_as.as_deref()), (Some("i"), Some("k")));
    Ok(())
}

/// Claims this instance, which runs this version.
async fn claim_of(store: &Store, id: &str, version: u32) -> Checked<(Owner, Fence)> {
    let steps = steps(store)?;
    let owner = steps.register().await?;
    let definitions = [(DEFINITION.to_owned(), version)];
    match steps.acquire(&owner, &definitions, id, second(9)).await? {
        Some(claimed) => Ok((owner, claimed.fence)),
        None => unmet("it is not claimed"),
    }
}

async fn a_restart_without_a_reference_links_both_instances(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    ended(&store, &instance_with("i", &["p"]), Ending::Terminated).await?;
    let owner = steps.register().await?;
    let started = offered(steps.restart(Some(&owner), "i", &referred("j", "ignored")).await)?;
    assert!(started.fence.is_some(), "it is owned from the start");
    let (old, new) = (steps.load("i").await?, steps.load("j").await?);
    assert_eq!((old.restarted_as.as_deref(), new.restart_of.as_deref()), (Some("j"), Some("i")));
    assert_eq!((new.instance.reference, new.owner), (None, Some(owner.id())));
    assert_eq!(steps.find(DEFINITION, "ignored").await?, None);
    Ok(())
}

fn named(id: &str, name: &str, reference: &str) -> WorkflowInstance {
    WorkflowInstance { name: name.to_owned(), ..referred(id, reference) }
}

/// The names under which these instances are stored.
async fn names_of(store: &Store, ids: [&str; 2]) -> Checked<[String; 2]> {
    let [one, other] = ids;
    let name = async |id| store.get_workflow_instance(id).await.map(|instance| instance.name);
    Ok([name(one).await?, name(other).await?])
}

async fn a_restart_takes_the_name_of_the_instance_that_it_replaces(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    ended(&store, &named("i", "invoice", "order"), Ending::Failed).await?;
    offered(steps.restart(None, "i", &named("j", "invoice", "order")).await)?;
    assert_eq!(names_of(&store, ["i", "j"]).await?, ["i", "invoice"]);
    assert_eq!(steps.load("i").await?.instance.name, "i");
    assert_eq!(store.get_workflow_instance_by_name("invoice").await?.id, "j");
    // A restart that asks for another name, or for none, leaves the old one its name.
    for (of, new, name, expected) in [("j", "k", "", "k"), ("k", "l", "other", "other")] {
        let (_owner, fence) = claim_of(&store, of, 1).await?;
        done(&store, fence, end(of, Ending::Failed)).await?;
        let before = steps.load(of).await?.instance.name;
        steps.restart(None, of, &named(new, name, "order")).await?;
        assert_eq!(names_of(&store, [of, new]).await?, [before.as_str(), expected]);
    }
    Ok(())
}

async fn a_start_that_restarts_takes_the_name_too(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    ended(&store, &named("i", "invoice", "order"), Ending::Failed).await?;
    let new = named("j", "invoice", "order");
    let started = offered(steps.start_if(None, &new, Known::RestartIfFailed).await)?;
    assert_eq!((started.id.as_str(), started.restart_of.as_deref()), ("j", Some("i")));
    assert_eq!(names_of(&store, ["i", "j"]).await?, ["i", "invoice"]);
    Ok(())
}

/// The replaced instance gives its name up, and takes its id as its name. So it cannot give its id up.
async fn a_restart_does_not_take_the_id_that_the_replaced_instance_has_as_its_name(
    bench: Bench,
) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    offered(steps.find(DEFINITION, "order").await)?;
    ended(&store, &named("i", "i", "order"), Ending::Failed).await?;
    let (before, new) = (steps.load("i").await?, named("j", "i", "order"));
    assert_err!(
        steps.restart(None, "i", &new).await,
        WfeError::AlreadyExists { kind: Kind::WorkflowName, id } if id == "i"
    );
    assert_err!(
        steps.start_if(None, &new, Known::RestartIfFailed).await,
        WfeError::AlreadyExists { kind: Kind::WorkflowName, id } if id == "i"
    );
    assert_eq!(steps.load("i").await?, before);
    Ok(())
}

async fn a_restart_does_not_take_the_name_of_a_third_instance(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    ended(&store, &named("i", "invoice", "order"), Ending::Failed).await?;
    steps.start(None, &WorkflowInstance { name: "taken".to_owned(), ..instance("t") }).await?;
    let before = steps.load("i").await?;
    let new = named("j", "taken", "order");
    offered(steps.find(DEFINITION, "order").await)?;
    assert_err!(
        steps.restart(None, "i", &new).await,
        WfeError::AlreadyExists { kind: Kind::WorkflowName, id } if id == "taken"
    );
    // The old instance would get its id as its name, but a third one has it.
    steps.start(None, &WorkflowInstance { name: "i".to_owned(), ..instance("u") }).await?;
    assert_err!(
        steps.restart(None, "i", &named("j", "invoice", "order")).await,
        WfeError::AlreadyExists { kind: Kind::WorkflowName, id } if id == "i"
    );
    assert_eq!(steps.load("i").await?, before);
    assert_err!(store.get_workflow_instance("j").await, WfeError::WorkflowNotFound(_));
    assert_eq!(steps.find(DEFINITION, "order").await?.as_deref(), Some("i"));
    // Another name does not need the old one.
    steps.restart(None, "i", &named("j", "second", "order")).await?;
    assert_eq!(names_of(&store, ["i", "j"]).await?, ["invoice", "second"]);
    Ok(())
}

async fn only_an_ended_instance_is_restarted(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    steps.start(None, &referred("i", "order")).await?;
    let before = steps.load("i").await?;
    offered(steps.find(DEFINITION, "order").await)?;
    assert_err!(
        steps.restart(None, "i", &instance("j")).await,
        WfeError::CannotRetry { id, reason: RetryRefusal::NotEnded } if id == "i"
    );
    assert_err!(
        steps.restart(None, "unknown", &instance("j")).await,
        WfeError::WorkflowNotFound(id) if id == "unknown"
    );
    assert_eq!(steps.load("i").await?, before);
    assert_err!(store.get_workflow_instance("j").await, WfeError::WorkflowNotFound(_));
    Ok(())
}

async fn an_instance_is_restarted_once(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    ended(&store, &referred("i", "order"), Ending::Completed).await?;
    offered(steps.restart(None, "i", &instance("j")).await)?;
    assert_err!(
        steps.restart(None, "i", &instance("k")).await,
        WfeError::CannotRetry { reason: RetryRefusal::Restarted { id }, .. } if id == "j"
    );
    assert_err!(store.get_workflow_instance("k").await, WfeError::WorkflowNotFound(_));
    Ok(())
}

async fn of_many_restarts_exactly_one_makes_an_instance(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    ended(&store, &referred("i", "order"), Ending::Failed).await?;
    offered(steps.find(DEFINITION, "order").await)?;
    let new: Vec<_> = (0..8).map(|n| instance(&format!("j{n}"))).collect();
    let all = join_all(new.iter().map(|new| steps.restart(None, "i", new))).await;
    let made: Vec<_> = all.into_iter().filter_map(Result::ok).map(|started| started.id).collect();
    assert_eq!(made.len(), 1);
    assert_eq!(steps.find(DEFINITION, "order").await?.as_ref(), made.first());
    let ids: Vec<_> = new.iter().map(|new| new.id.clone()).collect();
    assert_eq!(store.get_workflow_instances(&ids).await?.len(), 1);
    Ok(())
}

async fn a_known_reference_is_refused_with_the_stored_id(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let started = offered(steps.start_if(None, &referred("i", "order"), Known::Refuse).await)?;
    assert!(started.is_new);
    assert_err!(
        steps.start_if(None, &referred("j", "order"), Known::Refuse).await,
        WfeError::AlreadyStarted { id, reference } if id == "i" && reference == "order"
    );
    assert_err!(store.get_workflow_instance("j").await, WfeError::WorkflowNotFound(_));
    let existing = steps.start_if(None, &referred("j", "order"), Known::Existing).await?;
    assert_eq!((existing.id.as_str(), existing.is_new), ("i", false));
    assert!(steps.start_if(None, &instance("k"), Known::Refuse).await?.is_new, "without a reference");
    Ok(())
}

async fn a_failed_instance_is_restarted_by_its_reference_and_no_other(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let start = |id: &str, reference: &str| {
        let new = referred(id, reference);
        let steps = &steps;
        async move { offered(steps.start_if(None, &new, Known::RestartIfFailed).await) }
    };
    assert!(start("i", "runs").await?.is_new);
    assert_eq!(start("j", "runs").await?.id, "i");
    for ending in [Ending::Completed, Ending::Cancelled, Ending::Terminated] {
        let (id, reference) = (format!("{ending:?}"), format!("ends as {ending:?}"));
        ended(&store, &referred(&id, &reference), ending).await?;
        let existing = start("j", &reference).await?;
        assert_eq!((existing.id, existing.is_new, existing.restart_of), (id, false, None));
    }
    ended(&store, &referred("f", "fails"), Ending::Failed).await?;
    let restarted = start("j", "fails").await?;
    assert_eq!((restarted.id.as_str(), restarted.is_new), ("j", true));
    assert_eq!(restarted.restart_of.as_deref(), Some("f"));
    let (old, new) = (steps.load("f").await?, steps.load("j").await?);
    assert_eq!((old.restarted_as.as_deref(), new.restart_of.as_deref()), (Some("j"), Some("f")));
    assert_eq!(start("k", "fails").await?.id, "j", "it has not failed yet");
    Ok(())
}

async fn of_many_starts_that_restart_a_failed_instance_exactly_one_makes_an_instance(
    bench: Bench,
) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    ended(&store, &referred("i", "order"), Ending::Failed).await?;
    offered(steps.find(DEFINITION, "order").await)?;
    let new: Vec<_> = (0..8).map(|n| referred(&format!("j{n}"), "order")).collect();
    let all = join_all(new.iter().map(|new| steps.start_if(None, new, Known::RestartIfFailed))).await;
    let mut made = Vec::new();
    for one in all {
        let one = one?;
        made.extend(one.is_new.then_some(one.id));
    }
    assert_eq!(made.len(), 1);
    assert_eq!(steps.find(DEFINITION, "order").await?.as_ref(), made.first());
    Ok(())
}

async fn a_reference_that_is_not_known_is_not_found(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    steps.start(None, &referred("i", "order")).await?;
    let found = offered(steps.find(DEFINITION, "order").await)?;
    assert_eq!(found.as_deref(), Some("i"));
    for (definition, reference) in [(DEFINITION, "Order"), (DEFINITION, ""), ("other", "order")] {
        assert_eq!(steps.find(definition, reference).await?, None);
    }
    Ok(())
}
