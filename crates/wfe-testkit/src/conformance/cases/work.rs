//! External tasks. An external task is a wait that is listed and claimed by its name, and is answered by one
//! event.

use chrono::{DateTime, TimeDelta, Utc};
use wfe_core::{
    models::{Event, EventSubscription},
    traits::{Cursor, Page},
};

use super::{
    claiming::{NONE, claim},
    prelude::*,
};

cases! { "work":
    open_waits_of_a_name_are_listed_as_stored_whatever_their_keys,
    open_waits_are_listed_in_pages,
    a_list_shows_which_worker_holds_what,
    closed_and_answered_waits_are_neither_listed_nor_claimed,
    a_name_that_is_not_the_engines_own_is_refused,
    the_oldest_wait_is_claimed_first_and_each_once,
    a_wait_whose_claim_has_expired_goes_to_the_next_worker,
    a_prolonged_claim_is_kept_and_a_released_one_is_free,
    of_many_workers_each_gets_a_wait_of_its_own,
    an_answer_reaches_its_instance,
    an_answer_is_accepted_once_and_again_without_effect,
    another_answer_is_refused,
    a_late_answer_is_refused_whether_or_not_another_has_the_wait,
    a_wait_that_takes_no_answer_any_more_has_the_one_that_was_accepted_before,
    a_wait_is_closed_unless_a_worker_has_claimed_it_and_its_store_says_which,
    an_answer_without_a_token_needs_none,
    an_answered_wait_cannot_be_claimed,
    an_answer_to_an_unknown_or_closed_wait_is_refused,
    an_answer_that_its_wait_would_not_take_is_refused,
    an_answer_under_the_id_of_another_event_is_refused,
    of_several_different_answers_one_is_accepted,
    an_answer_outlives_its_provider,
}

const NAME: &str = "wfe.activity:pack";
/// A name that begins with `NAME`. The store must not confuse the two names.
const OTHER: &str = "wfe.activity:pack it";

/// The wait of an activity: its key is its own id.
fn activity(id: &str) -> EventSubscription {
    let from_the_first = DateTime::<Utc>::UNIX_EPOCH;
    EventSubscription {
        subscription_data: Some(json!({ "of": id })),
        ..wait(id, "i", NAME, id, from_the_first)
    }
}

fn answer(id: &str, wait: &str) -> Event {
    event(id, NAME, wait, DateTime::<Utc>::UNIX_EPOCH)
}

/// An unscheduled instance `i` with these activities. Skips the case if the store does not support activities.
async fn with_work(bench: &Bench, ids: &[&str]) -> Checked<Store> {
    let store = bench.open().await?;
    offered(steps(&store)?.open_waits(NAME, None, 1).await)?;
    let (_owner, fence) = owned(&store, &parked("i")).await?;
    let subscribed = ids.iter().map(|id| activity(id)).collect();
    done(&store, fence, StepCommit { subscribed, release: true, ..commit("i") }).await?;
    Ok(store)
}

async fn listed(store: &Store) -> Checked<Vec<String>> {
    let page = steps(store)?.open_waits(NAME, None, 99).await?;
    Ok(page.rows.into_iter().map(|wait| wait.id).collect())
}

async fn take(store: &Store, token: &str, expiry: i64) -> Checked<Option<String>> {
    let claimed = steps(store)?.claim_wait(NAME, token, "worker", second(expiry)).await?;
    Ok(claimed.map(|wait| wait.id))
}

async fn open_waits_of_a_name_are_listed_as_stored_whatever_their_keys(bench: Bench) -> Checked<()> {
    let store = with_work(&bench, &["c", "a"]).await?;
    store.create_event_subscription(&wait("x", "i", OTHER, "x", second(0))).await?;
    store.create_event_subscription(&wait("y", "i", "wfe.activity:pac", "y", second(0))).await?;
    let dated_back = wait("b", "j", NAME, "another key", second(-9));
    store.create_event_subscription(&dated_back).await?;
    let page = steps(&store)?.open_waits(NAME, None, 99).await?;
    assert_eq!(page, Page { rows: vec![activity("c"), activity("a"), dated_back], next: None });
    assert_eq!(steps(&store)?.open_waits("wfe.", None, 99).await?, Page { rows: vec![], next: None });
    Ok(())
}

async fn open_waits_are_listed_in_pages(bench: Bench) -> Checked<()> {
    let ids: Vec<_> = (0..7).map(|n| format!("w{n}")).collect();
    let store = with_work(&bench, &ids.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    let steps = steps(&store)?;
    let (mut after, mut read) = (None, Vec::new());
    loop {
        let Page { rows, next } = steps.open_waits(NAME, after, 3).await?;
        assert!(rows.len() == 3 || next.is_none());
        read.extend(rows.into_iter().map(|wait| wait.id));
        if next.is_none() {
            break;
        }
        after = next;
        // Rows that are removed meanwhile do not hide other rows, and new rows are listed.
        store.terminate_subscription(&read[read.len() - 1]).await?;
        if read.len() == 3 {
            store.create_event_subscription(&activity("late")).await?;
        }
    }
    assert_eq!(read, ["w0", "w1", "w2", "w3", "w4", "w5", "w6", "late"]);
    assert_eq!(steps.open_waits(NAME, Some(Cursor(u64::MAX)), 3).await?.rows, []);
    Ok(())
}

async fn a_list_shows_which_worker_holds_what(bench: Bench) -> Checked<()> {
    let store = with_work(&bench, &["a", "b"]).await?;
    let expiry = second(10) + TimeDelta::nanoseconds(1);
    let claimed = steps(&store)?.claim_wait(NAME, "token", "worker", expiry).await?;
    let held = EventSubscription {
        external_token: Some("token".to_owned()),
        external_worker_id: Some("worker".to_owned()),
        external_token_expiry: Some(expiry),
        ..activity("a")
    };
    assert_eq!(claimed.as_ref(), Some(&held));
    assert_eq!(store.get_subscription("a").await?, held);
    assert_eq!(steps(&store)?.open_waits(NAME, None, 9).await?.rows, [held, activity("b")]);
    Ok(())
}

async fn closed_and_answered_waits_are_neither_listed_nor_claimed(bench: Bench) -> Checked<()> {
    let store = with_work(&bench, &["closed", "answered", "open"]).await?;
    store.terminate_subscription("closed").await?;
    assert!(steps(&store)?.answer_wait("answered", None, &answer("e", "answered")).await?);
    assert_eq!(listed(&store).await?, ["open"]);
    assert_eq!(take(&store, "t", 10).await?.as_deref(), Some("open"));
    assert_eq!(take(&store, "u", 10).await?, None);
    Ok(())
}

async fn a_name_that_is_not_the_engines_own_is_refused(bench: Bench) -> Checked<()> {
    let store = with_work(&bench, &[]).await?;
    let steps = steps(&store)?;
    store.create_event_subscription(&wait("w", "i", "paid", "7", second(0))).await?;
    for name in ["paid", "", "wfe", "WFE.activity:pack"] {
        assert_err!(steps.open_waits(name, None, 9).await, WfeError::Invalid(_));
        assert_err!(steps.claim_wait(name, "t", "w", second(9)).await, WfeError::Invalid(_));
    }
    Ok(())
}

async fn the_oldest_wait_is_claimed_first_and_each_once(bench: Bench) -> Checked<()> {
    let store = with_work(&bench, &["c", "a", "b"]).await?;
    for (token, expected) in [("1", Some("c")), ("2", Some("a")), ("2", Some("b")), ("3", None)] {
        assert_eq!(take(&store, token, 10).await?.as_deref(), expected);
    }
    Ok(())
}

async fn a_wait_whose_claim_has_expired_goes_to_the_next_worker(bench: Bench) -> Checked<()> {
    let store = with_work(&bench, &["a"]).await?;
    assert_eq!(take(&store, "one", 10).await?.as_deref(), Some("a"));
    bench.clock.set(second(10) - TimeDelta::nanoseconds(1));
    assert_eq!(take(&store, "two", 20).await?, None);
    bench.clock.set(second(10));
    assert_eq!(take(&store, "two", 20).await?.as_deref(), Some("a"));
    assert_eq!(store.get_subscription("a").await?.external_token.as_deref(), Some("two"));
    Ok(())
}

async fn a_prolonged_claim_is_kept_and_a_released_one_is_free(bench: Bench) -> Checked<()> {
    let store = with_work(&bench, &["a"]).await?;
    assert_eq!(take(&store, "one", 10).await?.as_deref(), Some("a"));
    assert!(store.set_subscription_token("a", "one", "worker", second(30)).await?);
    bench.clock.set(second(20));
    assert_eq!(take(&store, "two", 40).await?, None);
    store.clear_subscription_token("a", "one").await?;
    assert_eq!(take(&store, "two", 40).await?.as_deref(), Some("a"));
    Ok(())
}

async fn of_many_workers_each_gets_a_wait_of_its_own(bench: Bench) -> Checked<()> {
    let ids: Vec<_> = (0..12).map(|n| format!("w{n}")).collect();
    let store = with_work(&bench, &ids.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    let workers = (0..20).map(|n| {
        let store = Arc::clone(&store);
        async move { take(&store, &n.to_string(), 10).await }
    });
    let taken = futures_util::future::join_all(workers).await;
    let mut taken: Vec<_> = taken.into_iter().collect::<Checked<Vec<_>>>()?.into_iter().flatten().collect();
    taken.sort();
    let mut expected = ids;
    expected.sort();
    assert_eq!(taken, expected);
    Ok(())
}

async fn an_answer_reaches_its_instance(bench: Bench) -> Checked<()> {
    let store = with_work(&bench, &["a", "b"]).await?;
    let steps = steps(&store)?;
    assert_eq!(take(&store, "t", 10).await?.as_deref(), Some("a"));
    let owner = steps.register().await?;
    assert_eq!(claim(&bench, &store, &owner).await?, NONE);
    let given = Event { is_processed: true, ..answer("e", "a") };
    assert!(steps.answer_wait("a", Some("t"), &given).await?);
    let loaded = steps.load("i").await?;
    assert_eq!(loaded.waits.len(), 2, "the wait stays open until the instance consumes its answer");
    assert_eq!(loaded.deliveries.len(), 1);
    assert_eq!(loaded.deliveries[0].subscription_id, "a");
    assert_eq!(loaded.deliveries[0].event, answer("e", "a"));
    let Some(claimed) = steps.acquire(&owner, &definitions(), "i", bench.now()).await? else {
        unmet("nothing to acquire")
    };
    let taken = StepCommit { consumed: vec![consumed("a", "e")], release: true, ..commit("i") };
    done(&store, claimed.fence, taken).await?;
    assert_eq!(steps.load("i").await?.deliveries, []);
    Ok(())
}

async fn an_answer_is_accepted_once_and_again_without_effect(bench: Bench) -> Checked<()> {
    let store = with_work(&bench, &["a"]).await?;
    let steps = steps(&store)?;
    assert_eq!(take(&store, "t", 10).await?.as_deref(), Some("a"));
    assert!(steps.answer_wait("a", Some("t"), &answer("e", "a")).await?);
    let changed = Event { event_data: json!("changed"), ..answer("e", "a") };
    assert!(!steps.answer_wait("a", Some("t"), &changed).await?);
    assert_eq!(store.get_event("e").await?, answer("e", "a"));
    // Another event with the same id is not a repetition.
    for other in [event("e", OTHER, "a", second(0)), event("e", NAME, "b", second(0))] {
        assert_err!(steps.answer_wait("a", Some("t"), &other).await, WfeError::Invalid(_));
    }
    assert_eq!(store.get_event("e").await?, answer("e", "a"));
    // The result does not depend on what has happened to the claim and the wait since.
    bench.clock.set(second(20));
    assert!(!steps.answer_wait("a", Some("t"), &changed).await?);
    let owner = steps.register().await?;
    let Some(claimed) = steps.acquire(&owner, &definitions(), "i", bench.now()).await? else {
        unmet("nothing to acquire")
    };
    done(&store, claimed.fence, StepCommit { consumed: vec![consumed("a", "e")], ..commit("i") }).await?;
    assert!(!steps.answer_wait("a", Some("t"), &changed).await?);
    assert_eq!(steps.load("i").await?.deliveries, []);
    Ok(())
}

async fn another_answer_is_refused(bench: Bench) -> Checked<()> {
    let store = with_work(&bench, &["a", "b"]).await?;
    let steps = steps(&store)?;
    assert_eq!(take(&store, "t", 10).await?.as_deref(), Some("a"));
    assert!(steps.answer_wait("a", Some("t"), &answer("e", "a")).await?);
    assert!(steps.answer_wait("b", None, &answer("f", "b")).await?);
    for (wait, token) in [("a", Some("t")), ("a", None), ("b", None)] {
        assert_err!(
            steps.answer_wait(wait, token, &answer("other", wait)).await,
            WfeError::SubscriptionNotFound(id) if id == wait
        );
    }
    assert_err!(store.get_event("other").await, WfeError::EventNotFound(_));
    Ok(())
}

async fn a_late_answer_is_refused_whether_or_not_another_has_the_wait(bench: Bench) -> Checked<()> {
    let store = with_work(&bench, &["a"]).await?;
    let steps = steps(&store)?;
    assert_eq!(take(&store, "first", 10).await?.as_deref(), Some("a"));
    assert_err!(
        steps.answer_wait("a", Some("second"), &answer("e", "a")).await,
        WfeError::SubscriptionNotFound(_)
    );
    bench.clock.set(second(10));
    for token in ["second", "third"] {
        assert_err!(
            steps.answer_wait("a", Some("first"), &answer("late", "a")).await,
            WfeError::SubscriptionNotFound(_)
        );
        assert_eq!(take(&store, token, if token == "third" { 30 } else { 11 }).await?.as_deref(), Some("a"));
        bench.clock.set(second(11));
    }
    assert_err!(store.get_event("late").await, WfeError::EventNotFound(_));
    assert!(steps.answer_wait("a", Some("third"), &answer("e", "a")).await?);
    Ok(())
}

async fn a_wait_that_takes_no_answer_any_more_has_the_one_that_was_accepted_before(
    bench: Bench,
) -> Checked<()> {
    let store = with_work(&bench, &["a", "b", "c"]).await?;
    let steps = steps(&store)?;
    let owner = steps.register().await?;
    assert_eq!(take(&store, "t", 10).await?.as_deref(), Some("a"));
    assert!(steps.answer_wait("b", None, &answer("e", "b")).await?);
    let Some(claimed) = steps.acquire(&owner, &definitions(), "i", bench.now()).await? else {
        unmet("nothing to acquire")
    };
    let closes = ["a", "b", "c", "unknown"].map(str::to_owned);
    done(&store, claimed.fence, StepCommit { unanswerable: closes.into(), ..commit("i") }).await?;
    for (wait, token) in [("a", Some("t")), ("a", None), ("b", None), ("c", None)] {
        assert_err!(
            steps.answer_wait(wait, token, &answer("late", wait)).await,
            WfeError::SubscriptionNotFound(id) if id == wait
        );
    }
    assert!(!steps.answer_wait("b", None, &answer("e", "b")).await?, "it was accepted before");
    assert_eq!(take(&store, "u", 10).await?, None);
    let loaded = steps.load("i").await?;
    assert_eq!(loaded.waits.len(), 3, "they stay open until a commit removes them");
    let delivered: Vec<_> = loaded.deliveries.iter().map(|d| (&*d.subscription_id, &*d.event.id)).collect();
    assert_eq!(delivered, [("b", "e")]);
    Ok(())
}

async fn a_wait_is_closed_unless_a_worker_has_claimed_it_and_its_store_says_which(
    bench: Bench,
) -> Checked<()> {
    let store = with_work(&bench, &["held", "expired", "back", "answered", "free"]).await?;
    let steps = steps(&store)?;
    let owner = steps.register().await?;
    assert_eq!(take(&store, "h", 90).await?.as_deref(), Some("held"));
    assert_eq!(take(&store, "e", 10).await?.as_deref(), Some("expired"));
    assert_eq!(take(&store, "b", 90).await?.as_deref(), Some("back"));
    store.clear_subscription_token("back", "b").await?;
    assert!(steps.answer_wait("answered", None, &answer("e", "answered")).await?);
    bench.clock.set(second(20));
    let Some(claimed) = steps.acquire(&owner, &definitions(), "i", bench.now()).await? else {
        unmet("nothing to acquire")
    };
    let all: Vec<String> =
        ["held", "expired", "back", "answered", "free", "unknown"].map(str::to_owned).into();
    assert_eq!(steps.unanswerable("i", &all).await?, Vec::<String>::new());
    done(&store, claimed.fence, StepCommit { unanswerable_unless_claimed: all.clone(), ..commit("i") })
        .await?;
    let mut closed = steps.unanswerable("i", &all).await?;
    closed.sort();
    assert_eq!(closed, ["back", "free"]);
    assert_eq!(steps.unanswerable("i", &all[4..5]).await?, ["free"]);
    assert_eq!(steps.unanswerable("another", &all).await?, Vec::<String>::new());
    assert!(steps.answer_wait("held", Some("h"), &answer("f", "held")).await?);
    assert_eq!(take(&store, "again", 90).await?.as_deref(), Some("expired"), "its first worker has died");
    assert_eq!(take(&store, "none", 90).await?, None);
    assert_err!(
        steps.answer_wait("free", None, &answer("g", "free")).await,
        WfeError::SubscriptionNotFound(id) if id == "free"
    );
    assert_eq!(steps.load("i").await?.waits.len(), 5, "they stay open until a commit removes them");
    Ok(())
}

async fn an_answer_without_a_token_needs_none(bench: Bench) -> Checked<()> {
    let store = with_work(&bench, &["a", "b"]).await?;
    let steps = steps(&store)?;
    assert!(steps.answer_wait("b", None, &answer("e", "b")).await?);
    assert!(!steps.answer_wait("b", None, &answer("e", "b")).await?);
    assert_eq!(take(&store, "t", 10).await?.as_deref(), Some("a"));
    assert!(steps.answer_wait("a", None, &answer("f", "a")).await?, "held or not");
    Ok(())
}

async fn an_answered_wait_cannot_be_claimed(bench: Bench) -> Checked<()> {
    let store = with_work(&bench, &["a"]).await?;
    assert_eq!(take(&store, "t", 10).await?.as_deref(), Some("a"));
    assert!(steps(&store)?.answer_wait("a", Some("t"), &answer("e", "a")).await?);
    bench.clock.set(second(20));
    assert_eq!(take(&store, "u", 30).await?, None);
    assert_eq!(store.get_first_open_subscription(NAME, "a", second(99)).await?, None);
    assert!(!store.set_subscription_token("a", "u", "worker", second(30)).await?);
    Ok(())
}

async fn an_answer_to_an_unknown_or_closed_wait_is_refused(bench: Bench) -> Checked<()> {
    let store = with_work(&bench, &["a"]).await?;
    assert_eq!(take(&store, "t", 10).await?.as_deref(), Some("a"));
    store.terminate_subscription("a").await?;
    for (wait, token) in [("a", Some("t")), ("a", None), ("unknown", None)] {
        assert_err!(
            steps(&store)?.answer_wait(wait, token, &answer("e", wait)).await,
            WfeError::SubscriptionNotFound(id) if id == wait
        );
    }
    assert_err!(store.get_event("e").await, WfeError::EventNotFound(_));
    Ok(())
}

async fn an_answer_that_its_wait_would_not_take_is_refused(bench: Bench) -> Checked<()> {
    let store = with_work(&bench, &["a"]).await?;
    let nanosecond = TimeDelta::nanoseconds(1);
    for wrong in [
        event("e", OTHER, "a", second(0)),
        event("e", NAME, "b", second(0)),
        event("e", NAME, "a", DateTime::<Utc>::UNIX_EPOCH - nanosecond),
        event("e", NAME, "a", second(0) + nanosecond),
    ] {
        assert_err!(steps(&store)?.answer_wait("a", None, &wrong).await, WfeError::Invalid(_));
        assert_err!(store.get_event("e").await, WfeError::EventNotFound(_));
    }
    assert_eq!(listed(&store).await?, ["a"]);
    Ok(())
}

async fn an_answer_under_the_id_of_another_event_is_refused(bench: Bench) -> Checked<()> {
    let store = with_work(&bench, &["a", "b"]).await?;
    let steps = steps(&store)?;
    assert!(steps.answer_wait("a", None, &answer("e", "a")).await?);
    assert_err!(
        steps.answer_wait("b", None, &answer("e", "b")).await,
        WfeError::AlreadyExists { id, .. } if id == "e"
    );
    assert_eq!(listed(&store).await?, ["b"]);
    Ok(())
}

async fn of_several_different_answers_one_is_accepted(bench: Bench) -> Checked<()> {
    let store = with_work(&bench, &["a"]).await?;
    let answers = (0..8).map(|n| {
        let store = Arc::clone(&store);
        async move { Ok::<_, Stop>(steps(&store)?.answer_wait("a", None, &answer(&n.to_string(), "a")).await) }
    });
    let answers = futures_util::future::join_all(answers).await;
    let mut accepted = 0;
    for answer in answers {
        match answer? {
            Ok(true) => accepted += 1,
            Err(WfeError::SubscriptionNotFound(_)) => {}
            other => unmet(&format!("neither accepted nor refused: {other:?}")),
        }
    }
    assert_eq!(accepted, 1);
    Ok(())
}

async fn an_answer_outlives_its_provider(bench: Bench) -> Checked<()> {
    let store = with_work(&bench, &["a"]).await?;
    assert!(steps(&store)?.answer_wait("a", None, &answer("e", "a")).await?);
    let store = bench.reopen(store).await?;
    assert_eq!(listed(&store).await?, NONE);
    assert!(!steps(&store)?.answer_wait("a", None, &answer("e", "a")).await?);
    assert_eq!(steps(&store)?.load("i").await?.deliveries.len(), 1);
    Ok(())
}
