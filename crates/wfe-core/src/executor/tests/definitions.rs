use serde_json::json;

use super::world::{World, advanced};
use crate::{
    WfeError,
    definition::{OnFailure, Retry, Sequence, WorkflowBuilder, each, inline, inline_item, step},
    executor::Lifecycle,
    limits::LONGEST_DEFINITION_ID,
    models::{PointerStatus, WorkflowStatus},
    steps::{Ctx, Next, Step, StepResult},
    traits::Ending,
};

fn problem(builder: WorkflowBuilder<u32>) -> String {
    match builder.build() {
        Err(WfeError::InvalidDefinition { definition, problem }) => {
            assert_eq!(definition, "w");
            problem
        }
        other => panic!("built: {other:?}"),
    }
}

fn nothing<I: crate::definition::Item>()
-> crate::definition::Task<(), u32, I, crate::definition::Inline<(), u32, I>> {
    inline(|_, _| async { Ok(()) })
}

fn begin() -> WorkflowBuilder<u32> {
    WorkflowBuilder::new("w", 1)
}

#[test]
fn a_definition_that_contradicts_itself_is_refused_naming_the_step() {
    assert_eq!(problem(begin()), "it has no steps");
    assert!(problem(begin().then("", nothing())).contains("empty id"));
    assert!(problem(begin().then("a/b", nothing())).contains("\"a/b\""));
    assert!(
        problem(begin().then("a", nothing()).then("a", nothing())).contains("two steps have the id \"a\"")
    );
    let twice = begin()
        .then("a", nothing())
        .for_each("all", each(|n: &u32| vec![*n]), |body| body.then("a", nothing()));
    assert!(problem(twice).contains("two steps have the id \"a\""));
    let empty = begin().for_each("all", each(|n: &u32| vec![*n]), |body: Sequence<u32, u32>| body);
    assert_eq!(problem(empty), "the body of step \"all\" has no steps; add at least one");
    let none =
        begin().for_each("all", each(|n: &u32| vec![*n]).parallel(0), |body| body.then("a", nothing()));
    assert_eq!(problem(none), "step \"all\": its limit is 0; it must be 1 or more");
    let shrinking = begin().then("a", nothing().retry(Retry::up_to(1).factor(0.5)));
    assert!(problem(shrinking).starts_with("step \"a\": the factor"));
    let random = begin().then("a", nothing().retry(Retry::up_to(1).jitter(1.5)));
    assert!(problem(random).starts_with("step \"a\": the jitter"));
}

#[test]
fn a_definition_with_an_id_too_long_to_be_sent_with_every_claim_is_refused() {
    let named = |id: String| WorkflowBuilder::<u32>::new(id, 1).then("a", nothing()).build();
    assert!(named("i".repeat(LONGEST_DEFINITION_ID)).is_ok());
    // The bound is in bytes: each of these has two.
    for id in ["i".repeat(LONGEST_DEFINITION_ID + 1), "é".repeat(LONGEST_DEFINITION_ID / 2 + 1)] {
        match named(id.clone()) {
            Err(WfeError::InvalidDefinition { definition, problem }) => {
                assert!(id.starts_with(definition.trim_end_matches('…')) && definition.len() < 200);
                assert!(problem.contains(&format!("{} bytes", id.len())), "{problem}");
            }
            other => panic!("built: {other:?}"),
        }
    }
}

#[test]
fn an_instance_is_refused_for_data_of_another_type() {
    let definition = begin().then("a", nothing()).build().unwrap();
    let now = chrono::DateTime::UNIX_EPOCH;
    assert!(matches!(definition.instance(&"text".to_owned(), now), Err(WfeError::Invalid(_))));
    assert!(definition.instance(&1_u32, now).is_ok());
}

struct Add {
    number: u32,
    sum: u32,
}

impl Step for Add {
    async fn run(&mut self, ctx: &Ctx) -> StepResult {
        self.sum = self.number + 1;
        Ok(Next::Outcome(json!(ctx.idempotency_key())))
    }
}

#[test]
fn steps_run_one_after_the_other_on_the_newest_data_and_every_step_is_one_commit() {
    let add = || {
        step(|| Add { number: 0, sum: 0 })
            .input(|s, data: &u32, ()| s.number = *data)
            .output(|s, data| *data = s.sum)
    };
    let definition = begin().then("a", add()).then("b", add()).then("c", nothing()).build().unwrap();
    let mut world = World::new(&definition, &1_u32);
    world.play();
    assert_eq!(world.data::<u32>(), 3);
    assert_eq!((world.instance.status, world.ending), (WorkflowStatus::Complete, Some(Ending::Completed)));
    assert_eq!(world.instance.complete_time, Some(world.now));
    assert_eq!(world.pointer("b").outcome, Some(json!("it/b")));
    assert_eq!(world.pointer("b").predecessor_id.as_deref(), Some("a"));
    assert_eq!(world.commits.len(), 3);
    assert!(world.commits[2].data.is_none(), "data that did not change is not written");
    assert!(world.commits[2].release && world.commits[2].status == Some(WorkflowStatus::Complete));
    let completed = |e: &&Lifecycle| matches!(e, Lifecycle::StepCompleted { .. });
    assert_eq!(world.events.iter().filter(completed).count(), 3);
    assert_eq!(world.events.last(), Some(&Lifecycle::Completed));
}

#[test]
fn a_finished_step_is_never_run_again_after_a_crash_and_a_cut_one_is() {
    let definition = begin().then("a", nothing()).then("b", nothing()).build().unwrap();
    let mut world = World::new(&definition, &0_u32);
    world.open();
    assert_eq!(world.waiting(), ["a"]);
    world.crash();
    world.open();
    assert_eq!(world.waiting(), ["a"]);
    let jobs = world.jobs.drain(..).collect();
    world.finish(jobs);
    assert_eq!(world.waiting(), ["b"]);
    world.crash();
    world.open();
    assert_eq!(world.waiting(), ["b"]);
}

#[test]
fn a_body_that_cancels_its_token_cancels_nothing_but_what_it_has_begun() {
    let step = inline(|ctx: crate::steps::Ctx, _: std::sync::Arc<Vec<String>>| async move {
        ctx.cancellation().cancel();
        Ok(())
    });
    let mut world = super::scenario::world(super::scenario::begin().then("a", step));
    world.open();
    let job = world.jobs.pop().unwrap();
    let token = job.token().clone();
    world.finish(vec![job]);
    assert!(!token.is_cancelled());
    assert_eq!(world.ending, Some(crate::traits::Ending::Completed));
}

#[test]
fn a_panicking_output_changes_nothing_and_counts_as_a_failure_of_the_step() {
    let definition = WorkflowBuilder::<Vec<u32>>::new("w", 1)
        .then(
            "a",
            inline(|_, _| async { Ok(()) })
                .output(|(), data: &mut Vec<u32>| {
                    data.push(1);
                    panic!("half-way");
                })
                .on_failure(OnFailure::Continue),
        )
        .build()
        .unwrap();
    let mut world = World::new(&definition, &vec![0_u32]);
    world.play();
    assert_eq!(world.data::<Vec<u32>>(), [0]);
    assert_eq!(world.pointer("a").status, PointerStatus::Failed);
    assert_eq!(world.failures[0].code, "panic");
    assert_eq!(world.failures[0].causes, ["the step's output panicked: half-way"]);
}

#[test]
fn a_commit_that_was_refused_is_made_again_with_what_came_meanwhile() {
    let definition = begin()
        .for_each("all", each(|n: &u32| (0..*n).collect::<Vec<_>>()).parallel(2), |body| {
            body.then("one", inline_item(|_, _, n: u32| async move { Ok(n) }))
        })
        .build()
        .unwrap();
    let mut world = World::new(&definition, &2_u32);
    world.open();
    let jobs = world.jobs.drain(..).collect();
    world.finish(jobs);
    let mut ends = Vec::new();
    for job in world.jobs.drain(..) {
        let pointer = job.pointer().to_owned();
        ends.push((pointer, futures_util::FutureExt::now_or_never(job.run(None)).unwrap()));
    }
    let mut run = world.run.take().unwrap();
    let mut random = || 0.0;
    let mut env = crate::executor::Env { now: world.now, random: &mut random, definition: &|_, _| None };
    let (second, first) = (ends.pop().unwrap(), ends.pop().unwrap());
    run.ended(&first.0, first.1, &mut env).unwrap();
    let refused = advanced(&mut run, &mut env).unwrap().unwrap();
    assert_eq!(refused.finished.len(), 1);
    assert!(!run.is_stored(&world.loaded()));
    run.ended(&second.0, second.1, &mut env).unwrap();
    let both = advanced(&mut run, &mut env).unwrap().unwrap();
    assert_eq!(both.finished.len(), 2);
    assert_eq!(both.status, Some(WorkflowStatus::Complete));
}
