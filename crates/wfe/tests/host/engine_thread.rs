use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use wfe::{
    definition::{Retry, WorkflowBuilder, blocking, inline},
    steps::{Ctx, StepError},
};

use crate::support::{Store, Tally, completed, nothing};

/// One worker thread, which a step keeps for itself: commits, timers and blocking steps go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_step_that_never_yields_stops_neither_commits_nor_timers() {
    let store = Store::file();
    let (over, spins) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (release, begun) = (over.clone(), spins.clone());
    let spinning = WorkflowBuilder::<Tally>::new("spin", 1)
        .then(
            "spin",
            inline(move |_, _| {
                let (over, spins) = (over.clone(), spins.clone());
                async move {
                    spins.store(true, Ordering::SeqCst);
                    while !over.load(Ordering::SeqCst) {
                        std::thread::yield_now();
                    }
                    Ok(())
                }
            }),
        )
        .then("after", nothing())
        .build()
        .unwrap();
    let other = WorkflowBuilder::<Tally>::new("other", 1)
        .then(
            "retried",
            blocking(
                |ctx: &Ctx, _: &Tally| {
                    if ctx.attempt() < 3 { Err(StepError::retryable("again")) } else { Ok(()) }
                },
            )
            .retry(Retry::up_to(2).initial(Duration::from_millis(1))),
        )
        .then("last", blocking(|_: &Ctx, _: &Tally| Ok(())))
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
