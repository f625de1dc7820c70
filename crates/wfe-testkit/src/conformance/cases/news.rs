//! Notifications: how a host learns of changes that other hosts have made.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{FutureExt, StreamExt, stream::BoxStream};
use wfe_core::traits::Control;

use super::{claiming::started, prelude::*};

cases! { "news":
    each_change_that_concerns_other_hosts_notifies_them,
    a_new_subscriber_is_not_notified_of_earlier_changes,
    steps_that_follow_directly_notify_no_other_host,
    news_without_a_listener_is_sent_later_and_once,
    another_provider_is_notified,
    requests_for_busy_instances_are_listed_for_their_owner,
    an_event_for_a_busy_instance_is_listed_for_its_owner,
    ended_and_missing_instances_are_distinguished_from_running_ones,
    the_next_future_event_is_reported,
}

/// How long a notification may take, even on a busy machine. The case fails if no notification arrives within this
/// time.
const PATIENCE: Duration = Duration::from_secs(20);

async fn next(news: &mut BoxStream<'static, ()>, of: &str) {
    let came = tokio::time::timeout(PATIENCE, news.next()).await;
    assert_eq!(came.ok().flatten(), Some(()), "no news of {of}");
}

/// Returns whether no notification is pending. The function stores an event and waits for the notification of this
/// event, because all earlier notifications have arrived by then.
async fn is_silent(store: &Store, news: &mut BoxStream<'static, ()>) -> Checked<bool> {
    let silent = news.next().now_or_never().is_none();
    store.create_event(&event("", "mark", "", second(0))).await?;
    next(news, "the mark").await;
    Ok(silent && news.next().now_or_never().is_none())
}

async fn each_change_that_concerns_other_hosts_notifies_them(bench: Bench) -> Checked<()> {
    bench.must_tell_news()?;
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let mut news = steps.news();
    started(&store, &[instance("started")]).await?;
    next(&mut news, "a start").await;
    store.create_new_workflow(&instance("created")).await?;
    next(&mut news, "an instance that was created").await;
    store.persist_workflow(&parked("created")).await?;
    next(&mut news, "an instance that was written").await;
    store.create_event(&event("e", "paid", "1", second(0))).await?;
    next(&mut news, "an event").await;
    store.mark_event_processed("e").await?;
    store.mark_event_unprocessed("e").await?;
    next(&mut news, "an event that is unprocessed again").await;
    store.create_event_subscription(&wait("w", "created", "paid", "1", second(0))).await?;
    next(&mut news, "a wait").await;
    steps.request("started", Control::Suspend).await?;
    next(&mut news, "a request").await;
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    done(&store, fence, StepCommit { created: vec![instance("child")], ..commit("i") }).await?;
    next(&mut news, "a child").await;
    done(&store, fence, StepCommit { published: vec![event("f", "n", "", second(0))], ..commit("i") })
        .await?;
    next(&mut news, "an event of a step").await;
    let requested = vec![("child".to_owned(), Control::Cancel)];
    done(&store, fence, StepCommit { requested, ..commit("i") }).await?;
    next(&mut news, "a request of a step").await;
    done(&store, fence, StepCommit { release: true, ..commit("i") }).await?;
    next(&mut news, "an instance that was given back").await;
    Ok(())
}

async fn a_new_subscriber_is_not_notified_of_earlier_changes(bench: Bench) -> Checked<()> {
    bench.must_tell_news()?;
    let store = bench.open().await?;
    started(&store, &[instance("i")]).await?;
    let mut news = steps(&store)?.news();
    assert!(is_silent(&store, &mut news).await?);
    Ok(())
}

async fn steps_that_follow_directly_notify_no_other_host(bench: Bench) -> Checked<()> {
    bench.must_tell_news()?;
    let store = bench.open().await?;
    let mut news = steps(&store)?.news();
    let (_owner, fence) = owned(&store, &instance("i")).await?;
    for n in 0..3 {
        done(&store, fence, StepCommit { data: Some(json!(n)), ..commit("i") }).await?;
    }
    assert!(is_silent(&store, &mut news).await?);
    Ok(())
}

async fn news_without_a_listener_is_sent_later_and_once(bench: Bench) -> Checked<()> {
    bench.must_tell_news()?;
    let store = bench.open().await?;
    let mut news = steps(&store)?.news();
    for id in ["a", "b", "c"] {
        started(&store, &[instance(id)]).await?;
    }
    next(&mut news, "the starts").await;
    assert!(is_silent(&store, &mut news).await?);
    Ok(())
}

async fn another_provider_is_notified(bench: Bench) -> Checked<()> {
    bench.must_tell_news()?;
    let one = bench.open().await?;
    let other = bench.open_another().await?;
    let mut news = steps(&other)?.news();
    started(&one, &[instance("i")]).await?;
    next(&mut news, "a start at the other provider").await;
    Ok(())
}

async fn requests_for_busy_instances_are_listed_for_their_owner(bench: Bench) -> Checked<()> {
    bench.must_tell_news()?;
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let (owner, fence) = owned(&store, &instance("i")).await?;
    let (other, _) = owned(&store, &instance("j")).await?;
    started(&store, &[instance("k")]).await?;
    assert!(steps.requested(&owner).await?.is_empty());
    for id in ["i", "j", "k"] {
        steps.request(id, Control::Suspend).await?;
    }
    assert_eq!(steps.requested(&owner).await?, ["i"]);
    assert_eq!(steps.requested(&other).await?, ["j"]);
    let Some(request) = steps.load("i").await?.control else { unmet("the request is not there") };
    done(&store, fence, StepCommit { applied: Some(request.number), ..commit("i") }).await?;
    assert!(steps.requested(&owner).await?.is_empty());
    Ok(())
}

async fn an_event_for_a_busy_instance_is_listed_for_its_owner(bench: Bench) -> Checked<()> {
    bench.must_tell_news()?;
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let (owner, fence) = owned(&store, &instance("i")).await?;
    done(
        &store,
        fence,
        StepCommit { subscribed: vec![wait("w", "i", "paid", "1", second(0))], ..commit("i") },
    )
    .await?;
    assert!(steps.requested(&owner).await?.is_empty());
    store.create_event(&event("later", "paid", "1", second(60))).await?;
    assert!(steps.requested(&owner).await?.is_empty());
    bench.clock.set(second(60));
    steps.position_due_events().await?;
    assert_eq!(steps.requested(&owner).await?, ["i"]);
    done(&store, fence, StepCommit { consumed: vec![consumed("w", "later")], ..commit("i") }).await?;
    assert!(steps.requested(&owner).await?.is_empty());
    Ok(())
}

async fn ended_and_missing_instances_are_distinguished_from_running_ones(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let statuses = [
        WorkflowStatus::Runnable,
        WorkflowStatus::Suspended,
        WorkflowStatus::Complete,
        WorkflowStatus::Terminated,
    ];
    for status in statuses {
        started(&store, &[WorkflowInstance { status, ..instance(&status.to_string()) }]).await?;
    }
    let missing = "mis'\"\0sing".to_owned();
    let ids: Vec<String> = statuses.iter().map(ToString::to_string).chain([missing.clone()]).collect();
    let mut ended = steps.ended(&ids).await?;
    ended.sort();
    let mut expected =
        vec![WorkflowStatus::Complete.to_string(), WorkflowStatus::Terminated.to_string(), missing];
    expected.sort();
    assert_eq!(ended, expected);
    assert!(steps.ended(&[]).await?.is_empty());
    Ok(())
}

async fn the_next_future_event_is_reported(bench: Bench) -> Checked<()> {
    bench.must_tell_news()?;
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let (ahead, now) = (second(10) + TimeDelta::nanoseconds(1), bench.now());
    assert_eq!(steps.upcoming_event(now).await?, None);
    for (id, at) in [("later", second(20)), ("ahead", ahead), ("due", second(0)), ("old", second(-5))] {
        store.create_event(&event(id, "name", "key", at)).await?;
    }
    store.mark_event_processed("due").await?;
    for bound in [DateTime::<Utc>::MIN_UTC, now, second(10)] {
        assert_eq!(steps.upcoming_event(bound).await?, Some(ahead));
    }
    assert_eq!(steps.upcoming_event(ahead).await?, Some(second(20)));
    assert_eq!(steps.upcoming_event(second(20)).await?, None);
    assert_eq!(steps.upcoming_event(DateTime::<Utc>::MAX_UTC).await?, None);
    // Once the event is due, it is no longer a future event, whether or not an instance has taken it.
    bench.clock.set(ahead);
    assert!(steps.finish_event("ahead").await?);
    assert_eq!(steps.upcoming_event(now).await?, Some(second(20)));
    Ok(())
}
