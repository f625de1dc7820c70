//! Ten thousand timers that become due in one second, by the real clock. It takes a release build.
#![cfg(not(debug_assertions))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is test code: it says what it expects by unwrapping it"
)]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use wfe::{
    Outcome, WorkflowHost,
    definition::{WorkflowBuilder, inline},
};
use wfe_sqlite::SqlitePersistenceProvider;

const TIMERS: i32 = 10_000;

#[derive(Clone, Serialize, Deserialize)]
struct Alarm {
    due: DateTime<Utc>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_timers_due_in_one_second() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqlitePersistenceProvider::file(folder.path().join("state.db")).open().await.unwrap();
    let host = WorkflowHost::new(store);
    let late = Arc::new(Mutex::new(Vec::new()));
    let (heard, all) = (late.clone(), Arc::new(Notify::new()));
    let last = all.clone();
    let ring = inline(move |_, alarm: Arc<Alarm>| {
        let mut heard = heard.lock().unwrap();
        heard.push((Utc::now() - alarm.due).as_seconds_f64() * 1000.0);
        if heard.len() == TIMERS as usize {
            last.notify_one();
        }
        async { Ok(()) }
    });
    let alarm = WorkflowBuilder::<Alarm>::new("alarm", 1)
        .delay("until", |alarm, ()| (alarm.due - Utc::now()).to_std().unwrap())
        .then("ring", ring)
        .build()
        .unwrap();
    host.register(alarm).unwrap();
    host.start().await.unwrap();
    let first = Utc::now() + TimeDelta::seconds(4);
    let begun = std::time::Instant::now();
    let ids: Vec<String> = stream::iter(0..TIMERS)
        .map(|n| {
            let due = first + TimeDelta::microseconds(100) * n;
            let host = &host;
            async move { host.start_workflow("alarm", &Alarm { due }).await }
        })
        .buffer_unordered(64)
        .map(|id| id.unwrap())
        .collect()
        .await;
    println!("started in {:?}", begun.elapsed());
    tokio::time::sleep((first - Utc::now()).to_std().unwrap()).await;
    println!("done waiting");
    all.notified().await;
    println!("done ringing");
    stream::iter(&ids)
        .for_each_concurrent(None, |id| async {
            assert!(matches!(host.wait_for::<Alarm>(id).await.unwrap(), Outcome::Completed(_)));
        })
        .await;
    println!("all done {} ms after the first due", (Utc::now() - first).num_milliseconds());
    host.stop().await.unwrap();
    let mut late = std::mem::take(&mut *late.lock().unwrap());
    late.sort_by(f64::total_cmp);
    let at = |share: f64| late[((late.len() - 1) as f64 * share) as usize];
    println!(
        "late by: median {:.1} ms, p99 {:.1} ms, most {:.1} ms; earliest {:.1}",
        at(0.5),
        at(0.99),
        at(1.0),
        at(0.0)
    );
    assert!(at(1.0) < Duration::from_millis(50).as_secs_f64() * 1000.0);
}
