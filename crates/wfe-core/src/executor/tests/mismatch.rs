use super::world::World;
use crate::{
    definition::{WorkflowBuilder, each, inline, inline_item},
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

/// An instance in the middle of its for-each.
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
    is_parked_because(&world, "its data does not fit");
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
