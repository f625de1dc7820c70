//! Positions: an event that has become due gets its position during a write. From then on, all instances can
//! receive the event.

use futures_util::future::try_join;

use super::{
    claiming::{NONE, claim, started},
    prelude::*,
    streams::{consume, deliveries, open, pairs, publish, read_on},
};

cases! { "positions of events":
    an_event_that_became_due_is_delivered_once_it_has_its_position,
    positions_that_were_assigned_are_not_assigned_again,
    positions_follow_the_dates_of_what_became_due_together,
    each_write_that_concerns_events_assigns_positions,
    an_event_without_a_position_is_not_finished_with_others,
    acquiring_an_instance_assigns_positions,
    of_two_providers_that_assign_positions_at_once_only_one_does,
}

async fn an_event_that_became_due_is_delivered_once_it_has_its_position(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    open(&store, fence, &["w"]).await?;
    publish(&store, "e", 10).await?;
    steps.position_due_events().await?;
    assert_eq!(deliveries(&store, "i").await?, pairs(&[]), "it is not due");
    bench.clock.set(second(10));
    steps.position_due_events().await?;
    assert_eq!(deliveries(&store, "i").await?, pairs(&[("w", "e")]));
    let mut many = steps.load_many(&texts(&["i"])).await?;
    let Some((_, Ok(one))) = many.pop() else { unmet("the instance is not among many") };
    assert_eq!(one, steps.load("i").await?);
    // Setting the clock back removes no position.
    bench.clock.set(second(0));
    assert_eq!(deliveries(&store, "i").await?, pairs(&[("w", "e")]));
    Ok(())
}

async fn positions_that_were_assigned_are_not_assigned_again(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    assert!(!steps.position_due_events().await?);
    publish(&store, "past", -1).await?;
    publish(&store, "now", 0).await?;
    publish(&store, "ahead", 10).await?;
    assert!(!steps.position_due_events().await?);
    bench.clock.set(second(10));
    steps.position_due_events().await?;
    assert!(!steps.position_due_events().await?);
    Ok(())
}

async fn positions_follow_the_dates_of_what_became_due_together(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    for (id, at) in [("c", 30), ("a", 10), ("d", 40), ("b", 20)] {
        publish(&store, id, at).await?;
    }
    bench.clock.set(second(30));
    steps(&store)?.position_due_events().await?;
    // Although this event is backdated, it comes after the other events, because it became due later.
    publish(&store, "back", 5).await?;
    bench.clock.set(second(40));
    steps(&store)?.position_due_events().await?;
    assert_eq!(read_on(&store, fence, "w").await?, ["a", "b", "c", "back", "d"]);
    Ok(())
}

async fn each_write_that_concerns_events_assigns_positions(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let (owner, fence) = owned(&store, &instance("i")).await?;
    let (_other, other) = owned(&store, &parked("j")).await?;
    open(&store, fence, &["w"]).await?;
    for write in 0..7 {
        let (at, id) = (10 * (write + 1), format!("e{write}"));
        store.create_event(&event(&id, "name", "key", second(at))).await?;
        bench.clock.set(second(at));
        match write {
            0 => drop(steps.start(None, &parked("started")).await?),
            1 => drop(store.create_new_workflow(&parked("created")).await?),
            2 => drop(store.create_event(&event("other", "other", "key", bench.now())).await?),
            3 => drop(store.create_event_now(&event("another", "other", "key", bench.now())).await?),
            4 => done(&store, other, StepCommit { created: vec![parked("child")], ..commit("j") }).await?,
            5 => assert_eq!(claim(&bench, &store, &owner).await?, NONE),
            _ => assert!(!steps.finish_event(&id).await?, "a wait needs it"),
        }
        let wait = if write == 0 { "w".to_owned() } else { format!("w{write}") };
        assert_eq!(deliveries(&store, "i").await?, pairs(&[(&wait, &id)]), "after write {write}");
        let next = format!("w{}", write + 1);
        consume(&store, fence, &[(&wait, &id)]).await?;
        open(&store, fence, &[&next]).await?;
    }
    Ok(())
}

async fn an_event_without_a_position_is_not_finished_with_others(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    publish(&store, "e", 10).await?;
    offered(steps.finish_events(None, 9).await)?;
    assert!(!store.get_event("e").await?.is_processed);
    bench.clock.set(second(10));
    steps.position_due_events().await?;
    assert_eq!(steps.finish_events(None, 9).await?.finished, 1);
    assert!(store.get_event("e").await?.is_processed);
    Ok(())
}

async fn acquiring_an_instance_assigns_positions(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    started(&store, &[parked("i")]).await?;
    store.create_event_subscription(&wait("w", "i", "name", "key", second(0))).await?;
    let owner = steps.register().await?;
    publish(&store, "e", 10).await?;
    assert_eq!(steps.acquire(&owner, &definitions(), "i", bench.now()).await?, None);
    bench.clock.set(second(10));
    let Some(claimed) = steps.acquire(&owner, &definitions(), "i", bench.now()).await? else {
        unmet("nothing to acquire")
    };
    assert_eq!(claimed.id, "i");
    assert_eq!(deliveries(&store, "i").await?, pairs(&[("w", "e")]));
    Ok(())
}

async fn of_two_providers_that_assign_positions_at_once_only_one_does(bench: Bench) -> Checked<()> {
    let one = bench.open().await?;
    let other = bench.open_another().await?;
    let (_owner, fence) = owned(&one, &instance("i")).await?;
    let mut published = Vec::new();
    for round in 0..20 {
        for id in ["a", "b"] {
            let id = format!("{round} {id}");
            publish(&one, &id, round + 1).await?;
            published.push(id);
        }
        bench.clock.set(second(round + 1));
        let (left, right) = (steps(&one)?, steps(&other)?);
        try_join(left.position_due_events(), right.position_due_events()).await?;
    }
    assert_eq!(read_on(&one, fence, "w").await?, published);
    Ok(())
}
