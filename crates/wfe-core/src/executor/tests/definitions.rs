use std::time::Duration;

use serde_json::json;

use super::world::{World, advanced};
use crate::{
    WfeError,
    definition::{
        Activity, Block, Data, Event, Every, IntoStep, Main, OnFailure, OutlineOnFailure, Retry, Sequence,
        WorkflowBuilder, WorkflowName, task,
    },
    executor::Lifecycle,
    limits::LONGEST_DEFINITION_ID,
    models::{PointerStatus, WorkflowStatus},
    steps::{Ctx, Next, Step, StepError, StepResult},
    traits::Ending,
};

pub fn problem<D: Data, L>(builder: Sequence<D, Main, (), L>) -> String {
    match builder.build() {
        Err(WfeError::InvalidDefinition { definition, problem }) => {
            assert_eq!(definition, "w");
            problem
        }
        other => panic!("built: {other:?}"),
    }
}

fn nothing() -> impl IntoStep<u32> {
    task::<u32>().then(async |_, _| Ok(()))
}

fn begin() -> WorkflowBuilder<u32> {
    WorkflowBuilder::new("w", 1)
}

#[test]
fn a_definition_that_contradicts_itself_is_refused_naming_the_step() {
    assert_eq!(problem(begin()), "it has no steps");
    assert!(problem(begin().step("", nothing())).contains("empty id"));
    assert!(problem(begin().step("a/b", nothing())).contains("\"a/b\""));
    assert!(
        problem(begin().step("a", nothing()).step("a", nothing())).contains("two steps have the id \"a\"")
    );
    let twice = begin().step("a", nothing()).for_each("all", |n| vec![*n], |body| body.step("a", nothing()));
    assert!(problem(twice).contains("two steps have the id \"a\""));
    let empty = begin().for_each("all", |n| vec![*n], |body| body);
    assert_eq!(problem(empty), "the body of step \"all\" has no steps; add at least one");
    let none = begin().for_each("all", |n| vec![*n], |body| body.step("a", nothing())).concurrent(0);
    assert_eq!(problem(none), "step \"all\": its limit is 0; it must be 1 or more");
    let shrinking = begin().step("a", nothing()).retry(Retry::exponential().attempts(2).factor(0.5));
    assert!(problem(shrinking).starts_with("step \"a\": the factor"));
    let random = begin().step("a", nothing()).retry(Retry::exponential().attempts(2).jitter(1.5));
    assert!(problem(random).starts_with("step \"a\": the jitter"));
}

#[test]
fn several_steps_of_a_helper_have_no_setting_that_belongs_to_one_of_them() {
    let both = || task::<u32>().change(|_| ());
    for (what, builder) in [
        ("`output`", begin().step("s", both().call("b", |_, _| Ok(1))).output(|_, _| ()).closed()),
        ("`input`", begin().step("s", both().step("b", Add::default())).input(|_, _| ()).closed()),
        ("`output`", begin().step("s", both().step("b", Add::default())).output(|_, _| ()).closed()),
        ("`each`", {
            let steps = begin().step("s", both().call("b", |_, _| Ok(vec![1])));
            steps.each(|each| each.step("c", nothing())).closed()
        }),
        ("a limit of items at once", {
            let each = both().for_each("b", |n| vec![*n], |each| each.step("c", nothing()));
            begin().step("s", each).concurrent(2).closed()
        }),
        ("a time limit (`on_timeout` or `fail_after`)", {
            let wait = both().wait_for("b", Event::<()>::new("e"), |_| "k");
            begin().step("s", wait).on_timeout(|_| Duration::ZERO, |late| late.step("c", nothing())).closed()
        }),
        ("`plain_option`", begin().step("s", both().user_task("b", |_| "?")).plain_option("yes").closed()),
        ("`version`", {
            let child = both().sub_workflow("b", WorkflowName::new("child"), |n| *n);
            begin().step("s", child).version(1).closed()
        }),
    ] {
        let expected = format!(
            "step \"s\": it consists of several steps, so it cannot have {what}; set it on one of them"
        );
        assert_eq!(problem(builder), expected);
    }
    let inside = both().call("b", |_, _| Ok(1)).output(|one, n| *n += one);
    let definition = begin().step("s", inside).name("Both").build().unwrap();
    assert_eq!(definition.step_ids().collect::<Vec<_>>(), ["s", "s.1", "s.b"]);
    let mut world = World::new(&definition, &1_u32);
    world.play();
    assert_eq!((world.ending, world.data::<u32>()), (Some(Ending::Completed), 2));
}

#[test]
fn what_would_not_cover_the_failures_inside_of_a_block_is_refused() {
    let block = || begin().block("b", |b| b.step("one", nothing()).step("two", nothing()));
    for (what, builder) in [
        ("retry policy", block().retry(Retry::exponential()).closed()),
        ("fallback", block().fallback(|f| f.step("f", nothing())).closed()),
        ("`on_failure`", block().on_failure(OnFailure::Continue).closed()),
    ] {
        let expected = format!(
            "step \"b\": it consists of several steps, so its {what} would not cover their failures; set it on one of them, \
             or make a saga of them"
        );
        assert_eq!(problem(builder), expected);
    }
}

#[test]
fn a_race_without_branches_and_one_whose_settings_would_cover_nothing_are_refused() {
    assert_eq!(problem(begin().race("r", |first| first)), "step \"r\": it has no branches; add at least one");
    let empty = begin().race("r", |first| first.branch(|b| b.step("a", nothing())).branch(|b| b));
    assert_eq!(problem(empty), "a branch of step \"r\" has no steps; add at least one");
    let race = || begin().race("r", |first| first.branch(|b| b.step("a", nothing())));
    for (what, builder) in [
        ("retry policy", race().retry(Retry::exponential()).closed()),
        ("fallback", race().fallback(|f| f.step("f", nothing())).closed()),
        ("`on_failure`", race().on_failure(OnFailure::Suspend).closed()),
    ] {
        let expected = format!(
            "step \"r\": its branches consist of steps, so its {what} would not cover their failures; set it on one of \
             them, or put the race into a saga"
        );
        assert_eq!(problem(builder), expected);
    }
    let into = begin().step("before", nothing()).race("r", |first| first.branch(|b| b.step("a", nothing())));
    assert!(problem(into.go_to("go", "a")).contains("inside a container that \"go\" is not in"));
}

#[test]
fn what_would_not_cover_the_failures_inside_of_a_parallel_is_refused() {
    let parallel = || begin().parallel("p", |all| all.branch(|b| b.step("a", nothing())));
    for (what, builder) in [
        ("retry policy", parallel().retry(Retry::exponential()).closed()),
        ("fallback", parallel().fallback(|f| f.step("f", nothing())).closed()),
        ("`on_failure`", parallel().on_failure(OnFailure::Suspend).closed()),
    ] {
        let expected = format!(
            "step \"p\": its branches consist of steps, so its {what} would not cover their failures; set it on one of \
             them, or put the parallel into a saga"
        );
        assert_eq!(problem(builder), expected);
    }
    let own = parallel().cancel_when(|_| panic!("its own failure")).retry(Retry::exponential());
    assert!(own.on_failure(OnFailure::Suspend).build().is_ok());
}

#[test]
fn a_cancel_condition_that_ends_the_branch_needs_one_and_is_the_only_one() {
    let side = |steps: Sequence<u32, Main, (), Block>| {
        problem(steps.cancel_branch_when(|_| true).step("b", nothing()))
    };
    let after = begin().after("s", |_| Duration::ZERO, |b| b.step("a", nothing()));
    let expected = "step \"s\": it has a side branch, and the instance has already continued after it, so \
                    `cancel_branch_when` has no branch to end; use `cancel_when`";
    assert_eq!(side(after), expected);
    let every = Every::interval(Duration::from_secs(1));
    assert_eq!(side(begin().recur("s", every, |_| false, |b| b.step("a", nothing()))), expected);
    let twice = begin().step("a", nothing()).cancel_when(|_| true).cancel_branch_when(|_| true);
    assert!(
        problem(twice)
            .starts_with("step \"a\": it has both `cancel_when` and `cancel_branch_when`, of which")
    );
    let jump = begin().step("a", nothing()).go_to("go", "a").cancel_branch_when(|_| true);
    assert_eq!(problem(jump), "step \"go\": it is a go-to, so its cancel condition would have no effect");
}

#[test]
fn a_compensation_of_a_failed_step_needs_a_saga_and_is_the_only_one() {
    let outside = begin().step("a", nothing()).compensate_even_if_failed(|undo| undo.step("u", nothing()));
    assert_eq!(
        problem(outside),
        "step \"a\": it has a compensation, but it is not inside a saga; to run steps after it has failed, use `fallback`"
    );
    let in_compensation = begin().saga("s", |saga| {
        saga.step("a", nothing()).compensate_with(|undo| {
            undo.step("u", nothing()).compensate_even_if_failed(|undo| undo.step("uu", nothing()))
        })
    });
    assert!(problem(in_compensation).starts_with("step \"u\": it has a compensation, but"));
    let twice = begin().saga("s", |saga| {
        saga.step("a", nothing())
            .compensate_with(|undo| undo.step("u", nothing()))
            .compensate_even_if_failed(|undo| undo.step("v", nothing()))
    });
    assert!(
        problem(twice).starts_with(
            "step \"a\": it has both `compensate_with` and `compensate_even_if_failed`, of which"
        )
    );
    let empty = begin().saga("s", |saga| saga.step("a", nothing()).compensate_even_if_failed(|undo| undo));
    assert_eq!(problem(empty), "the compensation of step \"a\" has no steps; add at least one");
}

#[test]
fn a_definition_with_a_deadline_is_no_branch_and_a_label_belongs_to_a_branch_with_a_condition() {
    let other =
        || WorkflowBuilder::<u32>::new("other", 1).deadline(Duration::from_secs(1)).step("a", nothing());
    assert_eq!(
        problem(begin().block("b", |_| other())),
        "workflow \"other\" is used as a branch, so its deadline would have no effect; use `sub_workflow`"
    );
    let labelled = begin().decide(
        "d",
        |n| *n,
        |by| {
            by.when(1, |one| one.step("one", nothing()))
                .otherwise(|rest| rest.step("rest", nothing()))
                .label("the rest")
        },
    );
    assert_eq!(
        problem(labelled),
        "the label \"the rest\" comes after `otherwise`, which has no label of its own"
    );
}

#[test]
fn a_definition_with_an_id_too_long_to_be_sent_with_every_claim_is_refused() {
    let named = |id: String| WorkflowBuilder::<u32>::new(id, 1).step("a", nothing()).build();
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
    let definition = begin().step("a", nothing()).build().unwrap();
    let now = chrono::DateTime::UNIX_EPOCH;
    assert!(matches!(definition.instance(&"text".to_owned(), now), Err(WfeError::Invalid(_))));
    assert!(definition.instance(&1_u32, now).is_ok());
}

#[derive(Clone, Default)]
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
    let add = |steps: WorkflowBuilder<u32>, id| {
        steps
            .step(id, Add::default())
            .input(|add, data| add.number = *data)
            .output(|add, data| *data = add.sum)
            .closed()
    };
    let definition = add(add(begin(), "a"), "b").step("c", nothing()).build().unwrap();
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
    let definition = begin().step("a", nothing()).step("b", nothing()).build().unwrap();
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
    let mut world = super::scenario::world(super::scenario::begin().call("a", |ctx, _| {
        ctx.cancellation().cancel();
        Ok(())
    }));
    world.open();
    let job = world.jobs.pop().unwrap();
    let token = job.token().clone();
    world.finish(vec![job]);
    assert!(!token.is_cancelled());
    assert_eq!(world.ending, Some(Ending::Completed));
}

#[test]
fn a_panicking_output_changes_nothing_and_counts_as_a_failure_of_the_step() {
    let definition = WorkflowBuilder::<Vec<u32>>::new("w", 1)
        .then("a", async |_, _| Ok(()))
        .output(|(), data| {
            data.push(1);
            panic!("half-way");
        })
        .on_failure(OnFailure::Continue)
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
        .for_each("all", |n| (0..*n).collect(), |body| body.then("one", async |_, _, n| Ok(n)))
        .concurrent(2)
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

#[test]
fn a_definition_sets_the_retries_and_the_failure_behaviour_of_its_steps_and_a_step_its_own() {
    let thrice = || Retry::every(Duration::ZERO).attempts(3);
    let definition = begin()
        .retry_steps(thrice())
        .on_failure(OnFailure::Suspend)
        .step("plain", nothing())
        .step("own", nothing())
        .retry(Retry::never())
        .on_failure(OnFailure::Fail)
        .step("caught", nothing())
        .fallback(|b| b.step("instead", nothing()))
        .saga("saga", |b| b.step("inside", nothing()).compensate_with(|b| b.step("undo", nothing())))
        .if_("if", |_| true, |b| b.step("deep", nothing()))
        .activity("activity", Activity::<(), ()>::new("a"), |_| ())
        .wait_for("wait", Event::<u32>::new("e"), |_| "k")
        .build()
        .unwrap();
    let outline = definition.outline();
    let of = |id: &str| {
        let step = outline.step(id).unwrap();
        (step.retry.as_ref().map(|retry| retry.limit + 1), step.on_failure)
    };
    assert_eq!(of("plain"), (Some(3), OutlineOnFailure::Suspend));
    assert_eq!(of("own"), (None, OutlineOnFailure::Fail));
    assert_eq!(of("caught"), (Some(3), OutlineOnFailure::Continue));
    assert_eq!(of("instead"), (Some(3), OutlineOnFailure::Suspend));
    assert_eq!(of("saga"), (None, OutlineOnFailure::Continue));
    assert_eq!(of("inside"), (Some(3), OutlineOnFailure::Compensate));
    assert_eq!(of("undo"), (Some(3), OutlineOnFailure::Continue));
    assert_eq!(of("if"), (None, OutlineOnFailure::Suspend));
    assert_eq!(of("deep"), (Some(3), OutlineOnFailure::Suspend));
    assert_eq!(of("activity"), (Some(3), OutlineOnFailure::Suspend));
    assert_eq!(of("wait"), (None, OutlineOnFailure::Suspend));
}

#[test]
fn a_step_is_retried_as_its_definition_says() {
    let flaky = task::<u32>()
        .call(|ctx, _| if ctx.attempt() < 3 { Err(StepError::retryable("not yet")) } else { Ok(7) })
        .output(|seven, n| *n = seven);
    let definition =
        begin().retry_steps(Retry::every(Duration::ZERO).attempts(3)).step("a", flaky).build().unwrap();
    let mut world = World::new(&definition, &0_u32);
    world.play();
    assert_eq!((world.ending, world.data::<u32>(), world.failures.len()), (Some(Ending::Completed), 7, 2));
}

#[test]
fn a_setting_of_the_whole_definition_elsewhere_is_refused() {
    let late = begin().step("a", nothing()).closed().retry_steps(Retry::exponential());
    assert!(problem(late).starts_with("`retry_steps` comes after step \"a\"; set it before the first step"));
    let late = begin().step("a", nothing()).closed().on_failure(OnFailure::Suspend);
    assert!(problem(late).starts_with("`on_failure` comes after step \"a\""));
    let inside = begin().block("b", |b| b.retry_steps(Retry::exponential()).step("a", nothing()));
    assert!(problem(inside).starts_with("a branch begins with `retry_steps`"));
    let inside = begin().block("b", |b| b.on_failure(OnFailure::Suspend).step("a", nothing()));
    assert!(problem(inside).starts_with("a branch begins with `on_failure`"));
    let all = begin().on_failure(OnFailure::Compensate).step("a", nothing());
    assert!(problem(all).contains("not all of them are inside a saga"));
    let twice = begin().on_failure(OnFailure::Fail).on_failure(OnFailure::Suspend).step("a", nothing());
    assert_eq!(problem(twice), "it has `on_failure` twice before its first step; keep one of them");
    let twice = begin().retry_steps(Retry::never()).retry_steps(Retry::never()).step("a", nothing());
    assert_eq!(problem(twice), "it has `retry_steps` twice; keep one of them");
    let none = begin().retry_steps(Retry::exponential().attempts(0)).step("a", nothing());
    assert_eq!(problem(none), "`retry_steps`: its retry policy allows 0 attempts; it must be 1 or more");
}
