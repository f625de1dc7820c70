use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::DateTime;
use wfe::{
    WorkflowHost,
    clock::Clock,
    definition::{Retry, WorkflowBuilder},
    models::WorkflowInstance,
    status::State,
    steps::StepError,
};
use wfe_testkit::VirtualClock;

use crate::support::{Count, Store, Tally, after_claims, completed, nothing, started, until};

const HOUR: Duration = Duration::from_hours(1);

/// With sleeping instances a host waits for two things only: the earliest pause and its safety net. Neither writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_host_wakes_for_its_poll_alone_and_writes_nothing() {
    let store = Store::file();
    let (clock, runs) = (Arc::new(VirtualClock::default()), Count::default());
    let count = runs.clone();
    let definition = WorkflowBuilder::<Tally>::new("w", 1)
        .call("a", move |_, _| {
            count.up();
            Err::<(), _>(StepError::retryable("later"))
        })
        .retry(Retry::every(1000 * HOUR).attempts(10))
        .build()
        .unwrap();
    let builder = store.builder().await.clock(clock.clone()).poll_interval(HOUR);
    let host = started(builder.build(), &[&definition]).await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(host.start_workflow("w", &Tally::default()).await.unwrap());
    }
    for id in &ids {
        until(async || {
            let status = host.status(id).await.unwrap();
            status.state == State::Running && status.due > Some(DateTime::UNIX_EPOCH)
        })
        .await;
    }
    let wal = store.path().unwrap().with_extension("db-wal");
    let written = || std::fs::read(&wal).unwrap();
    let before = written();
    // A pause of a heartbeat that is no longer needed, and then nothing but the poll and the earliest pause.
    let pause = clock.now() + 1000 * HOUR;
    clock.advance(Duration::from_secs(10));
    for _ in 0..50 {
        clock.wait_for(|deadlines| deadlines.len() == 2 && deadlines[1] == pause).await;
        clock.advance(HOUR);
    }
    assert_eq!(written(), before, "nothing was written");
    assert_eq!(runs.get(), 20);
}

/// Between the claim of what is due and the reading of what becomes due later, time goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_becomes_due_while_a_host_starts_is_not_left_to_the_poll() {
    let store = Store::file();
    let clock = Arc::new(VirtualClock::default());
    let definition = WorkflowBuilder::<Tally>::new("w", 1)
        .call("a", |ctx, _| if ctx.attempt() == 1 { Err(StepError::retryable("later")) } else { Ok(()) })
        .retry(Retry::exponential().attempts(2).initial(HOUR).jitter(0.0))
        .build()
        .unwrap();
    let builder = store.builder().await.clock(clock.clone()).poll_interval(1000 * HOUR);
    let host = started(builder.build(), &[&definition]).await;
    let id = host.start_workflow("w", &Tally::default()).await.unwrap();
    until(async || host.status(&id).await.unwrap().due > Some(DateTime::UNIX_EPOCH)).await;
    host.stop().await.unwrap();
    let (time, advanced) = (clock.clone(), Count::default());
    let provider = after_claims(store.provider().await, move || {
        if advanced.up() == 1 {
            time.advance(2 * HOUR);
        }
    });
    let builder = WorkflowHost::builder_shared(provider).clock(clock).poll_interval(1000 * HOUR);
    let host = started(builder.build(), &[&definition]).await;
    completed(&host, &id).await;
}

/// The same for a host that runs, and a due time that somebody else stores.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_becomes_due_while_a_host_looks_at_what_others_stored_is_not_left_to_the_poll() {
    let (store, clock) = (Store::file(), Arc::new(VirtualClock::default()));
    let is_armed = Arc::new(AtomicBool::new(false));
    let definition = WorkflowBuilder::<Tally>::new("w", 1).step("a", nothing()).build().unwrap();
    let (time, armed) = (clock.clone(), is_armed.clone());
    let provider = after_claims(store.provider().await, move || {
        if armed.swap(false, Ordering::SeqCst) {
            time.advance(2 * HOUR);
        }
    });
    let builder = WorkflowHost::builder_shared(provider).clock(clock.clone()).poll_interval(1000 * HOUR);
    let host = started(builder.build(), &[&definition]).await;
    clock.wait_for_sleepers(1).await; // it idles
    let mut later = WorkflowInstance::new("w", 1, serde_json::to_value(Tally::default()).unwrap());
    later.next_execution = Some((clock.now() + HOUR).timestamp_millis());
    is_armed.store(true, Ordering::SeqCst);
    let id = store.provider().await.create_new_workflow(&later).await.unwrap();
    completed(&host, &id).await;
}
