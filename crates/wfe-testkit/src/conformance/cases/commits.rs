//! Commits: all changes of a step are stored in one transaction.

use std::sync::Mutex;

use wfe_core::{
    models::{Event, ExecutionPointer, PointerStatus, ScheduledCommand},
    sync::lock,
    traits::{CommandFuture, Items},
};

use super::prelude::*;

cases! { "commits":
    a_commit_that_names_nothing_changes_nothing,
    every_field_that_a_commit_names_is_stored,
    an_unscheduled_instance_stays_so_until_a_commit_schedules_it,
    changed_pointers_stay_in_place_and_new_ones_come_last,
    a_pointer_comes_back_from_a_commit_as_it_went_in,
    finished_pointers_leave_the_live_instance,
    new_waits_are_open_and_removed_waits_are_closed,
    published_events_are_stored_and_those_that_exist_are_skipped,
    children_are_created_with_their_parent_and_those_that_exist_are_skipped,
    commands_of_a_commit_are_merged,
    a_status_replaces_the_stored_cause_and_no_status_keeps_it,
    a_commit_of_everything_is_stored_as_one,
    a_released_instance_can_be_claimed_again,
    every_write_of_an_instance_raises_its_revision,
    persist_workflow_keeps_what_is_stored_beside_the_model,
    a_large_commit_is_stored,
    readers_never_see_half_a_commit,
    what_a_commit_has_stored_outlives_its_provider,
}

async fn a_commit_that_names_nothing_changes_nothing(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &full_instance("i", 1)).await?;
    done(&store, fence, commit("i")).await?;
    assert_eq!(store.get_workflow_instance("i").await?, full_instance("i", 1));
    let loaded = steps(&store)?.load("i").await?;
    assert_eq!((loaded.instance, loaded.fence), (full_instance("i", 1), fence));
    Ok(())
}

async fn every_field_that_a_commit_names_is_stored(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let endings = [
        (WorkflowStatus::Complete, Ending::Completed),
        (WorkflowStatus::Terminated, Ending::Failed),
        (WorkflowStatus::Terminated, Ending::Cancelled),
        (WorkflowStatus::Terminated, Ending::Terminated),
    ];
    for (n, (status, ending)) in (0_i64..).zip(endings) {
        let id = &format!("{ending:?}");
        let (_owner, fence) = owned(&store, &instance(id)).await?;
        let cause = (ending == Ending::Failed).then(|| failure(id, "declined"));
        let ended = StepCommit {
            status: Some(status),
            ending: Some(ending),
            cause: cause.clone(),
            complete_time: Some(second(n)),
            next_execution: Some(Some(n)),
            data: Some(json!({ "n": n })),
            ..commit(id)
        };
        done(&store, fence, ended).await?;
        let loaded = steps(&store)?.load(id).await?;
        let expected = WorkflowInstance {
            status,
            complete_time: Some(second(n)),
            next_execution: Some(n),
            data: json!({ "n": n }),
            ..instance(id)
        };
        assert_eq!(loaded.instance, expected);
        assert_eq!((loaded.ending, loaded.cause), (Some(ending), cause));
        assert_eq!(store.get_workflow_instance(id).await?, expected);
    }
    Ok(())
}

async fn an_unscheduled_instance_stays_so_until_a_commit_schedules_it(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let next = async |next_execution| -> Checked<Option<i64>> {
        done(&store, fence, StepCommit { next_execution, ..commit("i") }).await?;
        Ok(store.get_workflow_instance("i").await?.next_execution)
    };
    assert_eq!(next(None).await?, Some(0));
    assert_eq!(next(Some(None)).await?, None);
    assert_eq!(next(None).await?, None);
    assert_eq!(next(Some(Some(7))).await?, Some(7));
    assert_eq!(next(None).await?, Some(7));
    Ok(())
}

async fn changed_pointers_stay_in_place_and_new_ones_come_last(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance_with("i", &["c", "a", "b"])).await?;
    let rounds: [(Vec<_>, Vec<_>); 3] = [
        (
            vec![full_pointer("z", 1), full_pointer("a", 1), full_pointer("y", 1)],
            vec![
                pointer("c"),
                full_pointer("a", 1),
                pointer("b"),
                full_pointer("z", 1),
                full_pointer("y", 1),
            ],
        ),
        (
            vec![full_pointer("y", 2), full_pointer("c", 2)],
            vec![
                full_pointer("c", 2),
                full_pointer("a", 1),
                pointer("b"),
                full_pointer("z", 1),
                full_pointer("y", 2),
            ],
        ),
        (
            vec![pointer("x")],
            vec![
                full_pointer("c", 2),
                full_pointer("a", 1),
                pointer("b"),
                full_pointer("z", 1),
                full_pointer("y", 2),
                pointer("x"),
            ],
        ),
    ];
    for (upserted, expected) in rounds {
        done(&store, fence, StepCommit { upserted, ..commit("i") }).await?;
        assert_eq!(store.get_workflow_instance("i").await?.execution_pointers, expected);
        assert_eq!(steps(&store)?.load("i").await?.instance.execution_pointers, expected);
    }
    Ok(())
}

async fn a_pointer_comes_back_from_a_commit_as_it_went_in(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let values = json!([u64::MAX, i64::MIN, 5e-324, -0.0, "a\0b", null]);
    let states = [
        full_pointer("p", 1),
        full_pointer("p", 2),
        pointer("p"),
        ExecutionPointer { outcome: Some(Value::Null), event_data: Some(values), ..pointer("p") },
    ];
    for state in states {
        done(&store, fence, StepCommit { upserted: vec![state.clone()], ..commit("i") }).await?;
        assert_eq!(store.get_workflow_instance("i").await?.execution_pointers, [state]);
    }
    Ok(())
}

async fn finished_pointers_leave_the_live_instance(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance_with("i", &["a", "b", "c"])).await?;
    let finished = vec![finished_pointer("b", &[]), finished_pointer("never live", &[])];
    done(&store, fence, StepCommit { finished, upserted: vec![pointer("d")], ..commit("i") }).await?;
    let live = [pointer("a"), pointer("c"), pointer("d")];
    assert_eq!(store.get_workflow_instance("i").await?.execution_pointers, live);
    Ok(())
}

async fn new_waits_are_open_and_removed_waits_are_closed(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let waits: Vec<_> = ["v", "w"].map(|id| wait(id, "i", "name", "key", second(0))).into();
    done(&store, fence, StepCommit { subscribed: waits.clone(), ..commit("i") }).await?;
    assert_eq!(steps(&store)?.load("i").await?.waits.len(), 2);
    assert_eq!(store.get_subscription("v").await?, waits[0]);

    let unsubscribed = texts(&["v", "unknown"]);
    done(&store, fence, StepCommit { unsubscribed, ..commit("i") }).await?;
    assert_eq!(steps(&store)?.load("i").await?.waits, waits[1..]);
    assert_eq!(store.get_subscriptions("name", "key", second(9)).await?, waits[1..]);
    assert_eq!(store.get_subscription("v").await?, waits[0]);
    Ok(())
}

async fn published_events_are_stored_and_those_that_exist_are_skipped(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let old = event("old", "name", "key", second(0));
    store.create_event(&old).await?;
    store.mark_event_processed("old").await?;
    let new = event("new", "name", "key", second(-1));
    let changed = Event { event_data: json!("changed"), ..event("old", "name", "key", second(-5)) };
    done(&store, fence, StepCommit { published: vec![changed, new.clone()], ..commit("i") }).await?;
    assert_eq!(store.get_event("new").await?, new);
    assert_eq!(store.get_event("old").await?, Event { is_processed: true, ..old });
    Ok(())
}

async fn children_are_created_with_their_parent_and_those_that_exist_are_skipped(
    bench: Bench,
) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let old = instance_with("old", &["p"]);
    done(&store, fence, StepCommit { created: vec![old.clone()], ..commit("i") }).await?;
    let changed =
        WorkflowInstance { workflow_definition_id: DEFINITION.to_owned(), ..full_instance("old", 1) };
    let created = vec![changed, full_instance("new", 2)];
    done(&store, fence, StepCommit { created: created.clone(), ..commit("i") }).await?;
    done(&store, fence, StepCommit { created, ..commit("i") }).await?;
    assert_eq!(store.get_workflow_instance("old").await?, old);
    assert_eq!(store.get_workflow_instance("new").await?, full_instance("new", 2));
    assert_eq!(steps(&store)?.load("new").await?.parent.as_deref(), Some("i"));
    assert_eq!(steps(&store)?.load("i").await?.parent, None);
    Ok(())
}

async fn commands_of_a_commit_are_merged(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    must_keep_commands(&store)?;
    store.schedule_command(&ScheduledCommand::process_workflow("a", 10)).await?;
    store.schedule_command(&ScheduledCommand::process_workflow("b", 30)).await?;
    let commands = ["a", "b", "c"].map(|id| ScheduledCommand::process_workflow(id, 20)).into();
    done(&store, fence, StepCommit { commands, ..commit("i") }).await?;
    let ran: Arc<Mutex<Vec<(String, i64)>>> = Arc::default();
    let seen = Arc::clone(&ran);
    let handler = move |command: ScheduledCommand| -> CommandFuture {
        let mut seen = lock(&seen);
        seen.push((command.data, command.execute_time));
        Box::pin(std::future::ready(Ok(())))
    };
    store.process_commands(bench.now(), &handler).await?;
    let mut ran = lock(&ran).clone();
    ran.sort();
    assert_eq!(ran, [("a".to_owned(), 10), ("b".to_owned(), 20), ("c".to_owned(), 20)]);
    Ok(())
}

async fn a_status_replaces_the_stored_cause_and_no_status_keeps_it(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let cause = failure("i", "declined");
    let suspended = StepCommit {
        status: Some(WorkflowStatus::Suspended),
        cause: Some(cause.clone()),
        failures: vec![cause.clone()],
        ..commit("i")
    };
    done(&store, fence, suspended).await?;
    done(&store, fence, commit("i")).await?;
    assert_eq!(steps(&store)?.load("i").await?.cause, Some(cause));
    let resumed = StepCommit { status: Some(WorkflowStatus::Runnable), ..commit("i") };
    done(&store, fence, resumed).await?;
    assert_eq!(steps(&store)?.load("i").await?.cause, None);
    Ok(())
}

/// A commit that contains every kind of change.
fn everything() -> StepCommit {
    StepCommit {
        status: Some(WorkflowStatus::Suspended),
        cause: Some(failure("i", "declined")),
        complete_time: Some(second(5)),
        next_execution: Some(None),
        data: Some(json!("changed")),
        upserted: vec![full_pointer("new", 1)],
        finished: vec![finished_pointer("a", &["box"])],
        items: vec![Items { container: "box".to_owned(), values: vec![json!(1), Value::Null] }],
        subscribed: vec![wait("new", "i", "name", "key", second(0))],
        unsubscribed: texts(&["old"]),
        consumed: vec![consumed("waiting", "there")],
        published: vec![event("published", "name", "other", second(0))],
        created: vec![instance("child")],
        failures: vec![failure("i", "declined")],
        commands: vec![ScheduledCommand::process_workflow("i", 5)],
        ..commit("i")
    }
}

/// An instance on which `everything()` can be committed.
async fn ready_for_everything(store: &Store) -> Checked<(Owner, Fence)> {
    let (owner, fence) = owned(store, &instance_with("i", &["box", "a"])).await?;
    store.create_event(&event("there", "awaited", "key", second(0))).await?;
    let subscribed =
        vec![wait("old", "i", "name", "key", second(0)), wait("waiting", "i", "awaited", "key", second(0))];
    done(store, fence, StepCommit { subscribed, ..commit("i") }).await?;
    Ok((owner, fence))
}

async fn everything_is_stored(store: &Store) -> Checked<()> {
    let steps = steps(store)?;
    let loaded = steps.load("i").await?;
    let expected = WorkflowInstance {
        status: WorkflowStatus::Suspended,
        complete_time: Some(second(5)),
        data: json!("changed"),
        execution_pointers: vec![pointer("box"), full_pointer("new", 1)],
        ..parked("i")
    };
    assert_eq!(loaded.instance, expected);
    assert_eq!(loaded.cause, Some(failure("i", "declined")));
    assert_eq!(loaded.waits, [wait("new", "i", "name", "key", second(0))]);
    let finished = finished_rows(store, "i", "box", 0, 9).await?;
    assert_eq!(finished, [Finished { number: 1, pointer: finished_pointer("a", &["box"]) }]);
    assert_eq!(steps.items("i", "box", 0, 9).await?, [json!(1), Value::Null]);
    assert_eq!(store.get_event("published").await?, event("published", "name", "other", second(0)));
    assert_eq!(steps.load("child").await?.parent.as_deref(), Some("i"));
    Ok(())
}

async fn a_commit_of_everything_is_stored_as_one(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = ready_for_everything(&store).await?;
    done(&store, fence, everything()).await?;
    everything_is_stored(&store).await
}

async fn what_a_commit_has_stored_outlives_its_provider(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (owner, fence) = ready_for_everything(&store).await?;
    done(&store, fence, everything()).await?;
    drop(owner);
    let store = bench.reopen(store).await?;
    everything_is_stored(&store).await
}

async fn a_released_instance_can_be_claimed_again(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let steps = steps(&store)?;
    let other = steps.register().await?;
    done(&store, fence, commit("i")).await?;
    assert_eq!(steps.claim(&other, &definitions(), bench.now(), 9).await?, []);
    done(&store, fence, StepCommit { release: true, ..commit("i") }).await?;
    let claimed = steps.claim(&other, &definitions(), bench.now(), 9).await?;
    assert_eq!(claimed.len(), 1);
    assert!(claimed[0].fence > fence);
    Ok(())
}

async fn every_write_of_an_instance_raises_its_revision(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let steps = steps(&store)?;
    let mut revisions = vec![steps.load("i").await?.revision];
    assert_eq!(steps.load("i").await?.revision, revisions[0], "reading is no write");
    for round in 0..3 {
        store.persist_workflow(&WorkflowInstance { data: json!(round), ..instance("i") }).await?;
        revisions.push(steps.load("i").await?.revision);
        done(&store, fence, StepCommit { upserted: vec![pointer("p")], ..commit("i") }).await?;
        revisions.push(steps.load("i").await?.revision);
    }
    assert!(revisions.is_sorted_by(|a, b| a < b), "{revisions:?}");
    Ok(())
}

async fn persist_workflow_keeps_what_is_stored_beside_the_model(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("parent")).await?;
    let created = vec![instance_with("i", &["box", "a"])];
    done(&store, fence, StepCommit { created, ..commit("parent") }).await?;
    let steps = steps(&store)?;
    let owner = steps.register().await?;
    let Some(claimed) = steps.acquire(&owner, &definitions(), "i", bench.now()).await? else {
        unmet("nothing to acquire")
    };
    let ended = StepCommit {
        status: Some(WorkflowStatus::Terminated),
        ending: Some(Ending::Failed),
        cause: Some(failure("i", "declined")),
        finished: vec![finished_pointer("a", &["box"])],
        items: vec![Items { container: "box".to_owned(), values: vec![json!(1)] }],
        ..commit("i")
    };
    done(&store, claimed.fence, ended).await?;
    let before = steps.load("i").await?;
    store
        .persist_workflow(&WorkflowInstance { status: WorkflowStatus::Terminated, ..full_instance("i", 3) })
        .await?;
    let after = steps.load("i").await?;
    assert_eq!(after.fence, before.fence);
    assert_eq!((after.ending, &after.cause), (Some(Ending::Failed), &before.cause));
    assert_eq!(after.parent.as_deref(), Some("parent"));
    let finished = finished_rows(&store, "i", "box", 0, 9).await?;
    assert_eq!(finished, [Finished { number: 1, pointer: finished_pointer("a", &["box"]) }]);
    assert_eq!(steps.items("i", "box", 0, 9).await?, [json!(1)]);
    Ok(())
}

async fn a_large_commit_is_stored(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let upserted: Vec<_> = (0..1_500).map(|n| pointer(&format!("p{n}"))).collect();
    let finished: Vec<_> = (0..1_500).map(|n| finished_pointer(&format!("f{n}"), &[])).collect();
    let subscribed: Vec<_> =
        (0..300).map(|n| wait(&format!("w{n}"), "i", "name", &n.to_string(), second(0))).collect();
    let large = StepCommit {
        upserted: upserted.clone(),
        finished: finished.clone(),
        subscribed: subscribed.clone(),
        ..commit("i")
    };
    done(&store, fence, large).await?;
    assert_eq!(store.get_workflow_instance("i").await?.execution_pointers, upserted);
    assert_eq!(steps(&store)?.load("i").await?.waits.len(), subscribed.len());
    let history = finished_rows(&store, "i", "", 0, 2_000).await?;
    assert_eq!(history.into_iter().map(|row| row.pointer).collect::<Vec<_>>(), finished);
    Ok(())
}

async fn readers_never_see_half_a_commit(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let at = |n: u32| ExecutionPointer {
        retry_count: n,
        status: if n.is_multiple_of(2) { PointerStatus::Pending } else { PointerStatus::Running },
        ..pointer("p")
    };
    let first = WorkflowInstance { data: json!(0), execution_pointers: vec![at(0)], ..instance("i") };
    let (_owner, fence) = owned(&store, &first).await?;
    let reader = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            while let Some(steps) = store.clone().step_store() {
                let loaded = steps.load("i").await?.instance;
                let plain = store.get_workflow_instance("i").await?;
                for got in [&loaded, &plain] {
                    let pointer = &got.execution_pointers[0];
                    assert_eq!(got.data, json!(pointer.retry_count), "two commits are mixed");
                }
                if plain.data == json!(100) {
                    break;
                }
            }
            Ok::<_, WfeError>(())
        })
    };
    for n in 1..=100 {
        let next = StepCommit { data: Some(json!(n)), upserted: vec![at(n)], ..commit("i") };
        done(&store, fence, next).await?;
    }
    reader.await??;
    Ok(())
}
