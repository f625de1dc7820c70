//! Ten thousand timers that become due in one second, by the real clock. It takes a release build.
#![cfg(not(debug_assertions))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is test code: it says what it expects by unwrapping it"
)]

use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use wfe::{
    Outcome, WorkflowHost,
    clock::{Clock, SystemClock},
    definition::WorkflowBuilder,
};
use wfe_sqlite::SqlitePersistenceProvider;

const TIMERS: i32 = 10_000;
/// How late each may be on a machine of two cores that does nothing else. It takes nearly all of them in that second.
const LATE: TimeDelta = TimeDelta::milliseconds(50);
/// How late each may be on a machine that is much slower, or does other work. More is a fault of ours: it was 1.8 s when
/// instances were claimed only once they were due.
const LATEST: TimeDelta = TimeDelta::seconds(1);
/// Whatever else the machine does can only make them later: the best round of so many counts.
const ROUNDS: usize = 6;

#[derive(Clone, Serialize, Deserialize)]
struct Alarm {
    due: DateTime<Utc>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_timers_due_in_one_second_are_on_time() {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let most = round().await;
        if most <= LATE {
            return;
        }
        rounds.push(most);
    }
    let (rounds, best) =
        (rounds.iter().map(TimeDelta::num_milliseconds).collect::<Vec<_>>(), rounds.iter().min());
    assert!(*best.unwrap() <= LATEST, "the latest of each round came so many milliseconds late: {rounds:?}");
    println!("NOT within {} ms: the latest of each round, in ms: {rounds:?}", LATE.num_milliseconds());
}

/// Gives how late the latest timer was.
async fn round() -> TimeDelta {
    let folder = tempfile::tempdir().unwrap();
    let store = SqlitePersistenceProvider::file(folder.path().join("state.db")).open().await.unwrap();
    let host = WorkflowHost::new(store);
    let late = Arc::new(Mutex::new(Vec::new()));
    let (heard, all) = (late.clone(), Arc::new(Notify::new()));
    let last = all.clone();
    let alarm = WorkflowBuilder::<Alarm>::new("alarm", 1)
        .delay_until("due", |alarm| alarm.due)
        .call("ring", move |_, alarm| {
            let mut late = heard.lock().unwrap();
            late.push(SystemClock.now() - alarm.due);
            if late.len() == TIMERS as usize {
                last.notify_one();
            }
            Ok(())
        })
        .build()
        .unwrap();
    host.register(alarm).unwrap();
    host.start().await.unwrap();
    let first = SystemClock.now() + TimeDelta::seconds(8);
    let ids: Vec<String> = stream::iter(0..TIMERS)
        .map(|n| {
            let due = first + TimeDelta::microseconds(100) * n;
            let host = &host;
            async move { host.start_workflow("alarm", &Alarm { due }).await.unwrap() }
        })
        .buffer_unordered(64)
        .collect()
        .await;
    assert!(SystemClock.now() + TimeDelta::seconds(2) < first, "they were not all started in time");
    all.notified().await;
    for id in &ids {
        assert!(matches!(host.outcome::<Alarm>(id).await.unwrap(), Outcome::Completed(_)));
    }
    host.stop().await.unwrap();
    let mut late = std::mem::take(&mut *late.lock().unwrap());
    late.sort();
    let at = |hundredth: usize| late[(late.len() - 1) * hundredth / 100];
    println!(
        "late in ms: median {}, 99 % at most {}, all at most {}",
        at(50).num_milliseconds(),
        at(99).num_milliseconds(),
        at(100).num_milliseconds(),
    );
    assert!(at(0) >= TimeDelta::zero(), "none is early");
    at(100)
}
