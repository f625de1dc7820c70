//! Bounds of queries: a bound beyond the range of stored times acts as the end of this range, and nothing is
//! due too early.

use std::sync::Mutex;

use chrono::{DateTime, TimeDelta, Utc};
use wfe_core::models::ScheduledCommand;

use super::prelude::*;
use wfe_core::sync::lock;

cases! { "bounds":
    bounds_beyond_what_a_column_holds_saturate,
    extreme_bounds_take_all_or_nothing_of_instances,
    extreme_bounds_take_all_or_nothing_of_commands,
    milliseconds_at_the_edge_are_due_first_and_last,
    an_instance_is_never_due_within_the_millisecond_before,
    a_command_is_never_due_within_the_millisecond_before,
    bounds_before_1970_are_rounded_down_too,
    an_event_is_not_due_a_nanosecond_early,
    a_wait_does_not_begin_a_nanosecond_early,
}

const NANOSECOND: TimeDelta = TimeDelta::nanoseconds(1);
const NONE: [&str; 0] = [];

/// Bounds that are earlier than every stored time, the most distant first.
fn before() -> [DateTime<Utc>; 3] {
    [DateTime::<Utc>::MIN_UTC, DateTime::from_timestamp_nanos(i64::MIN) - NANOSECOND, second(-1)]
}

/// Bounds that are later than every stored time, the most distant first.
fn after() -> [DateTime<Utc>; 3] {
    [DateTime::<Utc>::MAX_UTC, DateTime::from_timestamp_nanos(i64::MAX) + NANOSECOND, second(1)]
}

async fn due_commands(store: &Store, as_of: DateTime<Utc>) -> Checked<Vec<String>> {
    let ran: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&ran);
    let handler = move |command: ScheduledCommand| -> wfe_core::traits::CommandFuture {
        lock(&seen).push(command.data);
        Box::pin(std::future::ready(Ok(())))
    };
    store.process_commands(as_of, &handler).await?;
    let ran = lock(&ran).clone();
    Ok(ran)
}

async fn bounds_beyond_what_a_column_holds_saturate(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    store.create_event(&event("e", "name", "key", second(0))).await?;
    store.create_event_subscription(&wait("w", "i", "name", "key", second(0))).await?;
    for bound in before() {
        assert_eq!(store.get_runnable_events(bound).await?, NONE, "{bound}");
        assert_eq!(store.get_events("name", "key", bound).await?, NONE, "{bound}");
        assert_eq!(store.get_subscriptions("name", "key", bound).await?, [], "{bound}");
        assert_eq!(store.get_first_open_subscription("name", "key", bound).await?, None, "{bound}");
    }
    for bound in after() {
        assert_eq!(store.get_runnable_events(bound).await?, ["e"], "{bound}");
        assert_eq!(store.get_events("name", "key", bound).await?, ["e"], "{bound}");
        assert_eq!(store.get_subscriptions("name", "key", bound).await?.len(), 1, "{bound}");
        let first = store.get_first_open_subscription("name", "key", bound).await?;
        assert_eq!(first.map(|wait| wait.id).as_deref(), Some("w"), "{bound}");
    }
    Ok(())
}

async fn extreme_bounds_take_all_or_nothing_of_instances(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let due = WorkflowInstance { next_execution: Some(second_ms(0)), ..instance("i") };
    store.create_new_workflow(&due).await?;
    for bound in before() {
        assert_eq!(store.get_runnable_instances(bound).await?, NONE, "{bound}");
    }
    for bound in after() {
        assert_eq!(store.get_runnable_instances(bound).await?, ["i"], "{bound}");
    }
    Ok(())
}

async fn extreme_bounds_take_all_or_nothing_of_commands(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    must_keep_commands(&store)?;
    for bound in after() {
        store.schedule_command(&ScheduledCommand::process_workflow("i", second_ms(0))).await?;
        for early in before() {
            assert_eq!(due_commands(&store, early).await?, NONE, "{early}");
        }
        assert_eq!(due_commands(&store, bound).await?, ["i"], "{bound}");
    }
    Ok(())
}

async fn milliseconds_at_the_edge_are_due_first_and_last(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    for (id, ms) in [("now", second_ms(0)), ("last", i64::MAX), ("first", i64::MIN)] {
        store.create_new_workflow(&WorkflowInstance { next_execution: Some(ms), ..instance(id) }).await?;
        if store.supports_scheduled_commands() {
            store.schedule_command(&ScheduledCommand::process_workflow(id, ms)).await?;
        }
    }
    assert_eq!(store.get_runnable_instances(DateTime::<Utc>::MIN_UTC).await?, ["first"]);
    assert_eq!(store.get_runnable_instances(second(-1)).await?, ["first"]);
    assert_eq!(store.get_runnable_instances(second(1_000_000_000)).await?, ["first", "now"]);
    if store.supports_scheduled_commands() {
        assert_eq!(due_commands(&store, DateTime::<Utc>::MIN_UTC).await?, ["first"]);
        assert_eq!(due_commands(&store, second(1_000_000_000)).await?, ["now"]);
    }
    Ok(())
}

async fn an_instance_is_never_due_within_the_millisecond_before(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let due = WorkflowInstance { next_execution: Some(second_ms(1)), ..instance("i") };
    store.create_new_workflow(&due).await?;
    for early in [1, 500_000, 500_001, 999_999] {
        let bound = second(1) - TimeDelta::nanoseconds(early);
        assert_eq!(store.get_runnable_instances(bound).await?, NONE, "{early} ns early");
    }
    assert_eq!(store.get_runnable_instances(second(1)).await?, ["i"]);
    assert_eq!(store.get_runnable_instances(second(1) + NANOSECOND).await?, ["i"]);
    Ok(())
}

async fn a_command_is_never_due_within_the_millisecond_before(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    must_keep_commands(&store)?;
    store.schedule_command(&ScheduledCommand::process_workflow("i", second_ms(1))).await?;
    for early in [1, 500_000, 500_001, 999_999] {
        let bound = second(1) - TimeDelta::nanoseconds(early);
        assert_eq!(due_commands(&store, bound).await?, NONE, "{early} ns early");
    }
    assert_eq!(due_commands(&store, second(1)).await?, ["i"]);
    Ok(())
}

async fn bounds_before_1970_are_rounded_down_too(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    store.create_new_workflow(&instance("at the epoch")).await?;
    let just_before = DateTime::<Utc>::UNIX_EPOCH - NANOSECOND;
    assert_eq!(store.get_runnable_instances(just_before).await?, NONE);
    let earlier = WorkflowInstance { next_execution: Some(-1), ..instance("a millisecond earlier") };
    store.create_new_workflow(&earlier).await?;
    assert_eq!(store.get_runnable_instances(just_before).await?, ["a millisecond earlier"]);
    if store.supports_scheduled_commands() {
        store.schedule_command(&ScheduledCommand::process_workflow("i", 0)).await?;
        assert_eq!(due_commands(&store, just_before).await?, NONE);
    }
    Ok(())
}

async fn an_event_is_not_due_a_nanosecond_early(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    for (id, time) in [("old", DateTime::<Utc>::UNIX_EPOCH - NANOSECOND), ("new", second(0) + NANOSECOND)] {
        store.create_event(&event(id, id, "key", time)).await?;
        assert_eq!(store.get_events(id, "key", time - NANOSECOND).await?, NONE);
        assert_eq!(store.get_events(id, "key", time).await?, [id]);
    }
    assert_eq!(store.get_runnable_events(second(0)).await?, ["old"]);
    assert_eq!(store.get_runnable_events(second(0) + NANOSECOND).await?, ["old", "new"]);
    Ok(())
}

async fn a_wait_does_not_begin_a_nanosecond_early(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let begins = second(0) + NANOSECOND;
    store.create_event_subscription(&wait("w", "i", "name", "key", begins)).await?;
    assert_eq!(store.get_subscriptions("name", "key", second(0)).await?, []);
    assert_eq!(store.get_first_open_subscription("name", "key", second(0)).await?, None);
    assert_eq!(store.get_subscriptions("name", "key", begins).await?.len(), 1);
    Ok(())
}
