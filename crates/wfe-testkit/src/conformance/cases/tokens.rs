//! Tokens: how an external worker holds a subscription for a limited time, measured by the clock of the store.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use wfe_core::models::EventSubscription;

use super::prelude::*;

cases! { "tokens":
    a_free_wait_takes_a_token,
    a_live_token_keeps_others_out_and_nothing_changes,
    a_worker_renews_its_own_token,
    a_token_expires_by_the_clock_of_the_store,
    an_expired_token_is_replaced,
    a_token_that_has_expired_already_holds_nothing,
    a_token_without_expiry_holds_until_it_is_cleared,
    a_cleared_token_holds_nothing,
    only_the_token_that_holds_the_wait_clears_it,
    a_missing_or_terminated_wait_takes_no_token,
    the_first_open_subscription_is_one_that_no_live_token_holds,
    held_waits_are_still_listed,
    of_many_workers_only_one_gets_the_wait,
}

async fn one_wait(bench: &Bench) -> Checked<Store> {
    let store = bench.open().await?;
    store.create_event_subscription(&wait("w", "i", "name", "key", second(0))).await?;
    Ok(store)
}

fn held(token: &str, worker: &str, expiry: DateTime<Utc>) -> EventSubscription {
    EventSubscription {
        external_token: Some(token.to_owned()),
        external_worker_id: Some(worker.to_owned()),
        external_token_expiry: Some(expiry),
        ..wait("w", "i", "name", "key", second(0))
    }
}

async fn first(store: &Store) -> Checked<Option<String>> {
    Ok(store.get_first_open_subscription("name", "key", second(99)).await?.map(|wait| wait.id))
}

async fn a_free_wait_takes_a_token(bench: Bench) -> Checked<()> {
    let store = one_wait(&bench).await?;
    let expiry = second(10) + TimeDelta::nanoseconds(1);
    assert!(store.set_subscription_token("w", "token", "worker", expiry).await?);
    assert_eq!(store.get_subscription("w").await?, held("token", "worker", expiry));
    Ok(())
}

async fn a_live_token_keeps_others_out_and_nothing_changes(bench: Bench) -> Checked<()> {
    let store = one_wait(&bench).await?;
    assert!(store.set_subscription_token("w", "token", "worker", second(10)).await?);
    for _ in 0..2 {
        assert!(!store.set_subscription_token("w", "other", "worker", second(20)).await?);
        assert_eq!(store.get_subscription("w").await?, held("token", "worker", second(10)));
    }
    Ok(())
}

async fn a_worker_renews_its_own_token(bench: Bench) -> Checked<()> {
    let store = one_wait(&bench).await?;
    assert!(store.set_subscription_token("w", "token", "worker", second(10)).await?);
    assert!(store.set_subscription_token("w", "token", "moved", second(20)).await?);
    assert_eq!(store.get_subscription("w").await?, held("token", "moved", second(20)));
    bench.clock.set(second(15));
    assert!(!store.set_subscription_token("w", "other", "worker", second(30)).await?);
    bench.clock.set(second(25));
    assert!(store.set_subscription_token("w", "token", "worker", second(30)).await?);
    Ok(())
}

async fn a_token_expires_by_the_clock_of_the_store(bench: Bench) -> Checked<()> {
    let store = one_wait(&bench).await?;
    assert!(store.set_subscription_token("w", "token", "worker", second(3_600)).await?);
    bench.clock.set(second(3_600) - TimeDelta::nanoseconds(1));
    assert_eq!(first(&store).await?, None);
    assert!(!store.set_subscription_token("w", "other", "worker", second(9_000)).await?);
    bench.clock.advance(Duration::from_nanos(1));
    assert_eq!(first(&store).await?.as_deref(), Some("w"));
    assert!(store.set_subscription_token("w", "other", "worker", second(9_000)).await?);
    Ok(())
}

async fn an_expired_token_is_replaced(bench: Bench) -> Checked<()> {
    let store = one_wait(&bench).await?;
    assert!(store.set_subscription_token("w", "old", "dead", second(10)).await?);
    bench.clock.set(second(11));
    assert!(store.set_subscription_token("w", "new", "alive", second(20)).await?);
    assert_eq!(store.get_subscription("w").await?, held("new", "alive", second(20)));
    assert!(!store.set_subscription_token("w", "old", "dead", second(30)).await?);
    assert_err!(store.clear_subscription_token("w", "old").await, WfeError::SubscriptionNotFound(_));
    assert_eq!(store.get_subscription("w").await?, held("new", "alive", second(20)));
    Ok(())
}

async fn a_token_that_has_expired_already_holds_nothing(bench: Bench) -> Checked<()> {
    let store = one_wait(&bench).await?;
    assert!(store.set_subscription_token("w", "late", "worker", second(-1)).await?);
    assert_eq!(first(&store).await?.as_deref(), Some("w"));
    assert!(store.set_subscription_token("w", "other", "worker", second(10)).await?);
    Ok(())
}

async fn a_token_without_expiry_holds_until_it_is_cleared(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let mut eternal = held("token", "worker", second(0));
    eternal.external_token_expiry = None;
    store.create_event_subscription(&eternal).await?;
    bench.clock.set(second(1_000_000_000));
    assert_eq!(first(&store).await?, None);
    assert!(!store.set_subscription_token("w", "other", "worker", second(2_000_000_000)).await?);
    assert_eq!(store.get_subscription("w").await?, eternal);
    store.clear_subscription_token("w", "token").await?;
    assert!(store.set_subscription_token("w", "other", "worker", second(2_000_000_000)).await?);
    Ok(())
}

async fn a_cleared_token_holds_nothing(bench: Bench) -> Checked<()> {
    let store = one_wait(&bench).await?;
    assert!(store.set_subscription_token("w", "token", "worker", second(10)).await?);
    store.clear_subscription_token("w", "token").await?;
    assert_eq!(store.get_subscription("w").await?, wait("w", "i", "name", "key", second(0)));
    assert_eq!(first(&store).await?.as_deref(), Some("w"));
    assert!(store.set_subscription_token("w", "other", "worker", second(10)).await?);
    Ok(())
}

async fn only_the_token_that_holds_the_wait_clears_it(bench: Bench) -> Checked<()> {
    let store = one_wait(&bench).await?;
    assert_err!(store.clear_subscription_token("w", "token").await, WfeError::SubscriptionNotFound(_));
    assert!(store.set_subscription_token("w", "token", "worker", second(10)).await?);
    for (id, token) in [("w", "other"), ("w", ""), ("w", "Token"), ("m", "token")] {
        assert_err!(store.clear_subscription_token(id, token).await, WfeError::SubscriptionNotFound(_));
    }
    assert_eq!(store.get_subscription("w").await?, held("token", "worker", second(10)));
    Ok(())
}

async fn a_missing_or_terminated_wait_takes_no_token(bench: Bench) -> Checked<()> {
    let store = one_wait(&bench).await?;
    store.terminate_subscription("w").await?;
    for id in ["m", "w"] {
        assert_err!(
            store.set_subscription_token(id, "token", "worker", second(10)).await,
            WfeError::SubscriptionNotFound(missing) if missing == id
        );
    }
    assert_eq!(store.get_subscription("w").await?, wait("w", "i", "name", "key", second(0)));
    Ok(())
}

async fn the_first_open_subscription_is_one_that_no_live_token_holds(bench: Bench) -> Checked<()> {
    let store = one_wait(&bench).await?;
    store.create_event_subscription(&wait("x", "j", "name", "key", second(1))).await?;
    assert!(store.set_subscription_token("w", "one", "worker", second(10)).await?);
    assert_eq!(first(&store).await?.as_deref(), Some("x"));
    assert!(store.set_subscription_token("x", "two", "worker", second(5)).await?);
    assert_eq!(first(&store).await?, None);
    bench.clock.set(second(5));
    assert_eq!(first(&store).await?.as_deref(), Some("x"));
    bench.clock.set(second(10));
    assert_eq!(first(&store).await?.as_deref(), Some("w"));
    Ok(())
}

async fn held_waits_are_still_listed(bench: Bench) -> Checked<()> {
    let store = one_wait(&bench).await?;
    assert!(store.set_subscription_token("w", "token", "worker", second(10)).await?);
    let listed = store.get_subscriptions("name", "key", second(9)).await?;
    assert_eq!(listed, [held("token", "worker", second(10))]);
    Ok(())
}

async fn of_many_workers_only_one_gets_the_wait(bench: Bench) -> Checked<()> {
    let store = one_wait(&bench).await?;
    let workers: Vec<_> = (0..16)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                store.set_subscription_token("w", &format!("token {n}"), &n.to_string(), second(10)).await
            })
        })
        .collect();
    let mut winners = Vec::new();
    for (n, worker) in workers.into_iter().enumerate() {
        if worker.await?? {
            winners.push(n.to_string());
        }
    }
    assert_eq!(winners.len(), 1, "{winners:?}");
    assert_eq!(store.get_subscription("w").await?.external_worker_id.as_ref(), winners.first());
    Ok(())
}
