use std::time::Duration;

use wfe::{
    Outcome, WfeError,
    definition::{Definition, WorkflowBuilder, WorkflowName},
    error::Kind,
    host::{Guarantees, Known},
    schedules::Timetable,
    status::State,
    steps::{Ctx, Next, Step, StepResult},
};

use crate::support::{Count, Store, Tally, completed, ended, nothing, on_every_store};

const COUNT: WorkflowName<Tally> = WorkflowName::new("count");

#[derive(Clone)]
struct Add {
    numbers: Vec<u32>,
    sum: u32,
}

impl Step for Add {
    async fn run(&mut self, _: &Ctx) -> StepResult {
        self.sum = self.numbers.iter().sum();
        Ok(Next::Done)
    }
}

fn adding() -> Definition<Tally> {
    WorkflowBuilder::<Tally>::new("add", 1)
        .step("add", Add { numbers: Vec::new(), sum: 0 })
        .input(|add, tally| add.numbers.clone_from(&tally.numbers))
        .output(|add, tally| tally.sum = add.sum)
        .then("double", async |_, tally| Ok(tally.sum * 2))
        .output(|doubled, tally| tally.sum = doubled)
        .build()
        .unwrap()
}

fn counting(id: &str, version: u32, count: &Count) -> Definition<Tally> {
    let count = count.clone();
    WorkflowBuilder::<Tally>::new(id, version)
        .call("count", move |_, _| {
            count.up();
            Ok(())
        })
        .build()
        .unwrap()
}

on_every_store! {
    async fn a_workflow_runs_to_its_end_and_whoever_waits_gets_its_data(store: Store) {
        let host = store.host(&[&adding()]).await;
        let id = host.start_workflow("add", &Tally::of([1, 2, 3])).await.unwrap();
        assert_eq!(completed(&host, &id).await.sum, 12);
        let status = host.status(&id).await.unwrap();
        assert_eq!(status.state, State::Completed);
        assert_eq!(completed(&host, &id).await.sum, 12);
        host.stop().await.unwrap();
    }

    async fn many_instances_run_at_once_each_to_its_own_end(store: Store) {
        let host = store.builder().await.concurrent_instances(5).concurrent_steps(3).build();
        let host = crate::support::started(host, &[&adding()]).await;
        let mut ids = Vec::new();
        for n in 0..40 {
            ids.push(host.start_workflow("add", &Tally::of([n])).await.unwrap());
        }
        for (n, id) in (0..).zip(&ids) {
            assert_eq!(completed(&host, id).await.sum, 2 * n);
        }
    }

    async fn a_start_with_the_same_reference_starts_nothing(store: Store) {
        let count = Count::default();
        let host = store.host(&[&counting("count", 1, &count), &counting("count", 2, &count)]).await;
        let workflow = host.workflow(COUNT);
        let first = workflow.start(&Tally::default()).reference("order-7").version(1).await.unwrap();
        completed(&host, first.id()).await;
        let again = workflow.start(&Tally::default()).reference("order-7").await.unwrap();
        assert_eq!((first.is_new, again.is_new), (true, false));
        assert_eq!(first.id(), again.id());
        assert_eq!(again.status().await.unwrap().version, 1);
        assert_eq!(count.get(), 1);
    }

    async fn an_empty_reference_is_refused_and_an_empty_name_is_the_id(store: Store) {
        let count = Count::default();
        let host = store.host(&[&counting("count", 1, &count)]).await;
        let workflow = host.workflow(COUNT);
        let start = workflow.start(&Tally::default());
        for refused in [start.reference("").await.map(drop), workflow.find("").await.map(drop)] {
            match refused {
                Err(WfeError::Invalid(told)) => {
                    assert_eq!(told, "the reference is empty; leave it out or choose one");
                }
                other => panic!("{other:?}"),
            }
        }
        let nameless = workflow.start(&Tally::default()).name("").await.unwrap();
        assert_eq!(nameless.status().await.unwrap().name, None);
        completed(&host, nameless.id()).await;
        assert_eq!(count.get(), 1);
    }

    async fn the_newest_version_is_started_and_an_unknown_one_refused(store: Store) {
        let count = Count::default();
        let host = store.host(&[&counting("count", 9, &count), &counting("count", 10, &count)]).await;
        let id = host.start_workflow("count", &Tally::default()).await.unwrap();
        assert_eq!(host.status(&id).await.unwrap().version, 10);
        let unknown = host.start_workflow("other", &Tally::default()).await;
        assert!(matches!(unknown, Err(WfeError::DefinitionNotFound { id, .. }) if id == "other"));
        let unknown = host.workflow(COUNT).start(&Tally::default()).version(3).await;
        assert!(matches!(unknown, Err(WfeError::DefinitionNotFound { version: 3, .. })));
        let other_type = host.start_workflow("count", &"text".to_owned()).await;
        assert!(matches!(other_type, Err(WfeError::Invalid(_))));
        assert!(matches!(host.register(counting("count", 9, &count)), Err(WfeError::InvalidDefinition { .. })));
    }

    async fn an_unknown_instance_is_told_from_one_that_has_not_ended(store: Store) {
        let host = store.host(&[&adding()]).await;
        assert!(matches!(host.outcome::<Tally>("none").await, Err(WfeError::WorkflowNotFound(_))));
        assert!(matches!(host.status("none").await, Err(WfeError::WorkflowNotFound(_))));
        assert!(matches!(host.suspend("none").await, Err(WfeError::WorkflowNotFound(_))));
    }

    async fn a_host_starts_once_and_refuses_work_after_its_stop(store: Store) {
        let host = store.host(&[&adding()]).await;
        assert!(matches!(host.start().await, Err(WfeError::Invalid(_))));
        host.stop().await.unwrap();
        assert!(matches!(host.start().await, Err(WfeError::Closed(_))));
        assert!(matches!(host.stop().await, Err(WfeError::Closed(_))));
        let late = host.start_workflow("add", &Tally::default()).await;
        assert!(matches!(late, Err(WfeError::Closed(_))));
    }


    async fn instances_of_an_unregistered_definition_wait_until_it_is_registered(store: Store) {
        let count = Count::default();
        let first = store.builder().await.build();
        first.register(counting("count", 1, &count)).unwrap();
        let host = store.host(&[&adding()]).await;
        let id = first.start_workflow("count", &Tally::default()).await.unwrap();
        let before = host.status(&id).await.unwrap();
        assert!(!before.is_registered);
        let other = host.start_workflow("add", &Tally::default()).await.unwrap();
        completed(&host, &other).await;
        assert_eq!(host.status(&id).await.unwrap(), before);
        assert_eq!(count.get(), 0);
        host.register(counting("count", 1, &count)).unwrap();
        assert!(matches!(ended(&host, &id).await, Outcome::Completed(_)));
    }

    async fn lifecycle_events_come_in_order_and_after_what_they_tell_is_stored(store: Store) {
        use wfe::host::Lifecycle as Is;
        let definition = WorkflowBuilder::<Tally>::new("w", 1)
            .step("a", nothing())
            .step("b", nothing())
            .build()
            .unwrap();
        let host = store.host(&[&definition]).await;
        let mut events = host.lifecycle();
        let id = host.start_workflow("w", &Tally::default()).await.unwrap();
        let mut told = Vec::new();
        loop {
            let event = events.recv().await.unwrap();
            assert_eq!(*event.instance_id, *id);
            let steps = host.status(&id).await.unwrap().current_steps;
            match event.what {
                Is::Started => told.push("started"),
                Is::StepStarted { step, attempt: 1, .. } if step == "a" => told.push("a begins"),
                Is::StepStarted { step, attempt: 1, .. } if step == "b" => told.push("b begins"),
                Is::StepCompleted { step, .. } if step == "a" => {
                    assert!(!steps.contains(&"a".to_owned()));
                    told.push("a ended");
                }
                Is::StepCompleted { step, .. } if step == "b" => {
                    assert!(steps.is_empty());
                    told.push("b ended");
                }
                Is::Completed => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(told, ["started", "a begins", "a ended", "b begins", "b ended"]);
    }

    async fn the_host_says_what_its_store_can_promise(store: Store) {
        let host = store.builder().await.build();
        let expected = match store {
            Store::Plain(_) => Guarantees::SingleProcess,
            Store::Memory(_) | Store::File(_) => Guarantees::OneTransactionPerStep,
        };
        assert_eq!(host.guarantees(), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_on_one_file_share_the_work_and_wait_for_each_others_instances() {
    let store = Store::file();
    let count = Count::default();
    let definition = counting("count", 1, &count);
    let (one, two) = (store.host(&[&definition]).await, store.host(&[&definition]).await);
    for n in 0..20 {
        let (starts, waits) = if n % 2 == 0 { (&one, &two) } else { (&two, &one) };
        let id = starts.start_workflow("count", &Tally::default()).await.unwrap();
        completed(waits, &id).await;
    }
    assert_eq!(count.get(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_whose_caller_went_away_during_the_start_runs_all_the_same() {
    use futures_util::FutureExt;
    let store = Store::file();
    let host = store.host(&[&adding()]).await;
    let add = host.workflow(WorkflowName::<Tally>::new("add"));
    let start = add.start(&Tally::of([1, 2, 3])).name("orphan").into_future();
    assert!(start.now_or_never().is_none(), "the store takes longer than one poll");
    let provider = store.provider().await;
    let mut id = String::new();
    crate::support::until(async || match provider.get_workflow_instance_by_name("orphan").await {
        Ok(found) => {
            id = found.id;
            true
        }
        Err(_) => false,
    })
    .await;
    assert_eq!(completed(&host, &id).await.sum, 12);
}

/// That store keeps a reference in the instance's name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_the_plain_traits_alone_a_reference_never_gives_an_instance_that_was_not_started_under_it() {
    let count = Count::default();
    let store = Store::plain();
    let host = store.host(&[&counting("a", 1, &count), &counting("a/b", 1, &count)]).await;
    let start = |definition| host.workflow(WorkflowName::<Tally>::new(definition)).start(&Tally::default());
    let by_name = start("a").name("a/7").await.unwrap();
    let first = start("a/b").reference("c").await.unwrap();
    for (reference, name) in [("7", "a/7"), ("b/c", "a/b/c")] {
        match start("a").reference(reference).await {
            Err(WfeError::AlreadyExists { kind: Kind::WorkflowName, id }) => assert_eq!(id, name),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(start("a/b").reference("c").await.unwrap().id(), first.id());
    for instance in [by_name, first] {
        completed(&host, instance.id()).await;
    }
    assert_eq!(count.get(), 2);
}

fn failing() -> Definition<Tally> {
    let fails = |_: &Ctx, tally: &Tally| {
        if tally.sum == 0 { Err(wfe::steps::StepError::fatal("no")) } else { Ok(()) }
    };
    WorkflowBuilder::<Tally>::new("fails", 1).call("fail", fails).build().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_of_a_failed_instance_passes_to_its_restart() {
    let store = Store::file();
    let host = store.host(&[&failing()]).await;
    let workflow = host.workflow(WorkflowName::<Tally>::new("fails"));
    let start = |sum| {
        let start = workflow.start(&Tally { sum, ..Tally::default() }).reference("x").name("nm");
        start.description("an order").if_known(Known::RestartIfFailed)
    };
    let first = start(0).await.unwrap();
    let status = first.status().await.unwrap();
    let told = [status.reference, status.name, status.description];
    assert_eq!(told.map(Option::unwrap), ["x", "nm", "an order"]);
    ended(&host, first.id()).await;
    let second = start(0).await.unwrap();
    assert_eq!((second.is_new, second.restart_of.as_deref()), (true, Some(first.id())));
    let name = async |id: &str| host.status(id).await.unwrap().name;
    assert_eq!((name(first.id()).await, name(second.id()).await.as_deref()), (None, Some("nm")));
    ended(&host, second.id()).await;
    // A restart gets the name only if it asks for it; it keeps the description unless it gets another one.
    let third = second.restart(&Tally::default()).await.unwrap();
    assert_eq!((name(second.id()).await.as_deref(), name(third.id()).await), (Some("nm"), None));
    assert_eq!(third.status().await.unwrap().description.as_deref(), Some("an order"));
    ended(&host, third.id()).await;
    let taken = third.restart(&Tally::default()).name("nm").await;
    assert!(matches!(taken, Err(WfeError::AlreadyExists { kind: Kind::WorkflowName, id }) if id == "nm"));
    let reserved = third.restart(&Tally::default()).name("wfe.x").await;
    assert!(matches!(reserved, Err(WfeError::Invalid(_))));
    let fourth = third.restart(&Tally::default()).name("fourth").description("again").await.unwrap();
    ended(&host, fourth.id()).await;
    let fifth = fourth.restart(&Tally::default()).name("fourth").await.unwrap();
    let status = fifth.status().await.unwrap();
    assert_eq!((status.name.as_deref(), status.description.as_deref()), (Some("fourth"), Some("again")));
    assert_eq!(name(fourth.id()).await, None);
}

/// Data that must not be cloned.
#[derive(serde::Serialize, serde::Deserialize)]
struct Large(u32);

impl Clone for Large {
    fn clone(&self) -> Self {
        panic!("they are cloned")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_and_a_schedule_serialise_the_data_and_do_not_clone_them() {
    let large = WorkflowBuilder::<Large>::new("large", 1).then("a", async |_, _| Ok(())).build().unwrap();
    let host = Store::memory().await.builder().await.build();
    let large = host.register(large).unwrap();
    let instance = large.start(&Large(7)).await.unwrap();
    assert_eq!(instance.data().await.unwrap().0, 7);
    large.schedule("s", Timetable::interval(Duration::from_hours(1)), &Large(7)).await.unwrap();
}
