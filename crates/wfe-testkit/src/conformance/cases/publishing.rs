//! Publishing: an event is stored, and the answer tells what it met.

use wfe_core::{
    NoEffectReason,
    models::Event,
    traits::{Control, Published},
};

use super::{
    prelude::*,
    streams::{consume, deliveries, open, pairs},
};

cases! { "publishing":
    a_published_event_is_stored_and_delivered,
    a_new_event_tells_how_many_open_waits_it_met,
    waits_are_counted_up_to_a_limit,
    an_event_that_is_not_due_or_comes_before_the_waits_meets_none,
    a_known_event_is_not_stored_again_and_tells_whether_it_was_consumed,
    a_known_id_of_another_name_or_key_is_refused,
    an_event_for_one_instance_needs_an_instance_that_has_not_ended,
    an_event_without_an_id_gets_one,
}

/// Publishes an event with this id, the name `name` and the key `key`, now.
async fn published(store: &Store, id: &str) -> Checked<Published> {
    offered(steps(store)?.publish(&event(id, "name", "key", second(-9)), false, None).await)
}

fn told(id: &str, waits: usize) -> Published {
    let mut told = Published::new(id);
    told.waits = waits;
    told
}

fn known(id: &str, is_consumed: bool, waits: usize) -> Published {
    let mut known = told(id, waits);
    (known.is_new, known.is_consumed) = (false, is_consumed);
    known
}

async fn a_published_event_is_stored_and_delivered(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    open(&store, fence, &["w"]).await?;
    assert_eq!(published(&store, "now").await?, told("now", 1));
    // Without a date, the store sets the time.
    let stored = store.get_event("now").await?;
    assert_eq!(stored, Event { event_time: bench.now(), ..event("now", "name", "key", second(0)) });
    assert_eq!(deliveries(&store, "i").await?, pairs(&[("w", "now")]));
    let dated = event("dated", "other", "key", second(-9));
    offered(steps(&store)?.publish(&dated, true, None).await)?;
    assert_eq!(store.get_event("dated").await?, dated);
    Ok(())
}

async fn a_new_event_tells_how_many_open_waits_it_met(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    assert_eq!(published(&store, "early").await?, told("early", 0));
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let (_other_owner, other) = owned(&store, &instance("j")).await?;
    open(&store, fence, &["w", "v", "closed"]).await?;
    done(&store, fence, StepCommit { unsubscribed: texts(&["closed"]), ..commit("i") }).await?;
    let wait_of = |id: &str, name: &str, key: &str| wait(id, "j", name, key, second(0));
    let subscribed =
        vec![wait_of("x", "name", "key"), wait_of("y", "name", "else"), wait_of("z", "else", "key")];
    done(&store, other, StepCommit { subscribed, ..commit("j") }).await?;
    assert_eq!(published(&store, "a").await?, told("a", 3));
    consume(&store, fence, &[("w", "a")]).await?;
    assert_eq!(published(&store, "b").await?, told("b", 2));
    Ok(())
}

async fn waits_are_counted_up_to_a_limit(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let ids: Vec<String> = (0..=Published::MANY).map(|n| format!("w{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let many = Published::MANY;
    for (from, to, met) in [(0, many - 1, many - 1), (many - 1, many, many), (many, many + 1, many)] {
        open(&store, fence, &ids[from..to]).await?;
        assert_eq!(published(&store, &format!("to {to}")).await?.waits, met);
    }
    Ok(())
}

async fn an_event_that_is_not_due_or_comes_before_the_waits_meets_none(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    open(&store, fence, &["w"]).await?;
    for (id, at) in [("ahead", 60), ("before", -60)] {
        let dated = event(id, "name", "key", second(at));
        let published = offered(steps(&store)?.publish(&dated, true, None).await)?;
        assert_eq!(published, told(id, 0));
    }
    Ok(())
}

async fn a_known_event_is_not_stored_again_and_tells_whether_it_was_consumed(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    published(&store, "early").await?;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let (_other_owner, other) = owned(&store, &instance("j")).await?;
    open(&store, fence, &["w"]).await?;
    let subscribed = vec![wait("x", "j", "name", "key", second(0))];
    done(&store, other, StepCommit { subscribed, ..commit("j") }).await?;
    // It came before the instances, so none of them receives it.
    bench.clock.advance(std::time::Duration::from_secs(1));
    let before = store.get_event("early").await?;
    assert_eq!(published(&store, "early").await?, known("early", false, 0));
    assert_eq!(store.get_event("early").await?, before);
    published(&store, "a").await?;
    assert_eq!(published(&store, "a").await?, known("a", false, 2));
    consume(&store, fence, &[("w", "a")]).await?;
    assert_eq!(published(&store, "a").await?, known("a", true, 1));
    let consumed = vec![consumed("x", "a")];
    done(&store, other, StepCommit { consumed, ..commit("j") }).await?;
    let changed = Event { event_data: json!("changed"), ..event("a", "name", "key", second(5)) };
    assert_eq!(offered(steps(&store)?.publish(&changed, true, None).await)?, known("a", true, 0));
    assert_eq!(store.get_event("a").await?.event_data, json!({ "of": "a" }));
    Ok(())
}

async fn a_known_id_of_another_name_or_key_is_refused(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    published(&store, "a").await?;
    for (name, key) in [("other", "key"), ("name", "other")] {
        let misfit = event("a", name, key, second(0));
        assert_err!(
            steps(&store)?.publish(&misfit, false, None).await,
            WfeError::AlreadyExists { id, .. } if id == "a"
        );
    }
    Ok(())
}

async fn an_event_for_one_instance_needs_an_instance_that_has_not_ended(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let publish = async |id: &str| {
        let event = event(id, "name", "i", second(0));
        steps.publish(&event, false, Some("i")).await
    };
    let early = publish("a").await;
    if let Err(WfeError::Unsupported(_)) = early {
        return offered(early).map(drop);
    }
    assert_err!(early, WfeError::WorkflowNotFound(id) if id == "i");
    assert_err!(store.get_event("a").await, WfeError::EventNotFound(_));
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    let subscribed = vec![wait("w", "i", "name", "i", second(0))];
    done(&store, fence, StepCommit { subscribed, ..commit("i") }).await?;
    assert_eq!(publish("a").await?, told("a", 1));
    consume(&store, fence, &[("w", "a")]).await?;
    steps.request("i", Control::Terminate).await?;
    let ended = StepCommit {
        status: Some(WorkflowStatus::Terminated),
        ending: Some(Ending::Failed),
        applied: steps.load("i").await?.control.map(|request| request.number),
        release: true,
        ..commit("i")
    };
    done(&store, fence, ended).await?;
    assert_eq!(publish("a").await?, known("a", true, 0), "a known event is no new one");
    assert_err!(
        publish("b").await,
        WfeError::NoEffect { id, request: "publish", reason: NoEffectReason::Ended(Ending::Failed) } if id == "i"
    );
    assert_err!(store.get_event("b").await, WfeError::EventNotFound(_));
    Ok(())
}

async fn an_event_without_an_id_gets_one(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (one, two) = (published(&store, "").await?, published(&store, "").await?);
    assert!(!one.id.is_empty() && one.id != two.id && one.is_new && two.is_new);
    assert_eq!(store.get_event(&one.id).await?.event_name, "name");
    Ok(())
}
