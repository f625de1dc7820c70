//! An instance that is taken up while the call that starts it is under way does nothing before its start was told.

use std::{sync::Arc, time::Duration};

use tokio::sync::Semaphore;
use wfe::{
    WorkflowHost,
    definition::{Definition, Event, WorkflowBuilder},
};

use crate::support::{
    Count, Gate, Store, Tally, after_starts, completed, on_every_native_store, started, until,
};

/// Bodies that wait until they are let go.
#[derive(Clone)]
struct Bodies {
    begun: Count,
    go: Arc<Semaphore>,
}

impl Bodies {
    fn new() -> Self {
        Self { begun: Count::default(), go: Arc::new(Semaphore::new(0)) }
    }

    /// With the number 1 an instance waits for an event first.
    fn definition(&self) -> Definition<Tally> {
        let bodies = self.clone();
        WorkflowBuilder::<Tally>::new("few", 1)
            .if_(
                "waits",
                |tally| tally.sum == 1,
                |waits| {
                    waits.wait_for("wait", Event::<()>::new("go"), |_| "k").output(|(), tally| tally.sum = 2)
                },
            )
            .then("hold", async move |_, _| {
                bodies.begun.up();
                bodies.go.acquire().await.unwrap().forget();
                Ok(())
            })
            .build()
            .unwrap()
    }
}

async fn start(host: &WorkflowHost, sum: u32) -> String {
    host.start_workflow("few", &Tally { sum, ..Tally::default() }).await.unwrap()
}

/// Starts an instance for which there is no slot: the host may take it up as soon as it is stored. Gives the call, which
/// stands at the gate.
async fn start_held(host: &WorkflowHost, gate: &Gate) -> tokio::task::JoinHandle<wfe::Result<String>> {
    let (came, starts) = (gate.came.get(), host.clone());
    gate.shut();
    let call = tokio::spawn(async move { starts.start_workflow("few", &Tally::default()).await });
    until(async || gate.came.get() > came).await;
    call
}

on_every_native_store! {
    async fn an_instance_that_has_run_before_does_not_wait_for_the_start_of_another_one(store: Store) {
        let (gate, bodies) = (Gate::default(), Bodies::new());
        let builder = WorkflowHost::builder_shared(after_starts(store.provider().await, &gate))
            .poll_interval(Duration::from_millis(20))
            .concurrent_instances_of("few", 2);
        let host = started(builder.build(), &[&bodies.definition()]).await;
        let waits = start(&host, 1).await;
        until(async || host.status(&waits).await.unwrap().current_steps == ["wait"]).await;
        let (one, two) = (start(&host, 0).await, start(&host, 0).await);
        until(async || bodies.begun.get() == 2).await;
        let starting = start_held(&host, &gate).await;
        host.publish_event("go", "k", &()).await.unwrap();
        bodies.go.add_permits(2);
        completed(&host, &one).await;
        completed(&host, &two).await;
        // Both of the others are taken up. One of them does nothing before its start was told.
        until(async || bodies.begun.get() == 3).await;
        bodies.go.add_permits(1);
        completed(&host, &waits).await;
        assert_eq!(bodies.begun.get(), 3);
        gate.open();
        bodies.go.add_permits(1);
        completed(&host, &starting.await.unwrap().unwrap()).await;
    }

    async fn a_host_stops_also_while_the_start_of_an_instance_that_it_has_taken_up_was_not_told(store: Store) {
        let (gate, bodies) = (Gate::default(), Bodies::new());
        let builder = WorkflowHost::builder_shared(after_starts(store.provider().await, &gate))
            .poll_interval(Duration::from_millis(20))
            .grace(Duration::from_millis(100))
            .concurrent_instances_of("few", 1);
        let host = started(builder.build(), &[&bodies.definition()]).await;
        let first = start(&host, 0).await;
        until(async || bodies.begun.get() == 1).await;
        let starting = start_held(&host, &gate).await;
        let loads = gate.loads.get();
        bodies.go.add_permits(1);
        completed(&host, &first).await;
        until(async || gate.loads.get() > loads).await; // it is taken up
        tokio::time::timeout(Duration::from_secs(20), host.stop()).await.expect("it stops").unwrap();
        // Whether it was started, nobody can tell.
        assert!(starting.await.unwrap().is_err());
        assert_eq!(bodies.begun.get(), 1);
    }
}
