//! Streams: the events of one name and key form a stream. An instance receives the events of a stream in
//! order, each event at most once.

use std::time::Duration;

use wfe_core::traits::Control;

use super::prelude::*;

cases! { "streams":
    an_event_is_delivered_to_an_open_wait,
    an_early_event_is_delivered_to_its_wait_though_it_was_processed,
    an_event_dated_before_the_start_of_the_first_wait_is_not_delivered,
    an_event_of_another_name_or_key_is_not_delivered,
    consuming_closes_the_wait,
    waits_in_a_loop_get_each_event_once_and_in_order,
    a_wait_opened_while_another_consumes_gets_the_next_event,
    a_wait_after_the_first_one_takes_what_comes_next_whatever_its_date,
    waits_open_in_the_same_commit_share_an_event,
    two_instances_each_get_the_event,
    every_name_and_key_has_a_position_of_its_own,
    the_position_outlasts_its_waits,
    the_position_outlives_its_provider,
    an_event_dated_ahead_is_delivered_from_its_date_on,
    events_come_in_the_order_in_which_they_became_due,
    an_event_dated_ahead_comes_before_one_published_after_its_date,
    events_dated_ahead_come_by_their_dates,
    a_closed_wait_takes_nothing,
    a_plainly_stored_wait_takes_events_too,
    an_event_published_in_a_commit_is_delivered,
    a_new_wait_makes_only_the_next_event_unprocessed,
    what_is_pending_equals_a_load,
}

/// Returns pairs of a wait of the instance and the event that this wait takes next.
pub(super) async fn deliveries(store: &Store, id: &str) -> Checked<Vec<(String, String)>> {
    let loaded = steps(store)?.load(id).await?;
    // The owner of the instance reads less, and gets the same result.
    assert_eq!(steps(store)?.pending(id, None).await?, loaded.clone().into_pending(None));
    let mut pairs: Vec<_> =
        loaded.deliveries.into_iter().map(|delivery| (delivery.subscription_id, delivery.event.id)).collect();
    pairs.sort();
    Ok(pairs)
}

pub(super) fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|&(wait, event)| (wait.to_owned(), event.to_owned())).collect()
}

/// Opens waits of the instance `i` for events with the name `name` and the key `key`.
pub(super) async fn open(store: &Store, fence: Fence, waits: &[&str]) -> Checked<()> {
    let subscribed = waits.iter().map(|id| wait(id, "i", "name", "key", second(0))).collect();
    done(store, fence, StepCommit { subscribed, ..commit("i") }).await
}

/// Publishes an event with the name `name` and the key `key`. Its timestamp is this many seconds after the
/// start.
pub(super) async fn publish(store: &Store, id: &str, at: i64) -> Checked<()> {
    store.create_event(&event(id, "name", "key", second(at))).await?;
    Ok(())
}

pub(super) async fn consume(store: &Store, fence: Fence, waits: &[(&str, &str)]) -> Checked<()> {
    let consumed = waits.iter().map(|(wait, event)| consumed(wait, event)).collect();
    done(store, fence, StepCommit { consumed, ..commit("i") }).await
}

/// Reads the stream to its end: opens one wait after another, and each consumes one event.
pub(super) async fn read_on(store: &Store, fence: Fence, name: &str) -> Checked<Vec<String>> {
    let mut read = Vec::new();
    loop {
        let id = format!("{name} {}", read.len());
        open(store, fence, &[&id]).await?;
        let Some((_, event)) = deliveries(store, "i").await?.pop() else {
            let unsubscribed = vec![id];
            done(store, fence, StepCommit { unsubscribed, ..commit("i") }).await?;
            return Ok(read);
        };
        consume(store, fence, &[(&id, &event)]).await?;
        read.push(event);
    }
}

async fn what_is_pending_equals_a_load(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let (_other_owner, other) = owned(&store, &instance("j")).await?;
    let wait_of = |id: &str, of: &str, key: &str| wait(id, of, "name", key, second(0));
    let subscribed = vec![wait_of("w", "i", "key"), wait_of("v\0", "i", "key"), wait_of("late", "i", "none")];
    done(&store, fence, StepCommit { subscribed, ..commit("i") }).await?;
    done(&store, other, StepCommit { subscribed: vec![wait_of("x", "j", "key")], ..commit("j") }).await?;
    publish(&store, "e", 0).await?;
    let asked = ["late", "v\0", "x", "unknown"].map(str::to_owned);
    for waits in [None, Some(&asked[..]), Some(&[])] {
        let pending = steps(&store)?.pending("i", waits).await?;
        assert_eq!(pending, steps(&store)?.load("i").await?.into_pending(waits));
        let delivered: Vec<_> =
            pending.deliveries.iter().map(|delivery| &*delivery.subscription_id).collect();
        let expected: &[&str] = match waits {
            None => &["w", "v\0"],
            Some([]) => &[],
            Some(_) => &["v\0"],
        };
        assert_eq!(delivered, expected);
    }
    steps(&store)?.request("i", Control::Suspend).await?;
    let pending = steps(&store)?.pending("i", Some(&[])).await?;
    assert_eq!(pending.control.map(|request| request.control), Some(Control::Suspend));
    assert_eq!(pending.fence, fence);
    assert_err!(steps(&store)?.pending("unknown", None).await, WfeError::WorkflowNotFound(id) if id == "unknown");
    Ok(())
}

async fn an_event_is_delivered_to_an_open_wait(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    open(&store, fence, &["w"]).await?;
    assert_eq!(deliveries(&store, "i").await?, pairs(&[]));
    publish(&store, "e", 0).await?;
    publish(&store, "later", 0).await?;
    let loaded = steps(&store)?.load("i").await?;
    assert_eq!(loaded.waits, [wait("w", "i", "name", "key", second(0))]);
    assert_eq!(loaded.deliveries.len(), 1);
    assert_eq!(loaded.deliveries[0].subscription_id, "w");
    assert_eq!(loaded.deliveries[0].event, event("e", "name", "key", second(0)));
    Ok(())
}

async fn an_early_event_is_delivered_to_its_wait_though_it_was_processed(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    publish(&store, "e", 0).await?;
    assert!(steps(&store)?.finish_event("e").await?);
    open(&store, fence, &["w"]).await?;
    assert!(!store.get_event("e").await?.is_processed);
    assert_eq!(deliveries(&store, "i").await?, pairs(&[("w", "e")]));
    Ok(())
}

async fn an_event_dated_before_the_start_of_the_first_wait_is_not_delivered(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    publish(&store, "old", -1).await?;
    open(&store, fence, &["w"]).await?;
    publish(&store, "older", -2).await?;
    assert_eq!(deliveries(&store, "i").await?, pairs(&[]));
    publish(&store, "e", 0).await?;
    assert_eq!(deliveries(&store, "i").await?, pairs(&[("w", "e")]));
    Ok(())
}

async fn an_event_of_another_name_or_key_is_not_delivered(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    open(&store, fence, &["w"]).await?;
    store.create_event(&event("e", "name", "Key", second(0))).await?;
    store.create_event(&event("f", "other", "key", second(0))).await?;
    assert_eq!(deliveries(&store, "i").await?, pairs(&[]));
    Ok(())
}

async fn consuming_closes_the_wait(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    open(&store, fence, &["w"]).await?;
    publish(&store, "e", 0).await?;
    consume(&store, fence, &[("w", "e")]).await?;
    let loaded = steps(&store)?.load("i").await?;
    assert_eq!((loaded.waits, loaded.deliveries), (vec![], vec![]));
    assert_eq!(store.get_subscriptions("name", "key", second(9)).await?, []);
    assert_eq!(store.get_subscription("w").await?.id, "w");
    Ok(())
}

async fn waits_in_a_loop_get_each_event_once_and_in_order(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    for id in ["e1", "e2", "e3"] {
        publish(&store, id, 0).await?;
    }
    assert_eq!(read_on(&store, fence, "first").await?, ["e1", "e2", "e3"]);
    for id in ["e4", "e5"] {
        publish(&store, id, 0).await?;
    }
    assert_eq!(read_on(&store, fence, "second").await?, ["e4", "e5"]);
    Ok(())
}

async fn a_wait_opened_while_another_consumes_gets_the_next_event(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    for id in ["e1", "e2", "e3"] {
        publish(&store, id, 0).await?;
    }
    open(&store, fence, &["w1"]).await?;
    for n in 1..=3 {
        let (this, next, event) = (format!("w{n}"), format!("w{}", n + 1), format!("e{n}"));
        assert_eq!(deliveries(&store, "i").await?, pairs(&[(&this, &event)]));
        let step = StepCommit {
            consumed: vec![consumed(&this, &event)],
            subscribed: vec![wait(&next, "i", "name", "key", second(0))],
            ..commit("i")
        };
        done(&store, fence, step).await?;
    }
    assert_eq!(deliveries(&store, "i").await?, pairs(&[]));
    Ok(())
}

async fn a_wait_after_the_first_one_takes_what_comes_next_whatever_its_date(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    open(&store, fence, &["w"]).await?;
    publish(&store, "e", 0).await?;
    publish(&store, "dated back", -50).await?;
    consume(&store, fence, &[("w", "e")]).await?;
    open(&store, fence, &["x"]).await?;
    assert_eq!(deliveries(&store, "i").await?, pairs(&[("x", "dated back")]));
    Ok(())
}

async fn waits_open_in_the_same_commit_share_an_event(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    publish(&store, "e1", 0).await?;
    publish(&store, "e2", 0).await?;
    open(&store, fence, &["v", "w"]).await?;
    assert_eq!(deliveries(&store, "i").await?, pairs(&[("v", "e1"), ("w", "e1")]));
    consume(&store, fence, &[("v", "e1"), ("w", "e1")]).await?;
    open(&store, fence, &["x", "y"]).await?;
    assert_eq!(deliveries(&store, "i").await?, pairs(&[("x", "e2"), ("y", "e2")]));
    consume(&store, fence, &[("y", "e2")]).await?;
    publish(&store, "e3", 0).await?;
    assert_eq!(deliveries(&store, "i").await?, pairs(&[("x", "e3")]));
    Ok(())
}

async fn two_instances_each_get_the_event(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let (_other, other) = owned(&store, &instance("j")).await?;
    open(&store, fence, &["w"]).await?;
    publish(&store, "e", 0).await?;
    consume(&store, fence, &[("w", "e")]).await?;
    let subscribed = vec![wait("x", "j", "name", "key", second(0))];
    done(&store, other, StepCommit { subscribed, ..commit("j") }).await?;
    assert_eq!(deliveries(&store, "j").await?, pairs(&[("x", "e")]));
    done(&store, other, StepCommit { consumed: vec![consumed("x", "e")], ..commit("j") }).await?;
    assert_eq!(deliveries(&store, "j").await?, pairs(&[]));
    Ok(())
}

async fn every_name_and_key_has_a_position_of_its_own(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let streams = [("name", "key"), ("name", "other"), ("other", "key")];
    for (name, key) in streams {
        store.create_event(&event(&format!("{name} {key}"), name, key, second(0))).await?;
    }
    // The streams are read from the newest event to the oldest. If two streams shared a position, this position
    // would be beyond the next event.
    for (name, key) in streams.into_iter().rev() {
        let id = format!("{name} {key}");
        let subscribed = vec![wait(&id, "i", name, key, second(0))];
        done(&store, fence, StepCommit { subscribed, ..commit("i") }).await?;
        assert_eq!(deliveries(&store, "i").await?, pairs(&[(&id, &id)]));
        consume(&store, fence, &[(&id, &id)]).await?;
    }
    Ok(())
}

async fn the_position_outlasts_its_waits(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    publish(&store, "e1", 0).await?;
    assert_eq!(read_on(&store, fence, "first").await?, ["e1"]);
    store.persist_workflow(&parked("i")).await?;
    bench.clock.advance(Duration::from_hours(1_000));
    publish(&store, "e2", 0).await?;
    assert_eq!(read_on(&store, fence, "second").await?, ["e2"]);
    Ok(())
}

async fn the_position_outlives_its_provider(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (owner, fence) = owned(&store, &instance("i")).await?;
    publish(&store, "e1", 0).await?;
    publish(&store, "e2", 0).await?;
    open(&store, fence, &["w"]).await?;
    consume(&store, fence, &[("w", "e1")]).await?;
    open(&store, fence, &["x"]).await?;
    drop(owner);
    let store = bench.reopen(store).await?;
    assert_eq!(deliveries(&store, "i").await?, pairs(&[("x", "e2")]));
    Ok(())
}

async fn an_event_dated_ahead_is_delivered_from_its_date_on(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    open(&store, fence, &["w"]).await?;
    publish(&store, "e", 10).await?;
    bench.clock.set(second(10) - chrono::TimeDelta::nanoseconds(1));
    assert_eq!(deliveries(&store, "i").await?, pairs(&[]));
    bench.clock.set(second(10));
    steps(&store)?.position_due_events().await?;
    assert_eq!(deliveries(&store, "i").await?, pairs(&[("w", "e")]));
    consume(&store, fence, &[("w", "e")]).await
}

async fn events_come_in_the_order_in_which_they_became_due(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    bench.clock.set(second(100));
    for (id, at) in [("z", 50), ("m", 90), ("a", 10)] {
        publish(&store, id, at).await?;
    }
    assert_eq!(read_on(&store, fence, "w").await?, ["z", "m", "a"]);
    Ok(())
}

async fn an_event_dated_ahead_comes_before_one_published_after_its_date(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    publish(&store, "ahead", 10).await?;
    bench.clock.set(second(5));
    publish(&store, "before", 5).await?;
    bench.clock.set(second(20));
    publish(&store, "after", 7).await?;
    assert_eq!(read_on(&store, fence, "w").await?, ["before", "ahead", "after"]);
    Ok(())
}

async fn events_dated_ahead_come_by_their_dates(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    for (id, at) in [("c", 30), ("a", 10), ("b", 20), ("d", 40)] {
        publish(&store, id, at).await?;
    }
    bench.clock.set(second(30));
    assert_eq!(read_on(&store, fence, "first").await?, ["a", "b", "c"]);
    bench.clock.set(second(40));
    assert_eq!(read_on(&store, fence, "second").await?, ["d"]);
    Ok(())
}

async fn a_closed_wait_takes_nothing(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    open(&store, fence, &["v", "w"]).await?;
    store.terminate_subscription("v").await?;
    done(&store, fence, StepCommit { unsubscribed: texts(&["w"]), ..commit("i") }).await?;
    publish(&store, "e", 0).await?;
    let loaded = steps(&store)?.load("i").await?;
    assert_eq!((loaded.waits, loaded.deliveries), (vec![], vec![]));
    Ok(())
}

async fn a_plainly_stored_wait_takes_events_too(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let plain = [wait("v", "i", "name", "key", second(0))];
    store.persist_workflow_with_subscriptions(&instance("i"), &plain).await?;
    store.create_event_subscription(&wait("w", "i", "name", "key", second(1))).await?;
    publish(&store, "e", 0).await?;
    assert_eq!(steps(&store)?.load("i").await?.waits.len(), 2);
    assert_eq!(deliveries(&store, "i").await?, pairs(&[("v", "e")]));
    consume(&store, fence, &[("v", "e")]).await
}

async fn an_event_published_in_a_commit_is_delivered(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let (_other, other) = owned(&store, &instance("j")).await?;
    open(&store, fence, &["w"]).await?;
    let published = vec![event("e", "name", "key", second(0)), event("f", "name", "key", second(0))];
    done(&store, other, StepCommit { published, ..commit("j") }).await?;
    assert_eq!(deliveries(&store, "i").await?, pairs(&[("w", "e")]));
    consume(&store, fence, &[("w", "e")]).await?;
    assert_eq!(read_on(&store, fence, "x").await?, ["f"]);
    Ok(())
}

async fn a_new_wait_makes_only_the_next_event_unprocessed(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    for id in ["e1", "e2", "e3"] {
        publish(&store, id, 0).await?;
    }
    open(&store, fence, &["w"]).await?;
    consume(&store, fence, &[("w", "e1")]).await?;
    for id in ["e1", "e2", "e3"] {
        assert!(steps(&store)?.finish_event(id).await?);
    }
    open(&store, fence, &["x"]).await?;
    assert_eq!(store.get_runnable_events(second(0)).await?, ["e2"]);
    Ok(())
}
