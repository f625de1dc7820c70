//! Retries: an ended instance runs again.

use futures_util::future::join_all;
use wfe_core::{RetryRefusal, traits::Reopened};

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
    a_restarted_instance_is_not_reopened,
}

/// The commit that ends this instance.
pub(super) fn end(id: &str, ending: Ending) -> StepCommit {
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
pub(super) async fn ended(store: &Store, instance: &WorkflowInstance, ending: Ending) -> Checked<u64> {
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
