use std::{sync::Arc, time::Duration};

use wfe::{
    clock::Clock,
    definition::{Retry, WorkflowBuilder, inline},
    models::WorkflowStatus,
    steps::StepError,
};
use wfe_testkit::VirtualClock;

use crate::support::{Count, Store, Tally, started};

const HOUR: Duration = Duration::from_hours(1);

/// With sleeping instances a host waits for two things only: the earliest pause and its safety net. Neither writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_host_wakes_for_its_poll_alone_and_writes_nothing() {
    let store = Store::file();
    let (clock, runs) = (Arc::new(VirtualClock::default()), Count::default());
    let count = runs.clone();
    let definition = WorkflowBuilder::<Tally>::new("w", 1)
        .then(
            "a",
            inline(move |_, _: Arc<Tally>| {
                count.up();
                async { Err::<(), _>(StepError::retryable("later")) }
            })
            .retry(Retry::up_to(9).first_pause(1000 * HOUR).longest_pause(1000 * HOUR).jitter(0.0)),
        )
        .build()
        .unwrap();
    let builder = store.builder().await.clock(clock.clone()).poll_interval(HOUR);
    let host = started(builder.build(), &[&definition]).await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(host.start_workflow("w", &Tally::default()).await.unwrap());
    }
    for id in &ids {
        crate::support::until(async || {
            let status = host.status(id).await.unwrap();
            status.status == WorkflowStatus::Runnable && status.next_execution > Some(0)
        })
        .await;
    }
    let wal = store.path().unwrap().with_extension("db-wal");
    let written = || std::fs::read(&wal).unwrap();
    let before = written();
    for _ in 0..50 {
        let next = clock.now() + HOUR;
        clock.wait_for(|deadlines| deadlines == [next]).await;
        clock.advance(HOUR);
    }
    clock.wait_for(|deadlines| deadlines == [clock.now() + HOUR]).await;
    assert_eq!(written(), before, "nothing was written");
    assert_eq!(runs.get(), 20);
}
