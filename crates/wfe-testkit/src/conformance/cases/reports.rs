//! What operators count and look through: numbers of instances, failures, events, subscriptions, histories.

use std::time::Duration;

use wfe_core::{
    models::{ExecutionError, ExecutionPointer, PointerStatus},
    traits::{Cursor, EventFilter, InstanceState, OpenCount, Query, TimeRange, WaitFilter},
};

use super::{listings::ends, prelude::*, retries::end};

cases! { "reports":
    open_instances_are_counted_by_definition_version_and_state,
    ended_instances_are_counted_by_interval_definition_and_ending,
    intervals_that_are_too_many_or_too_short_are_refused,
    failures_are_grouped_by_definition_step_and_code,
    live_pointers_are_counted_by_step,
    failures_of_an_instance_come_oldest_first_and_those_of_all_newest_first,
    a_history_comes_in_the_order_of_completion_in_pages,
    events_are_listed_newest_first_without_those_of_the_engine,
    open_subscriptions_are_listed_oldest_first_with_their_instances,
    external_tasks_are_counted_by_name,
}

async fn open_instances_are_counted_by_definition_version_and_state(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let asked = management(&store)?;
    let (_owner, _) = owned(&store, &instance("running")).await?;
    for (id, due) in [("due", -3), ("later due", -1), ("asleep", 1)] {
        let due = WorkflowInstance { next_execution: Some(second_ms(due)), ..instance(id) };
        store.create_new_workflow(&due).await?;
    }
    store.create_new_workflow(&parked("waiting")).await?;
    let suspended = |id: &str| WorkflowInstance { status: WorkflowStatus::Suspended, ..parked(id) };
    store.create_new_workflow(&WorkflowInstance { version: 2, ..suspended("s") }).await?;
    ends(&store, &instance("ended"), Ending::Completed).await?;
    let of = |version, state, count, due: Option<i64>| OpenCount {
        definition: DEFINITION.to_owned(),
        version,
        state,
        count,
        oldest_due: due.map(second),
    };
    let mut found = asked.open_counts(second(0)).await?;
    found.sort_by_key(|count| (count.version, count.state));
    let expected = [
        of(1, InstanceState::Running, 1, None),
        of(1, InstanceState::Due, 2, Some(-3)),
        of(1, InstanceState::Asleep, 1, None),
        of(1, InstanceState::Waiting, 1, None),
        of(2, InstanceState::Suspended, 1, None),
    ];
    assert_eq!(found, expected);
    Ok(())
}

async fn ended_instances_are_counted_by_interval_definition_and_ending(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let asked = management(&store)?;
    for (id, ended, ending) in [
        ("a", 0, Ending::Completed),
        ("b", 9, Ending::Completed),
        ("c", 10, Ending::Completed),
        ("d", 11, Ending::Failed),
        ("e", 20, Ending::Completed),
        ("f", -1, Ending::Completed),
    ] {
        let (_owner, fence) = owned(&store, &instance(id)).await?;
        done(&store, fence, StepCommit { complete_time: Some(second(ended)), ..end(id, ending) }).await?;
    }
    let range = TimeRange { from: Some(second(0)), until: Some(second(20)) };
    let found = asked.ended_counts(range, Duration::from_secs(10)).await?;
    let found: Vec<_> = found.into_iter().map(|count| (count.from, count.ending, count.count)).collect();
    let expected = [
        (second(0), Ending::Completed, 2),
        (second(10), Ending::Completed, 1),
        (second(10), Ending::Failed, 1),
    ];
    assert_eq!(found, expected);
    Ok(())
}

async fn intervals_that_are_too_many_or_too_short_are_refused(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let asked = management(&store)?;
    let range = |from, until| TimeRange { from, until };
    for (range, step) in [
        (range(None, Some(second(0))), 1_000),
        (range(Some(second(0)), None), 1_000),
        (range(Some(second(0)), Some(second(1))), 999),
        (range(Some(second(0)), Some(second(1_001))), 1_000),
    ] {
        let step = Duration::from_millis(step);
        assert_err!(asked.ended_counts(range, step).await, WfeError::Invalid(_));
    }
    let backwards = range(Some(second(1)), Some(second(0)));
    assert_eq!(asked.ended_counts(backwards, Duration::from_secs(1)).await?, []);
    Ok(())
}

async fn failures_are_grouped_by_definition_step_and_code(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let asked = management(&store)?;
    for (id, code, time) in [("a", "x", 1), ("b", "x", 3), ("c", "x", 2), ("d", "y", 4)] {
        let (_owner, fence) = owned(&store, &instance(id)).await?;
        let mut cause = failure(id, "p");
        code.clone_into(&mut cause.code);
        cause.error.error_time = second(time);
        let commit = if id == "c" {
            StepCommit {
                status: Some(WorkflowStatus::Suspended),
                next_execution: Some(None),
                release: true,
                ..commit(id)
            }
        } else {
            end(id, Ending::Failed)
        };
        done(&store, fence, StepCommit { cause: Some(cause), ..commit }).await?;
    }
    ends(&store, &instance("completed"), Ending::Completed).await?;
    let groups = asked.failure_groups(&Query::default(), second(0)).await?;
    assert!(groups.is_whole && groups.next.is_none());
    let found: Vec<_> =
        groups.rows.iter().map(|group| (group.code.as_str(), group.count, group.suspended)).collect();
    assert_eq!(found, [("x", 3, 1), ("y", 1, 0)]);
    let first = &groups.rows[0];
    assert_eq!((first.first, first.last, first.example.as_str()), (second(1), second(3), "b"));
    assert_eq!((&first.step, first.definition.as_str()), (&failure("a", "p").step, DEFINITION));
    let suspended = Query { states: vec![InstanceState::Suspended], ..Query::default() };
    let groups = asked.failure_groups(&suspended, second(0)).await?.rows;
    assert_eq!(groups.iter().map(|group| group.count).collect::<Vec<_>>(), [1]);
    Ok(())
}

async fn live_pointers_are_counted_by_step(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let asked = management(&store)?;
    let at = |id: &str, step: &str, status| ExecutionPointer {
        step_name: Some(step.to_owned()),
        active: status != PointerStatus::Failed,
        status,
        ..pointer(id)
    };
    let with = |id: &str, execution_pointers| WorkflowInstance { execution_pointers, ..instance(id) };
    let running = PointerStatus::Running;
    store
        .create_new_workflow(&with("a", vec![at("pay", "pay", running), at("each/7/look", "look", running)]))
        .await?;
    store.create_new_workflow(&with("b", vec![at("pay", "pay", PointerStatus::Failed)])).await?;
    let other = WorkflowInstance { version: 2, ..with("c", vec![at("pay", "pay", running)]) };
    store.create_new_workflow(&other).await?;
    ends(&store, &with("d", vec![at("pay", "pay", running)]), Ending::Completed).await?;
    let found = asked.step_counts(DEFINITION, 1).await?;
    let rows: Vec<_> = found.rows.iter().map(|row| (row.step.as_str(), row.active, row.failed)).collect();
    assert_eq!((rows, found.looked_at, found.is_whole), (vec![("look", 1, 0), ("pay", 1, 1)], 2, true));
    Ok(())
}

async fn failures_of_an_instance_come_oldest_first_and_those_of_all_newest_first(
    bench: Bench,
) -> Checked<()> {
    let store = bench.open().await?;
    let asked = management(&store)?;
    for number in 0..5 {
        let id = if number % 2 == 0 { "even" } else { "odd" };
        store.persist_errors(&[ExecutionError::new(id, "p", format!("m{number}"))]).await?;
    }
    for (id, expected) in [
        (None, &["m4", "m3", "m2", "m1", "m0"][..]),
        (Some("even"), &["m0", "m2", "m4"]),
        (Some("none"), &[]),
    ] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = asked.errors(id, after, 2).await?;
            assert!(page.rows.len() <= 2);
            after = page.rows.last().map(|row| row.cursor);
            found.extend(page.rows.into_iter().map(|row| row.failure.error.message));
            if page.next.is_none() {
                break;
            }
            assert_eq!(page.next, after);
        }
        assert_eq!(found, expected, "{id:?}");
    }
    assert_eq!(asked.errors(Some("even"), Some(Cursor(u64::MAX)), 2).await?.rows, []);
    Ok(())
}

async fn a_history_comes_in_the_order_of_completion_in_pages(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let asked = management(&store)?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    for (id, scope) in [("b", &["x"][..]), ("a", &[]), ("c", &["x", "y"]), ("e", &["x"]), ("d", &[])] {
        done(&store, fence, StepCommit { finished: vec![finished_pointer(id, scope)], ..commit("i") })
            .await?;
    }
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = asked.history("i", after, 2).await?;
        after = page.next;
        found.extend(page.rows.into_iter().map(|row| (row.number, row.pointer.id)));
        if after.is_none() {
            break;
        }
    }
    let expected: Vec<_> = (1..).zip(["b", "a", "c", "e", "d"].map(str::to_owned)).collect();
    assert_eq!(found, expected);
    Ok(())
}

async fn events_are_listed_newest_first_without_those_of_the_engine(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let asked = management(&store)?;
    for (id, name, key) in [
        ("a", "paid", "1"),
        ("b", "sent", "1"),
        ("own", "wfe.audit", "*"),
        ("c", "paid", "2"),
        ("d", "paid", "1"),
    ] {
        let event = event(id, name, key, second(-1));
        store.create_event(&event).await?;
    }
    store.mark_event_processed("a").await?;
    let filter = EventFilter::default;
    let named = |name: &str| EventFilter { name: Some(name.to_owned()), ..filter() };
    for (filter, expected) in [
        (filter(), &["d", "c", "b", "a"][..]),
        (named("paid"), &["d", "c", "a"]),
        (EventFilter { key: Some("1".to_owned()), ..named("paid") }, &["d", "a"]),
        (EventFilter { unprocessed: true, ..filter() }, &["d", "c", "b"]),
        (EventFilter { unprocessed: true, ..named("paid") }, &["d", "c"]),
        (named("wfe.audit"), &["own"]),
        (named("none"), &[]),
    ] {
        for limit in [1, 2, 100] {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = asked.events(&filter, after, limit).await?;
                assert!(page.rows.len() <= limit);
                after = page.next;
                found.extend(page.rows.into_iter().map(|row| row.event.id));
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(found, expected, "{filter:?}, {limit}");
        }
    }
    let key = EventFilter { key: Some("1".to_owned()), ..filter() };
    assert_err!(asked.events(&key, None, 9).await, WfeError::Invalid(_));
    Ok(())
}

async fn open_subscriptions_are_listed_oldest_first_with_their_instances(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let asked = management(&store)?;
    store.create_new_workflow(&WorkflowInstance { version: 3, ..parked("i") }).await?;
    for (id, name) in [("a", "sent"), ("b", "paid"), ("c", "wfe.activity:pack"), ("d", "paid")] {
        store.create_event_subscription(&wait(id, "i", name, "k", second(0))).await?;
    }
    store.terminate_subscription("d").await?;
    let event = |name: &str| WaitFilter::Event { name: name.to_owned(), key: None };
    for (filter, expected) in [
        (None, &["a", "b", "c"][..]),
        (Some(event("paid")), &["b"]),
        (Some(WaitFilter::Activity { name: "pack".to_owned() }), &["c"]),
        (Some(WaitFilter::Task), &[]),
        (Some(WaitFilter::Timer), &[]),
        (Some(WaitFilter::Nobody), &[]),
    ] {
        for limit in [1, 2, 100] {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = asked.waits(filter.as_ref(), after, limit).await?;
                for wait in page.rows {
                    assert_eq!((wait.definition.as_str(), wait.version), (DEFINITION, 3));
                    assert!(wait.is_answerable);
                    found.push(wait.subscription.id);
                }
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(found, expected, "{filter:?}, {limit}");
        }
    }
    Ok(())
}

async fn external_tasks_are_counted_by_name(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let asked = management(&store)?;
    store.create_new_workflow(&parked("i")).await?;
    for (id, name) in
        [("a", "paid"), ("b", "wfe.activity:pack"), ("c", "wfe.activity:pack"), ("d", "wfe.user-task")]
    {
        store.create_event_subscription(&wait(id, "i", name, "k", second(0))).await?;
    }
    let counts = asked.task_counts().await?;
    let counts: Vec<_> = counts.iter().map(|count| (count.event_name.as_str(), count.open)).collect();
    assert_eq!(counts, [("wfe.activity:pack", 2), ("wfe.user-task", 1)]);
    Ok(())
}
