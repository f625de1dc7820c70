//! Finishing: an event is marked as processed only if no open subscription needs it.

use wfe_core::traits::Swept;

use super::prelude::*;

cases! { "finishing events":
    an_event_without_waits_is_finished,
    an_event_that_an_open_wait_matches_is_not_finished,
    an_event_is_finished_once_its_waits_have_consumed_it,
    an_event_is_not_finished_while_another_instance_still_waits,
    a_wait_that_does_not_match_keeps_no_event,
    a_wait_of_an_unknown_instance_keeps_its_event,
    an_event_that_is_not_due_is_not_finished,
    a_missing_event_cannot_be_finished,
    a_wait_that_comes_after_the_finish_still_gets_the_event,
    a_wait_that_comes_in_between_still_gets_the_event,
    a_plain_wait_that_comes_in_between_still_gets_the_event,
    many_events_are_finished_at_once_but_those_that_waits_match,
    many_events_are_checked_in_pages,
    a_wait_that_comes_after_many_events_were_finished_still_gets_its_event,
}

async fn finish(store: &Store, id: &str) -> Checked<bool> {
    let finished = steps(store)?.finish_event(id).await?;
    assert_eq!(store.get_event(id).await?.is_processed, finished);
    Ok(finished)
}

async fn open(store: &Store, fence: Fence, id: &str) -> Checked<()> {
    let subscribed = vec![wait(id, "i", "name", "key", second(0))];
    done(store, fence, StepCommit { subscribed, ..commit("i") }).await
}

async fn an_event_without_waits_is_finished(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    store.create_event(&event("e", "name", "key", second(0))).await?;
    assert!(finish(&store, "e").await?);
    assert!(finish(&store, "e").await?);
    assert_eq!(store.get_runnable_events(second(9)).await?, Vec::<String>::new());
    Ok(())
}

async fn an_event_that_an_open_wait_matches_is_not_finished(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    open(&store, fence, "w").await?;
    for id in ["e", "f"] {
        store.create_event(&event(id, "name", "key", second(0))).await?;
        assert!(!finish(&store, id).await?);
    }
    Ok(())
}

async fn an_event_is_finished_once_its_waits_have_consumed_it(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    open(&store, fence, "w").await?;
    store.create_event(&event("e", "name", "key", second(0))).await?;
    done(&store, fence, StepCommit { consumed: vec![consumed("w", "e")], ..commit("i") }).await?;
    // The instance waits again, for the next event.
    open(&store, fence, "x").await?;
    assert!(finish(&store, "e").await?);
    Ok(())
}

async fn an_event_is_not_finished_while_another_instance_still_waits(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let (_other, other) = owned(&store, &instance("j")).await?;
    open(&store, fence, "w").await?;
    let subscribed = vec![wait("x", "j", "name", "key", second(0))];
    done(&store, other, StepCommit { subscribed, ..commit("j") }).await?;
    store.create_event(&event("e", "name", "key", second(0))).await?;
    done(&store, fence, StepCommit { consumed: vec![consumed("w", "e")], ..commit("i") }).await?;
    assert!(!finish(&store, "e").await?);
    done(&store, other, StepCommit { unsubscribed: texts(&["x"]), ..commit("j") }).await?;
    assert!(finish(&store, "e").await?);
    Ok(())
}

async fn a_wait_that_does_not_match_keeps_no_event(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let subscribed = vec![
        wait("name", "i", "other", "key", second(0)),
        wait("key", "i", "name", "other", second(0)),
        wait("later", "i", "name", "key", second(1)),
        wait("closed", "i", "name", "key", second(0)),
    ];
    done(&store, fence, StepCommit { subscribed, ..commit("i") }).await?;
    store.terminate_subscription("closed").await?;
    store.create_event(&event("e", "name", "key", second(0))).await?;
    assert!(finish(&store, "e").await?);
    Ok(())
}

async fn a_wait_of_an_unknown_instance_keeps_its_event(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    steps(&store)?;
    store.create_event_subscription(&wait("w", "unknown", "name", "key", second(0))).await?;
    store.create_event(&event("e", "name", "key", second(0))).await?;
    assert!(!finish(&store, "e").await?);
    store.terminate_subscription("w").await?;
    assert!(finish(&store, "e").await?);
    Ok(())
}

async fn an_event_that_is_not_due_is_not_finished(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    steps(&store)?;
    store.create_event(&event("e", "name", "key", second(10))).await?;
    bench.clock.set(second(10) - chrono::TimeDelta::nanoseconds(1));
    assert!(!finish(&store, "e").await?);
    bench.clock.set(second(10));
    assert!(finish(&store, "e").await?);
    Ok(())
}

async fn a_missing_event_cannot_be_finished(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    assert_err!(steps(&store)?.finish_event("m").await, WfeError::EventNotFound(id) if id == "m");
    Ok(())
}

async fn a_wait_that_comes_after_the_finish_still_gets_the_event(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    store.create_event(&event("e", "name", "key", second(0))).await?;
    assert!(finish(&store, "e").await?);
    open(&store, fence, "w").await?;
    assert!(!finish(&store, "e").await?);
    Ok(())
}

async fn a_wait_that_comes_in_between_still_gets_the_event(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let steps = steps(&store)?;
    for round in 0..40 {
        let key = round.to_string();
        store.create_event(&event(&key, "name", &key, second(0))).await?;
        let waiting =
            StepCommit { subscribed: vec![wait(&key, "i", "name", &key, second(0))], ..commit("i") };
        let (finished, committed) = if round % 2 == 0 {
            tokio::join!(steps.finish_event(&key), steps.commit_step(fence, &waiting))
        } else {
            let (committed, finished) =
                tokio::join!(steps.commit_step(fence, &waiting), steps.finish_event(&key));
            (finished, committed)
        };
        finished?;
        assert_eq!(committed?, Committed::Done);
        // Whichever call comes first, the wait is open now, so the event is not finished.
        assert!(!store.get_event(&key).await?.is_processed, "round {round}");
    }
    Ok(())
}

async fn a_plain_wait_that_comes_in_between_still_gets_the_event(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    for round in 0..40 {
        let key = round.to_string();
        store.create_event(&event(&key, "name", &key, second(0))).await?;
        let waiting = wait(&key, "i", "name", &key, second(0));
        let (finished, created) =
            tokio::join!(steps.finish_event(&key), store.create_event_subscription(&waiting));
        finished?;
        created?;
        assert!(!store.get_event(&key).await?.is_processed, "round {round}");
    }
    Ok(())
}

/// Skips the case if the store can mark only one event at a time as processed.
async fn must_sweep(store: &Store) -> Checked<()> {
    offered(steps(store)?.finish_events(None, 1).await).map(drop)
}

async fn sweep(store: &Store) -> Checked<Swept> {
    Ok(steps(store)?.finish_events(None, 99).await?)
}

async fn many_events_are_finished_at_once_but_those_that_waits_match(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    must_sweep(&store).await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    open(&store, fence, "w").await?;
    for (id, key, at) in [("free", "other", 0), ("old", "key", -1), ("needed", "key", 0), ("next", "key", 5)]
    {
        store.create_event(&event(id, "name", key, second(at))).await?;
    }
    store.create_event(&event("ahead", "name", "other", second(10))).await?;
    assert_eq!(sweep(&store).await?, Swept { finished: 2, next: None });
    assert_eq!(store.get_runnable_events(second(99)).await?, ["needed", "next", "ahead"]);
    assert_eq!(sweep(&store).await?.finished, 0);
    bench.clock.set(second(10));
    steps(&store)?.position_due_events().await?;
    assert_eq!(sweep(&store).await?.finished, 1);
    let consumed = vec![consumed("w", "needed")];
    done(&store, fence, StepCommit { consumed, ..commit("i") }).await?;
    assert_eq!(sweep(&store).await?.finished, 2);
    assert_eq!(store.get_runnable_events(second(99)).await?, Vec::<String>::new());
    Ok(())
}

async fn many_events_are_checked_in_pages(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    must_sweep(&store).await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    for n in 0..10 {
        let key = n.to_string();
        if n < 5 {
            // More events than fit on the first page must stay unprocessed.
            let subscribed = vec![wait(&key, "i", "name", &key, second(-9))];
            done(&store, fence, StepCommit { subscribed, ..commit("i") }).await?;
        }
        // Several events have the same timestamp, and the pages must still distinguish them.
        store.create_event(&event(&key, "name", &key, second(i64::from(n) / 3 - 9))).await?;
    }
    let (mut after, mut finished) = (None::<String>, Vec::new());
    loop {
        let Swept { finished: some, next } = steps(&store)?.finish_events(after.as_deref(), 3).await?;
        finished.push(some);
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(finished, [0, 1, 3, 1]);
    assert_eq!(store.get_runnable_events(second(99)).await?, ["0", "1", "2", "3", "4"]);
    assert_eq!(steps(&store)?.finish_events(Some("unknown"), 3).await?, Swept::default());
    assert_eq!(steps(&store)?.finish_events(None, 0).await?, Swept::default());
    Ok(())
}

async fn a_wait_that_comes_after_many_events_were_finished_still_gets_its_event(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    must_sweep(&store).await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    for id in ["e", "f"] {
        store.create_event(&event(id, "name", "key", second(0))).await?;
    }
    assert_eq!(sweep(&store).await?.finished, 2);
    open(&store, fence, "w").await?;
    assert_eq!(sweep(&store).await?.finished, 0);
    assert_eq!(store.get_runnable_events(second(99)).await?, ["e"]);
    assert_eq!(steps(&store)?.load("i").await?.deliveries.len(), 1);
    Ok(())
}
