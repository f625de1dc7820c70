use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use wfe::{
    definition::{Retry, WorkflowBuilder},
    steps::StepError,
};

use crate::support::{Store, Tally, completed, nothing};

/// One worker thread, which a step keeps for itself: commits, timers and blocking steps go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_step_that_never_yields_stops_neither_commits_nor_timers() {
    let store = Store::file();
    let (over, spins) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (release, begun) = (over.clone(), spins.clone());
    let spinning = WorkflowBuilder::<Tally>::new("spin", 1)
        .then("spin", async move |_, _| {
            spins.store(true, Ordering::SeqCst);
            while !over.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            Ok(())
        })
        .step("after", nothing())
        .build()
        .unwrap();
    let other = WorkflowBuilder::<Tally>::new("other", 1)
        .blocking(
            "retried",
            |ctx, _| {
                if ctx.attempt() < 3 { Err(StepError::retryable("again")) } else { Ok(()) }
            },
        )
        .retry(Retry::exponential().attempts(3).initial(Duration::from_millis(1)))
        .blocking("last", |_, _| Ok(()))
        .build()
        .unwrap();
    let host = store.host(&[&spinning, &other]).await;
    let spin = host.start_workflow("spin", &Tally::default()).await.unwrap();
    while !begun.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
    let id = host.start_workflow("other", &Tally::default()).await.unwrap();
    let done = host.outcome::<Tally>(&id);
    // Polled on this thread, which is not a worker: the runtime's timer may stand still with the worker.
    done.await.unwrap();
    release.store(true, Ordering::SeqCst);
    completed(&host, &spin).await;
}
