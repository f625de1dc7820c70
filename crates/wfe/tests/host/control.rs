use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;
use wfe::{
    Outcome, WorkflowHost,
    definition::{Definition, WorkflowBuilder},
    error::NoEffectReason,
    host::Lifecycle,
    status::State,
    traits::Ending,
};

use crate::support::{
    Count, Gate, Store, Tally, after_loads, completed, ended, no_effect, nothing, on_every_native_store,
    on_every_store, started, unreadable, until,
};

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

    fn definition(&self) -> Definition<Tally> {
        let (go, begun, cancelled) = (self.go.clone(), self.begun.clone(), self.cancelled.clone());
        let after = self.after.clone();
        WorkflowBuilder::<Tally>::new("held", 1)
            .then("held", async move |ctx, _| {
                begun.up();
                tokio::select! {
                    () = go.notified() => {}
                    () = ctx.cancellation().cancelled() => { cancelled.up(); }
                }
                Ok(7)
            })
            .output(|seven, tally| tally.sum = seven)
            .call("after", move |_, _| {
                after.up();
                Ok(())
            })
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
        let (first, second) = (host.resume(&one).await, host.suspend(&two).await);
        assert_eq!(no_effect(first), NoEffectReason::Ended(Ending::Cancelled));
        assert_eq!(no_effect(second), NoEffectReason::Ended(Ending::Terminated));
        assert_eq!(ended(&host, &one).await, Outcome::Cancelled);
        assert_eq!(host.status(&two).await.unwrap().state, State::Terminated);
    }

    async fn a_request_waits_for_a_host_that_runs(store: Store) {
        let definition = WorkflowBuilder::<Tally>::new("held", 1).step("a", nothing()).build().unwrap();
        let host = store.builder().await.build();
        host.register(definition).unwrap();
        let id = host.start_workflow("held", &Tally::default()).await.unwrap();
        host.terminate(&id).await.unwrap();
        host.start().await.unwrap();
        assert_eq!(ended(&host, &id).await, Outcome::Terminated);
    }

    async fn a_body_that_waits_for_a_slot_never_begins_once_its_instance_has_ended(store: Store) {
        let held = Held::new();
        let host = started(store.builder().await.concurrent_steps(1).build(), &[&held.definition()]).await;
        let one = host.start_workflow("held", &Tally::default()).await.unwrap();
        until(async || held.begun.get() == 1).await;
        let mut events = host.lifecycle();
        let two = host.start_workflow("held", &Tally::default()).await.unwrap();
        host.terminate(&two).await.unwrap();
        assert_eq!(ended(&host, &two).await, Outcome::Terminated);
        let three = host.start_workflow("held", &Tally::default()).await.unwrap();
        held.go.notify_one();
        // Slots are given in order: had the second one's body begun, it would have done so before the third one's.
        until(async || held.begun.get() > 1).await;
        held.go.notify_one();
        completed(&host, &one).await;
        completed(&host, &three).await;
        assert_eq!((held.begun.get(), held.cancelled.get()), (2, 0));
        while let Ok(event) = events.try_recv() {
            assert!(*event.instance_id != *two || !matches!(event.what, Lifecycle::StepStarted { .. }));
        }
    }
}

on_every_native_store! {
    async fn a_request_from_another_host_reaches_a_step_that_runs(store: Store) {
        let held = Held::new();
        let (runs, asks) = (store.host(&[&held.definition()]).await, store.host(&[]).await);
        let id = runs.start_workflow("held", &Tally::default()).await.unwrap();
        until(async || held.begun.get() == 1).await;
        asks.cancel(&id).await.unwrap();
        assert_eq!(ended(&asks, &id).await, Outcome::Cancelled);
        until(async || held.cancelled.get() == 1).await;
    }

    async fn a_host_leaves_an_instance_to_those_that_have_its_definition_whatever_it_was_asked(store: Store) {
        let build = |id: &str| WorkflowBuilder::<Tally>::new(id, 1).step("a", nothing()).build().unwrap();
        let has_it = store.builder().await.build();
        has_it.register(build("known")).unwrap();
        let asks = store.host(&[&build("other")]).await;
        let id = has_it.start_workflow("known", &Tally::default()).await.unwrap();
        asks.terminate(&id).await.unwrap();
        // What a host is asked it does in order.
        let other = asks.start_workflow("other", &Tally::default()).await.unwrap();
        completed(&asks, &other).await;
        has_it.start().await.unwrap();
        assert_eq!(ended(&has_it, &id).await, Outcome::Terminated);
    }

    async fn an_instance_that_cannot_be_read_is_suspended_and_can_be_terminated(store: Store) {
        let definition = WorkflowBuilder::<Tally>::new("w", 1).step("a", nothing()).build().unwrap();
        let first = store.builder().await.build();
        first.register(definition.clone()).unwrap();
        let waits = first.start_workflow("w", &Tally::default()).await.unwrap();
        let ends = first.start_workflow("w", &Tally::default()).await.unwrap();
        first.terminate(&ends).await.unwrap();
        let host = WorkflowHost::builder_shared(unreadable(store.provider().await))
            .poll_interval(Duration::from_millis(20))
            .build();
        let host = started(host, &[&definition]).await;
        let status = async |id: &str| first.status(id).await.unwrap();
        until(async || status(&waits).await.state == State::Suspended).await;
        assert_eq!(status(&waits).await.cause.unwrap().code, "corrupt");
        until(async || status(&ends).await.state == State::Terminated).await;
        host.terminate(&waits).await.unwrap();
        until(async || status(&waits).await.state == State::Terminated).await;
    }

    async fn however_often_a_busy_instance_was_asked_meanwhile_one_look_answers(store: Store) {
        let (held, gate) = (Held::new(), Gate::default());
        let other = WorkflowBuilder::<Tally>::new("other", 1).step("a", nothing()).build().unwrap();
        let builder = WorkflowHost::builder_shared(after_loads(store.provider().await, &gate));
        let builder = builder.poll_interval(Duration::from_hours(1));
        let host = started(builder.build(), &[&held.definition(), &other]).await;
        let id = host.start_workflow("held", &Tally::default()).await.unwrap();
        until(async || held.begun.get() == 1).await;
        gate.shut();
        host.suspend(&id).await.unwrap();
        until(async || gate.came.get() == 1).await;
        for _ in 0..15 {
            host.resume(&id).await.unwrap();
            host.suspend(&id).await.unwrap();
        }
        host.resume(&id).await.unwrap();
        // Whoever is told of this was told of those before.
        let last = host.start_workflow("other", &Tally::default()).await.unwrap();
        completed(&host, &last).await;
        let before = gate.loads.get();
        gate.open();
        held.go.notify_one();
        assert_eq!(completed(&host, &id).await.sum, 7);
        let loads = gate.loads.get() - before;
        assert!(loads <= 4, "{loads} loads");
    }
}
