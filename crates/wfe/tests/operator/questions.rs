//! Where instances are found, what has happened to them, and what is known about events and definitions.

use serde_json::json;
use wfe::{
    WfeError,
    definition::{OnFailure, Retry},
    models::PointerStatus,
    operator::{Code, NewEvent},
    steps::StepError,
    traits::{EventFilter, InstanceState, Order as Listing, Query, WaitFilter},
};

use crate::support::{APPROVED, HOUR, Order, World, builder, on_both_stores, order, until, waits};

on_both_stores! {
    async fn an_instance_is_found_by_what_its_operator_has_at_hand(world: World) {
        let (host, operator) = (world.host(&[&waits()]).await, world.operator().await);
        let workflow = host.workflow(wfe::definition::WorkflowName::<Order>::new("waits"));
        let first = workflow.start(&order()).reference("a/b").name("the first").await.unwrap().into_id();
        let second = workflow.start(&order()).await.unwrap().into_id();
        for text in [&*first, "the first", "waits/a/b"] {
            assert_eq!(operator.resolve(text).await.unwrap(), first, "{text}");
        }
        assert_eq!(operator.resolve(&second[..second.len() - 1]).await.unwrap(), second);
        let common: String =
            first.chars().zip(second.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a).collect();
        let ambiguous = operator.resolve(&common).await.unwrap_err();
        let WfeError::Ambiguous { candidates, .. } = &ambiguous else { panic!("{ambiguous}") };
        assert_eq!(*candidates, [second.clone(), first.clone()]);
        assert!(ambiguous.to_string().contains("fits several instances"), "{ambiguous}");
        for text in ["", "nothing", "waits/c", "/", "waits/", &"x".repeat(1 << 20)] {
            assert_eq!(operator.resolve(text).await.unwrap_err().code(), "workflow-not-found");
        }
    }

    async fn what_has_happened_to_an_instance(world: World) {
        let tries = builder("tries")
            .call("charge", |ctx, _| match ctx.attempt() {
                1 => Err(StepError::retryable("busy").with_code("bank")),
                _ => Ok(2250),
            })
            .retry(Retry::every(HOUR).attempts(3))
            .wait_for("approval", APPROVED, |_: &Order| "k")
            .build()
            .unwrap();
        let (host, operator) = (world.host(&[&tries]).await, world.operator().await);
        let id = host.start_workflow("tries", &order()).await.unwrap();
        host.idle().await.unwrap();
        host.advance(HOUR).await.unwrap();
        host.publish(APPROVED, "k", "Ann".to_owned()).await.unwrap();
        host.idle().await.unwrap();
        let rows = operator.history(&id, None, 99).await.unwrap().rows;
        assert_eq!((rows.len(), rows[0].attempts, rows[0].step.as_deref()), (2, 2, Some("charge")));
        let event = json!(rows[1].event);
        assert_eq!(event, json!({ "name": "approved", "key": "k", "data": "Ann" }));
        let json = json!(rows[0]);
        assert_eq!((&json["status"], json.get("number")), (&json!("complete"), None));
        let errors = operator.errors(Some(&id), None, 9).await.unwrap().rows;
        let json = json!(errors[0]);
        assert_eq!((&json["instance"], &json["code"], &json["attempt"]), (&json!(id), &json!("bank"), &json!(1)));
        assert_eq!(operator.history("x", None, 9).await.unwrap_err().code(), "workflow-not-found");
    }

    async fn the_steps_of_iterations_and_of_the_main_path_are_in_order(world: World) {
        let minute = std::time::Duration::from_mins(1);
        let loops = builder("loops")
            .delay("before", move |_: &Order| minute)
            .for_each("lines", |order: &Order| order.lines.clone(), |line| {
                line.delay("pause", move |_: &Order, _: &u32| minute).then("look", async |_, _, n: u32| Ok(n))
            })
            .delay("after", move |_: &Order| minute)
            .build()
            .unwrap();
        let (host, operator) = (world.host(&[&loops]).await, world.operator().await);
        let id = host.start_workflow("loops", &order()).await.unwrap();
        host.idle().await.unwrap();
        host.advance(10 * minute).await.unwrap();
        let all = operator.history(&id, None, 99).await.unwrap().rows;
        let steps: Vec<_> = all.iter().filter_map(|row| row.step.as_deref()).collect();
        assert_eq!(steps, ["before", "pause", "look", "pause", "look", "pause", "look", "lines", "after"]);
        assert_eq!((all[2].outcome.clone(), all[2].item.clone()), (Some(json!(1)), Some(json!(1))));
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            let page = operator.history(&id, after, 2).await.unwrap();
            pages.extend(page.rows);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(pages, all);
    }

    async fn a_step_that_can_be_resumed_comes_last_in_the_history(world: World) {
        let fails = builder("fails")
            .then("price", async |_, _| Ok(()))
            .for_each("lines", |order: &Order| order.lines.clone(), |line| {
                line.then("look", async |_, _, n: u32| Ok(n))
            })
            .then("charge", async |_, _| Err::<(), _>(StepError::fatal("refused")))
            .on_failure(OnFailure::Suspend)
            .build()
            .unwrap();
        let (host, operator) = (world.host(&[&fails]).await, world.operator().await);
        let id = host.start_workflow("fails", &order()).await.unwrap();
        host.idle().await.unwrap();
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = operator.history(&id, after, 2).await.unwrap();
            found.extend(page.rows);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found.iter().filter(|row| row.step.as_deref() == Some("charge")).count(), 1);
        let last = found.last().unwrap();
        assert_eq!((last.step.as_deref(), last.status, last.end), (Some("charge"), PointerStatus::Failed, None));
        assert_eq!(operator.history(&id, None, 99).await.unwrap().rows.last(), Some(last));
    }

    async fn the_end_of_an_instance_is_awaited(world: World) {
        let (host, operator) = (world.host(&[&waits()]).await, world.operator().await);
        let id = host.start_workflow("waits", &order()).await.unwrap();
        let waiting = tokio::spawn({
            let (operator, id) = (operator.clone(), id.clone());
            async move { operator.outcome(&id, None).await }
        });
        host.idle().await.unwrap();
        host.publish(APPROVED, "chairs", "Ann".to_owned()).await.unwrap();
        host.idle().await.unwrap();
        let status = waiting.await.unwrap().unwrap().unwrap();
        assert!(status.state.is_final());
        assert_eq!(operator.outcome("x", None).await.unwrap_err().code(), "workflow-not-found");
        // The time limit is one of the operator's clock.
        let open = host.start_workflow("waits", &order()).await.unwrap();
        host.idle().await.unwrap();
        let waiting = tokio::spawn({
            let operator = operator.clone();
            async move { operator.outcome(&open, Some(HOUR)).await }
        });
        until(async || {
            world.clock.advance(HOUR);
            waiting.is_finished()
        })
        .await;
        assert_eq!(waiting.await.unwrap().unwrap(), None);
    }

    async fn a_wrong_key_is_pointed_out(world: World) {
        let (host, operator) = (world.host(&[&waits()]).await, world.operator().await);
        host.publish(APPROVED, "chairs", "too early".to_owned()).await.unwrap();
        host.idle().await.unwrap();
        let id = host.start_workflow("waits", &order()).await.unwrap();
        host.idle().await.unwrap();
        host.publish(APPROVED, "chars", "wrong".to_owned()).await.unwrap();
        host.idle().await.unwrap();
        world.clock.advance(HOUR);
        let why = operator.why(&id).await.unwrap();
        let notes: Vec<_> = why.hints.iter().filter(|hint| hint.command.is_none()).map(|hint| &*hint.text).collect();
        assert_eq!(notes, [
            "an event approved/chars is stored that nobody waits for: a wrong key?",
            "an event approved/chairs is stored that came too early, 1 h ago: publish it again with another id",
        ]);
        let view = operator.waiting_for("approved", "chairs", 9).await.unwrap();
        assert_eq!((view.waits.len(), view.stored.len()), (1, 1));
        assert_eq!((&*view.waits[0].subscription.workflow_id, view.stored[0].is_consumed), (&*id, false));
        let json = json!(view);
        assert_eq!((&json["name"], &json["key"]), (&json!("approved"), &json!("chairs")));
    }

    async fn pages_and_counts(world: World) {
        let suspends = builder("suspends")
            .call("charge", |_, _| Err::<(), _>(StepError::fatal("refused").with_code("card")))
            .on_failure(OnFailure::Suspend)
            .build()
            .unwrap();
        let (host, operator) = (world.host(&[&waits(), &suspends]).await, world.operator().await);
        for _ in 0..5 {
            host.start_workflow("waits", &order()).await.unwrap();
            host.start_workflow("suspends", &order()).await.unwrap();
        }
        host.idle().await.unwrap();
        let query = Query { definition: Some("waits".to_owned()), ..Query::default() };
        let (mut ids, mut after) = (Vec::new(), None);
        loop {
            let window = operator.list(&query, after, 2).await.unwrap();
            ids.extend(window.rows.into_iter().map(|row| row.id));
            after = window.next;
            if after.is_none() {
                break;
            }
        }
        let all = operator.list(&query, None, 500).await.unwrap();
        assert_eq!(ids, all.rows.iter().map(|row| row.id.clone()).collect::<Vec<_>>());
        assert_eq!((ids.len(), operator.count(&query, 99).await.unwrap().n), (5, 5));
        let groups = operator.failure_groups(&Query::default()).await.unwrap().rows;
        assert_eq!((groups.len(), groups[0].count, &*groups[0].step, &*groups[0].code), (1, 5, "charge", "card"));
        let counts = operator.open_counts().await.unwrap();
        let suspended = counts.iter().find(|count| count.state == InstanceState::Suspended).unwrap();
        assert_eq!((&*suspended.definition, suspended.count), ("suspends", 5));
        let approval = WaitFilter::Event { name: "approved".to_owned(), key: None };
        assert_eq!(operator.waits(Some(&approval), None, 99).await.unwrap().rows.len(), 5);
        let steps = operator.step_counts("waits", 1).await.unwrap().rows;
        assert_eq!((&*steps[0].step, steps[0].active), ("approval", 5));
        let definitions = operator.definitions().await.unwrap();
        let view = definitions.iter().find(|view| view.id == "waits").unwrap();
        assert_eq!((view.version, view.open[0].count, view.hosts.len()), (1, 5, 1));
        assert_eq!(operator.hosts().await.unwrap().len(), 1);
        operator.task_counts().await.unwrap();
    }

    async fn what_makes_no_sense_is_refused(world: World) {
        let operator = world.operator().await;
        let invalid = async |query: Query| operator.list(&query, None, 9).await.unwrap_err().code();
        assert_eq!(invalid(Query { text: Some("x".repeat(1 << 20)), ..Query::default() }).await, "invalid");
        assert_eq!(invalid(Query { version: Some(1), ..Query::default() }).await, "invalid");
        let waiting = vec![InstanceState::Waiting];
        assert_eq!(invalid(Query { states: waiting, order: Listing::LastEnded, ..Query::default() }).await, "invalid");
        let key = EventFilter { key: Some("k".to_owned()), ..EventFilter::default() };
        assert_eq!(operator.events(&key, None, 9).await.unwrap_err().code(), "invalid");
        assert!(operator.list(&Query::default(), None, usize::MAX).await.unwrap().rows.is_empty());
        assert_eq!(operator.outline("unknown", None).await.unwrap_err().code(), "outline-not-found");
        assert_eq!(operator.show("x\0\n").await.unwrap_err().code(), "workflow-not-found");
        assert_eq!(operator.schedule("x").await.unwrap_err().code(), "schedule-not-found");
        assert_eq!(operator.task("x").await.unwrap_err().code(), "subscription-not-found");
    }

    async fn hostile_names_and_large_payloads_are_harmless(world: World) {
        let hostile = "a\x1b]0;owned\x07\r\n\u{202e}'\"$(rm -rf /)`x`";
        let key = hostile.to_owned();
        let definition = builder("waits")
            .wait_for("approval", wfe::definition::Event::<serde_json::Value>::new("approved"), move |_: &Order| key.clone())
            .build()
            .unwrap();
        let (host, operator) = (world.host(&[&definition]).await, world.operator().await);
        let workflow = host.workflow(wfe::definition::WorkflowName::<Order>::new("waits"));
        let large = Order { name: "x".repeat(10 << 20), ..order() };
        let id = workflow.start(&large).reference(hostile).await.unwrap().into_id();
        host.idle().await.unwrap();
        assert_eq!(operator.resolve(&format!("waits/{hostile}")).await.unwrap(), id);
        let why = operator.why(&id).await.unwrap();
        assert_eq!(why.code, Code::Event);
        let texts = why.hints.iter().map(|hint| hint.text.clone()).chain([why.headline.clone()]).chain(why.at.clone());
        for text in texts.chain(why.hints.iter().filter_map(|hint| hint.command.clone())) {
            assert!(!text.chars().any(|letter| letter.is_control() || letter == '\u{202e}'), "{text:?}");
        }
        let command = why.hints[0].command.clone().unwrap();
        assert!(command.starts_with(r"wfe publish approved $'a\033]0;owned\007\015\012\342\200\256\'"), "{command}");
        assert_eq!(operator.data(&id).await.unwrap()["name"].as_str().unwrap().len(), 10 << 20);
        assert_eq!(operator.list(&Query::default(), None, 9).await.unwrap().rows.len(), 1);
    }
}

on_both_stores! {
    async fn a_large_event_is_published(world: World) {
        let operator = world.operator().await;
        let large = json!("x".repeat(10 << 20));
        operator.publish(NewEvent::new("large", "k").data(large)).await.unwrap();
        let stored = operator.waiting_for("large", "k", 9).await.unwrap().stored;
        assert_eq!(stored[0].event.event_data.as_str().unwrap().len(), 10 << 20);
        let long = "k".repeat(10 << 20);
        match operator.publish(NewEvent::new("large", long)).await {
            Ok(published) => assert!(published.is_new),
            Err(error) => assert!(["unstorable", "invalid"].contains(&error.code()), "{error:.200}"),
        }
    }
}
