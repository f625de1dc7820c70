use super::{
    scenario::{Body, Builder, HOUR, Line, begin, built, mark},
    world::World,
};
use crate::{
    definition::{Activity, Branch, Event, Every, WorkflowBuilder, WorkflowName},
    models::WorkflowStatus,
    traits::{Control, Ending},
};

type Numbers = WorkflowBuilder<Vec<u32>>;

fn builder() -> Numbers {
    WorkflowBuilder::new("w", 1)
}

fn with_loop(builder: Numbers) -> Numbers {
    builder.for_each("all", Vec::clone, |body| body.then("one", async |_, _, _| Ok(()))).closed()
}

fn plain(builder: Numbers, id: &str) -> Numbers {
    builder.then(id, async |_, _| Ok(())).closed()
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
    let old = std::mem::replace(&mut world.definition, built(plain(builder(), "other")));
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
    world.definition = built(plain(plain(builder(), "all"), "one"));
    world.open();
    is_parked_because(&world, "is a step now, but the instance is inside it as a for-each");

    let mut world = in_loop();
    world.definition = built(plain(with_loop(builder()), "x"));
    world.open();
    assert_eq!(world.waiting(), ["all/0/one"], "a step added behind it does not disturb it");

    let mut world = in_loop();
    world.definition = built(
        builder()
            .for_each("all", Vec::clone, |body| body.then("x", async |_, _, _| Ok(())))
            .then("one", async |_, _| Ok(())),
    );
    world.open();
    is_parked_because(&world, "moved to another container");
}

#[test]
fn an_instance_whose_data_no_longer_fits_is_parked_and_can_still_be_terminated() {
    let mut world = in_loop();
    world.definition = built(WorkflowBuilder::<String>::new("w", 1).then("all", async |_, _| Ok(())));
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
    world.definition = built(WorkflowBuilder::<Fussy>::new("w", 1).then("all", async |_, _| Ok(())));
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
    world.definition = built(plain(builder(), "b"));
    world.play();
    assert_eq!(world.ending, Some(Ending::Completed));
}

/// The name of a kind, and a definition whose step `x` is of that kind.
type Kind = (&'static str, fn() -> Builder);

fn waits(b: Body) -> impl Branch<Line> {
    b.wait_for("inner", Event::<()>::new("e"), |_| "k")
}

/// Tests each kind of step that can be active in a stored instance. In the changed definition, a step of another kind
/// has the same id.
#[test]
fn an_instance_in_the_middle_of_any_kind_of_step_is_parked_if_that_became_another_kind() {
    let kinds: [Kind; 12] = [
        ("if", || begin().if_("x", |_| true, waits).closed()),
        ("while", || begin().while_("x", |_| true, waits).closed()),
        ("parallel", || begin().parallel("x", |all| all.branch(waits)).closed()),
        ("saga", || begin().saga("x", waits).closed()),
        ("decide", || begin().decide("x", |_| 1, |by| by.when(1, waits)).closed()),
        ("delay", || begin().delay("x", |_| HOUR).closed()),
        ("schedule", || begin().after("x", |_| HOUR, waits).closed()),
        ("recur", || begin().recur("x", Every::interval(HOUR), |_| false, waits).closed()),
        ("wait-for", || begin().wait_for("x", Event::<()>::new("e"), |_| "k").closed()),
        ("activity", || begin().activity("x", Activity::<_, ()>::new("a"), |_| 0).closed()),
        ("user-task", || begin().user_task("x", |_| "?").plain_option("ok").closed()),
        ("sub-workflow", || begin().sub_workflow("x", WorkflowName::new("c"), |_| 0_u32).version(1).closed()),
    ];
    for (was, build) in &kinds {
        let a = |kind: &str| match kind {
            "if" | "activity" => format!("an {kind}"),
            _ => format!("a {kind}"),
        };
        for (now, other) in &kinds {
            let mut world = super::scenario::world(build());
            world.open();
            assert!(world.run.is_none(), "{was} waits");
            world.definition = built(other());
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
        begin().saga("s", |b| {
            b.step(first, mark("a"))
                .compensate_with(|undo| undo.step("u", mark("u")))
                .step("open", mark("open"))
        })
    };
    let mut world = super::scenario::world(saga("a"));
    world.open();
    world.crash();
    world.definition = built(saga("b"));
    world.open();
    is_parked_because(&world, "gone from the definition");
    world.ask(Control::Cancel);
    assert_eq!(world.ending, Some(Ending::Cancelled));
    assert!(world.failures.last().unwrap().error.message.contains("were not compensated"));
}

#[test]
fn a_wait_at_which_no_pointer_stands_is_closed() {
    let mut world = super::scenario::world(begin().wait_for("x", Event::<()>::new("e"), |_| "k"));
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
    world.definition = built(plain(builder(), "other"));
    world.instance.next_execution = Some(0);
    world.open();
    assert_eq!((world.instance.status, world.waits.len()), (WorkflowStatus::Suspended, 2), "parked");
    world.ask(Control::Terminate);
    assert!(world.waits.is_empty(), "an instance that has ended waits for nothing");
}
