//! Early events: a wait also receives an event that was stored before the wait was opened.

use wfe_core::models::EventSubscription;

use super::prelude::*;

cases! { "early events":
    an_early_event_meets_a_wait_that_is_created,
    an_early_event_meets_a_wait_that_is_stored_with_its_instance,
    only_the_oldest_matching_event_becomes_unprocessed,
    an_event_that_is_still_unprocessed_keeps_the_later_ones_processed,
    an_event_dated_at_the_start_of_the_wait_matches,
    an_event_dated_before_the_start_of_the_wait_does_not_match,
    an_event_of_another_name_or_key_does_not_match,
    each_of_several_new_waits_meets_its_own_event,
    a_wait_that_is_refused_meets_no_event,
}

/// Stores processed events `e1`, `e2`, … of one name and key, with timestamps at seconds 1, 2, …
async fn processed_events(store: &Store, count: i64) -> Checked<()> {
    for at in 1..=count {
        let id = format!("e{at}");
        store.create_event(&event(&id, "name", "key", second(at))).await?;
        store.mark_event_processed(&id).await?;
    }
    Ok(())
}

async fn unprocessed(store: &Store) -> Checked<Vec<String>> {
    Ok(store.get_runnable_events(second(1_000)).await?)
}

async fn an_early_event_meets_a_wait_that_is_created(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    processed_events(&store, 1).await?;
    store.create_event_subscription(&wait("w", "i", "name", "key", second(0))).await?;
    assert_eq!(unprocessed(&store).await?, ["e1"]);
    Ok(())
}

async fn an_early_event_meets_a_wait_that_is_stored_with_its_instance(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    processed_events(&store, 1).await?;
    store.create_new_workflow(&instance("i")).await?;
    store.persist_workflow(&parked("i")).await?;
    assert_eq!(unprocessed(&store).await?, Vec::<String>::new());
    let waits = [wait("w", "i", "name", "key", second(0))];
    store.persist_workflow_with_subscriptions(&parked("i"), &waits).await?;
    assert_eq!(unprocessed(&store).await?, ["e1"]);
    Ok(())
}

async fn only_the_oldest_matching_event_becomes_unprocessed(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    processed_events(&store, 4).await?;
    store.create_event_subscription(&wait("w", "i", "name", "key", second(2))).await?;
    assert_eq!(unprocessed(&store).await?, ["e2"]);
    Ok(())
}

async fn an_event_that_is_still_unprocessed_keeps_the_later_ones_processed(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    processed_events(&store, 3).await?;
    store.mark_event_unprocessed("e1").await?;
    store.create_event_subscription(&wait("w", "i", "name", "key", second(0))).await?;
    assert_eq!(unprocessed(&store).await?, ["e1"]);
    Ok(())
}

async fn an_event_dated_at_the_start_of_the_wait_matches(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    processed_events(&store, 3).await?;
    store.create_event_subscription(&wait("w", "i", "name", "key", second(3))).await?;
    assert_eq!(unprocessed(&store).await?, ["e3"]);
    Ok(())
}

async fn an_event_dated_before_the_start_of_the_wait_does_not_match(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    processed_events(&store, 3).await?;
    let late = second(3) + chrono::TimeDelta::nanoseconds(1);
    store.create_event_subscription(&wait("w", "i", "name", "key", late)).await?;
    assert_eq!(unprocessed(&store).await?, Vec::<String>::new());
    Ok(())
}

async fn an_event_of_another_name_or_key_does_not_match(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    processed_events(&store, 1).await?;
    store.create_new_workflow(&instance("i")).await?;
    let waits = [wait("v", "i", "name", "other", second(0)), wait("w", "i", "other", "key", second(0))];
    store.persist_workflow_with_subscriptions(&instance("i"), &waits).await?;
    store.create_event_subscription(&wait("x", "i", "Name", "key", second(0))).await?;
    assert_eq!(unprocessed(&store).await?, Vec::<String>::new());
    Ok(())
}

async fn each_of_several_new_waits_meets_its_own_event(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    processed_events(&store, 5).await?;
    store.create_event(&event("f", "other", "key", second(9))).await?;
    store.mark_event_processed("f").await?;
    store.create_new_workflow(&instance("i")).await?;
    let waits = [
        wait("w4", "i", "name", "key", second(4)),
        wait("w2", "i", "name", "key", second(2)),
        wait("w2 again", "i", "name", "key", second(2)),
        wait("other", "i", "other", "key", second(0)),
    ];
    store.persist_workflow_with_subscriptions(&instance("i"), &waits).await?;
    assert_eq!(unprocessed(&store).await?, ["e2", "e4", "f"]);
    Ok(())
}

async fn a_wait_that_is_refused_meets_no_event(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    store.create_new_workflow(&instance("i")).await?;
    store.create_event_subscription(&wait("w", "i", "elsewhere", "key", second(0))).await?;
    processed_events(&store, 1).await?;
    let taken: EventSubscription = wait("w", "i", "name", "key", second(0));
    assert_err!(store.create_event_subscription(&taken).await, WfeError::AlreadyExists { .. });
    let waits = [wait("free", "i", "name", "key", second(0)), taken];
    assert_err!(
        store.persist_workflow_with_subscriptions(&instance("i"), &waits).await,
        WfeError::AlreadyExists { .. }
    );
    assert_eq!(unprocessed(&store).await?, Vec::<String>::new());
    Ok(())
}
