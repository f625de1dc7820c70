//! Retries and restarts: an ended instance runs again, and a reference decides what a start does.

use futures_util::future::join_all;
use wfe_core::{
    Kind, RetryRefusal,
    traits::{Known, Reopened, Started},
};

use super::prelude::*;

cases! { "retries":
    a_failed_instance_is_runnable_again_as_its_commit_says,
    an_instance_that_has_changed_since_it_was_read_is_not_reopened,
    an_instance_that_has_not_ended_is_not_reopened,
    an_unknown_instance_is_not_reopened,
    of_many_retries_exactly_one_is_stored,
    an_owner_from_before_the_end_commits_nothing_after_a_retry,
    a_subscription_of_a_retry_receives_the_next_event_of_its_stream,
    the_end_of_a_child_is_withdrawn_while_its_parent_waits_for_it,
    a_child_whose_parent_no_longer_waits_for_it_is_not_reopened,
    a_restart_links_both_instances_and_moves_the_reference,
    a_restart_without_a_reference_links_both_instances,
    a_restart_takes_the_name_of_the_instance_that_it_replaces,
    a_start_that_restarts_takes_the_name_too,
    a_restart_does_not_take_the_name_of_a_third_instance,
    only_an_ended_instance_is_restarted,
    an_instance_is_restarted_once,
    of_many_restarts_exactly_one_makes_an_instance,
    a_restarted_instance_is_not_reopened,
    a_known_reference_is_refused_with_the_stored_id,
    a_failed_instance_is_restarted_by_its_reference_and_no_other,
    of_many_starts_that_restart_a_failed_instance_exactly_one_makes_an_instance,
    a_reference_that_is_not_known_is_not_found,
}

fn referred(id: &str, reference: &str) -> WorkflowInstance {
    WorkflowInstance { reference: Some(reference.to_owned()), ..instance_with(id, &["p"]) }
}

/// The commit that ends this instance.
fn end(id: &str, ending: Ending) -> StepCommit {
    let status =
        if ending == Ending::Completed { WorkflowStatus::Complete } else { WorkflowStatus::Terminated };
    StepCommit {
        status: Some(status),
        ending: Some(ending),
        cause: (ending == Ending::Failed).then(|| failure(id, "p")),
        complete_time: Some(second(5)),
        next_execution: Some(None),
        release: true,
        ..commit(id)
    }
}

/// The commit that makes this instance runnable again.
fn again(id: &str) -> StepCommit {
    StepCommit {
        status: Some(WorkflowStatus::Runnable),
        next_execution: Some(Some(second_ms(9))),
        upserted: vec![pointer("q")],
        finished: vec![finished_pointer("p", &[])],
        release: true,
        ..commit(id)
    }
}

/// An instance that has ended in this way. Returns its revision.
async fn ended(store: &Store, instance: &WorkflowInstance, ending: Ending) -> Checked<u64> {
    let (_owner, fence) = owned(store, instance).await?;
    done(store, fence, end(&instance.id, ending)).await?;
    Ok(steps(store)?.load(&instance.id).await?.revision)
}

async fn reopen(store: &Store, id: &str, revision: u64) -> Checked<Reopened> {
    offered(steps(store)?.reopen(revision, second(8), &again(id)).await)
}

async fn a_failed_instance_is_runnable_again_as_its_commit_says(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let revision = ended(&store, &instance_with("i", &["p"]), Ending::Failed).await?;
    assert_eq!(reopen(&store, "i", revision).await?, Reopened::Done);
    let loaded = steps.load("i").await?;
    assert_eq!((loaded.ending, &loaded.cause, loaded.owner), (None, &None, None));
    assert_eq!((loaded.retried, loaded.instance.complete_time), (Some(second(8)), None));
    assert!(loaded.revision > revision);
    let expected = WorkflowInstance {
        execution_pointers: vec![pointer("q")],
        next_execution: Some(second_ms(9)),
        ..instance("i")
    };
    assert_eq!(loaded.instance, expected);
    let history: Vec<_> =
        finished_rows(&store, "i", "", 0, 9).await?.into_iter().map(|row| row.pointer.id).collect();
    assert_eq!(history, ["p"]);
    let owner = steps.register().await?;
    assert_eq!(steps.claim(&owner, &definitions(), second(8), 9).await?, []);
    let claimed = steps.claim(&owner, &definitions(), second(9), 9).await?;
    assert_eq!(claimed.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["i"]);
    // It ends once more, and is retried once more.
    done(&store, claimed[0].fence, end("i", Ending::Cancelled)).await?;
    let loaded = steps.load("i").await?;
    assert_eq!((loaded.ending, loaded.instance.complete_time), (Some(Ending::Cancelled), Some(second(5))));
    assert_eq!(reopen(&store, "i", loaded.revision).await?, Reopened::Done);
    Ok(())
}

async fn an_instance_that_has_changed_since_it_was_read_is_not_reopened(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let revision = ended(&store, &instance_with("i", &["p"]), Ending::Failed).await?;
    let before = steps(&store)?.load("i").await?;
    for stale in [revision - 1, revision + 1, u64::MAX] {
        assert_eq!(reopen(&store, "i", stale).await?, Reopened::Refused(RetryRefusal::Changed));
    }
    assert_eq!(steps(&store)?.load("i").await?, before);
    // Any write of the instance changes it.
    store.persist_workflow(&before.instance).await?;
    let changed = reopen(&store, "i", revision).await?;
    assert_eq!(changed, Reopened::Refused(RetryRefusal::Changed));
    Ok(())
}

async fn an_instance_that_has_not_ended_is_not_reopened(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let revision = ended(&store, &instance_with("i", &["p"]), Ending::Failed).await?;
    assert_eq!(reopen(&store, "i", revision).await?, Reopened::Done);
    let running = steps(&store)?.load("i").await?;
    for revision in [revision, running.revision] {
        assert_eq!(reopen(&store, "i", revision).await?, Reopened::Refused(RetryRefusal::NotEnded));
    }
    assert_eq!(steps(&store)?.load("i").await?, running);
    Ok(())
}

async fn an_unknown_instance_is_not_reopened(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let revision = ended(&store, &instance_with("i", &["p"]), Ending::Failed).await?;
    assert_eq!(reopen(&store, "i", revision).await?, Reopened::Done);
    let unknown = steps(&store)?.reopen(1, second(8), &again("unknown")).await;
    assert_err!(unknown, WfeError::WorkflowNotFound(id) if id == "unknown");
    Ok(())
}

async fn of_many_retries_exactly_one_is_stored(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let revision = ended(&store, &instance_with("i", &["p"]), Ending::Failed).await?;
    offered(steps.find(DEFINITION, "none").await)?;
    let step = again("i");
    let all = join_all((0..8).map(|_| steps.reopen(revision, second(8), &step))).await;
    let mut done = 0;
    for one in all {
        match one? {
            Reopened::Done => done += 1,
            Reopened::Refused(reason) => assert_eq!(reason, RetryRefusal::NotEnded),
        }
    }
    assert_eq!(done, 1);
    Ok(())
}

async fn an_owner_from_before_the_end_commits_nothing_after_a_retry(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance_with("i", &["p"])).await?;
    done(&store, fence, end("i", Ending::Failed)).await?;
    let revision = steps(&store)?.load("i").await?.revision;
    assert_eq!(reopen(&store, "i", revision).await?, Reopened::Done);
    let late = StepCommit { data: Some(json!("late")), ..commit("i") };
    assert_eq!(steps(&store)?.commit_step(fence, &late).await?, Committed::Lost);
    assert_eq!(store.get_workflow_instance("i").await?.data, instance("i").data);
    Ok(())
}

async fn a_subscription_of_a_retry_receives_the_next_event_of_its_stream(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let (_owner, fence) = owned(&store, &instance_with("i", &["p"])).await?;
    let first = vec![wait("w1", "i", "name", "key", second(0))];
    done(&store, fence, StepCommit { subscribed: first, ..commit("i") }).await?;
    store.create_event(&event("e1", "name", "key", second(0))).await?;
    let second_wait = vec![wait("w2", "i", "name", "key", second(0))];
    let consumes =
        StepCommit { consumed: vec![consumed("w1", "e1")], subscribed: second_wait, ..commit("i") };
    done(&store, fence, consumes).await?;
    done(&store, fence, StepCommit { unsubscribed: texts(&["w2"]), ..end("i", Ending::Failed) }).await?;
    // The event comes while no subscription is open, and is finished.
    store.create_event(&event("e2", "name", "key", second(0))).await?;
    assert!(steps.finish_event("e2").await?);
    let revision = steps.load("i").await?.revision;
    let subscribed = vec![wait("w3", "i", "name", "key", second(0))];
    let reopened = steps.reopen(revision, second(8), &StepCommit { subscribed, ..again("i") }).await;
    assert_eq!(offered(reopened)?, Reopened::Done);
    let deliveries = steps.load("i").await?.deliveries;
    let seen: Vec<_> = deliveries.iter().map(|d| (&*d.subscription_id, &*d.event.id)).collect();
    assert_eq!(seen, [("w3", "e2")]);
    assert!(!store.get_event("e2").await?.is_processed);
    let owner = steps.register().await?;
    assert_eq!(steps.claim(&owner, &definitions(), second(8), 9).await?.len(), 1);
    Ok(())
}

/// A parent that waits for its child `c`, which then fails. Returns the parent's fencing token.
async fn parent_and_child(store: &Store) -> Checked<(Owner, Fence)> {
    let steps = steps(store)?;
    let (owner, fence) = owned(store, &instance_with("i", &["p"])).await?;
    let created = vec![instance_with("c", &["p"])];
    let subscribed = vec![wait("w", "i", ENDED, "c", second(-9))];
    done(store, fence, StepCommit { created, subscribed, ..commit("i") }).await?;
    let claimed = steps.acquire(&owner, &definitions(), "c", second(1)).await?;
    let Some(claimed) = claimed else { unmet("the child is not claimed") };
    done(store, claimed.fence, StepCommit { published: vec![end_of_child()], ..end("c", Ending::Failed) })
        .await?;
    Ok((owner, fence))
}

const ENDED: &str = wfe_core::executor::CHILD_ENDED;

fn end_of_child() -> wfe_core::models::Event {
    event("end of c", ENDED, "c", second(-8))
}

async fn the_end_of_a_child_is_withdrawn_while_its_parent_waits_for_it(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let (owner, fence) = parent_and_child(&store).await?;
    assert_eq!(steps.load("i").await?.deliveries.len(), 1);
    let revision = steps.load("c").await?.revision;
    assert_eq!(reopen(&store, "c", revision).await?, Reopened::Done);
    assert_eq!(steps.load("i").await?.deliveries, []);
    assert_err!(store.get_event("end of c").await, WfeError::EventNotFound(_));
    // The parent has read the first end, and tries to consume it.
    let late = StepCommit { consumed: vec![consumed("w", "end of c")], ..commit("i") };
    assert_err!(steps.commit_step(fence, &late).await, WfeError::EventNotFound(_));
    // The second end reaches the parent.
    let claimed = steps.acquire(&owner, &definitions(), "c", second(9)).await?;
    let Some(claimed) = claimed else { unmet("the child is not claimed again") };
    let completes = StepCommit { published: vec![end_of_child()], ..end("c", Ending::Completed) };
    done(&store, claimed.fence, completes).await?;
    assert_eq!(steps.load("i").await?.deliveries.len(), 1);
    done(&store, fence, StepCommit { consumed: vec![consumed("w", "end of c")], ..commit("i") }).await
}

async fn a_child_whose_parent_no_longer_waits_for_it_is_not_reopened(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = parent_and_child(&store).await?;
    done(&store, fence, StepCommit { consumed: vec![consumed("w", "end of c")], ..commit("i") }).await?;
    let before = steps(&store)?.load("c").await?;
    let refused = reopen(&store, "c", before.revision).await?;
    assert_eq!(refused, Reopened::Refused(RetryRefusal::Child { parent: "i".to_owned() }));
    assert_eq!(steps(&store)?.load("c").await?, before);
    assert_eq!(store.get_event("end of c").await?.event_key, "c");
    Ok(())
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

async fn a_restarted_instance_is_not_reopened(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    ended(&store, &instance_with("i", &["p"]), Ending::Failed).await?;
    offered(steps.restart(None, "i", &instance("j")).await)?;
    let revision = steps.load("i").await?.revision;
    let refused = reopen(&store, "i", revision).await?;
    assert_eq!(refused, Reopened::Refused(RetryRefusal::Restarted { id: "j".to_owned() }));
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
