//! Tests that no deadlock is possible: the program waits for the engine, but the engine never waits for the program.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use wfe_core::{
    definition::WorkflowBuilder,
    executor::Lifecycle,
    steps::{Ctx, StepError},
    traits::{Control, Ending},
};
use wfe_sqlite::SqlitePersistenceProvider;

use super::*;
use crate::engine::{Rest, StepDone, StepMiddleware, WorkflowMiddleware};

/// The engine on which bodies, middlewares and a subscriber start instances.
#[derive(Clone, Default)]
struct Starts {
    engine: Arc<OnceLock<Handle>>,
    started: Arc<AtomicU32>,
}

impl Starts {
    /// Starts an instance with this number of generations of instances below it.
    async fn start(&self, generations: u32) -> Result<String> {
        let engine = self.engine.get().unwrap();
        let definition = engine.definition("grows", None).unwrap();
        self.started.fetch_add(1, SeqCst);
        Ok(engine.start(definition.instance(&generations, engine.now())?, StartRule::default()).await?.id)
    }

    /// Stores a request for an instance in the same way as the host does, unless the instance has ended.
    async fn request(&self, id: &str, control: Control) -> Result<()> {
        let engine = self.engine.get().unwrap();
        let permit = engine.permit().await;
        match engine.store().request(id, control).await {
            Ok(_) => engine.wake(id, permit),
            Err(WfeError::NoEffect { .. }) => {} // it has ended meanwhile
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

#[async_trait::async_trait]
impl StepMiddleware for Starts {
    async fn around(&self, ctx: &Ctx, rest: Rest<'_>) -> std::result::Result<StepDone, StepError> {
        let done = rest.run().await?;
        if ctx.step_id() == "starts two" {
            self.start(0).await?;
        }
        Ok(done)
    }
}

#[async_trait::async_trait]
impl WorkflowMiddleware for Starts {
    async fn starting(&self, start: &WorkflowStart<'_>) -> Result<()> {
        match start.data.as_u64() {
            Some(generations @ 1..) => self.start(u32::try_from(generations).unwrap() - 1).await.map(drop),
            _ => Ok(()),
        }
    }
}

/// The engine has one permit, one slot, and capacity for one instance. Bodies, middlewares, a subscriber and the
/// program all start instances and make requests at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_engine_is_full_whatever_starts_instances_and_makes_requests_comes_to_its_end() {
    let starts = Starts::default();
    let options = Options {
        permits: 1,
        concurrent_steps: 1,
        concurrent_instances: 1,
        step_middleware: vec![Arc::new(starts.clone())],
        workflow_middleware: vec![Arc::new(starts.clone())],
        grace: Duration::from_secs(20),
        ..Options::default()
    };
    let engine = Handle::new(Arc::new(SqlitePersistenceProvider::new(":memory:").await.unwrap()), options);
    assert!(starts.engine.set(engine.clone()).is_ok());
    let grows = WorkflowBuilder::<u32>::new("grows", 1)
        .with(starts.clone())
        .if_(
            "grows",
            |generations| *generations > 0,
            |grows| {
                grows.then("starts two", async |ctx, generations| {
                    for _ in 0..2 {
                        if let Some(below) = generations.checked_sub(1) {
                            ctx.app.start(below).await?;
                        }
                    }
                    Ok(())
                })
            },
        )
        .build()
        .unwrap();
    engine.register(grows.into()).unwrap();
    let mut events = engine.lifecycle();
    engine.launch().await.unwrap();

    // Starts one more, and requests something of it, after each tenth end.
    let (own, ended) = (starts.clone(), Arc::new(AtomicU32::new(0)));
    let count = ended.clone();
    let subscriber = tokio::spawn(async move {
        loop {
            if let Lifecycle::Completed | Lifecycle::Terminated { ending: Ending::Terminated } =
                events.recv().await.unwrap().what
                && (count.fetch_add(1, SeqCst) + 1) % 10 == 0
            {
                let id = own.start(0).await.unwrap();
                own.request(&id, Control::Terminate).await.unwrap();
            }
        }
    });
    let program: Vec<_> = (0..6)
        .map(|_| {
            let starts = starts.clone();
            tokio::spawn(async move {
                let id = starts.start(2).await.unwrap();
                starts.request(&id, Control::Suspend).await.unwrap();
                starts.request(&id, Control::Resume).await.unwrap();
                starts.engine.get().unwrap().wait_end(&id).await.unwrap();
                starts.engine.get().unwrap().wait_idle().await.unwrap();
            })
        })
        .collect();
    let all = async {
        for caller in program {
            caller.await.unwrap();
        }
        while ended.load(SeqCst) < starts.started.load(SeqCst) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), all).await.expect("nothing waits in a circle");
    assert!(starts.started.load(SeqCst) >= 6 * 17, "many were started");
    subscriber.abort();
    engine.stop(|| std::future::ready(())).await.unwrap();
}
