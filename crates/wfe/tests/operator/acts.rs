//! Every action, with the record that is stored with it, and what a second operator gets.

use serde_json::{Value, json};
use wfe::{
    Operator,
    definition::OnFailure,
    operator::{Code, Effect, Face, NewEvent, NewInstance, RestartWith, Verb},
    schedules::{NewSchedule, Timetable},
    status::State,
    steps::StepError,
    traits::{AuditFilter, AuditRecord, Known, PurgeFilter, Query, Requested},
};
use wfe_testkit::TestHost;

use crate::support::{APPROVED, HOUR, Order, World, builder, on_both_stores, order, until, waits};

const PACK: wfe::definition::Activity<String, u32> = wfe::definition::Activity::new("pack");

/// Fails for good: suspended as `suspends`, ended as `fails`.
fn failing(id: &str, then: OnFailure) -> wfe::definition::Definition<Order> {
    let charge = builder(id).call("charge", |_, order| match &*order.name {
        "chairs" => Err(StepError::fatal("refused").with_code("card_declined")),
        _ => Ok(()),
    });
    let charge = charge.on_failure(then);
    charge.then("ship", async |_, _| Ok(())).build().unwrap()
}

async fn host(world: &World) -> TestHost {
    let definitions = [waits(), failing("suspends", OnFailure::Suspend), failing("fails", OnFailure::Fail)];
    let (host, operator) = (world.host(&definitions.each_ref()).await, world.operator().await);
    // A host stores the outlines of its definitions beside its work.
    until(async || operator.outline("waits", None).await.is_ok()).await;
    host
}

async fn start(host: &TestHost, definition: &str) -> String {
    let id = host.start_workflow(definition, &order()).await.unwrap();
    host.idle().await.unwrap();
    id
}

/// All records, oldest first, as JSON without their time and position.
async fn records(operator: &Operator) -> Vec<Value> {
    let mut rows = operator.audit(&AuditFilter::default(), None, 500).await.unwrap().rows;
    rows.reverse();
    rows.iter().map(record).collect()
}

fn record(record: &AuditRecord) -> Value {
    let mut json = serde_json::to_value(record).unwrap();
    let fields = json.as_object_mut().unwrap();
    assert!(fields.remove("cursor").is_some() && fields.remove("time").is_some());
    json
}

fn of(action: &str, instance: &str) -> Value {
    json!({ "actor": "ann", "face": "program", "action": action, "instance": instance })
}

fn with(mut record: Value, detail: Value) -> Value {
    record["detail"] = detail;
    record
}

on_both_stores! {
    async fn suspends_and_resumes(world: World) {
        let (host, operator) = (host(&world).await, world.operator().await);
        let id = start(&host, "waits").await;
        let because = operator.because("the bank is closed");
        assert_eq!(because.act(&Verb::Suspend, &id).await.unwrap(), Effect::Accepted);
        host.idle().await.unwrap();
        // What holds already is not recorded.
        assert_eq!(because.act(&Verb::Suspend, &id).await.unwrap(), Effect::Redundant);
        world.clock.advance(HOUR);
        let why = operator.why(&id).await.unwrap();
        assert_eq!(why.headline, format!("{id} · waits v1 was suspended by ann 1 h ago: the bank is closed."));
        assert_eq!(operator.act(&Verb::Resume, &id).await.unwrap(), Effect::Accepted);
        host.idle().await.unwrap();
        assert_eq!(operator.status(&id).await.unwrap().state, State::Running);
        let refused = operator.act(&Verb::Resume, &id).await.unwrap_err();
        assert_eq!(refused.code(), "no-effect");
        let mut suspended = of("suspend", &id);
        suspended["reason"] = json!("the bank is closed");
        assert_eq!(records(&operator).await, [suspended, of("resume", &id)]);
    }

    async fn mends_a_suspended_instance(world: World) {
        let (host, operator) = (host(&world).await, world.operator().await);
        let (skipped, jumps) = (start(&host, "suspends").await, start(&host, "suspends").await);
        let healthy = start(&host, "waits").await;
        assert_eq!(operator.act(&Verb::Skip, &skipped).await.unwrap(), Effect::Accepted);
        let from = Verb::ResumeFrom("ship".to_owned());
        assert_eq!(operator.act(&from, &jumps).await.unwrap(), Effect::Accepted);
        host.idle().await.unwrap();
        for id in [&skipped, &jumps] {
            assert_eq!(operator.status(id).await.unwrap().state, State::Completed);
        }
        assert_eq!(operator.act(&Verb::Suspend, &healthy).await.unwrap(), Effect::Accepted);
        host.idle().await.unwrap();
        let nothing = operator.act(&Verb::Skip, &healthy).await.unwrap_err();
        assert!(nothing.to_string().contains("none of its steps has failed"), "{nothing}");
        let expected = [of("skip", &skipped), with(of("resume_from", &jumps), json!({ "step": "ship" }))];
        assert_eq!(records(&operator).await[..2], expected);
    }

    async fn ends_an_instance(world: World) {
        let (host, operator) = (host(&world).await, world.operator().await);
        let (cancelled, terminated) = (start(&host, "waits").await, start(&host, "waits").await);
        assert_eq!(operator.act(&Verb::Cancel, &cancelled).await.unwrap(), Effect::Accepted);
        assert_eq!(operator.act(&Verb::Terminate, &terminated).await.unwrap(), Effect::Accepted);
        host.idle().await.unwrap();
        assert_eq!(operator.status(&cancelled).await.unwrap().state, State::Cancelled);
        assert_eq!(operator.status(&terminated).await.unwrap().state, State::Terminated);
        let deleted = operator.act(&Verb::Delete, &cancelled).await.unwrap();
        assert!(matches!(deleted, Effect::Deleted(report) if report.instances == 1), "{deleted:?}");
        assert_eq!(operator.status(&cancelled).await.unwrap_err().code(), "workflow-not-found");
        let open = start(&host, "waits").await;
        assert_eq!(operator.act(&Verb::Delete, &open).await.unwrap_err().code(), "invalid");
        let expected = [of("cancel", &cancelled), of("terminate", &terminated), of("delete", &cancelled)];
        assert_eq!(records(&operator).await, expected);
    }

    async fn runs_an_ended_instance_again(world: World) {
        let (host, operator) = (host(&world).await, world.operator().await);
        let (retried, restarted) = (start(&host, "fails").await, start(&host, "fails").await);
        assert_eq!(operator.act(&Verb::Acknowledge(true), &retried).await.unwrap(), Effect::Recorded);
        assert_eq!(operator.act(&Verb::Acknowledge(true), &retried).await.unwrap(), Effect::Redundant);
        let open = Query { acknowledged: Some(false), ..Query::default() };
        let ids: Vec<_> = operator.list(&open, None, 9).await.unwrap().rows.into_iter().map(|row| row.id).collect();
        assert_eq!(ids, std::slice::from_ref(&restarted));
        assert_eq!(operator.act(&Verb::Retry, &retried).await.unwrap(), Effect::Retried);
        host.idle().await.unwrap();
        assert_eq!(operator.status(&retried).await.unwrap().state, State::Failed);
        let data = json!({ "name": "tables", "secret": "", "lines": [] });
        let with_data = RestartWith { data: Some(data), ..RestartWith::default() };
        let effect = operator.act(&Verb::Restart(with_data.clone()), &restarted).await.unwrap();
        let Effect::Restarted { id } = effect else { panic!("{effect:?}") };
        host.idle().await.unwrap();
        let status = operator.status(&id).await.unwrap();
        assert_eq!((status.state, status.restart_of.as_deref()), (State::Completed, Some(&*restarted)));
        let why = operator.why(&restarted).await.unwrap();
        assert_eq!((why.code, why.hints[0].command.clone()), (Code::Ended, Some(format!("wfe show {id}"))));
        let twice = operator.act(&Verb::Restart(with_data), &restarted).await.unwrap_err();
        assert_eq!(twice.code(), "cannot-retry");
        assert_eq!(operator.act(&Verb::Retry, &id).await.unwrap_err().code(), "cannot-retry");
        let expected = [
            of("acknowledge", &retried),
            of("retry", &retried),
            with(of("restart", &restarted), json!({ "data": "given" })),
        ];
        assert_eq!(records(&operator).await, expected);
    }

    async fn publishes_and_starts(world: World) {
        let (host, operator) = (host(&world).await, world.operator().await);
        let cli = operator.clone().acting_as("bo@host1", Face::Cli);
        let refused = cli.start(NewInstance::new("unknown", Value::Null)).await.unwrap_err();
        assert_eq!(refused.code(), "outline-not-found");
        let data = serde_json::to_value(order()).unwrap();
        let new = NewInstance::new("waits", data).reference("order-17").attribute("customer", 17);
        let started = cli.start(new.clone()).await.unwrap();
        assert!(started.is_new);
        let again = cli.start(new.clone()).await.unwrap();
        assert_eq!((again.is_new, &again.id), (false, &started.id));
        assert_eq!(cli.start(new.if_known(Known::Refuse)).await.unwrap_err().code(), "already-started");
        host.idle().await.unwrap();
        assert_eq!((started.version, operator.resolve("waits/order-17").await.unwrap()), (1, started.id.clone()));
        assert_eq!(operator.summary(&started.id).await.unwrap().attributes["customer"], 17);
        let event = NewEvent::new(APPROVED.name(), "chairs").data(json!("Ann")).id("e1");
        let published = cli.publish(event.clone()).await.unwrap();
        assert_eq!((published.is_new, published.waits), (true, 1));
        assert!(!cli.publish(event).await.unwrap().is_new);
        host.idle().await.unwrap();
        assert_eq!(operator.status(&started.id).await.unwrap().state, State::Completed);
        let by = |action: &str| json!({ "actor": "bo@host1", "face": "cli", "action": action });
        let mut start = with(by("start"), json!({ "definition": "waits", "version": 1, "reference": "order-17" }));
        start["instance"] = json!(started.id);
        let publish = with(by("publish"), json!({ "name": "approved", "key": "chairs", "id": "e1" }));
        assert_eq!(records(&operator).await, [start, publish]);
        assert_eq!(cli.publish(NewEvent::new("wfe.x", "k")).await.unwrap_err().code(), "invalid");
    }

    async fn data_that_do_not_fit_suspend_the_new_instance(world: World) {
        let (host, operator) = (host(&world).await, world.operator().await);
        let started = operator.start(NewInstance::new("waits", json!("no order"))).await.unwrap();
        host.idle().await.unwrap();
        let why = operator.why(&started.id).await.unwrap();
        assert_eq!((why.code, why.is_stuck), (Code::SuspendedFailure, true));
        assert_eq!(operator.status(&started.id).await.unwrap().cause.unwrap().code, StepError::DEFINITION);
        operator.act(&Verb::Terminate, &started.id).await.unwrap();
        host.idle().await.unwrap();
        let with = RestartWith { data: Some(serde_json::to_value(order()).unwrap()), ..RestartWith::default() };
        let Effect::Restarted { id } = operator.act(&Verb::Restart(with), &started.id).await.unwrap() else { panic!() };
        host.idle().await.unwrap();
        assert_eq!(operator.why(&id).await.unwrap().code, Code::Event);
    }

    async fn answers_and_releases(world: World) {
        let asks = builder("asks")
            .user_task("decide", |_: &Order| "Buy?")
            .assignee(|_: &Order| "Mr Bell")
            .plain_option("yes")
            .output(|answer, order| order.name = format!("{} by {:?}", answer.option, answer.user))
            .build()
            .unwrap();
        let packs = builder("packs").activity("pack", PACK, |order: &Order| order.name.clone()).build().unwrap();
        let (host, operator) = (world.host(&[&asks, &packs]).await, world.operator().await);
        let (asked, packed) = (start(&host, "asks").await, start(&host, "packs").await);
        world.clock.advance(HOUR);
        let tasks = operator.tasks(Some("Mr Bell"), None, 10).await.unwrap().rows;
        assert_eq!(tasks.len(), 1);
        assert!(operator.tasks(Some("Ms Weber"), None, 10).await.unwrap().rows.is_empty());
        let task = &tasks[0];
        assert_eq!((&*task.instance, &*task.task.prompt, &*task.definition), (&*asked, "Buy?", "asks"));
        assert_eq!(task.since, Some(world_time(&world) - HOUR));
        assert_eq!(operator.task(&task.id).await.unwrap(), *task);
        let wrong = operator.answer_task(&task.id, "no", None).await.unwrap_err();
        assert!(wrong.to_string().contains("the task has no option \"no\"; choose one of [\"yes\"]"), "{wrong}");
        assert!(operator.answer_task(&task.id, "yes", None).await.unwrap());
        host.idle().await.unwrap();
        assert_eq!(host.data::<Order>(&asked).await.unwrap().name, "yes by Some(\"ann\")");
        assert_eq!(operator.answer_task(&task.id, "yes", None).await.unwrap_err().code(), "subscription-not-found");

        let open = operator.activities(None, None, 10).await.unwrap().rows;
        assert_eq!((open.len(), &open[0].input, open[0].held.is_some()), (1, &json!("chairs"), false));
        assert!(!operator.release(&open[0].id).await.unwrap());
        host.host().activities().claim(PACK, "worker 1", HOUR).await.unwrap().unwrap();
        let open = operator.activities(Some("pack"), None, 10).await.unwrap().rows;
        assert_eq!(open[0].held.as_ref().unwrap().worker.as_deref(), Some("worker 1"));
        assert!(operator.release(&open[0].id).await.unwrap());
        host.host().activities().claim(PACK, "worker 2", HOUR).await.unwrap().unwrap();
        let expected = [
            with(of("answer", &asked), json!({ "task": task.id, "option": "yes" })),
            with(of("release", &packed), json!({ "task": open[0].id, "worker": "worker 1" })),
        ];
        assert_eq!(records(&operator).await, expected);
        assert_eq!(operator.release("x").await.unwrap_err().code(), "subscription-not-found");
    }

    async fn purges_and_notes_it(world: World) {
        let (host, operator) = (host(&world).await, world.operator().await);
        for _ in 0..3 {
            start(&host, "fails").await;
        }
        world.clock.advance(HOUR);
        let filter = PurgeFilter::before(world_time(&world));
        let report = operator.purge(&filter, &()).await.unwrap();
        assert_eq!((report.instances, report.more), (3, false));
        let found = records(&operator).await;
        let phases: Vec<_> = found.iter().map(|record| (&record["action"], &record["detail"]["phase"])).collect();
        assert_eq!(phases, [(&json!("purge"), &json!("begin")), (&json!("purge"), &json!("end"))]);
        assert_eq!(found[1]["detail"]["report"]["instances"], 3);
    }

    async fn schedules(world: World) {
        let (host, operator) = (host(&world).await, world.operator().await);
        let nightly = || NewSchedule::new("nightly", "waits", Timetable::cron("0 3 * * *")).version(1);
        let data = serde_json::to_value(order()).unwrap();
        operator.create_schedule(nightly(), data.clone()).await.unwrap();
        assert_eq!(operator.create_schedule(nightly(), data.clone()).await.unwrap_err().code(), "already-exists");
        let unknown = NewSchedule::new("other", "unknown", Timetable::cron("0 3 * * *"));
        assert_eq!(operator.create_schedule(unknown, data.clone()).await.unwrap_err().code(), "outline-not-found");
        let never = NewSchedule::new("other", "waits", Timetable::cron("no cron"));
        assert_eq!(operator.create_schedule(never, data.clone()).await.unwrap_err().code(), "invalid");
        host.idle().await.unwrap();
        let view = operator.schedule("nightly").await.unwrap();
        assert_eq!(view.ticks.len(), 5);
        assert_eq!((view.status.next, view.ticks[1] - view.ticks[0]), (Some(view.ticks[0]), chrono::TimeDelta::days(1)));
        let json = serde_json::to_value(&view).unwrap();
        assert_eq!((&json["id"], &json["cron"], json["ticks"].as_array().unwrap().len()), (&json!("nightly"), &json!("0 3 * * *"), 5));
        assert_eq!(operator.schedules(None, 10).await.unwrap().rows, [view]);
        assert_eq!(operator.pause_schedule("nightly").await.unwrap(), Requested::Accepted);
        host.idle().await.unwrap();
        assert!(operator.schedule("nightly").await.unwrap().status.is_paused);
        assert_eq!(operator.pause_schedule("nightly").await.unwrap(), Requested::Redundant);
        assert_eq!(operator.resume_schedule("nightly").await.unwrap(), Requested::Accepted);
        host.idle().await.unwrap();
        assert_eq!(operator.resume_schedule("nightly").await.unwrap(), Requested::Redundant);
        let triggered = operator.trigger_schedule("nightly").await.unwrap();
        assert!(triggered.is_new);
        host.idle().await.unwrap();
        assert_eq!(operator.why(&triggered.id).await.unwrap().code, Code::Event);
        operator.delete_schedule("nightly").await.unwrap();
        host.idle().await.unwrap();
        assert_eq!(operator.delete_schedule("nightly").await.unwrap_err().code(), "schedule-not-found");
        let actions: Vec<_> = records(&operator).await.iter().map(|record| record["action"].clone()).collect();
        let expected =
            ["create_schedule", "pause_schedule", "resume_schedule", "trigger_schedule", "delete_schedule"];
        assert_eq!(actions, expected.map(Value::from));
        // The id of a deleted schedule is free.
        operator.create_schedule(nightly().paused(true), data).await.unwrap();
        assert!(operator.schedule("nightly").await.unwrap().status.is_paused);
    }

    async fn two_operators_get_true_answers(world: World) {
        let (host, one, two) = (host(&world).await, world.operator().await, world.operator().await);
        let two = two.acting_as("bo", Face::Cli);
        let id = start(&host, "fails").await;
        let verb = Verb::Restart(RestartWith::default());
        let (first, second) = tokio::join!(one.act(&verb, &id), two.act(&verb, &id));
        assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
        let refused = first.err().or(second.err()).unwrap();
        assert_eq!(refused.code(), "cannot-retry");
        let id = start(&host, "waits").await;
        let (first, second) = tokio::join!(one.act(&Verb::Suspend, &id), two.act(&Verb::Suspend, &id));
        let mut effects = [first.unwrap(), second.unwrap()];
        effects.sort_by_key(|effect| *effect == Effect::Redundant);
        assert_eq!(effects, [Effect::Accepted, Effect::Redundant]);
        assert_eq!(records(&one).await.len(), 2);
    }
}

fn world_time(world: &World) -> chrono::DateTime<chrono::Utc> {
    use wfe::clock::Clock as _;
    world.clock.now()
}
