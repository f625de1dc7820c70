//! The step store on SQLite: one commit for each step, fencing tokens, streams, history, claims.

#![expect(clippy::disallowed_methods, reason = "a store under the system clock is tested by that clock")]
#![allow(clippy::unwrap_used, reason = "a test says what it expects by unwrapping it")]

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use wfe_core::{
    NoEffectReason, WfeError,
    clock::{Clock, SystemClock},
    models::{Event, EventSubscription, ExecutionError, ExecutionPointer, WorkflowInstance, WorkflowStatus},
    traits::{
        Claimed, Committed, Consumed, Control, Ending, EventRepository, Fence, Items, Known, Owner,
        StepCommit, StepFailure, StepStore, SubscriptionRepository, WorkflowRepository,
    },
};
use wfe_sqlite::SqlitePersistenceProvider;
use wfe_testkit::VirtualClock;

fn instance() -> WorkflowInstance {
    let mut instance = WorkflowInstance::new("d", 1, json!({"n": 1}));
    instance.name.clone_from(&instance.id);
    instance
}

fn definitions() -> Vec<(String, u32)> {
    vec![("other".to_owned(), 3), ("d".to_owned(), 1)]
}

async fn stores(test: impl AsyncFn(&dyn StepStore, &SqlitePersistenceProvider)) {
    stores_at(Arc::new(SystemClock), test).await;
}

async fn stores_at(clock: Arc<dyn Clock>, test: impl AsyncFn(&dyn StepStore, &SqlitePersistenceProvider)) {
    let folder = tempfile::tempdir().unwrap();
    let file = SqlitePersistenceProvider::file(folder.path().join("a.db"));
    for options in [SqlitePersistenceProvider::builder(":memory:"), file] {
        let store = options.clock(Arc::clone(&clock)).open().await.unwrap();
        test(&store, &store).await;
    }
}

async fn started(store: &dyn StepStore, owner: &Owner) -> (WorkflowInstance, Fence) {
    let instance = instance();
    let started = store.start(Some(owner), &instance).await.unwrap();
    (instance, started.fence.unwrap())
}

fn step(id: &str) -> StepCommit {
    StepCommit { instance_id: id.to_owned(), ..StepCommit::default() }
}

async fn done(store: &dyn StepStore, fence: Fence, commit: &StepCommit) {
    assert_eq!(store.commit_step(fence, commit).await.unwrap(), Committed::Done);
}

async fn claim(store: &dyn StepStore, owner: &Owner) -> Vec<Claimed> {
    store.claim(owner, &definitions(), Utc::now(), 100).await.unwrap()
}

#[tokio::test]
async fn a_reference_starts_one_instance_whatever_its_version() {
    stores(async |store, _| {
        let owner = store.register().await.unwrap();
        let mut one = instance();
        one.reference = Some("order\0 7".to_owned());
        let first = store.start(None, &one).await.unwrap();
        assert!(first.is_new && first.fence.is_none());
        let mut again = instance();
        again.reference.clone_from(&one.reference);
        again.version = 2;
        let second = store.start(Some(&owner), &again).await.unwrap();
        assert_eq!((second.id, second.fence, second.is_new), (one.id, None, false));
    })
    .await;
}

#[tokio::test]
async fn a_commit_stores_the_delta_and_nothing_under_another_fence() {
    stores(async |store, plain| {
        let owner = store.register().await.unwrap();
        let (mut one, fence) = started(store, &owner).await;
        let before = store.load(&one.id).await.unwrap();
        let pointers: Vec<_> = (0..50).map(ExecutionPointer::new).collect();
        let mut commit = step(&one.id);
        commit.upserted.clone_from(&pointers);
        commit.data = Some(json!({"n": -0.0}));
        commit.next_execution = Some(Some(5));
        done(store, fence, &commit).await;
        one.execution_pointers = pointers;
        one.data = json!({"n": -0.0});
        one.next_execution = Some(5);
        let after = store.load(&one.id).await.unwrap();
        assert_eq!(after.instance, one);
        assert_eq!(after.revision, before.revision + 1);
        assert_eq!(plain.get_workflow_instance(&one.id).await.unwrap(), one);
        for fence in [Fence(0), Fence(fence.0 + 1), Fence(u64::MAX)] {
            assert_eq!(store.commit_step(fence, &step(&one.id)).await.unwrap(), Committed::Lost);
        }
        assert_eq!(store.commit_step(fence, &step("unknown")).await.unwrap(), Committed::Lost);
        one.execution_pointers[3].active = false;
        let mut commit = step(&one.id);
        commit.upserted = vec![ExecutionPointer::new(99), one.execution_pointers[3].clone()];
        one.execution_pointers.push(commit.upserted[0].clone());
        done(store, fence, &commit).await;
        assert_eq!(store.load(&one.id).await.unwrap().instance, one);
        one.execution_pointers.swap(0, 1);
        plain.persist_workflow(&one).await.unwrap();
        assert_eq!(store.load(&one.id).await.unwrap().instance, one);
    })
    .await;
}

#[tokio::test]
async fn finished_pointers_leave_the_instance_and_are_read_in_pages() {
    stores(async |store, plain| {
        let owner = store.register().await.unwrap();
        let (one, fence) = started(store, &owner).await;
        let container = ExecutionPointer::new(0);
        let mut commit = step(&one.id);
        commit.upserted.push(container.clone());
        commit.items =
            vec![Items { container: container.id.clone(), values: (0..1000).map(Value::from).collect() }];
        done(store, fence, &commit).await;
        let mut all = Vec::new();
        for round in 0..7 {
            let mut commit = step(&one.id);
            commit.finished = (0..3)
                .map(|at| ExecutionPointer {
                    scope: vec![container.id.clone()],
                    ..ExecutionPointer::new(round * 3 + at)
                })
                .collect();
            all.extend(commit.finished.clone());
            done(store, fence, &commit).await;
        }
        let mut loaded = store.load(&one.id).await.unwrap().instance;
        assert_eq!(loaded.execution_pointers, std::slice::from_ref(&container));
        loaded.execution_pointers.clear();
        plain.persist_workflow(&loaded).await.unwrap();
        let (mut after, mut pages) = (0, Vec::new());
        loop {
            let page = store.finished(&one.id, &container.id, after, 4).await.unwrap();
            let Some((last, _)) = page.last() else { break };
            assert_eq!(page[0].0, after + 1);
            after = *last;
            pages.extend(page.into_iter().map(|(_, finished)| finished.unwrap().pointer));
        }
        assert_eq!(pages, all);
        assert!(store.finished(&one.id, "", 0, 9).await.unwrap().is_empty());
        // As deep as the parser reads: the list around the items must not make them deeper.
        let deep = (0..127).fold(json!(1), |value, _| Value::Array(vec![value]));
        let mut commit = step(&one.id);
        commit.items =
            vec![Items { container: "deep".to_owned(), values: vec![deep.clone(), json!(null), deep] }];
        done(store, fence, &commit).await;
        assert_eq!(store.items(&one.id, "deep", 0, 9).await.unwrap(), commit.items[0].values);
        for (from, limit) in [(0, 10), (250, 10), (999, 5), (255, 600), (1000, 3)] {
            let items = store.items(&one.id, &container.id, from, limit).await.unwrap();
            let expected: Vec<_> = (from..1000).take(limit).map(Value::from).collect();
            assert_eq!(items, expected, "{from} {limit}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_pending_request_is_reported_until_a_commit_names_it() {
    stores(async |store, plain| {
        let owner = store.register().await.unwrap();
        let (one, fence) = started(store, &owner).await;
        store.request(&one.id, Control::Suspend).await.unwrap();
        let Committed::Control(request) = store.commit_step(fence, &step(&one.id)).await.unwrap() else {
            panic!("not reported")
        };
        assert_eq!(request.control, Control::Suspend);
        store.request(&one.id, Control::Cancel).await.unwrap();
        assert!(store.request(&one.id, Control::Resume).await.is_err(), "the cancel takes precedence");
        let mut commit = step(&one.id);
        commit.applied = Some(request.number);
        let Committed::Control(newer) = store.commit_step(fence, &commit).await.unwrap() else {
            panic!("not reported")
        };
        assert_eq!((newer.control, newer.number), (Control::Cancel, request.number + 1));
        commit.applied = Some(newer.number);
        commit.status = Some(WorkflowStatus::Terminated);
        commit.ending = Some(Ending::Cancelled);
        let error = ExecutionError::new(&one.id, "p", "because");
        commit.cause = Some(StepFailure {
            error,
            step: "s".into(),
            attempt: 2,
            code: "c".into(),
            causes: vec!["a".into()],
        });
        commit.failures = vec![commit.cause.clone().unwrap()];
        commit.release = true;
        done(store, fence, &commit).await;
        let loaded = store.load(&one.id).await.unwrap();
        assert_eq!(
            (loaded.control, loaded.ending, loaded.cause),
            (None, Some(Ending::Cancelled), commit.cause)
        );
        assert!(matches!(
            store.request(&one.id, Control::Resume).await,
            Err(WfeError::NoEffect { reason: NoEffectReason::Ended(Ending::Cancelled), .. })
        ));
        assert_eq!(store.load(&one.id).await.unwrap().control, None);
        assert!(claim(store, &owner).await.is_empty());
        assert!(matches!(
            store.request("unknown", Control::Resume).await,
            Err(WfeError::WorkflowNotFound(_))
        ));
        plain.persist_workflow(&loaded.instance).await.unwrap();
        assert_eq!(store.load(&one.id).await.unwrap().ending, Some(Ending::Cancelled));
    })
    .await;
}

fn wait(id: &str, as_of: DateTime<Utc>) -> EventSubscription {
    EventSubscription::new(id, 0, "p", "paid", "7", as_of)
}

#[tokio::test]
async fn waits_of_one_stream_take_its_events_one_after_the_other() {
    stores(async |store, plain| {
        let owner = store.register().await.unwrap();
        let (one, fence) = started(store, &owner).await;
        let now = Utc::now();
        let events: Vec<_> = (0..3).map(|at| Event::new("paid", "7", json!(at))).collect();
        for event in &events {
            plain.create_event(event).await.unwrap();
        }
        for event in &events {
            assert!(store.finish_event(&event.id).await.unwrap());
        }
        for event in &events {
            let wait = wait(&one.id, now);
            let mut commit = step(&one.id);
            commit.subscribed.push(wait.clone());
            commit.next_execution = Some(None);
            commit.release = true;
            let claimed = store.acquire(&owner, &definitions(), &one.id, Utc::now()).await.unwrap();
            let fence = claimed.map_or(fence, |claimed| claimed.fence);
            done(store, fence, &commit).await;
            assert_eq!(plain.get_runnable_events(Utc::now()).await.unwrap(), std::slice::from_ref(&event.id));
            assert!(!store.finish_event(&event.id).await.unwrap());
            let claimed = claim(store, &owner).await;
            assert_eq!(claimed.len(), 1);
            let loaded = store.load(&one.id).await.unwrap();
            assert_eq!(loaded.waits, std::slice::from_ref(&wait));
            assert_eq!(loaded.deliveries.len(), 1);
            assert_eq!(loaded.deliveries[0].event.event_data, event.event_data);
            let mut commit = step(&one.id);
            commit.consumed = vec![Consumed { subscription_id: wait.id.clone(), event_id: event.id.clone() }];
            commit.next_execution = Some(Some(0));
            commit.release = true;
            done(store, claimed[0].fence, &commit).await;
            assert!(store.finish_event(&event.id).await.unwrap());
            let fence = claim(store, &owner).await[0].fence;
            assert!(matches!(
                store.commit_step(fence, &commit).await,
                Err(WfeError::SubscriptionNotFound(_))
            ));
            let late = EventSubscription { id: format!("late {}", event.id), ..wait };
            let mut commit = step(&one.id);
            commit.subscribed.push(late.clone());
            done(store, fence, &commit).await;
            let mut commit = step(&one.id);
            commit.consumed = vec![Consumed { subscription_id: late.id.clone(), event_id: event.id.clone() }];
            assert!(matches!(store.commit_step(fence, &commit).await, Err(WfeError::EventNotFound(_))));
            plain.terminate_subscription(&late.id).await.unwrap();
            let mut commit = step(&one.id);
            commit.release = true;
            done(store, fence, &commit).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_event_dated_ahead_counts_from_its_date() {
    let clock = Arc::new(VirtualClock::new(Utc::now()));
    let given: Arc<dyn Clock> = clock.clone();
    stores_at(given, async |store, plain| {
        let now = clock.now();
        let at = |time, data| Event { event_time: time, ..Event::new("paid", "7", data) };
        let ahead = at(now + TimeDelta::hours(2), json!("late"));
        plain.create_event(&ahead).await.unwrap();
        assert!(!store.finish_event(&ahead.id).await.unwrap());
        let owner = store.register().await.unwrap();
        let (one, fence) = started(store, &owner).await;
        let mut commit = step(&one.id);
        commit.subscribed = vec![wait(&one.id, now - TimeDelta::hours(1))];
        commit.published = vec![at(now, json!("early"))];
        commit.release = true;
        commit.next_execution = Some(None);
        done(store, fence, &commit).await;
        let loaded = store.load(&one.id).await.unwrap();
        assert_eq!(loaded.deliveries[0].event.event_data, json!("early"));
        clock.set(ahead.event_time);
        let fence = claim(store, &owner).await[0].fence;
        let mut commit = step(&one.id);
        commit.consumed = vec![Consumed {
            subscription_id: loaded.waits[0].id.clone(),
            event_id: loaded.deliveries[0].event.id.clone(),
        }];
        commit.subscribed = vec![wait(&one.id, now - TimeDelta::hours(1))];
        done(store, fence, &commit).await;
        let loaded = store.load(&one.id).await.unwrap();
        assert_eq!(loaded.deliveries[0].event, ahead);
    })
    .await;
}

#[tokio::test]
async fn children_come_with_their_parents_commit_and_a_replay_meets_them() {
    stores(async |store, _| {
        let owner = store.register().await.unwrap();
        let (one, fence) = started(store, &owner).await;
        let mut child = instance();
        child.execution_pointers = vec![ExecutionPointer::new(1), ExecutionPointer::new(2)];
        let mut commit = step(&one.id);
        commit.created = vec![child.clone()];
        done(store, fence, &commit).await;
        let mut changed = child.clone();
        changed.data = json!("replayed");
        changed.execution_pointers = vec![ExecutionPointer::new(3)];
        commit.created = vec![changed];
        done(store, fence, &commit).await;
        let loaded = store.load(&child.id).await.unwrap();
        assert_eq!(loaded.instance, child);
        assert_eq!(loaded.parent.as_deref(), Some(one.id.as_str()));
        let claimed = claim(store, &owner).await;
        assert_eq!(claimed.iter().map(|claimed| &claimed.id).collect::<Vec<_>>(), [&child.id]);
    })
    .await;
}

#[tokio::test]
async fn the_instances_of_a_dropped_owner_are_taken_over_and_its_commits_are_refused() {
    stores(async |store, _| {
        let (dead, other) = (store.register().await.unwrap(), store.register().await.unwrap());
        let mut fences = Vec::new();
        for _ in 0..60 {
            fences.push(started(store, &dead).await);
        }
        assert!(claim(store, &other).await.is_empty());
        assert!(store.acquire(&other, &definitions(), &fences[0].0.id, Utc::now()).await.unwrap().is_none());
        assert!(store.upcoming(&definitions(), DateTime::<Utc>::MIN_UTC, 99).await.unwrap().is_empty());
        drop(dead);
        let one = store.acquire(&other, &definitions(), &fences[0].0.id, Utc::now()).await.unwrap().unwrap();
        assert_eq!(one.deaths.in_a_row, 0, "it was dropped, not killed");
        let claimed = claim(store, &other).await;
        assert_eq!(claimed.len(), 59);
        for (instance, fence) in fences {
            assert_eq!(store.commit_step(fence, &step(&instance.id)).await.unwrap(), Committed::Lost);
        }
        done(store, one.fence, &step(&one.id)).await;
    })
    .await;
}

/// What the store keeps for itself in the column of the attributes: nothing that stores attributes of programs changes it,
/// and no program sees it.
#[tokio::test]
async fn attributes_of_the_store_s_own_stay_and_are_not_shown() {
    use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let store = SqlitePersistenceProvider::file(&path).open().await.unwrap();
    let map = |value: Value| value.as_object().unwrap().clone();
    let owner = store.register().await.unwrap();
    let one = WorkflowInstance { reference: Some("r".to_owned()), ..instance() };
    let given = map(json!({"a": 1, "w": "x"}));
    let fence = store.start_with(Some(&owner), &one, Known::Existing, &given).await.unwrap().fence.unwrap();
    let mut other = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    let own = r#"{"a":1,"w":"x","wfe.ack":true,"wfe.n":18446744073709551615,"wfe.t":"\"\\u0000é"}"#;
    let with_own = sqlx::query("UPDATE workflows SET attributes = ?").bind(own);
    with_own.execute(&mut other).await.unwrap();
    assert_eq!(store.load(&one.id).await.unwrap().attributes, given);
    let mut stored = async || -> Value {
        let text: String =
            sqlx::query_scalar("SELECT attributes FROM workflows").fetch_one(&mut other).await.unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let mut expected: Value = serde_json::from_str(own).unwrap();
    for new in [json!({"a": 2, "b": false}), json!({}), json!({"c": "\0"})] {
        let commit = StepCommit { attributes: Some(map(new.clone())), ..step(&one.id) };
        done(&store, fence, &commit).await;
        let object = expected.as_object_mut().unwrap();
        object.retain(|key, _| key.starts_with("wfe."));
        object.extend(map(new.clone()));
        assert_eq!(stored().await, expected);
        assert_eq!(store.load(&one.id).await.unwrap().attributes, map(new));
    }
    let end = StepCommit {
        status: Some(WorkflowStatus::Complete),
        ending: Some(Ending::Completed),
        complete_time: Some(one.create_time),
        next_execution: Some(None),
        release: true,
        ..step(&one.id)
    };
    done(&store, fence, &end).await;
    store.persist_workflow(&store.get_workflow_instance(&one.id).await.unwrap()).await.unwrap();
    assert_eq!(stored().await, expected);
    // A restart takes only those of the program over.
    let next = instance();
    store.restart(None, &one.id, &next).await.unwrap();
    assert_eq!(store.load(&next.id).await.unwrap().attributes, map(json!({"c": "\0"})));
    let text: String = sqlx::query_scalar("SELECT attributes FROM workflows WHERE id = ?")
        .bind(&next.id)
        .fetch_one(&mut other)
        .await
        .unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), json!({"c": "\0"}));
    // None is NULL: the index has no entry of such an instance.
    let bare = instance();
    let fence = store.start_with(Some(&owner), &bare, Known::Existing, &given).await.unwrap().fence.unwrap();
    done(&store, fence, &StepCommit { attributes: Some(map(json!({}))), ..step(&bare.id) }).await;
    let none: bool = sqlx::query_scalar("SELECT attributes IS NULL FROM workflows WHERE id = ?")
        .bind(&bare.id)
        .fetch_one(&mut other)
        .await
        .unwrap();
    assert!(none);
    other.close().await.unwrap();
}
