//! Failures that are kept, and the store as a whole.

use wfe_core::models::ExecutionError;

use super::prelude::*;

cases! { "errors":
    errors_are_accepted_also_for_an_instance_that_the_store_does_not_know,
    an_empty_list_of_errors_is_fine,
    creating_the_store_again_keeps_what_is_in_it,
}

async fn errors_are_accepted_also_for_an_instance_that_the_store_does_not_know(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    store.create_new_workflow(&instance_with("i", &["p"])).await?;
    let errors: Vec<_> = (0..500)
        .map(|n| ExecutionError {
            error_time: second(n),
            ..ExecutionError::new(if n % 2 == 0 { "i" } else { "unknown" }, "p", format!("the \0 fault {n}"))
        })
        .collect();
    store.persist_errors(&errors).await?;
    store.persist_errors(&errors[..1]).await?;
    Ok(())
}

async fn an_empty_list_of_errors_is_fine(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    store.persist_errors(&[]).await?;
    Ok(())
}

async fn creating_the_store_again_keeps_what_is_in_it(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    store.create_new_workflow(&full_instance("i", 1)).await?;
    store.create_event(&event("e", "name", "key", second(1))).await?;
    store.create_event_subscription(&full_wait("w")).await?;
    assert_eq!(store.next_definition_sequence(DEFINITION).await?, 1);
    store.ensure_store_exists().await?;
    store.ensure_store_exists().await?;
    assert_eq!(store.get_workflow_instance("i").await?, full_instance("i", 1));
    assert_eq!(store.get_event("e").await?, event("e", "name", "key", second(1)));
    assert_eq!(store.get_subscription("w").await?, full_wait("w"));
    assert_eq!(store.next_definition_sequence(DEFINITION).await?, 2);
    Ok(())
}
