//! Each reason is produced for real, and explained in a sentence.

use std::sync::Arc;

use tokio::sync::Notify;
use wfe::{
    Operator, WorkflowHost,
    definition::{Activity, Definition, Every, OnFailure, Retry, WorkflowBuilder, WorkflowName},
    operator::{By, Code, Explanation},
    steps::StepError,
    traits::{Isolation, StepStore},
};
use wfe_testkit::TestHost;

use crate::support::{APPROVED, HOUR, Order, World, builder, on_both_stores, order, until, waits};

const PACK: Activity<String, u32> = Activity::new("pack");
const PART: WorkflowName<Order> = WorkflowName::new("waits");

/// Starts an instance with the reference `order-17`, and lets the host run it as far as it goes.
async fn started(host: &TestHost, definition: &str) -> String {
    let workflow = host.workflow(WorkflowName::<Order>::named(definition.to_owned()));
    let id = workflow.start(&order()).reference("order-17").await.unwrap().into_id();
    host.idle().await.unwrap();
    id
}

fn hints(explanation: &Explanation) -> Vec<String> {
    explanation.hints.iter().map(|hint| hint.command.clone().unwrap_or_else(|| hint.text.clone())).collect()
}

#[track_caller]
fn expect(explanation: &Explanation, code: Code, by: By, is_stuck: bool, headline: &str) {
    assert_eq!(explanation.headline, headline);
    assert_eq!((explanation.code, explanation.by, explanation.is_stuck), (code, by, is_stuck));
    let json = serde_json::to_value(explanation).unwrap();
    assert_eq!((&json["code"], &json["by"]), (&code.name().into(), &by.name().into()));
}

async fn why(operator: &Operator, id: &str) -> Explanation {
    operator.why(id).await.unwrap()
}

/// A step that waits until it is released.
fn works(go: &Arc<Notify>) -> Definition<Order> {
    let go = go.clone();
    let work = async move |_, _| {
        go.notified().await;
        Ok(())
    };
    builder("works").then("work", work).build().unwrap()
}

on_both_stores! {
    async fn an_event(world: World) {
        let (host, operator) = (world.host(&[&waits()]).await, world.operator().await);
        let id = started(&host, "waits").await;
        world.clock.advance(52 * HOUR);
        let found = why(&operator, &id).await;
        let headline = "order-17 · waits v1 waits for the event approved/chairs, since 2 d 4 h, for ever.";
        expect(&found, Code::Event, By::Event, false, headline);
        assert_eq!((found.at.clone(), found.step.as_deref()), (vec!["approval".to_owned()], Some("approval")));
        assert_eq!(hints(&found)[0], "wfe publish approved chairs DATA");
        assert_eq!((found.until, &*found.instance), (None, &*id));
        host.publish(APPROVED, "chairs", "Ann".to_owned()).await.unwrap();
        host.idle().await.unwrap();
        world.clock.advance(HOUR);
        let found = why(&operator, &id).await;
        expect(&found, Code::Ended, By::Nobody, false, "order-17 · waits v1 completed 1 h ago.");
    }

    async fn a_timer_and_a_limit(world: World) {
        let sleeps = builder("sleeps").delay("night", |_: &Order| 8 * HOUR).build().unwrap();
        let limited = builder("limited")
            .wait_for("approval", APPROVED, |_: &Order| "k")
            .fail_after(|_: &Order| 3 * HOUR)
            .build()
            .unwrap();
        let (host, operator) = (world.host(&[&sleeps, &limited]).await, world.operator().await);
        let (sleeping, waiting) = (started(&host, "sleeps").await, started(&host, "limited").await);
        world.clock.advance(HOUR);
        let found = why(&operator, &sleeping).await;
        expect(&found, Code::Timer, By::Time, false, "order-17 · sleeps v1 sleeps at night, since 1 h, for another 7 h.");
        let found = why(&operator, &waiting).await;
        let headline = "order-17 · limited v1 waits for the event approved/k, since 1 h, for another 2 h.";
        expect(&found, Code::Event, By::Event, false, headline);
    }

    async fn a_tick(world: World) {
        let recurs = builder("recurs")
            .recur("tick", Every::interval(HOUR), |_: &Order| false, |tick| tick.then("t", async |_, _| Ok(())))
            .build()
            .unwrap();
        let (host, operator) = (world.host(&[&recurs]).await, world.operator().await);
        let id = started(&host, "recurs").await;
        let found = why(&operator, &id).await;
        expect(&found, Code::Tick, By::Time, false, "order-17 · recurs v1 waits for the next tick of tick, for another 1 h.");
    }

    async fn a_retry(world: World) {
        let charge = async |_, _| Err::<(), _>(StepError::retryable("the bank is\nclosed").with_code("bank"));
        let retries =
            builder("retries").then("charge", charge).retry(Retry::every(HOUR).attempts(3)).build().unwrap();
        let (host, operator) = (world.host(&[&retries]).await, world.operator().await);
        let id = started(&host, "retries").await;
        let found = why(&operator, &id).await;
        assert!(found.headline.starts_with("order-17 · retries v1 waits for attempt 2"), "{found}");
        assert!(found.headline.ends_with(" of charge, for another 1 h; the last one failed (bank): the bank is."), "{found}");
        assert_eq!((found.code, found.by, found.is_stuck), (Code::Retry, By::Time, false));
    }

    async fn a_body_that_runs_and_one_that_waits_for_a_slot(world: World) {
        let go = Arc::new(Notify::new());
        let host = TestHost::builder_shared(world.store().await, world.clock.clone())
            .define(works(&go))
            .configure(|builder| builder.concurrent_steps(1))
            .start()
            .await
            .unwrap();
        let operator = world.operator().await;
        let first = host.start_workflow("works", &order()).await.unwrap();
        until(async || why(&operator, &first).await.headline.contains(" runs work on host ")).await;
        let second = host.start_workflow("works", &order()).await.unwrap();
        until(async || why(&operator, &second).await.code == Code::Place).await;
        let found = why(&operator, &second).await;
        assert!(found.headline.contains("waits for a free slot to run work: host"), "{found}");
        assert!(found.headline.contains("runs 1 bodies, as many as it may"), "{found}");
        assert_eq!((found.by, found.is_stuck), (By::Host, false));
        assert_eq!(why(&operator, &first).await.code, Code::Running);
        go.notify_one();
        go.notify_one();
        host.idle().await.unwrap();
    }

    async fn nobody_to_take_it(world: World) {
        let (definition, operator) = (waits(), world.operator().await);
        let idle = world.idle_host(&[&definition.clone().into()]).await;
        let id = idle.start_workflow("waits", &order()).await.unwrap();
        world.clock.advance(std::time::Duration::from_secs(30));
        let found = why(&operator, &id).await;
        let title = format!("{id} · waits v1");
        let headline = format!("{title} is due at step approval, and no host is alive, since 30 s.");
        expect(&found, Code::DueNoHost, By::Host, false, &headline);
        world.clock.advance(HOUR);
        let found = why(&operator, &id).await;
        assert_eq!((found.code, found.is_stuck), (Code::DueNoHost, true));
        assert_eq!(hints(&found), ["wfe definitions waits"]);

        // An owner that says nothing about itself may have the definition.
        let steps = world.store().await.step_store().unwrap();
        let owner = steps.register().await.unwrap();
        let found = why(&operator, &id).await;
        expect(&found, Code::Due, By::Host, true, &format!("{title} is due at step approval, since 1 h."));
        drop(owner);

        let other = world.host(&[&builder("other").then("s", async |_, _| Ok(())).build().unwrap()]).await;
        let found = why(&operator, &id).await;
        let headline = format!("{title} waits for a host that has waits v1; none does, since 1 h.");
        expect(&found, Code::NoDefinition, By::Host, true, &headline);
        assert!(hints(&found)[1].contains("does not have waits"), "{found:?}");
        other.stop().await.unwrap();

        let next = world.host(&[&definition]).await;
        next.idle().await.unwrap();
        assert_eq!(why(&operator, &id).await.code, Code::Event);
    }

    async fn an_event_that_a_host_has_to_take_up(world: World) {
        let (host, operator) = (world.host(&[&waits()]).await, world.operator().await);
        let id = started(&host, "waits").await;
        host.stop().await.unwrap();
        host.publish(APPROVED, "chairs", "Ann".to_owned()).await.unwrap();
        world.clock.advance(2 * HOUR);
        let found = why(&operator, &id).await;
        let headline = "order-17 · waits v1 has got the event approved/chairs, and a host has to take it up, since 2 h, \
                        and no host is alive.";
        expect(&found, Code::EventWaitingForHost, By::Host, true, headline);
    }

    async fn an_activity(world: World) {
        let packs = builder("packs").activity("pack", PACK, |order: &Order| order.name.clone()).build().unwrap();
        let (host, operator) = (world.host(&[&packs]).await, world.operator().await);
        let id = started(&host, "packs").await;
        world.clock.advance(std::time::Duration::from_mins(1));
        let found = why(&operator, &id).await;
        let headline = "order-17 · packs v1 waits for a worker that does pack, since 1 min, for ever.";
        expect(&found, Code::ActivityUnclaimed, By::Worker, false, headline);
        world.clock.advance(HOUR);
        assert!(why(&operator, &id).await.is_stuck);

        let claim = host.host().activities().claim(PACK, "worker 1", HOUR).await.unwrap().unwrap();
        world.clock.advance(HOUR / 2);
        let found = why(&operator, &id).await;
        let headline = "order-17 · packs v1 waits for worker worker 1, which does pack, since 1 h 31 min, whose lease lasts \
                        another 30 min.";
        expect(&found, Code::ActivityHeld, By::Worker, false, headline);
        assert!(hints(&found)[0].starts_with("wfe activities release "), "{found:?}");
        world.clock.advance(HOUR);
        let found = why(&operator, &id).await;
        let headline = "order-17 · packs v1 waits for a worker that does pack: the lease of worker worker 1 has run out 30 \
                        min ago.";
        expect(&found, Code::LeaseOver, By::Worker, true, headline);
        drop(claim);
    }

    async fn a_task(world: World) {
        let asks = builder("asks")
            .user_task("decide", |order: &Order| format!("Buy {}?", order.name))
            .assignee(|_: &Order| "Mr Bell")
            .plain_option("yes")
            .plain_option("no, never")
            .fail_after(|_: &Order| 5 * HOUR)
            .build()
            .unwrap();
        let (host, operator) = (world.host(&[&asks]).await, world.operator().await);
        let id = started(&host, "asks").await;
        world.clock.advance(HOUR);
        let found = why(&operator, &id).await;
        let headline = "order-17 · asks v1 waits for Mr Bell to answer “Buy chairs?”, since 1 h, for another 4 h.";
        expect(&found, Code::Task, By::Person, false, headline);
        assert!(hints(&found)[1].ends_with(" 'no, never'"), "{found:?}");
        host.stop().await.unwrap();
        world.clock.advance(5 * HOUR);
        let found = why(&operator, &id).await;
        let headline = "order-17 · asks v1 waits for Mr Bell to answer “Buy chairs?”, since 6 h, past its time since 1 h.";
        expect(&found, Code::Task, By::Person, true, headline);
    }

    async fn a_child_and_its_child(world: World) {
        let parent = |id: &str, child: WorkflowName<Order>| {
            builder(id).sub_workflow("sub", child, |order: &Order| order.clone()).build().unwrap()
        };
        let (middle, top) = (parent("middle", PART), parent("top", WorkflowName::new("middle")));
        let (host, operator) = (world.host(&[&waits(), &middle, &top]).await, world.operator().await);
        let id = started(&host, "top").await;
        world.clock.advance(HOUR);
        let found = why(&operator, &id).await;
        assert_eq!((found.code, found.by, found.is_stuck), (Code::Child, By::Child, false));
        let (child, grandchild) = (&found.chain[0], &found.chain[0].chain[0]);
        assert_eq!((child.code, grandchild.code), (Code::Child, Code::Event));
        let headline = format!(
            "order-17 · top v1 waits for its child {} · middle v1, which waits for its child {} · waits v1, since 1 h.",
            child.instance, grandchild.instance
        );
        assert_eq!(found.headline, headline);
        // The times of the sentence are those of what it names last.
        let headline = format!(
            "{} · middle v1 waits for its child {} · waits v1, which waits for the event approved/chairs, since 1 h, for ever.",
            child.instance, grandchild.instance
        );
        assert_eq!(child.headline, headline);
        assert!(child.since.is_some());
        assert_eq!(hints(&found), [format!("wfe why {}", child.instance)]);
        // What is stuck below is stuck above.
        host.suspend(&grandchild.instance).await.unwrap();
        host.idle().await.unwrap();
        let found = why(&operator, &id).await;
        assert!(found.is_stuck && found.chain[0].is_stuck);
        assert_eq!(found.chain[0].chain[0].code, Code::SuspendedBy);
    }

    async fn a_failure_that_suspends(world: World) {
        let charge = async |_, _| Err::<(), _>(StepError::fatal("refused: \x1b[31mno").with_code("card declined"));
        let pays = builder("pays").then("charge", charge).on_failure(OnFailure::Suspend).build().unwrap();
        let (host, operator) = (world.host(&[&pays]).await, world.operator().await);
        let id = started(&host, "pays").await;
        world.clock.advance(2 * HOUR);
        let found = why(&operator, &id).await;
        let headline = "order-17 · pays v1 was suspended 2 h ago: step charge failed for good (card declined, attempt 1): \
                        refused: \\u{1b}[31mno.";
        expect(&found, Code::SuspendedFailure, By::Operator, true, headline);
        assert_eq!(hints(&found)[0], format!("wfe resume {id}"));
        assert_eq!(hints(&found)[1], format!("wfe skip {id}"));
        host.terminate(&id).await.unwrap();
        host.idle().await.unwrap();
        assert_eq!(why(&operator, &id).await.headline, "order-17 · pays v1 was terminated less than 1 s ago.");
    }

    async fn a_request_that_suspends_and_one_that_waits(world: World) {
        let (host, operator) = (world.host(&[&waits()]).await, world.operator().await);
        let id = started(&host, "waits").await;
        host.suspend(&id).await.unwrap();
        host.idle().await.unwrap();
        let found = why(&operator, &id).await;
        expect(&found, Code::SuspendedBy, By::Operator, true, "order-17 · waits v1 was suspended by a program.");
        host.stop().await.unwrap();
        host.resume(&id).await.unwrap();
        let found = why(&operator, &id).await;
        let headline = "order-17 · waits v1 waits for a host to resume it, and no host is alive.";
        expect(&found, Code::RequestWaiting, By::Host, true, headline);
    }

    async fn an_instance_that_compensates(world: World) {
        let buys = builder("buys")
            .saga("buy", |saga| {
                saga.then("pay", async |_, _| Ok(()))
                    .compensate_with(|undo| undo.activity("refund", PACK, |order: &Order| order.name.clone()))
                    .wait_for("approval", APPROVED, |_: &Order| "k")
            })
            .build()
            .unwrap();
        let (host, operator) = (world.host(&[&buys]).await, world.operator().await);
        let id = started(&host, "buys").await;
        assert_eq!(why(&operator, &id).await.at, ["buy › approval"]);
        host.cancel(&id).await.unwrap();
        host.idle().await.unwrap();
        let found = why(&operator, &id).await;
        let headline = "order-17 · buys v1 compensates its sagas, then ends as cancelled; now it waits for a worker that does \
                        pack, since less than 1 s, for ever.";
        expect(&found, Code::Closing, By::Worker, false, headline);
        assert_eq!(found.chain[0].code, Code::ActivityUnclaimed);
        assert_eq!(hints(&found), [format!("wfe terminate {id}")]);
    }

    async fn several_branches(world: World) {
        let many = builder("many")
            .for_each("lines", |order: &Order| order.lines.clone(), |line| {
                line.wait_for("approval", APPROVED, |_: &Order, n: &u32| format!("line-{n}"))
            })
            .concurrent(3)
            .build()
            .unwrap();
        let (host, operator) = (world.host(&[&many]).await, world.operator().await);
        let id = started(&host, "many").await;
        let found = why(&operator, &id).await;
        assert_eq!((found.code, found.chain.len()), (Code::Event, 2));
        assert!(found.chain.iter().all(|other| other.instance == id && other.code == Code::Event));
        let items = [1, 2, 3].map(|item| format!("lines › approval (item {item} of 3)"));
        assert_eq!(found.at, items);
    }
}

/// A process that dies each time it runs the instance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poison() {
    let (world, definition) = (World::file(), waits());
    let idle = world.idle_host(&[&definition.clone().into()]).await;
    let id = idle.start_workflow("waits", &order()).await.unwrap();
    let steps = world.store().await.step_store().unwrap();
    for death in 0..12 {
        die_with(&world, &*steps, death >= 2).await;
    }
    let host = world.host(&[&definition]).await;
    let operator = world.operator().await;
    until(async || why(&operator, &id).await.code == Code::Poison).await;
    let found = why(&operator, &id).await;
    let headline =
        format!("{id} · waits v1 was suspended less than 1 s ago, because it seems to kill its process.");
    expect(&found, Code::Poison, By::Operator, true, &headline);
    host.stop().await.unwrap();
}

async fn die_with(world: &World, steps: &dyn StepStore, alone: bool) {
    use wfe::clock::Clock as _;
    let owner = steps.register().await.unwrap();
    let file = world.path().unwrap().with_file_name(format!("state.db-owner-{}", owner.id()));
    let claimed = steps.claim(&owner, &[("waits".to_owned(), 1)], world.clock.now(), 10).await.unwrap();
    assert_eq!(claimed.len(), 1);
    if alone {
        assert!(steps.isolate(&claimed[0].id, claimed[0].fence, Isolation::Alone).await.unwrap());
    }
    // The lock file is left, and no process holds it.
    let text = std::fs::read(&file).unwrap();
    drop(owner);
    std::fs::write(file, text).unwrap();
}

#[test]
fn each_code_has_its_word() {
    for code in Code::ALL {
        assert_eq!(serde_json::to_value(code).unwrap(), code.name());
    }
    for by in By::ALL {
        assert_eq!(serde_json::to_value(by).unwrap(), by.name());
    }
}

/// Code that only has to compile: a host gives an operator on its store.
#[tokio::test]
async fn a_host_gives_an_operator() {
    let host = WorkflowHost::new(wfe::sqlite::SqliteStore::new(":memory:").await.unwrap());
    host.register(WorkflowBuilder::<Order>::new("w", 1).then("s", async |_, _| Ok(())).build().unwrap())
        .unwrap();
    let id = host.start_workflow("w", &order()).await.unwrap();
    assert_eq!(host.operator().unwrap().why(&id).await.unwrap().code, Code::DueNoHost);
}
