use std::sync::Arc;

use tokio::sync::Notify;
use wfe::{
    Lifecycle, Outcome,
    definition::{Definition, WorkflowBuilder, inline},
    models::WorkflowStatus,
    steps::Ctx,
};

use crate::support::{Count, Store, Tally, completed, ended, nothing, on_every_store, until};

/// A step that runs until it is let go or cancelled, and one after it.
struct Held {
    go: Arc<Notify>,
    begun: Count,
    cancelled: Count,
    after: Count,
}

impl Held {
    fn new() -> Self {
        let (begun, cancelled, after) = Default::default();
        Self { go: Arc::new(Notify::new()), begun, cancelled, after }
    }

    fn definition(&self) -> Definition {
        let (go, begun, cancelled) = (self.go.clone(), self.begun.clone(), self.cancelled.clone());
        let after = self.after.clone();
        WorkflowBuilder::<Tally>::new("held", 1)
            .then(
                "held",
                inline(move |ctx: Ctx, _| {
                    let (go, begun, cancelled) = (go.clone(), begun.clone(), cancelled.clone());
                    async move {
                        begun.up();
                        tokio::select! {
                            () = go.notified() => {}
                            () = ctx.cancellation().cancelled() => { cancelled.up(); }
                        }
                        Ok(7)
                    }
                })
                .output(|seven, tally: &mut Tally| tally.sum = *seven),
            )
            .then(
                "after",
                inline(move |_, _: Arc<Tally>| {
                    after.up();
                    async { Ok(()) }
                }),
            )
            .build()
            .unwrap()
    }
}

on_every_store! {
    async fn suspend_lets_the_running_step_end_stores_it_and_begins_no_other(store: Store) {
        let held = Held::new();
        let host = store.host(&[&held.definition()]).await;
        let mut events = host.lifecycle();
        let id = host.start_workflow("held", &Tally::default()).await.unwrap();
        until(async || held.begun.get() == 1).await;
        host.suspend(&id).await.unwrap();
        while events.recv().await.unwrap().what != Lifecycle::Suspended {}
        held.go.notify_one();
        until(async || host.status(&id).await.unwrap().current_steps == ["after"]).await;
        assert_eq!((held.after.get(), held.cancelled.get()), (0, 0));
        host.resume(&id).await.unwrap();
        assert_eq!(completed(&host, &id).await.sum, 7);
        assert_eq!((held.begun.get(), held.after.get()), (1, 1));
    }

    async fn cancel_and_terminate_fire_the_token_and_are_told_apart(store: Store) {
        let held = Held::new();
        let host = store.host(&[&held.definition()]).await;
        let one = host.start_workflow("held", &Tally::default()).await.unwrap();
        let two = host.start_workflow("held", &Tally::default()).await.unwrap();
        until(async || held.begun.get() == 2).await;
        host.cancel(&one).await.unwrap();
        host.terminate(&two).await.unwrap();
        assert_eq!(ended(&host, &one).await, Outcome::Cancelled);
        assert_eq!(ended(&host, &two).await, Outcome::Terminated);
        until(async || held.cancelled.get() == 2).await;
        assert_eq!(held.after.get(), 0);
        host.resume(&one).await.unwrap();
        host.suspend(&two).await.unwrap();
        assert_eq!(ended(&host, &one).await, Outcome::Cancelled);
        assert_eq!(host.status(&two).await.unwrap().status, WorkflowStatus::Terminated);
    }

    async fn a_request_waits_for_a_host_that_runs(store: Store) {
        let definition = WorkflowBuilder::<Tally>::new("held", 1).then("a", nothing()).build().unwrap();
        let host = store.builder().await.build();
        host.register(definition).unwrap();
        let id = host.start_workflow("held", &Tally::default()).await.unwrap();
        host.terminate(&id).await.unwrap();
        host.start().await.unwrap();
        assert_eq!(ended(&host, &id).await, Outcome::Terminated);
    }
}
