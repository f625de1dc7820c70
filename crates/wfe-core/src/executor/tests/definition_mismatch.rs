use super::{
    scenario::{begin, mark},
    world::World,
};
use crate::{
    definition::{
        Definition, Every, WorkflowBuilder, activity, child, each, event, inline, inline_item, user_task,
    },
    models::WorkflowStatus,
    traits::{Control, Ending},
};

type Builder = WorkflowBuilder<Vec<u32>>;

fn builder() -> Builder {
    WorkflowBuilder::new("w", 1)
}

fn with_loop(builder: Builder) -> Builder {
    builder.for_each("all", each(Vec::clone), |body| {
        body.then("one", inline_item(|_, _, _: u32| async move { Ok(()) }))
    })
}

fn plain(builder: Builder, id: &str) -> Builder {
    builder.then(id, inline(|_, _| async { Ok(()) }))
}

/// An instance whose for-each has begun but not ended.
fn in_loop() -> World {
    let mut world = World::new(&with_loop(builder()).build().unwrap(), &vec![1_u32, 2]);
    world.open();
    let jobs = world.jobs.drain(..).collect();
    world.finish(jobs);
    assert_eq!(world.waiting(), ["all/0/one"]);
    world.crash();
    world
}

fn is_parked_because(world: &World, why: &str) {
    assert_eq!(world.instance.status, WorkflowStatus::Suspended);
    assert!(world.run.is_none() && world.jobs.is_empty());
    let cause = world.cause.as_ref().unwrap();
    assert_eq!(cause.code, "definition");
    assert!(cause.error.message.contains(why), "{}", cause.error.message);
}

#[test]
fn an_instance_at_a_step_that_is_gone_is_parked_once_and_goes_on_when_it_is_back() {
    let mut world = in_loop();
    let old = std::mem::replace(&mut world.definition, plain(builder(), "other").build().unwrap());
    world.open();
    is_parked_because(&world, "gone from the definition");
    assert_eq!(world.failures.len(), 1);
    assert_eq!(world.instance.next_execution, None);
    world.ask(Control::Resume);
    is_parked_because(&world, "gone from the definition");
    world.definition = old;
    world.ask(Control::Resume);
    world.play();
    assert_eq!(world.ending, Some(Ending::Completed));
}

#[test]
fn an_instance_inside_a_step_of_another_kind_or_in_another_place_is_parked() {
    let mut world = in_loop();
    world.definition = plain(plain(builder(), "all"), "one").build().unwrap();
    world.open();
    is_parked_because(&world, "is a step now, but the instance is inside it as a for-each");

    let mut world = in_loop();
    world.definition = plain(with_loop(builder()), "x").build().unwrap();
    world.open();
    assert_eq!(world.waiting(), ["all/0/one"], "a step added behind it does not disturb it");

    let mut world = in_loop();
    let moved = builder()
        .for_each("all", each(Vec::clone), |body| body.then("x", inline(|_, _| async { Ok(()) })))
        .then("one", inline(|_, _| async { Ok(()) }));
    world.definition = moved.build().unwrap();
    world.open();
    is_parked_because(&world, "moved to another container");
}

#[test]
fn an_instance_whose_data_no_longer_fits_is_parked_and_can_still_be_terminated() {
    let mut world = in_loop();
    world.definition =
        WorkflowBuilder::<String>::new("w", 1).then("all", inline(|_, _| async { Ok(()) })).build().unwrap();
    world.open();
    is_parked_because(&world, "the instance's data does not fit");
    world.ask(Control::Terminate);
    assert_eq!(world.ending, Some(Ending::Terminated));
}

#[test]
fn data_whose_reading_panics_parks_the_instance_and_nothing_else() {
    #[derive(Clone, serde::Serialize, serde::Deserialize)]
    #[serde(from = "Vec<u32>")]
    struct Fussy;
    impl From<Vec<u32>> for Fussy {
        fn from(_: Vec<u32>) -> Self {
            panic!("no")
        }
    }
    let mut world = in_loop();
    world.definition =
        WorkflowBuilder::<Fussy>::new("w", 1).then("all", inline(|_, _| async { Ok(()) })).build().unwrap();
    world.open();
    is_parked_because(&world, "reading the data panicked: no");
}

#[test]
fn a_finished_step_may_go_from_the_definition() {
    let definition = plain(plain(builder(), "a"), "b").build().unwrap();
    let mut world = World::new(&definition, &Vec::<u32>::new());
    world.open();
    let jobs = world.jobs.drain(..).collect();
    world.finish(jobs);
    world.crash();
    world.definition = plain(builder(), "b").build().unwrap();
    world.play();
    assert_eq!(world.ending, Some(Ending::Completed));
}

type Build = Box<dyn Fn() -> Definition>;

/// Tests each kind of step that can be active in a stored instance. In the changed definition, a step of another kind
/// has the same id.
#[test]
fn an_instance_in_the_middle_of_any_kind_of_step_is_parked_if_that_became_another_kind() {
    type Line = Vec<String>;
    let hour = |_: &Line, (): &()| std::time::Duration::from_hours(1);
    let waits = |b: super::scenario::Body| b.wait_for("inner", event("e", |_: &Line, ()| "k"));
    let kinds: Vec<(&str, Build)> = vec![
        ("if", Box::new(move || begin().if_("x", |_, ()| true, waits).build().unwrap())),
        ("while", Box::new(move || begin().while_("x", |_, ()| true, waits).build().unwrap())),
        ("parallel", Box::new(move || begin().parallel("x", |all| all.branch(waits)).build().unwrap())),
        ("saga", Box::new(move || begin().saga("x", waits).build().unwrap())),
        ("decide", Box::new(move || begin().decide("x", |_, ()| 1, |by| by.when(1, waits)).build().unwrap())),
        ("delay", Box::new(move || begin().delay("x", hour).build().unwrap())),
        ("schedule", Box::new(move || begin().after("x", hour, waits).build().unwrap())),
        (
            "recur",
            Box::new(move || {
                let every = Every::interval(std::time::Duration::from_hours(1));
                begin().recur("x", every, |_, ()| false, waits).build().unwrap()
            }),
        ),
        ("wait-for", Box::new(|| begin().wait_for("x", event("e", |_: &Line, ()| "k")).build().unwrap())),
        ("activity", Box::new(|| begin().activity("x", activity("a", |_: &Line, ()| 0)).build().unwrap())),
        (
            "user-task",
            Box::new(|| {
                begin().user_task("x", user_task(|_: &Line, ()| "?").plain_option("ok")).build().unwrap()
            }),
        ),
        (
            "sub-workflow",
            Box::new(|| {
                begin().sub_workflow("x", child("c", |_: &Line, ()| 0_u32).version(1)).build().unwrap()
            }),
        ),
    ];
    for (was, build) in &kinds {
        let a = |kind: &str| match kind {
            "if" | "activity" => format!("an {kind}"),
            _ => format!("a {kind}"),
        };
        for (now, other) in &kinds {
            let mut world = World::new(&build(), &Line::new());
            world.open();
            assert!(world.run.is_none(), "{was} waits");
            world.definition = other();
            world.instance.next_execution = Some(0);
            world.open();
            if was == now {
                assert_eq!(world.instance.status, WorkflowStatus::Runnable, "{was}");
            } else {
                is_parked_because(
                    &world,
                    &format!("is {} now, but the instance is inside it as {}", a(now), a(was)),
                );
                world.ask(Control::Terminate);
                assert!(world.waits.is_empty(), "even what is parked closes its waits: {was}");
            }
        }
    }
}

#[test]
fn a_parked_instance_can_be_cancelled_and_it_is_told_that_nothing_was_undone() {
    let saga = |first: &'static str| {
        begin()
            .saga("s", move |b| {
                b.then(first, mark("a"))
                    .compensate_with(|undo| undo.then("u", mark("u")))
                    .then("open", mark("open"))
            })
            .build()
            .unwrap()
    };
    let mut world = World::new(&saga("a"), &Vec::<String>::new());
    world.open();
    world.crash();
    world.definition = saga("b");
    world.open();
    is_parked_because(&world, "gone from the definition");
    world.ask(Control::Cancel);
    assert_eq!(world.ending, Some(Ending::Cancelled));
    assert!(world.failures.last().unwrap().error.message.contains("were not compensated"));
}

#[test]
fn a_wait_at_which_no_pointer_stands_is_closed() {
    type Line = Vec<String>;
    let definition = begin().wait_for("x", event("e", |_: &Line, ()| "k")).build().unwrap();
    let mut world = World::new(&definition, &Line::new());
    world.open();
    let mut stray = world.waits[0].clone();
    stray.id = "it//gone//1".to_owned();
    stray.execution_pointer_id = "gone".to_owned();
    world.waits.push(stray);
    world.instance.next_execution = Some(0);
    world.open();
    assert_eq!(world.waits.len(), 1);
    assert_eq!(world.waits[0].id, "it//x//1");

    let mut stray = world.waits[0].clone();
    stray.id = "it//gone//2".to_owned();
    stray.execution_pointer_id = "gone".to_owned();
    world.waits.push(stray);
    world.definition = plain(builder(), "other").build().unwrap();
    world.instance.next_execution = Some(0);
    world.open();
    assert_eq!((world.instance.status, world.waits.len()), (WorkflowStatus::Suspended, 2), "parked");
    world.ask(Control::Terminate);
    assert!(world.waits.is_empty(), "an instance that has ended waits for nothing");
}
