//! Subscriptions to events.

use wfe_core::{Kind, models::EventSubscription};

use super::prelude::*;

cases! { "subscriptions":
    a_subscription_comes_back_as_it_went_in,
    the_store_makes_a_subscription_id_where_none_is_given,
    a_subscription_id_that_exists_is_refused_and_nothing_is_written,
    a_missing_subscription_is_not_found,
    open_waits_of_a_name_and_key_come_oldest_first,
    waits_that_begin_later_are_left_out,
    names_and_keys_of_waits_are_compared_character_by_character,
    a_terminated_subscription_is_no_longer_open_but_can_be_read,
    terminating_twice_is_fine,
    the_first_open_subscription_is_the_oldest_one,
    without_an_open_wait_there_is_no_first_one,
    an_instance_and_its_waits_are_stored_together,
    an_instance_and_its_waits_are_refused_together,
    an_instance_can_be_stored_with_no_waits,
    a_pointer_may_have_several_waits,
}

async fn listed(store: &Store, name: &str, key: &str, at: i64) -> Checked<Vec<String>> {
    Ok(store.get_subscriptions(name, key, second(at)).await?.into_iter().map(|wait| wait.id).collect())
}

async fn a_subscription_comes_back_as_it_went_in(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    for stored in [full_wait("full"), wait("bare", "i", "name", "key", second(1))] {
        assert_eq!(store.create_event_subscription(&stored).await?, stored.id);
        assert_eq!(store.get_subscription(&stored.id).await?, stored);
    }
    let both = [full_wait("full"), wait("bare", "i", "name", "key", second(1))];
    assert_eq!(store.get_subscriptions("name", "key", second(1)).await?, both);
    Ok(())
}

async fn the_store_makes_a_subscription_id_where_none_is_given(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let nameless = wait("", "i", "name", "key", second(1));
    let made = store.create_event_subscription(&nameless).await?;
    assert_ne!(made, "");
    let expected = EventSubscription { id: made.clone(), ..nameless.clone() };
    assert_eq!(store.get_subscription(&made).await?, expected);

    store.create_new_workflow(&instance("i")).await?;
    let two = [nameless.clone(), nameless];
    store.persist_workflow_with_subscriptions(&instance("i"), &two).await?;
    let mut ids = listed(&store, "name", "key", 1).await?;
    ids.sort();
    ids.dedup();
    assert!(ids.len() == 3 && ids.iter().all(|id| !id.is_empty()), "{ids:?}");
    Ok(())
}

async fn a_subscription_id_that_exists_is_refused_and_nothing_is_written(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    store.create_event_subscription(&full_wait("w")).await?;
    let other = wait("w", "i", "other", "other", second(0));
    assert_err!(
        store.create_event_subscription(&other).await,
        WfeError::AlreadyExists { kind: Kind::Subscription, id } if id == "w"
    );
    store.terminate_subscription("w").await?;
    assert_err!(store.create_event_subscription(&other).await, WfeError::AlreadyExists { .. });
    assert_eq!(store.get_subscription("w").await?, full_wait("w"));
    assert_eq!(listed(&store, "other", "other", 9).await?, Vec::<String>::new());
    Ok(())
}

async fn a_missing_subscription_is_not_found(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    store.create_event_subscription(&wait("w", "i", "name", "key", second(1))).await?;
    assert_err!(store.get_subscription("m").await, WfeError::SubscriptionNotFound(id) if id == "m");
    assert_err!(store.terminate_subscription("m").await, WfeError::SubscriptionNotFound(id) if id == "m");
    assert_err!(store.get_subscription("").await, WfeError::SubscriptionNotFound(_));
    Ok(())
}

async fn open_waits_of_a_name_and_key_come_oldest_first(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    for (id, at) in [("c", 30), ("z", 10), ("y", 20), ("b", -50)] {
        store.create_event_subscription(&wait(id, "i", "name", "key", second(at))).await?;
    }
    assert_eq!(listed(&store, "name", "key", 30).await?, ["b", "z", "y", "c"]);
    Ok(())
}

async fn waits_that_begin_later_are_left_out(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    store.create_event_subscription(&wait("w", "i", "name", "key", second(10))).await?;
    assert_eq!(listed(&store, "name", "key", 9).await?, Vec::<String>::new());
    assert_eq!(listed(&store, "name", "key", 10).await?, ["w"]);
    assert_eq!(store.get_first_open_subscription("name", "key", second(9)).await?, None);
    Ok(())
}

async fn names_and_keys_of_waits_are_compared_character_by_character(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let texts = ["", "a", "A", "a ", "%", "_", "a'b", "1", "1.0", "ä"];
    for name in texts {
        for key in texts {
            let id = format!("{name}/{key}");
            store.create_event_subscription(&wait(&id, "i", name, key, second(1))).await?;
        }
    }
    for name in texts {
        for key in texts {
            assert_eq!(listed(&store, name, key, 1).await?, [format!("{name}/{key}")]);
            let first = store.get_first_open_subscription(name, key, second(1)).await?;
            assert_eq!(first.map(|wait| wait.id), Some(format!("{name}/{key}")));
        }
    }
    Ok(())
}

async fn a_terminated_subscription_is_no_longer_open_but_can_be_read(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    store.create_event_subscription(&wait("stays", "i", "name", "key", second(2))).await?;
    store.create_event_subscription(&full_wait("w")).await?;
    store.terminate_subscription("w").await?;
    assert_eq!(store.get_subscription("w").await?, full_wait("w"));
    assert_eq!(listed(&store, "name", "key", 9).await?, ["stays"]);
    let first = store.get_first_open_subscription("name", "key", second(9)).await?;
    assert_eq!(first.map(|wait| wait.id).as_deref(), Some("stays"));
    Ok(())
}

async fn terminating_twice_is_fine(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    store.create_event_subscription(&wait("w", "i", "name", "key", second(1))).await?;
    store.terminate_subscription("w").await?;
    store.terminate_subscription("w").await?;
    assert_eq!(listed(&store, "name", "key", 9).await?, Vec::<String>::new());
    Ok(())
}

async fn the_first_open_subscription_is_the_oldest_one(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    for (id, at) in [("c", 30), ("z", 10), ("b", 20)] {
        store.create_event_subscription(&wait(id, "i", "name", "key", second(at))).await?;
    }
    for expected in ["z", "b", "c"] {
        let first = store.get_first_open_subscription("name", "key", second(30)).await?;
        assert_eq!(first.map(|wait| wait.id).as_deref(), Some(expected));
        store.terminate_subscription(expected).await?;
    }
    assert_eq!(store.get_first_open_subscription("name", "key", second(30)).await?, None);
    Ok(())
}

async fn without_an_open_wait_there_is_no_first_one(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    store.create_event_subscription(&wait("w", "i", "name", "other", second(1))).await?;
    store.create_event_subscription(&wait("x", "i", "other", "key", second(1))).await?;
    assert_eq!(store.get_first_open_subscription("name", "key", second(9)).await?, None);
    Ok(())
}

async fn an_instance_and_its_waits_are_stored_together(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    store.create_new_workflow(&instance("i")).await?;
    let changed = full_instance("i", 2);
    let waits = [full_wait("v"), wait("w", "i", "name", "key", second(1))];
    store.persist_workflow_with_subscriptions(&changed, &waits).await?;
    assert_eq!(store.get_workflow_instance("i").await?, changed);
    assert_eq!(store.get_subscriptions("name", "key", second(1)).await?, waits);
    Ok(())
}

async fn an_instance_and_its_waits_are_refused_together(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let stored = full_instance("i", 1);
    store.create_new_workflow(&stored).await?;
    store.create_event_subscription(&wait("taken", "i", "old", "key", second(1))).await?;
    let changed = full_instance("i", 2);
    let new = wait("new", "i", "name", "key", second(1));
    let taken = wait("taken", "i", "name", "key", second(1));
    for refused in [[new.clone(), taken], [new.clone(), new]] {
        assert_err!(
            store.persist_workflow_with_subscriptions(&changed, &refused).await,
            WfeError::AlreadyExists { kind: Kind::Subscription, id } if id == refused[1].id
        );
        assert_eq!(store.get_workflow_instance("i").await?, stored);
        assert_err!(store.get_subscription("new").await, WfeError::SubscriptionNotFound(_));
    }
    assert_eq!(store.get_subscription("taken").await?.event_name, "old");
    store.persist_workflow(&changed).await?;
    assert_eq!(store.get_workflow_instance("i").await?, changed);
    Ok(())
}

async fn an_instance_can_be_stored_with_no_waits(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    store.create_new_workflow(&full_instance("i", 1)).await?;
    store.persist_workflow_with_subscriptions(&full_instance("i", 2), &[]).await?;
    assert_eq!(store.get_workflow_instance("i").await?, full_instance("i", 2));
    Ok(())
}

async fn a_pointer_may_have_several_waits(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    for (id, at) in [("v", 1), ("w", 2)] {
        store.create_event_subscription(&wait(id, "i", "name", "key", second(at))).await?;
    }
    assert_eq!(listed(&store, "name", "key", 9).await?, ["v", "w"]);
    Ok(())
}
