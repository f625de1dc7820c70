//! What a host tells of the instances that it runs.

use std::{sync::Arc, time::Duration};

use tokio::sync::broadcast::Receiver;
use wfe::{
    WorkflowHost,
    definition::{Definition, Event, OnFailure, WorkflowBuilder, WorkflowName},
    host::{Lifecycle, LifecycleEvent},
    steps::StepError,
    traits::Ending,
};

use crate::support::{
    Count, Gate, Store, Tally, Timed, after_child_starts, after_starts, before_results, before_status,
    completed, in_time, nothing, on_every_native_store, started, unreadable, until,
};

/// What was told of an instance so far, shortly.
fn of(told: &[LifecycleEvent], id: &str) -> Vec<String> {
    let short = |event: &LifecycleEvent| match &event.what {
        Lifecycle::StepStarted { step, attempt, .. } => format!("{step} begins {attempt}"),
        Lifecycle::StepCompleted { step, .. } => format!("{step} ends"),
        Lifecycle::Error(failure) => format!("error {}", failure.code),
        Lifecycle::Terminated { ending } => format!("terminated {ending:?}"),
        other => format!("{other:?}"),
    };
    told.iter().filter(|event| *event.instance_id == *id).map(short).collect()
}

/// All that comes until the last event of this instance is of this kind.
async fn told_until(
    events: &mut Receiver<LifecycleEvent>,
    id: &str,
    last: &Lifecycle,
) -> Vec<LifecycleEvent> {
    told_until_one(events, |event| *event.instance_id == *id && event.what == *last).await
}

/// All that comes, up to the first event for which this holds.
async fn told_until_one(
    events: &mut Receiver<LifecycleEvent>,
    is_last: impl Fn(&LifecycleEvent) -> bool,
) -> Vec<LifecycleEvent> {
    let all = async {
        let mut told = Vec::new();
        loop {
            let event = events.recv().await.unwrap();
            told.push(event);
            if told.last().is_some_and(&is_last) {
                return told;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.expect("it was told")
}

fn far_away(id: &str) -> Definition<Tally> {
    WorkflowBuilder::<Tally>::new(id, 1)
        .step("first", nothing())
        .wait_for("wait", Event::<()>::new("far"), |_| "k")
        .output(|(), _| {})
        .build()
        .unwrap()
}

fn parent(child_of: &'static str) -> Definition<Tally> {
    WorkflowBuilder::<Tally>::new("parent", 1)
        .sub_workflow("sub", WorkflowName::new(child_of), |_| Tally::default())
        .build()
        .unwrap()
}

fn one_step(id: &str) -> Definition<Tally> {
    WorkflowBuilder::<Tally>::new(id, 1).step("only", nothing()).build().unwrap()
}

/// Whatever this host had to do by now, it has done: another instance has run from its start to its end.
async fn had_time(host: &WorkflowHost) {
    let id = host.start_workflow("other", &Tally::default()).await.unwrap();
    completed(host, &id).await;
}

in_time! {
    async fn all_that_becomes_of_an_instance_is_told_in_its_order(place: Timed) {
        let fails = WorkflowBuilder::<Tally>::new("fails", 1)
            .then("bad", async |_, _| Err::<(), _>(StepError::fatal("bad").with_code("bad")))
            .on_failure(OnFailure::Suspend)
            .build()
            .unwrap();
        let host = place.host(&[&far_away("far"), &fails]).await;
        let mut events = host.lifecycle();
        let id = host.start_workflow("far", &Tally::default()).await.unwrap();
        until(async || host.status(&id).await.unwrap().current_steps == ["wait"]).await;
        host.suspend(&id).await.unwrap();
        let mut told = told_until(&mut events, &id, &Lifecycle::Suspended).await;
        host.resume(&id).await.unwrap();
        told.extend(told_until(&mut events, &id, &Lifecycle::Resumed).await);
        host.terminate(&id).await.unwrap();
        told.extend(told_until(&mut events, &id, &Lifecycle::Terminated { ending: Ending::Terminated }).await);
        let all = ["Started", "first begins 1", "first ends", "Suspended", "Resumed", "terminated Terminated"];
        assert_eq!(of(&told, &id), all);

        let id = host.start_workflow("fails", &Tally::default()).await.unwrap();
        let mut told = told_until(&mut events, &id, &Lifecycle::Suspended).await;
        host.cancel(&id).await.unwrap();
        told.extend(told_until(&mut events, &id, &Lifecycle::Terminated { ending: Ending::Cancelled }).await);
        let all = ["Started", "bad begins 1", "error bad", "Suspended", "terminated Cancelled"];
        assert_eq!(of(&told, &id), all);
    }

    async fn a_child_is_told_of_from_its_start_to_its_end(place: Timed) {
        let host = place.host(&[&parent("kid"), &one_step("kid")]).await;
        let mut events = host.lifecycle();
        let id = host.start_workflow("parent", &Tally::default()).await.unwrap();
        let told = told_until(&mut events, &id, &Lifecycle::Completed).await;
        assert_eq!(of(&told, &id), ["Started", "sub ends", "Completed"]);
        let kid = told.iter().find(|event| &*event.definition_id == "kid").unwrap();
        assert_eq!((kid.version, &kid.what), (1, &Lifecycle::Started));
        assert_eq!(of(&told, &kid.instance_id), ["Started", "only begins 1", "only ends", "Completed"]);
        assert!(told.iter().rposition(|e| e.instance_id == kid.instance_id) < told.iter().rposition(|e| *e.instance_id == *id));
    }
}

on_every_native_store! {
    async fn no_change_of_status_is_told_before_it_is_stored(store: Store) {
        let gate = Gate::default();
        let builder = WorkflowHost::builder_shared(before_status(store.provider().await, &gate));
        let host = started(builder.build(), &[&far_away("far"), &one_step("other")]).await;
        let mut events = host.lifecycle();
        let id = host.start_workflow("far", &Tally::default()).await.unwrap();
        // The last thing that is told of it before: it is told after it is stored, and so after it can be seen.
        let is_end = |event: &LifecycleEvent| matches!(event.what, Lifecycle::StepCompleted { .. });
        told_until_one(&mut events, is_end).await;
        until(async || host.status(&id).await.unwrap().current_steps == ["wait"]).await;
        let ending = Ending::Terminated;
        let changes = [Lifecycle::Suspended, Lifecycle::Resumed, Lifecycle::Terminated { ending }];
        for (held, change) in (1..).zip(changes) {
            gate.shut();
            match change {
                Lifecycle::Suspended => host.suspend(&id).await.unwrap(),
                Lifecycle::Resumed => host.resume(&id).await.unwrap(),
                _ => host.terminate(&id).await.unwrap(),
            };
            until(async || gate.came.get() == held).await;
            had_time(&host).await;
            while let Ok(event) = events.try_recv() {
                assert_ne!(*event.instance_id, *id, "{change:?} is not stored yet");
            }
            gate.open();
            let told = told_until(&mut events, &id, &change).await;
            assert_eq!(of(&told, &id).len(), 1, "{told:?}");
        }
    }

    async fn nothing_that_follows_from_a_result_is_seen_before_it_is_stored(store: Store) {
        let (gate, begun) = (Gate::default(), Count::default());
        let begins = begun.clone();
        let two = WorkflowBuilder::<Tally>::new("two", 1)
            .change("first", |tally| tally.sum += 1)
            .call("second", move |_, _| {
                begins.up();
                Ok(())
            })
            .output(|(), tally| tally.sum += 1)
            .build();
        let builder = WorkflowHost::builder_shared(before_results(store.provider().await, &gate));
        let host = Arc::new(started(builder.build(), &[&two.unwrap(), &one_step("other")]).await);
        let mut events = host.lifecycle();
        gate.shut();
        let id = host.start_workflow("two", &Tally::default()).await.unwrap();
        let (waits, own) = (host.clone(), id.clone());
        let answer = tokio::spawn(async move { completed(&waits, &own).await });
        let mut told = Vec::new();
        for (held, step) in ["first ends", "second ends"].into_iter().enumerate() {
            until(async || gate.came.get() == held + 1).await;
            had_time(&host).await;
            while let Ok(event) = events.try_recv() {
                told.push(event);
            }
            assert!(!of(&told, &id).contains(&step.to_owned()), "{told:?}");
            assert_eq!((begun.get(), answer.is_finished()), (held, false));
            assert_eq!(host.data::<Tally>(&id).await.unwrap().sum, u32::try_from(held).unwrap());
            if held == 0 {
                gate.shut(); // for the next one
            }
            gate.open();
        }
        assert_eq!(answer.await.unwrap().sum, 2);
        told.extend(told_until(&mut events, &id, &Lifecycle::Completed).await);
        let all = ["Started", "first begins 1", "first ends", "second begins 1", "second ends", "Completed"];
        assert_eq!(of(&told, &id), all);
    }

    async fn the_start_of_an_instance_that_waited_for_room_is_told_before_its_first_step(store: Store) {
        let gate = Gate::default();
        let builder = WorkflowHost::builder_shared(after_starts(store.provider().await, &gate))
            .poll_interval(Duration::from_millis(20))
            .concurrent_instances_of("few", 1);
        let (go, begun) = (Arc::new(tokio::sync::Notify::new()), Count::default());
        let (goes, begins) = (go.clone(), begun.clone());
        let few = WorkflowBuilder::<Tally>::new("few", 1)
            .then("hold", async move |_, _| {
                begins.up();
                goes.notified().await;
                Ok(())
            })
            .build()
            .unwrap();
        let host = started(builder.build(), &[&few, &one_step("other")]).await;
        let first = host.start_workflow("few", &Tally::default()).await.unwrap();
        until(async || begun.get() == 1).await;
        gate.shut();
        let mut events = host.lifecycle();
        let asker = host.clone();
        let second = tokio::spawn(async move { asker.start_workflow("few", &Tally::default()).await.unwrap() });
        until(async || gate.came.get() == 1).await;
        go.notify_one();
        completed(&host, &first).await;
        // There is room for the second one now, and the host has read it.
        let loads = gate.loads.get();
        until(async || gate.loads.get() > loads).await;
        had_time(&host).await;
        gate.open();
        let second = second.await.unwrap();
        go.notify_one();
        completed(&host, &second).await;
        let told = told_until(&mut events, &second, &Lifecycle::Completed).await;
        assert_eq!(of(&told, &second), ["Started", "hold begins 1", "hold ends", "Completed"]);
    }

    async fn the_start_of_a_child_is_told_before_its_first_step(store: Store) {
        let gate = Gate::default();
        let builder = WorkflowHost::builder_shared(after_child_starts(store.provider().await, &gate))
            .poll_interval(Duration::from_millis(20));
        let host = started(builder.build(), &[&parent("kid"), &one_step("kid"), &one_step("other")]).await;
        let mut events = host.lifecycle();
        gate.shut();
        let loads = gate.loads.get();
        let id = host.start_workflow("parent", &Tally::default()).await.unwrap();
        until(async || gate.came.get() == 1).await;
        // The child is stored, and found by a poll.
        until(async || gate.loads.get() > loads).await;
        had_time(&host).await;
        gate.open();
        let told = told_until(&mut events, &id, &Lifecycle::Completed).await;
        let kid = told.iter().find(|event| &*event.definition_id == "kid").unwrap();
        assert_eq!(of(&told, &kid.instance_id), ["Started", "only begins 1", "only ends", "Completed"]);
    }

    async fn an_instance_that_cannot_be_read_is_told_to_stand_still_and_to_end(store: Store) {
        let first = store.builder().await.build();
        first.register(one_step("w")).unwrap();
        let id = first.start_workflow("w", &Tally::default()).await.unwrap();
        let host = WorkflowHost::builder_shared(unreadable(store.provider().await))
            .poll_interval(Duration::from_millis(20))
            .build();
        let mut events = host.lifecycle();
        let host = started(host, &[&one_step("w")]).await;
        let told = told_until(&mut events, &id, &Lifecycle::Suspended).await;
        assert_eq!(of(&told, &id), ["error corrupt", "Suspended"]);
        host.terminate(&id).await.unwrap();
        let told = told_until(&mut events, &id, &Lifecycle::Terminated { ending: Ending::Terminated }).await;
        assert_eq!(of(&told, &id), ["error corrupt", "terminated Terminated"]);
    }
}
