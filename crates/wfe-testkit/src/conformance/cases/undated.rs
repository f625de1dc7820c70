//! Events without a timestamp: whether such an event comes before or after the start of an instance depends
//! only on which of the two the store received first.

use super::{
    claiming::{NONE, claim, started},
    prelude::*,
    streams::{consume, deliveries, pairs, publish, read_on},
};

cases! { "undated events":
    an_event_from_before_the_start_is_not_delivered_though_the_clock_does_not_move,
    an_event_from_before_the_start_is_not_delivered_although_the_clock_was_set_back,
    an_event_from_after_the_start_is_delivered_in_the_same_instant,
    an_event_from_before_the_start_makes_nothing_claimable_and_is_finished,
    an_event_from_before_the_start_cannot_be_consumed,
    an_event_dated_by_hand_in_the_instant_of_the_start_is_delivered,
    a_wait_from_a_date_goes_by_the_dates_that_the_store_gave,
    a_wait_from_the_very_date_of_the_start_that_was_given_by_hand_goes_by_dates,
    after_the_first_event_only_the_order_of_the_stream_counts,
    undated_and_dated_events_come_in_the_order_in_which_they_became_due,
}

/// Publishes an event without a timestamp.
async fn tell(store: &Store, id: &str) -> Checked<()> {
    store.create_event_now(&event(id, "name", "key", second(0))).await?;
    Ok(())
}

/// Creates instances now, one in each possible way. Each instance waits for events from its creation on.
async fn begun(bench: &Bench, store: &Store) -> Checked<[&'static str; 3]> {
    let at = |id: &str| WorkflowInstance { create_time: bench.now(), ..parked(id) };
    let (_owner, fence) = owned(store, &at("parent")).await?;
    started(store, &[at("started")]).await?;
    store.create_new_workflow(&at("created")).await?;
    done(store, fence, StepCommit { created: vec![at("child")], ..commit("parent") }).await?;
    let all = ["started", "created", "child"];
    for id in all {
        let of = wait(&format!("of {id}"), id, "name", "key", bench.now());
        store.create_event_subscription(&of).await?;
    }
    Ok(all)
}

/// Returns the event that each of these instances receives next.
async fn next_of(store: &Store, instances: [&str; 3]) -> Checked<Vec<String>> {
    let mut next = Vec::new();
    for id in instances {
        next.extend(deliveries(store, id).await?.into_iter().map(|(_, event)| event));
    }
    let mut of_many = 0;
    for (_, one) in steps(store)?.load_many(&instances.map(str::to_owned)).await? {
        of_many += one?.deliveries.len();
    }
    assert_eq!(of_many, next.len());
    Ok(next)
}

async fn an_event_from_before_the_start_is_not_delivered_though_the_clock_does_not_move(
    bench: Bench,
) -> Checked<()> {
    let store = bench.open().await?;
    steps(&store)?;
    tell(&store, "before").await?;
    let all = begun(&bench, &store).await?;
    assert_eq!(next_of(&store, all).await?, NONE);
    tell(&store, "after").await?;
    assert_eq!(next_of(&store, all).await?, ["after"; 3]);
    Ok(())
}

async fn an_event_from_before_the_start_is_not_delivered_although_the_clock_was_set_back(
    bench: Bench,
) -> Checked<()> {
    let store = bench.open().await?;
    steps(&store)?;
    bench.clock.set(second(100));
    tell(&store, "before").await?;
    bench.clock.set(second(0));
    let all = begun(&bench, &store).await?;
    assert_eq!(next_of(&store, all).await?, NONE);
    bench.clock.set(second(200));
    assert_eq!(next_of(&store, all).await?, NONE);
    bench.clock.set(second(-100));
    tell(&store, "after").await?;
    assert_eq!(next_of(&store, all).await?, ["after"; 3]);
    Ok(())
}

async fn an_event_from_after_the_start_is_delivered_in_the_same_instant(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    // These events are published before any instance waits for them.
    for id in ["a", "b", "c"] {
        tell(&store, id).await?;
        assert!(steps(&store)?.finish_event(id).await?);
    }
    assert_eq!(read_on(&store, fence, "w").await?, ["a", "b", "c"]);
    Ok(())
}

async fn an_event_from_before_the_start_makes_nothing_claimable_and_is_finished(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let owner = steps.register().await?;
    tell(&store, "before").await?;
    tell(&store, "too").await?;
    begun(&bench, &store).await?;
    assert_eq!(claim(&bench, &store, &owner).await?, NONE);
    for id in ["started", "created", "child"] {
        assert_eq!(steps.acquire(&owner, &definitions(), id, bench.now()).await?, None, "{id}");
    }
    assert!(steps.finish_event("before").await?);
    match steps.finish_events(None, 9).await {
        Err(WfeError::Unsupported(_)) => {}
        swept => assert_eq!(swept?.finished, 1),
    }
    tell(&store, "after").await?;
    assert!(!steps.finish_event("after").await?);
    assert_eq!(claim(&bench, &store, &owner).await?, ["child", "created", "started"]);
    Ok(())
}

async fn an_event_from_before_the_start_cannot_be_consumed(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    tell(&store, "before").await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    assert!(steps(&store)?.finish_event("before").await?);
    let subscribed = vec![wait("w", "i", "name", "key", second(0))];
    done(&store, fence, StepCommit { subscribed, ..commit("i") }).await?;
    assert!(store.get_event("before").await?.is_processed, "the new wait does not bring it back");
    let step = StepCommit { consumed: vec![consumed("w", "before")], ..commit("i") };
    assert_err!(
        steps(&store)?.commit_step(fence, &step).await,
        WfeError::EventNotFound(id) if id == "before"
    );
    tell(&store, "after").await?;
    consume(&store, fence, &[("w", "after")]).await
}

async fn an_event_dated_by_hand_in_the_instant_of_the_start_is_delivered(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    steps(&store)?;
    publish(&store, "by hand", 0).await?;
    tell(&store, "before").await?;
    let all = begun(&bench, &store).await?;
    assert_eq!(next_of(&store, all).await?, ["by hand"; 3]);
    Ok(())
}

async fn a_wait_from_a_date_goes_by_the_dates_that_the_store_gave(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    steps(&store)?;
    tell(&store, "early").await?;
    bench.clock.set(second(10));
    tell(&store, "before").await?;
    let now = WorkflowInstance { create_time: second(10), ..instance("i") };
    let (_owner, fence) = owned(&store, &now).await?;
    let from = [("early", 0), ("late", 5), ("later", 20)];
    let subscribed = from.map(|(id, at)| wait(id, "i", "name", "key", second(at))).into();
    done(&store, fence, StepCommit { subscribed, ..commit("i") }).await?;
    assert_eq!(deliveries(&store, "i").await?, pairs(&[("early", "early"), ("late", "before")]));
    tell(&store, "after").await?;
    assert_eq!(deliveries(&store, "i").await?, pairs(&[("early", "early"), ("late", "before")]));
    Ok(())
}

async fn a_wait_from_the_very_date_of_the_start_that_was_given_by_hand_goes_by_dates(
    bench: Bench,
) -> Checked<()> {
    let store = bench.open().await?;
    tell(&store, "before").await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let subscribed =
        ["from its creation", "from that date"].map(|id| wait(id, "i", "name", "key", second(0))).into();
    let dated = texts(&["from that date"]);
    done(&store, fence, StepCommit { subscribed, dated, ..commit("i") }).await?;
    assert_eq!(deliveries(&store, "i").await?, pairs(&[("from that date", "before")]));
    tell(&store, "after").await?;
    assert_eq!(
        deliveries(&store, "i").await?,
        pairs(&[("from its creation", "after"), ("from that date", "before")])
    );
    Ok(())
}

async fn after_the_first_event_only_the_order_of_the_stream_counts(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    for id in ["first", "second"] {
        tell(&store, id).await?;
    }
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let subscribed = vec![wait("w", "i", "name", "key", second(-1))];
    done(&store, fence, StepCommit { subscribed, ..commit("i") }).await?;
    consume(&store, fence, &[("w", "first")]).await?;
    tell(&store, "after").await?;
    assert_eq!(read_on(&store, fence, "x").await?, ["second", "after"]);
    Ok(())
}

async fn undated_and_dated_events_come_in_the_order_in_which_they_became_due(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    publish(&store, "ahead", 10).await?;
    tell(&store, "at once").await?;
    publish(&store, "dated", 0).await?;
    publish(&store, "passed over", -1).await?;
    bench.clock.set(second(20));
    tell(&store, "last").await?;
    assert_eq!(read_on(&store, fence, "w").await?, ["at once", "dated", "passed over", "ahead", "last"]);
    Ok(())
}
