//! Stored failures, and the store as a whole.

use wfe_core::{
    models::ExecutionError,
    traits::{Cursor, Page, StepFailure},
};

use super::prelude::*;

cases! { "errors":
    errors_are_accepted_also_for_an_instance_that_the_store_does_not_know,
    an_empty_list_of_errors_is_fine,
    creating_the_store_again_keeps_what_is_in_it,
    failures_of_an_instance_are_read_oldest_first_with_all_that_is_known_of_them,
    failures_are_read_in_pages,
    the_last_failure_of_each_pointer_is_found,
    failures_outlive_their_provider,
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

/// Skips the case if the store cannot list failures.
async fn must_read_failures(store: &Store) -> Checked<()> {
    offered(steps(store)?.failures("i", None, 1).await).map(drop)
}

async fn read(store: &Store, id: &str) -> Checked<Vec<StepFailure>> {
    let Page { rows, next } = steps(store)?.failures(id, None, 99).await?;
    assert_eq!(next, None);
    Ok(rows.into_iter().map(|row| row.failure).collect())
}

async fn failures_of_an_instance_are_read_oldest_first_with_all_that_is_known_of_them(
    bench: Bench,
) -> Checked<()> {
    let store = bench.open().await?;
    must_read_failures(&store).await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let plain = ExecutionError { error_time: second(0), ..ExecutionError::new("i", "p", "a \0 fault") };
    store.persist_errors(&[plain.clone(), ExecutionError::new("j", "p", "another's")]).await?;
    let stored = [failure("i", "z"), StepFailure { attempt: u32::MAX, ..failure("i", "a") }];
    done(&store, fence, StepCommit { failures: stored.to_vec(), ..commit("i") }).await?;
    let nothing = String::new();
    let first =
        StepFailure { error: plain, step: nothing.clone(), attempt: 0, code: nothing, causes: Vec::new() };
    let [second, third] = stored;
    assert_eq!(read(&store, "i").await?, [first, second, third]);
    assert_eq!(read(&store, "unknown").await?, []);
    Ok(())
}

async fn failures_are_read_in_pages(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    must_read_failures(&store).await?;
    let steps = steps(&store)?;
    let errors: Vec<_> = (0..14)
        .map(|n| ExecutionError::new(if n % 2 == 0 { "i" } else { "j" }, "p", n.to_string()))
        .collect();
    store.persist_errors(&errors).await?;
    let (mut after, mut messages) = (None, Vec::new());
    loop {
        let Page { rows, next } = steps.failures("i", after, 3).await?;
        assert!(rows.len() == 3 || next.is_none());
        assert_eq!(next.filter(|next| rows.last().map(|row| row.cursor) != Some(*next)), None);
        messages.extend(rows.into_iter().map(|row| row.failure.error.message));
        after = next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!(messages, ["0", "2", "4", "6", "8", "10", "12"]);
    assert_eq!(steps.failures("i", Some(Cursor(u64::MAX)), 3).await?.rows, []);
    Ok(())
}

async fn the_last_failure_of_each_pointer_is_found(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    must_read_failures(&store).await?;
    let steps = steps(&store)?;
    let error = |id: &str, pointer: &str, n: i64| ExecutionError {
        // The clock was set back meanwhile. The last failure is nevertheless the one that was stored last.
        error_time: second(9_999 - n),
        ..ExecutionError::new(id, pointer, n.to_string())
    };
    let mut errors: Vec<_> = (0..600).map(|n| error("i", if n % 3 == 0 { "p" } else { "q" }, n)).collect();
    errors.extend([
        error("i", "p\0'", 600),
        error("j", "p", 601),
        error("i", "q", 602),
        error("j", "r", 603),
    ]);
    store.persist_errors(&errors).await?;
    let last = async |id: &str, pointers: &[&str]| -> Checked<Vec<(String, String)>> {
        let pointers: Vec<String> = pointers.iter().map(|&pointer| pointer.to_owned()).collect();
        let found = steps.last_failures(id, &pointers).await?.into_iter().map(|failure| failure.error);
        let mut found: Vec<_> = found.map(|error| (error.execution_pointer_id, error.message)).collect();
        found.sort();
        Ok(found)
    };
    let own = |pointer: &str, message: &str| (pointer.to_owned(), message.to_owned());
    assert_eq!(last("i", &["p"]).await?, [own("p", "597")]);
    assert_eq!(
        last("i", &["q", "r", "p\0'", "p"]).await?,
        [own("p", "597"), own("p\0'", "600"), own("q", "602")]
    );
    assert_eq!(last("i", &["r"]).await?, []);
    assert_eq!(last("i", &[]).await?, []);
    assert_eq!(last("unknown", &["p"]).await?, []);
    let (_owner, fence) = owned(&store, &instance("k")).await?;
    let twice = StepFailure { attempt: 2, ..failure("k", "z") };
    done(&store, fence, StepCommit { failures: vec![failure("k", "z"), twice.clone()], ..commit("k") })
        .await?;
    let of = twice.error.execution_pointer_id.clone();
    assert_eq!(steps.last_failures("k", &[of]).await?, [twice]);
    Ok(())
}

async fn failures_outlive_their_provider(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    must_read_failures(&store).await?;
    let (owner, fence) = owned(&store, &instance("i")).await?;
    done(&store, fence, StepCommit { failures: vec![failure("i", "m")], ..commit("i") }).await?;
    drop(owner);
    let store = bench.reopen(store).await?;
    assert_eq!(read(&store, "i").await?, [failure("i", "m")]);
    Ok(())
}
