//! Refused commits: such a commit stores nothing, and its error gives the reason.

use wfe_core::{
    Kind,
    models::{ExecutionPointer, ScheduledCommand},
    traits::{Consumed, Items},
};

use super::prelude::*;

cases! { "refused commits":
    a_wrong_fencing_token_is_reported_and_nothing_is_written,
    an_unknown_instance_is_reported_as_lost,
    after_a_takeover_the_old_fence_is_lost,
    a_taken_id_of_a_wait_is_refused_and_nothing_is_written,
    an_event_under_the_id_of_one_of_another_name_or_key_is_refused_and_nothing_is_written,
    a_child_under_the_id_of_another_instance_is_refused_and_nothing_is_written,
    a_value_that_cannot_be_stored_exactly_is_refused_and_nothing_is_written,
    a_consumed_wait_must_be_an_open_one_of_the_instance,
    a_consumed_event_must_be_there_due_and_of_the_stream,
    an_event_is_consumed_at_most_once_by_an_instance,
    a_refused_commit_spoils_no_other,
    a_dropped_commit_leaves_all_of_its_effect_or_none,
}

/// A commit that contains many kinds of changes. After a refusal, none of these changes may be visible.
fn effect() -> StepCommit {
    StepCommit {
        status: Some(WorkflowStatus::Suspended),
        data: Some(json!("changed")),
        upserted: vec![full_pointer("new", 1)],
        finished: vec![finished_pointer("a", &["box"])],
        items: vec![Items { container: "box".to_owned(), values: vec![json!(1)] }],
        subscribed: vec![wait("new", "i", "name", "key", second(0))],
        unsubscribed: texts(&["old"]),
        published: vec![event("published", "name", "key", second(0))],
        created: vec![instance("child")],
        failures: vec![failure("i", "declined")],
        commands: vec![ScheduledCommand::process_workflow("i", 0)],
        release: true,
        ..commit("i")
    }
}

/// An instance with an owner and with the wait `old`. The commit `effect()` would change the instance and close the
/// wait.
async fn untouched(store: &Store) -> Checked<(Owner, Fence)> {
    let (owner, fence) = owned(store, &instance_with("i", &["box", "a"])).await?;
    let subscribed = vec![wait("old", "i", "name", "old", second(0))];
    done(store, fence, StepCommit { subscribed, ..commit("i") }).await?;
    Ok((owner, fence))
}

async fn nothing_is_written(store: &Store, bench: &Bench) -> Checked<()> {
    let steps = steps(store)?;
    let loaded = steps.load("i").await?;
    assert_eq!(loaded.instance, instance_with("i", &["box", "a"]));
    assert_eq!((loaded.cause, loaded.control), (None, None));
    assert_eq!(loaded.waits[..1], [wait("old", "i", "name", "old", second(0))]);
    assert_err!(store.get_subscription("new").await, WfeError::SubscriptionNotFound(_));
    assert_eq!(finished_rows(store, "i", "box", 0, 9).await?, []);
    assert_eq!(steps.items("i", "box", 0, 9).await?, Vec::<Value>::new());
    assert_err!(store.get_event("published").await, WfeError::EventNotFound(_));
    assert_err!(store.get_workflow_instance("child").await, WfeError::WorkflowNotFound(_));
    if store.supports_scheduled_commands() {
        let fail =
            |_| -> wfe_core::traits::CommandFuture { Box::pin(std::future::ready(Err(WfeError::Cancelled))) };
        store.process_commands(bench.now(), &fail).await?;
    }
    let other = steps.register().await?;
    assert_eq!(
        steps.acquire(&other, &definitions(), "i", bench.now()).await?,
        None,
        "the instance was released"
    );
    Ok(())
}

async fn a_wrong_fencing_token_is_reported_and_nothing_is_written(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = untouched(&store).await?;
    for wrong in [fence.0.wrapping_sub(1), fence.0.wrapping_add(1)].map(Fence) {
        assert_eq!(steps(&store)?.commit_step(wrong, &effect()).await?, Committed::Lost, "{wrong:?}");
        nothing_is_written(&store, &bench).await?;
    }
    done(&store, fence, effect()).await
}

async fn an_unknown_instance_is_reported_as_lost(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = untouched(&store).await?;
    let unknown = StepCommit { instance_id: "unknown".to_owned(), ..effect() };
    assert_eq!(steps(&store)?.commit_step(fence, &unknown).await?, Committed::Lost);
    nothing_is_written(&store, &bench).await
}

async fn after_a_takeover_the_old_fence_is_lost(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (owner, old) = untouched(&store).await?;
    drop(owner);
    let steps = steps(&store)?;
    let heir = steps.register().await?;
    let claimed = steps.claim(&heir, &definitions(), bench.now(), 9).await?;
    assert_eq!(claimed.len(), 1);
    assert_eq!(steps.commit_step(old, &effect()).await?, Committed::Lost);
    nothing_is_written(&store, &bench).await?;
    done(&store, claimed[0].fence, effect()).await
}

async fn a_taken_id_of_a_wait_is_refused_and_nothing_is_written(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = untouched(&store).await?;
    let taken = wait("old", "i", "name", "key", second(0));
    let twice = wait("new", "i", "name", "key", second(0));
    for refused in [taken, twice] {
        let mut commit = effect();
        commit.subscribed.push(refused.clone());
        assert_err!(
            steps(&store)?.commit_step(fence, &commit).await,
            WfeError::AlreadyExists { kind: Kind::Subscription, id } if id == refused.id
        );
        nothing_is_written(&store, &bench).await?;
    }
    done(&store, fence, effect()).await
}

async fn an_event_under_the_id_of_one_of_another_name_or_key_is_refused_and_nothing_is_written(
    bench: Bench,
) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = untouched(&store).await?;
    let first = event("taken", "name", "key", second(0));
    store.create_event(&first).await?;
    for (name, key) in [("other", "key"), ("name", "other"), ("Name", "key"), ("key", "name")] {
        let published =
            vec![event("published", "name", "key", second(0)), event("taken", name, key, second(0))];
        assert_err!(
            steps(&store)?.commit_step(fence, &StepCommit { published, ..effect() }).await,
            WfeError::AlreadyExists { kind: Kind::Event, id } if id == "taken"
        );
        nothing_is_written(&store, &bench).await?;
        assert_eq!(store.get_event("taken").await?, first);
    }
    let two = [event("published", "name", "key", second(0)), event("published", "other", "key", second(0))];
    assert_err!(
        steps(&store)?.commit_step(fence, &StepCommit { published: two.into(), ..effect() }).await,
        WfeError::AlreadyExists { kind: Kind::Event, id } if id == "published"
    );
    nothing_is_written(&store, &bench).await
}

async fn a_child_under_the_id_of_another_instance_is_refused_and_nothing_is_written(
    bench: Bench,
) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = untouched(&store).await?;
    let (_other, other) = owned(&store, &parked("j")).await?;
    store.create_new_workflow(&instance("unowned")).await?;
    done(&store, other, StepCommit { created: vec![instance("of another")], ..commit("j") }).await?;
    done(&store, fence, StepCommit { created: vec![instance("own")], ..commit("i") }).await?;
    let renamed = WorkflowInstance { workflow_definition_id: "other".to_owned(), ..instance("own") };
    for taken in [instance("unowned"), instance("of another"), instance("j"), renamed] {
        let (id, created) = (taken.id.clone(), vec![instance("child"), taken]);
        assert_err!(
            steps(&store)?.commit_step(fence, &StepCommit { created, ..effect() }).await,
            WfeError::AlreadyExists { kind: Kind::Workflow, id: refused } if refused == id
        );
        nothing_is_written(&store, &bench).await?;
    }
    Ok(())
}

async fn a_value_that_cannot_be_stored_exactly_is_refused_and_nothing_is_written(
    bench: Bench,
) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = untouched(&store).await?;
    let deep = (0..130).fold(json!(1), |inner, _| json!([inner]));
    let variants: [fn(&mut StepCommit, Value); 7] = [
        |commit, deep| commit.data = Some(deep),
        |commit, deep| {
            commit.upserted.push(ExecutionPointer { outcome: Some(deep), ..pointer("deep") });
        },
        |commit, deep| {
            commit.finished.push(ExecutionPointer { outcome: Some(deep), ..finished_pointer("deep", &[]) });
        },
        |commit, deep| commit.items.push(Items { container: "deep".to_owned(), values: vec![deep] }),
        |commit, deep| commit.subscribed[0].subscription_data = Some(deep),
        |commit, deep| commit.published[0].event_data = deep,
        |commit, deep| commit.created[0].data = deep,
    ];
    for spoil in variants {
        let mut commit = effect();
        spoil(&mut commit, deep.clone());
        assert_err!(steps(&store)?.commit_step(fence, &commit).await, WfeError::Unstorable { .. });
        nothing_is_written(&store, &bench).await?;
    }
    done(&store, fence, effect()).await
}

/// Tries to commit `effect()` with these consumed events, and returns the error with which the store refuses the
/// commit.
async fn refused(store: &Store, fence: Fence, consumed: Vec<Consumed>) -> Checked<WfeError> {
    let commit = StepCommit { consumed, ..effect() };
    match steps(store)?.commit_step(fence, &commit).await {
        Err(error) => Ok(error),
        accepted => unmet(&format!("{:?} was accepted: {accepted:?}", commit.consumed)),
    }
}

async fn a_consumed_wait_must_be_an_open_one_of_the_instance(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = untouched(&store).await?;
    store.create_event(&event("e", "name", "key", second(0))).await?;
    let subscribed =
        vec![wait("open", "i", "name", "key", second(0)), wait("closed", "i", "name", "key", second(0))];
    done(&store, fence, StepCommit { subscribed, ..commit("i") }).await?;
    store.terminate_subscription("closed").await?;
    store.create_event_subscription(&wait("foreign", "j", "name", "key", second(0))).await?;
    for wrong in ["unknown", "closed", "foreign"] {
        let error = refused(&store, fence, vec![consumed("open", "e"), consumed(wrong, "e")]).await?;
        assert!(matches!(&error, WfeError::SubscriptionNotFound(id) if id == wrong), "{wrong}: {error:?}");
        nothing_is_written(&store, &bench).await?;
    }
    done(&store, fence, StepCommit { consumed: vec![consumed("open", "e")], ..commit("i") }).await
}

async fn a_consumed_event_must_be_there_due_and_of_the_stream(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = untouched(&store).await?;
    store.create_event(&event("fits", "name", "key", second(0))).await?;
    store.create_event(&event("other name", "other", "key", second(0))).await?;
    store.create_event(&event("other key", "name", "other", second(0))).await?;
    store.create_event(&event("ahead", "name", "key", second(1))).await?;
    store.create_event(&event("too old", "name", "key", second(-1))).await?;
    let subscribed = vec![wait("open", "i", "name", "key", second(0))];
    done(&store, fence, StepCommit { subscribed, ..commit("i") }).await?;
    for wrong in ["unknown", "other name", "other key", "ahead", "too old"] {
        let error = refused(&store, fence, vec![consumed("open", wrong)]).await?;
        assert!(matches!(&error, WfeError::EventNotFound(id) if id == wrong), "{wrong}: {error:?}");
        nothing_is_written(&store, &bench).await?;
    }
    done(&store, fence, StepCommit { consumed: vec![consumed("open", "fits")], ..commit("i") }).await
}

async fn an_event_is_consumed_at_most_once_by_an_instance(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = untouched(&store).await?;
    for id in ["first", "second"] {
        store.create_event(&event(id, "name", "key", second(0))).await?;
    }
    let subscribed = ["v", "w"].map(|id| wait(id, "i", "name", "key", second(0))).into();
    done(&store, fence, StepCommit { subscribed, ..commit("i") }).await?;
    done(&store, fence, StepCommit { consumed: vec![consumed("v", "first")], ..commit("i") }).await?;
    let error = refused(&store, fence, vec![consumed("w", "first")]).await?;
    assert!(matches!(&error, WfeError::EventNotFound(id) if id == "first"), "{error:?}");
    nothing_is_written(&store, &bench).await?;
    done(&store, fence, StepCommit { consumed: vec![consumed("w", "second")], ..commit("i") }).await
}

async fn a_refused_commit_spoils_no_other(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    store.create_event_subscription(&wait("taken", "other", "name", "key", second(0))).await?;
    let owner = steps.register().await?;
    let mut commits = Vec::new();
    for n in 0..60_u32 {
        let id = format!("i{n}");
        let started = steps.start(Some(&owner), &instance(&id)).await?;
        let Some(fence) = started.fence else { unmet("a new instance with an owner came without a fence") };
        let mut step = StepCommit {
            data: Some(json!("changed")),
            upserted: vec![full_pointer("p", n)],
            subscribed: vec![wait(&id, &id, "name", &id, second(0))],
            ..commit(&id)
        };
        let mut with = fence;
        match n % 6 {
            1 => with = Fence(fence.0 + 1),
            3 => step.subscribed.push(wait("taken", &id, "name", "key", second(0))),
            5 => step.consumed.push(consumed("taken", "no event")),
            _ => {}
        }
        commits.push((with, step));
    }
    let committing = commits.iter().map(|(fence, step)| steps.commit_step(*fence, step));
    let results = futures_util::future::join_all(committing).await;
    for (n, ((_, step), result)) in commits.iter().zip(results).enumerate() {
        match n % 6 {
            1 => assert_eq!(result?, Committed::Lost),
            3 => assert_err!(result, WfeError::AlreadyExists { .. }),
            5 => assert_err!(result, WfeError::SubscriptionNotFound(_)),
            _ => assert_eq!(result?, Committed::Done),
        }
        let id = &step.instance_id;
        let changed = WorkflowInstance {
            data: json!("changed"),
            execution_pointers: step.upserted.clone(),
            ..instance(id)
        };
        let is_done = n % 2 == 0;
        let expected = if is_done { changed } else { instance(id) };
        assert_eq!(store.get_workflow_instance(id).await?, expected);
        assert_eq!(store.get_subscription(id).await.is_ok(), is_done);
    }
    Ok(())
}

async fn a_dropped_commit_leaves_all_of_its_effect_or_none(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    for round in 0..24_usize {
        let id = format!("i{round}");
        let (_owner, fence) = owned(&store, &instance(&id)).await?;
        let steps = steps(&store)?;
        let changed = StepCommit {
            data: Some(json!("changed")),
            upserted: vec![pointer("new")],
            published: vec![event(&id, "name", "key", second(0))],
            created: vec![instance(&format!("child of {id}"))],
            ..commit(&id)
        };
        {
            let mut dropped = std::pin::pin!(steps.commit_step(fence, &changed));
            for _ in 0..round % 8 {
                if futures_util::future::poll_immediate(dropped.as_mut()).await.is_some() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        // If the store consists of two providers in turn, the dropped commit may still be stored between two of these
        // reads. Then the event and the child can be missing in the reads before the instance, but must exist in the
        // reads after it.
        let others = async || {
            let child = store.get_workflow_instance(&format!("child of {id}")).await;
            [store.get_event(&id).await.is_ok(), child.is_ok()]
        };
        let before = others().await;
        let stored = store.get_workflow_instance(&id).await?;
        let is_done = stored.data == "changed";
        assert_eq!(!stored.execution_pointers.is_empty(), is_done);
        if is_done {
            assert_eq!(others().await, [true, true]);
        } else {
            assert_eq!(before, [false, false]);
        }
        // The instance can be written as before.
        done(&store, fence, commit(&id)).await?;
    }
    Ok(())
}
