//! Lists and pages.

use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta};
use serde_json::json;
use sqlx::Executor;
use wfe_core::{
    Result,
    clock::Clock,
    models::{ExecutionError, ExecutionPointer, ScheduledCommand},
    traits::{
        Control, EventRepository, Items, PersistenceProvider, ScheduledCommandRepository, StepCommit,
        StepStore, SubscriptionRepository, WorkflowRepository,
    },
};

use crate::support::{
    Place, commit, committed, definitions, event, ids, instance, place_of, pointer, texts, wait,
};

#[tokio::test]
async fn lists_omit_rows_that_do_not_decode() {
    let mut place = Place::new().await;
    for id in ["a", "b", "c"] {
        place.store.create_new_workflow(&instance(id)).await.unwrap();
        place.store.create_event_subscription(&wait(&format!("w{id}"), id, "paid")).await.unwrap();
        place.store.create_event(&event(&format!("e{id}"), 1)).await.unwrap();
    }
    place.clock.advance(std::time::Duration::from_secs(9));
    let (store, now) = (&place.store, place.clock.now());
    let all = texts(&["a", "b", "c"]);
    for spoils in [
        "UPDATE execution_pointers SET scope = '' WHERE workflow = 1",
        "UPDATE event_subscriptions SET subscription_data = '{' WHERE id = 'wa'",
    ] {
        place.hand.execute(spoils).await.unwrap();
    }
    let found = store.get_workflow_instances(&all).await.unwrap();
    assert_eq!(found.iter().map(|one| &*one.id).collect::<Vec<_>>(), ["b", "c"]);
    let found = store.get_subscriptions("paid", "k", now).await.unwrap();
    assert_eq!(found.iter().map(|one| &*one.id).collect::<Vec<_>>(), ["wb", "wc"]);
    let first = store.get_first_open_subscription("paid", "k", now).await.unwrap().unwrap();
    assert_eq!(first.id, "wb");
    assert!(store.set_subscription_token("wb", "t", "w", now + TimeDelta::seconds(9)).await.unwrap());
    let first = store.get_first_open_subscription("paid", "k", now).await.unwrap().unwrap();
    assert_eq!(first.id, "wc", "the other one is held");
    for spoils in [
        "UPDATE workflows SET id = CAST(x'61ff' AS TEXT) WHERE id = 'a'",
        "UPDATE events SET id = CAST(x'65ff' AS TEXT) WHERE id = 'ea'",
    ] {
        place.hand.execute(spoils).await.unwrap();
    }
    assert_eq!(store.get_runnable_instances(now).await.unwrap(), ["b", "c"]);
    assert_eq!(store.get_runnable_events(now).await.unwrap(), ["eb", "ec"]);
    assert_eq!(store.get_events("paid", "k", now).await.unwrap(), ["eb", "ec"]);
    let before = DateTime::UNIX_EPOCH - TimeDelta::seconds(1);
    let upcoming = store.upcoming(&definitions(), before, 9).await.unwrap();
    assert_eq!(upcoming.into_iter().map(|(_, id)| id).collect::<Vec<_>>(), ["b", "c"]);
    let owner = store.register().await.unwrap();
    let mut wanted = store.claim(&owner, &definitions(), now, 9).await.map(ids).unwrap();
    assert_eq!(wanted, ["b", "c"]);
    for id in &wanted {
        store.request(id, Control::Suspend).await.unwrap();
    }
    place.hand.execute("UPDATE workflows SET id = CAST(x'62ff' AS TEXT) WHERE id = 'b'").await.unwrap();
    wanted = store.requested(&owner).await.unwrap();
    assert_eq!(wanted, ["c"]);
}

#[tokio::test]
async fn pages_continue_after_rows_that_do_not_decode() {
    let mut place = Place::new().await;
    let owner = place.store.register().await.unwrap();
    let started = place.store.start(Some(&owner), &instance("i")).await.unwrap();
    let finished = (1..=9).map(|n| ExecutionPointer { active: false, ..pointer(&format!("f{n}")) }).collect();
    let items = vec![Items { container: "p".to_owned(), values: vec![json!(1)] }];
    committed(&place.store, started.fence.unwrap(), StepCommit { finished, items, ..commit("i") }).await;
    let errors: Vec<_> = (0..9).map(|n| ExecutionError::new("i", "p", format!("{n}"))).collect();
    place.store.persist_errors(&errors).await.unwrap();
    for n in 0..9 {
        place.store.create_event_subscription(&wait(&format!("w{n}"), "i", "wfe.x")).await.unwrap();
    }
    for spoils in [
        "UPDATE execution_pointers SET children = '{' WHERE kind = 'history' AND number BETWEEN 2 AND 6",
        "UPDATE execution_errors SET causes = '{' WHERE seq BETWEEN 2 AND 6",
        "UPDATE event_subscriptions SET subscription_data = '{' WHERE id BETWEEN 'w1' AND 'w5'",
        "UPDATE execution_pointers SET item_values = '[' WHERE kind = 'items'",
    ] {
        place.spoil(spoils).await;
    }
    let store = &place.store;
    let (mut numbers, mut broken, mut after) = (Vec::new(), Vec::new(), 0);
    loop {
        let page = store.finished("i", "", after, 2).await.unwrap();
        let Some((last, _)) = page.last() else { break };
        after = *last;
        for (number, row) in page {
            match row {
                Ok(row) => numbers.push(row.number),
                row => {
                    let id = format!("f{number} of i");
                    assert_eq!(place_of(row), ("execution_pointers", "children", id));
                    broken.push(number);
                }
            }
        }
    }
    assert_eq!((numbers, broken), (vec![1, 7, 8, 9], vec![2, 3, 4, 5, 6]));
    let (mut said, mut after) = (Vec::new(), None);
    loop {
        let page = store.failures("i", after, 2).await.unwrap();
        said.extend(page.rows.into_iter().map(|row| row.failure.error.message));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(said, ["0", "6", "7", "8"]);
    assert_eq!(store.last_failures("i", &texts(&["p"])).await.unwrap().len(), 1);
    let (mut open, mut after) = (Vec::new(), None);
    loop {
        let page = store.open_waits("wfe.x", after, 2).await.unwrap();
        open.extend(page.rows.into_iter().map(|wait| wait.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(open, ["w0", "w6", "w7", "w8"]);
    let expiry = place.clock.now() + TimeDelta::hours(1);
    for expected in [Some("w0"), Some("w6"), Some("w7"), Some("w8"), None] {
        let claimed = store.claim_wait("wfe.x", "t", "w", expiry).await.unwrap();
        assert_eq!(claimed.map(|wait| wait.id).as_deref(), expected);
    }
    assert_eq!(
        place_of(store.items("i", "p", 0, 9).await),
        ("execution_pointers", "item_values", "p of i".to_owned()),
        "the items of one container are one value"
    );
}

#[tokio::test]
async fn commands_after_rows_that_do_not_decode_are_run() {
    let mut place = Place::new().await;
    for n in 0..700 {
        place.store.schedule_command(&ScheduledCommand::process_event(format!("e{n}"), n)).await.unwrap();
    }
    place
        .spoil("UPDATE scheduled_commands SET command_name = 'Dance' WHERE execute_time BETWEEN 1 AND 600")
        .await;
    let ran = Arc::new(Mutex::new(Vec::new()));
    let note = |command: ScheduledCommand| {
        let ran = Arc::clone(&ran);
        Box::pin(async move {
            ran.lock().unwrap().push(command.execute_time);
            Ok(())
        }) as std::pin::Pin<Box<dyn Future<Output = Result<()>> + Send>>
    };
    place.store.process_commands(place.clock.now() + TimeDelta::seconds(9), &note).await.unwrap();
    let expected: Vec<i64> = std::iter::once(0).chain(601..700).collect();
    assert_eq!(*ran.lock().unwrap(), expected);
}

#[tokio::test]
async fn events_after_rows_without_a_readable_id_are_finished() {
    let mut place = Place::new().await;
    for n in 0..9 {
        place.store.create_event(&event(&format!("e{n}"), 0)).await.unwrap();
    }
    place.spoil("UPDATE events SET id = CAST(x'65ff' || seq AS TEXT) WHERE seq BETWEEN 2 AND 7").await;
    let (mut finished, mut after) = (0, None);
    loop {
        let swept = place.store.finish_events(after.as_deref(), 2).await.unwrap();
        finished += swept.finished;
        after = swept.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(finished, 9);
}
