//! A clock that is set back: timestamps from before and after this moment cannot be compared with each other.
//! The order in which events became due is still reliable.

use super::{
    claiming::{NONE, claim, started},
    prelude::*,
    streams::{consume, deliveries, open, pairs, publish, read_on},
};

cases! { "a clock set back":
    an_event_published_after_the_start_is_delivered,
    an_event_published_between_start_and_wait_is_delivered,
    an_event_dated_ahead_is_delivered_at_its_date,
    an_event_dated_into_the_past_counts_by_its_date,
    a_wait_from_a_date_goes_by_dates,
    an_event_that_became_due_before_the_start_is_not_delivered,
    an_event_of_now_is_delivered_whatever_date_it_is_handed_over_with,
    an_event_published_after_the_start_makes_an_instance_claimable,
}

async fn an_event_published_after_the_start_is_delivered(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    open(&store, fence, &["w"]).await?;
    bench.clock.set(second(-100));
    publish(&store, "e", -100).await?;
    publish(&store, "f", -100).await?;
    assert_eq!(deliveries(&store, "i").await?, pairs(&[("w", "e")]));
    for id in ["e", "f"] {
        assert!(!steps(&store)?.finish_event(id).await?);
    }
    consume(&store, fence, &[("w", "e")]).await?;
    assert!(steps(&store)?.finish_event("e").await?);
    assert_eq!(read_on(&store, fence, "x").await?, ["f"]);
    Ok(())
}

async fn an_event_published_between_start_and_wait_is_delivered(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    bench.clock.set(second(-100));
    publish(&store, "set back", -100).await?;
    bench.clock.set(second(0));
    publish(&store, "set right", 0).await?;
    for id in ["set back", "set right"] {
        assert!(steps(&store)?.finish_event(id).await?);
    }
    assert_eq!(read_on(&store, fence, "w").await?, ["set back", "set right"]);
    Ok(())
}

async fn an_event_dated_ahead_is_delivered_at_its_date(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    open(&store, fence, &["w"]).await?;
    bench.clock.set(second(-100));
    publish(&store, "e", -50).await?;
    assert_eq!(deliveries(&store, "i").await?, pairs(&[]));
    bench.clock.set(second(-50));
    steps(&store)?.position_due_events().await?;
    assert_eq!(deliveries(&store, "i").await?, pairs(&[("w", "e")]));
    consume(&store, fence, &[("w", "e")]).await
}

async fn an_event_dated_into_the_past_counts_by_its_date(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    open(&store, fence, &["w"]).await?;
    bench.clock.set(second(-100));
    publish(&store, "old", -101).await?;
    assert_eq!(deliveries(&store, "i").await?, pairs(&[]));
    assert!(steps(&store)?.finish_event("old").await?);
    publish(&store, "e", -100).await?;
    assert_eq!(deliveries(&store, "i").await?, pairs(&[("w", "e")]));
    Ok(())
}

async fn a_wait_from_a_date_goes_by_dates(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let subscribed =
        [("before", -10), ("after", 10)].map(|(id, from)| wait(id, "i", "name", "key", second(from))).into();
    done(&store, fence, StepCommit { subscribed, ..commit("i") }).await?;
    bench.clock.set(second(-100));
    publish(&store, "e", -100).await?;
    assert_eq!(deliveries(&store, "i").await?, pairs(&[]));
    assert!(steps(&store)?.finish_event("e").await?);
    bench.clock.set(second(-5));
    publish(&store, "f", -5).await?;
    assert_eq!(deliveries(&store, "i").await?, pairs(&[("before", "f")]));
    Ok(())
}

async fn an_event_that_became_due_before_the_start_is_not_delivered(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("parent")).await?;
    for (at, id) in [(-100, "started"), (-80, "created"), (-60, "child")] {
        bench.clock.set(second(at));
        let (early, later) = (format!("at once, {id}"), format!("later, {id}"));
        for (event_id, date) in [(&early, at), (&later, at + 10)] {
            store.create_event(&event(event_id, "name", id, second(date))).await?;
        }
        // No caller has read the store since the event became due, so the call that begins the instance must
        // give the event its position.
        bench.clock.set(second(at + 10));
        match id {
            "started" => drop(steps(&store)?.start(None, &instance(id)).await?),
            "created" => drop(store.create_new_workflow(&instance(id)).await?),
            _ => done(&store, fence, StepCommit { created: vec![instance(id)], ..commit("parent") }).await?,
        }
        store.create_event_subscription(&wait(id, id, "name", id, second(0))).await?;
        assert_eq!(deliveries(&store, id).await?, pairs(&[]));
        for event_id in [early, later] {
            assert!(steps(&store)?.finish_event(&event_id).await?);
        }
    }
    Ok(())
}

async fn an_event_of_now_is_delivered_whatever_date_it_is_handed_over_with(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    open(&store, fence, &["w"]).await?;
    bench.clock.set(second(-100));
    for (id, at) in [("e", -101), ("f", -99)] {
        // Time passes, or the clock is set, between the publisher's reading of the clock and the store's.
        store.create_event_now(&event(id, "name", "key", second(at))).await?;
        assert_eq!(store.get_event(id).await?, event(id, "name", "key", second(-100)));
    }
    let again = event("e", "name", "key", second(-100));
    assert_err!(store.create_event_now(&again).await, WfeError::AlreadyExists { .. });
    assert_eq!(deliveries(&store, "i").await?, pairs(&[("w", "e")]));
    consume(&store, fence, &[("w", "e")]).await?;
    assert_eq!(read_on(&store, fence, "x").await?, ["f"]);
    Ok(())
}

async fn an_event_published_after_the_start_makes_an_instance_claimable(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let (owner, fence) = owned(&store, &parked("parent")).await?;
    started(&store, &[parked("started")]).await?;
    store.create_new_workflow(&parked("created")).await?;
    done(&store, fence, StepCommit { created: vec![parked("child")], ..commit("parent") }).await?;
    for id in ["started", "created", "child"] {
        store.create_event_subscription(&wait(&format!("of {id}"), id, "name", "key", second(0))).await?;
    }
    let with_wait = [wait("of parent", "parent", "name", "key", second(0))];
    store.persist_workflow_with_subscriptions(&parked("parent"), &with_wait).await?;
    bench.clock.set(second(-100));
    store.create_event(&event("old", "name", "key", second(-101))).await?;
    assert_eq!(claim(&bench, &store, &owner).await?, NONE);
    assert_eq!(steps.acquire(&owner, &definitions(), "child", bench.now()).await?, None);
    store.create_event(&event("e", "name", "key", second(-100))).await?;
    assert!(!steps.finish_event("e").await?);
    let Some(child) = steps.acquire(&owner, &definitions(), "child", bench.now()).await? else {
        unmet("nothing to acquire")
    };
    assert_eq!(child.id, "child");
    assert_eq!(claim(&bench, &store, &owner).await?, ["created", "started"]);
    assert_eq!(steps.load("parent").await?.deliveries.len(), 1);
    Ok(())
}
