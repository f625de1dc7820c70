//! Durability: everything that a call has stored can be read by a provider that is opened later.

use wfe_core::models::{Event, EventSubscription, ScheduledCommand};

use super::prelude::*;

cases! { "durability":
    instances_and_pointers_outlive_their_provider,
    events_outlive_their_provider,
    subscriptions_and_their_tokens_outlive_their_provider,
    commands_outlive_their_provider,
    sequences_outlive_their_provider,
    what_a_second_provider_finds_is_what_the_first_has_stored,
}

async fn instances_and_pointers_outlive_their_provider(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    store.create_new_workflow(&full_instance("i", 1)).await?;
    let store = bench.reopen(store).await?;
    assert_eq!(store.get_workflow_instance("i").await?, full_instance("i", 1));
    store.persist_workflow(&full_instance("i", 2)).await?;
    let store = bench.reopen(store).await?;
    assert_eq!(store.get_workflow_instance("i").await?, full_instance("i", 2));
    let again = store.create_new_workflow(&full_instance("i", 3)).await;
    assert_err!(again, WfeError::AlreadyExists { .. });
    Ok(())
}

async fn events_outlive_their_provider(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    for id in ["done", "open"] {
        store.create_event(&event(id, "name", id, second(1))).await?;
    }
    store.mark_event_processed("done").await?;
    let store = bench.reopen(store).await?;
    let done = Event { is_processed: true, ..event("done", "name", "done", second(1)) };
    assert_eq!(store.get_event("done").await?, done);
    assert_eq!(store.get_runnable_events(second(1)).await?, ["open"]);
    Ok(())
}

async fn subscriptions_and_their_tokens_outlive_their_provider(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    for id in ["free", "held", "over"] {
        store.create_event_subscription(&wait(id, "i", "name", id, second(0))).await?;
    }
    assert!(store.set_subscription_token("held", "token", "worker", second(10)).await?);
    store.terminate_subscription("over").await?;
    let store = bench.reopen(store).await?;
    let held = EventSubscription {
        external_token: Some("token".to_owned()),
        external_worker_id: Some("worker".to_owned()),
        external_token_expiry: Some(second(10)),
        ..wait("held", "i", "name", "held", second(0))
    };
    assert_eq!(store.get_subscription("held").await?, held);
    assert!(!store.set_subscription_token("held", "other", "worker", second(20)).await?);
    assert_eq!(store.get_subscriptions("name", "free", second(0)).await?.len(), 1);
    assert_eq!(store.get_subscriptions("name", "over", second(0)).await?, []);
    Ok(())
}

async fn commands_outlive_their_provider(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    must_keep_commands(&store)?;
    let command = ScheduledCommand::process_workflow("i", second_ms(1));
    store.schedule_command(&command).await?;
    let store = bench.reopen(store).await?;
    let fail = |command: ScheduledCommand| -> wfe_core::traits::CommandFuture {
        Box::pin(std::future::ready(Err(WfeError::StepExecution(command.data))))
    };
    assert_err!(store.process_commands(second(1), &fail).await, WfeError::StepExecution(id) if id == "i");
    let store = bench.reopen(store).await?;
    assert_err!(store.process_commands(second(1), &fail).await, WfeError::StepExecution(_));
    store.process_commands(second(1), &|_| Box::pin(std::future::ready(Ok(())))).await?;
    let store = bench.reopen(store).await?;
    store.process_commands(second(9), &fail).await?;
    Ok(())
}

async fn sequences_outlive_their_provider(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    assert_eq!(store.next_definition_sequence("a").await?, 1);
    assert_eq!(store.next_definition_sequence("a").await?, 2);
    let store = bench.reopen(store).await?;
    assert_eq!(store.next_definition_sequence("a").await?, 3);
    assert_eq!(store.next_definition_sequence("b").await?, 1);
    Ok(())
}

async fn what_a_second_provider_finds_is_what_the_first_has_stored(bench: Bench) -> Checked<()> {
    let one = bench.open().await?;
    one.create_new_workflow(&full_instance("i", 1)).await?;
    let two = bench.open_another().await?;
    assert_eq!(two.get_workflow_instance("i").await?, full_instance("i", 1));
    two.ensure_store_exists().await?;
    assert_eq!(one.get_workflow_instance("i").await?, full_instance("i", 1));
    Ok(())
}
