use std::{marker::PhantomData, time::Duration};

use super::scenario::{Body, Builder, Line, begin, broken, everywhere, line, mark, world};
use crate::{
    WfeError,
    definition::{
        Activity, After, Block, Event, HasBody, Main, OnFailure, Retry, WorkflowBuilder, WorkflowName, task,
    },
    models::PointerStatus,
    traits::Ending,
};

fn count(line: &Line, word: &str) -> usize {
    line.iter().filter(|w| *w == word).count()
}

#[test]
fn a_go_to_back_visits_steps_again_and_only_their_last_visit_stays() {
    let make = || {
        world(
            begin()
                .step("a", mark("a"))
                .step("b", mark("b"))
                .if_("again", |line| count(line, "b") < 3, |then| then.go_to("back", "a"))
                .step("c", mark("c")),
        )
    };
    let whole = everywhere(make);
    assert_eq!(line(&whole), "a b a b a b c");
    let live: Vec<_> = whole.instance.execution_pointers.iter().map(|p| p.id.as_str()).collect();
    assert_eq!(live, ["a#3", "b#3", "again#3", "c"]);
    assert_eq!(whole.pointer("a#3").predecessor_id.as_deref(), Some("again#2"));
    let left = whole.history.iter().find(|row| row.pointer.id == "again").unwrap();
    assert_eq!(left.pointer.status, PointerStatus::Cancelled, "it was left half-way");
}

#[test]
fn a_long_loop_by_go_to_leaves_the_live_instance_and_every_commit_small() {
    let definition = WorkflowBuilder::<(u32, String)>::new("w", 1)
        .then("a", async |ctx, _| Ok(ctx.idempotency_key()))
        .output(|key, data| {
            assert_ne!(key, data.1, "each visit has a key of its own");
            *data = (data.0 + 1, key);
        })
        .if_("again", |data| data.0 < 500, |then| then.go_to("back", "a"))
        .build()
        .unwrap();
    let mut world = super::world::World::new(&definition, &(0_u32, String::new()));
    world.play();
    assert_eq!(world.ending, Some(Ending::Completed));
    assert_eq!(world.data::<(u32, String)>().0, 500);
    let largest = world.commits.iter().map(|c| c.upserted.len() + c.finished.len()).max();
    assert!(largest <= Some(8), "{largest:?} pointers in one commit");
    assert_eq!(world.instance.execution_pointers.len(), 2);
}

#[test]
fn a_go_to_leads_forward_and_out_of_loops() {
    let world = everywhere(|| {
        world(
            begin()
                .while_(
                    "forever",
                    |_| true,
                    |b| {
                        b.step("a", mark("a"))
                            .if_("enough", |line| count(line, "a") == 2, |then| then.go_to("out", "after"))
                            .step("b", mark("b"))
                            .go_to("skip", "last-of-round")
                            .step("never", mark("never"))
                            .step("last-of-round", mark("z"))
                            .if_("more", |_| false, |then| then.go_to("to-never", "never"))
                    },
                )
                .step("between", mark("between"))
                .step("after", mark("after")),
        )
    });
    assert_eq!(line(&world), "a b z a after");
}

#[test]
fn what_a_go_to_leaves_is_taken_away_with_its_parallel_branches_waits_and_timers() {
    let world = everywhere(|| {
        world(
            begin()
                .step("start", mark("start"))
                .parallel("both", |all| {
                    all.branch(|b| b.delay("long", |_| Duration::from_hours(9)).step("late", mark("late")))
                        .branch(|b| {
                            b.step("quick", mark("quick")).if_(
                                "once",
                                |line| count(line, "start") < 2,
                                |then| then.go_to("back", "start"),
                            )
                        })
                })
                .step("end", mark("end")),
        )
    });
    assert_eq!(line(&world), "start quick start quick late end");
    let cancelled: Vec<_> = world
        .history
        .iter()
        .filter(|r| r.pointer.status == PointerStatus::Cancelled)
        .map(|r| r.pointer.id.as_str())
        .collect();
    assert_eq!(cancelled, ["both/0/long", "both/1/once", "both"]);
}

#[test]
fn end_ends_the_workflow_well_and_takes_the_rest_away() {
    let world = everywhere(|| {
        world(
            begin()
                .parallel("both", |all| {
                    all.branch(|b| b.delay("long", |_| Duration::from_hours(9)).step("late", mark("late")))
                        .branch(|b| b.step("quick", mark("quick")).end("now"))
                })
                .step("after", mark("after")),
        )
    });
    assert_eq!((line(&world).as_str(), world.ending), ("quick", Some(Ending::Completed)));
    assert_eq!(world.pointer("both").status, PointerStatus::Cancelled);
    assert_eq!(world.instance.next_execution, None);
}

fn problem<L>(builder: Builder<L>) -> String {
    match builder.build() {
        Err(WfeError::InvalidDefinition { problem, .. }) => problem,
        other => panic!("built: {other:?}"),
    }
}

#[test]
fn steps_that_cannot_be_reached_and_go_tos_into_nowhere_are_refused() {
    let a = || begin().step("a", mark("a"));
    assert_eq!(
        problem(a().go_to("g", "nowhere")),
        "step \"g\" goes to \"nowhere\", but the definition has no such step"
    );
    assert!(problem(a().end("e").step("b", mark("b"))).starts_with("step \"b\" cannot be reached"));
    let island = a().end("e").step("b", mark("b")).go_to("g", "b");
    assert!(problem(island).starts_with("step \"b\" cannot be reached"));
    let into = a().if_("i", |_| true, |b| b.step("inner", mark("x"))).go_to("g", "inner");
    assert!(problem(into).contains("inside a container that \"g\" is not in"));
    assert!(problem(a().go_to("g", "g")).contains("goes to itself"));
    let across = a().parallel("p", |all| {
        all.branch(|b| b.step("left", mark("x"))).branch(|b| b.step("right", mark("x")).go_to("g", "left"))
    });
    assert!(problem(across).contains("\"left\""));
    let side = a().after("s", |_| Duration::ZERO, |b| b.go_to("g", "a"));
    assert!(problem(side).contains("out of a side branch"));
    let undo = |undo: fn(Body) -> Body<Main, Block>| {
        begin().step("z", mark("z")).saga("s", |b| b.step("a", mark("a")).compensate_with(undo))
    };
    assert!(problem(undo(|b| b.go_to("g", "a"))).contains("out of a compensation"));
    assert!(problem(undo(|b| b.if_("i", |_| true, |b| b.go_to("g", "z")))).contains("out of a compensation"));
    assert!(problem(undo(|b| b.end("e"))).contains("in the middle of a compensation"));
    let within = undo(|b| b.step("u", mark("u")).if_("i", |_| false, |b| b.go_to("g", "u")));
    within.build().unwrap();
    assert!(problem(a().parallel("p", |all| all)).contains("no branches"));
    let empty = a().step("b", mark("b")).fallback(|f| f);
    assert!(problem(empty).contains("the fallback of step \"b\" has no steps"));
    let empty = a().parallel("p", |all| all.branch(|b| b.step("x", mark("x"))).branch(|b| b));
    assert_eq!(problem(empty), "a branch of step \"p\" has no steps; add at least one");
    let otherwise = a().decide(
        "d",
        |_| 1,
        |by| {
            by.when(1, |b| b.step("x", mark("x")))
                .otherwise(|b| b.step("y", mark("y")))
                .otherwise(|b| b.step("z", mark("z")))
        },
    );
    assert!(problem(otherwise).contains("more than one `otherwise` branch"));
    assert!(problem(begin().deadline(Duration::ZERO).step("a", mark("a"))).contains("deadline"));
    assert!(problem(begin().change("a", |_| ()).timeout(Duration::ZERO)).contains("timeout"));
}

#[test]
fn what_would_have_no_effect_is_refused_naming_the_step() {
    let a = || begin().step("a", mark("a"));
    let lost = |change: fn(Body<Main, Block>) -> Body<Main, Block>| {
        begin()
            .saga("s", |s| change(s.step("a", mark("a")).if_("i", |_| false, |b| b.go_to("g", "a")).end("e")))
    };
    for problem in [
        problem(lost(|b| b.cancel_when(|_| true))),
        problem(lost(|b| b.compensate_with(|u| u.step("u", mark("u"))))),
        problem(lost(|b| b.fallback(|f| f.step("f", mark("f"))))),
        problem(lost(|b| b.on_failure(OnFailure::Suspend))),
        problem(lost(|b| b.retry(Retry::exponential()))),
    ] {
        assert!(
            problem.starts_with("step \"e\": it is an end, so its ")
                && problem.contains("would have no effect"),
            "{problem}"
        );
    }
    let back = a().go_to("g", "a").cancel_when(|_| true);
    assert!(problem(back).starts_with("step \"g\": it is a go-to, so its "));
    let none = WorkflowBuilder::<Line>::new("w", 0).step("a", mark("a"));
    assert!(problem(none).contains("version is 0"));
}

/// Says which modifiers may follow a step that leaves `L`. The compiler takes a method of the type itself if its bound
/// holds, and otherwise the method of the trait.
struct Follows<L>(PhantomData<L>);

#[expect(clippy::unused_self, reason = "only methods are looked up in this way")]
impl<L: After> Follows<L> {
    fn may_have_a_name(&self) -> bool {
        true
    }
}

#[expect(clippy::unused_self, reason = "only methods are looked up in this way")]
impl<L: HasBody> Follows<L> {
    fn may_have_a_timeout(&self) -> bool {
        true
    }
}

trait No {
    fn may_have_a_name(&self) -> bool {
        false
    }

    fn may_have_a_timeout(&self) -> bool {
        false
    }
}

impl<L> No for Follows<L> {}

fn follows<L>(_: Builder<L>) -> Follows<L> {
    Follows(PhantomData)
}

#[test]
fn before_the_first_step_no_modifier_compiles() {
    assert!(!follows(begin()).may_have_a_name());
    assert!(follows(begin().step("a", mark("a"))).may_have_a_name());
    assert!(!follows(begin().step("a", mark("a")).closed()).may_have_a_name());
}

#[test]
fn a_timeout_of_a_step_that_runs_no_body_does_not_compile() {
    assert!(!follows(begin().wait_for("s", Event::<()>::new("e"), |_| "k")).may_have_a_timeout());
    assert!(!follows(begin().activity("s", Activity::<_, ()>::new("work"), |_| 1)).may_have_a_timeout());
    assert!(!follows(begin().user_task("s", |_| "?").plain_option("yes")).may_have_a_timeout());
    assert!(!follows(begin().sub_workflow("s", WorkflowName::new("other"), |_| 1)).may_have_a_timeout());
    assert!(!follows(begin().saga("s", |saga| saga.step("a", mark("a")))).may_have_a_timeout());
    assert!(
        !follows(begin().parallel("s", |all| all.branch(|b| b.step("a", mark("a"))))).may_have_a_timeout()
    );
    assert!(!follows(begin().delay("s", |_| Duration::ZERO)).may_have_a_timeout());
    let each = begin().for_each("s", |_| vec![1_u32], |one| one.step("a", mark("a")));
    assert!(
        !follows(each).may_have_a_timeout(),
        "it would limit how the items are computed, not the iterations"
    );

    assert!(follows(begin().change("s", |_| ())).may_have_a_timeout());
    begin().change("s", |_| ()).timeout(Duration::from_hours(1)).build().unwrap();
}

#[test]
fn a_timeout_of_several_steps_is_refused_and_says_what_to_use() {
    let both = task::<Line>().change(|_| ()).change("second", |_| ());
    let problem = problem(begin().step("s", both).timeout(Duration::from_hours(1)));
    assert!(problem.starts_with("step \"s\": ") && problem.contains("fail_after"), "{problem}");
}

#[test]
fn a_fallback_runs_in_place_of_a_failed_step_and_knows_why() {
    let world = everywhere(|| {
        world(
            begin()
                .step("try", broken())
                .fallback(|instead| {
                    instead
                        .call("f1", |ctx, _| Ok(ctx.failure().map(|f| f.causes[0].clone())))
                        .output(|why, line| line.push(why.unwrap_or_default()))
                        .if_(
                            "f2",
                            |_| true,
                            |b| {
                                b.call("f3", |ctx, _| Ok(ctx.failure().is_some()))
                                    .output(|knows, line| line.push(knows.to_string()))
                            },
                        )
                })
                .call("after", |ctx, _| Ok(ctx.failure().is_some()))
                .output(|knows, line| line.push(knows.to_string())),
        )
    });
    assert_eq!(line(&world), "broken true false");
    assert_eq!(world.ending, Some(Ending::Completed));
    assert_eq!(world.pointer("try").status, PointerStatus::Failed);
    assert_eq!(world.pointer("try").outcome.as_ref().unwrap()["code"], "error");
    assert_eq!(world.history_ids(), ["try/fallback/f2/0/f3", "try/fallback/f1", "try/fallback/f2"]);
}

#[test]
fn a_go_to_leads_out_of_a_fallback_and_out_of_the_branch_of_a_time_limit() {
    let out = everywhere(|| {
        world(
            begin()
                .step("start", mark("start"))
                .call("try", |_, line| {
                    if line.len() < 2 { Err(crate::steps::StepError::fatal("once")) } else { Ok(()) }
                })
                .fallback(|f| f.step("f", mark("f")).go_to("again", "start"))
                .wait_for("w", Event::<()>::new("e"), |_| "k")
                .on_timeout(
                    |_| Duration::from_secs(1),
                    |late| late.step("late", mark("late")).go_to("skip", "end"),
                )
                .step("never", mark("never"))
                .step("end", mark("end")),
        )
    });
    assert_eq!(line(&out), "start f start late end");
    assert_eq!(out.pointer("w").status, PointerStatus::Cancelled);
}

#[test]
fn a_for_each_whose_items_cannot_be_computed_has_a_fallback_too() {
    let world = everywhere(|| {
        world(
            begin()
                .for_each("all", |_| -> Vec<u32> { panic!("no list") }, |b| b.step("x", mark("x")))
                .fallback(|f| f.step("f", mark("f")))
                .step("after", mark("after")),
        )
    });
    assert_eq!(line(&world), "f after");
}

#[test]
fn a_failing_fallback_is_a_failure_by_itself() {
    let mut world =
        world(begin().step("try", broken()).fallback(|f| f.step("f", broken())).step("after", mark("after")));
    world.play();
    assert_eq!((world.ending, world.cause.unwrap().step.as_str()), (Some(Ending::Failed), "f"));
}
