//! Modifiers that are called twice, and the ids of steps that a helper function made.

use std::time::Duration;

use chrono::DateTime;

use super::{
    definitions::problem,
    scenario::{Builder, Line, begin, everywhere, line, mark, world},
};
use crate::{
    WfeError,
    definition::{Activity, Block, Event, IntoStep, OnFailure, Retry, WorkflowBuilder, WorkflowName, task},
    steps::StepError,
    traits::Ending,
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_modifier_that_is_called_twice_for_one_step_is_refused_naming_both() {
    let a = || begin().step("a", mark("a"));
    let each = || begin().for_each("a", |_| vec![0], |each| each.step("x", mark("x")));
    let work = || begin().activity("a", Activity::<(), ()>::new("work"), |_| ());
    let wait = || begin().wait_for("a", Event::<()>::new("e"), |_| "k");
    let ask = || begin().user_task("a", |_| "?").plain_option("yes");
    let child = || begin().sub_workflow("a", WorkflowName::<Line>::new("child"), Clone::clone);
    let saved =
        || begin().saga("s", |s| s.step("a", mark("a")).compensate_with(|u| u.step("u", mark("u"))).closed());
    assert!(saved().build().is_ok());
    for (what, builder) in [
        ("`name`", a().name("A").name("B").closed()),
        ("`retry`", a().retry(Retry::never()).retry(Retry::exponential()).closed()),
        ("`on_failure`", a().on_failure(OnFailure::Suspend).on_failure(OnFailure::Fail).closed()),
        ("`timeout`", begin().change("a", |_| ()).timeout(SECOND).timeout(SECOND).closed()),
        (
            "`fallback`",
            a().fallback(|f| f.step("f", mark("f"))).fallback(|f| f.step("g", mark("g"))).closed(),
        ),
        ("`cancel_when`", a().cancel_when(|_| false).cancel_when(|_| true).closed()),
        ("`compensate_with`", {
            let twice = |s: Builder| {
                s.step("a", mark("a"))
                    .compensate_with(|u| u.step("u", mark("u")))
                    .compensate_with(|u| u.step("v", mark("v")))
            };
            begin().saga("s", twice).closed()
        }),
        ("a limit of items at once", each().concurrent(2).all_at_once().closed()),
        (
            "a time limit (`on_timeout` or `fail_after`)",
            work().fail_after(|_| SECOND).on_timeout(|_| SECOND, |late| late.step("l", mark("l"))).closed(),
        ),
        (
            "`effective`",
            wait().effective(|_| DateTime::UNIX_EPOCH).effective(|_| DateTime::UNIX_EPOCH).closed(),
        ),
        ("`assignee`", ask().assignee(|_| "ada").assignee(|_| "bo").closed()),
        ("`version`", child().version(1).version(2).closed()),
    ] {
        assert_eq!(
            problem(builder),
            format!(
                "step \"a\": it has {what} twice, of which a helper may have set the first; keep one of them"
            )
        );
    }
    let by_helper =
        begin().step("a", task::<Line>().change(|_| ()).retry(Retry::never())).retry(Retry::never());
    assert!(problem(by_helper).starts_with("step \"a\": it has `retry` twice"));
    let outputs = wait().output(|(), _| ()).output(|(), _| ());
    assert!(outputs.build().is_ok(), "every output of a wait runs");
}

#[test]
fn with_comes_before_the_first_step() {
    let late = begin().step("a", mark("a")).closed().with(7).step("b", mark("b"));
    match late.build() {
        Err(WfeError::InvalidDefinition { problem, .. }) => assert_eq!(
            problem,
            "step \"a\": `with` comes after it; put `with` before the first step, so that every body has it"
        ),
        other => panic!("built: {other:?}"),
    }
    assert!(begin().with(7).step("a", mark("a")).closed().step("b", mark("b")).build().is_ok());
}

/// Tries twice, then gives up: several steps, with a go-to, a fallback, a saga and a for-each among them.
fn tries(word: &'static str) -> impl IntoStep<Line> {
    task::<Line>()
        .change(move |line| line.push(word.to_owned()))
        .for_each("marks", |line| vec![line.len()], |each| each.call("length", |_, _, n| Ok(*n)))
        .then("read", async |ctx, _| {
            let mut marks = ctx.results::<usize>("marks");
            let mark = marks.next().await?.ok_or("no mark")?;
            Ok(mark.item)
        })
        .output(|length, line| line.push(length.to_string()))
        .if_(
            "again",
            move |line| line.iter().filter(|it| **it == word).count() < 2,
            |then| then.go_to("back", "1"),
        )
        .saga("both", |saga| {
            saga.step("do", mark("done"))
                .compensate_with(|undo| undo.step("undo", mark("undone")))
                .call("break", |_, _| Err::<(), _>(StepError::fatal("no")))
        })
        .fallback(|instead| instead.step("instead", mark("instead")))
}

/// One step, whose inner steps have ids of the helper's own.
fn broken(word: &'static str) -> impl IntoStep<Line> {
    task::<Line>()
        .call(|_, _| Err::<(), _>(StepError::fatal("no")))
        .fallback(move |instead| instead.step("instead", mark(word)))
}

fn used_twice() -> Builder<Block> {
    begin()
        .step("first", tries("a"))
        .step("second", tries("b"))
        .step("third", broken("c"))
        .block("around", |all| all.step("inner", task::<Line>().change(|_| ()).step("nested", tries("d"))))
}

#[test]
fn a_helper_is_used_twice_and_its_inner_ids_follow_the_id_of_each_use() {
    let definition = used_twice().build().unwrap();
    let inside = ["1", "marks", "length", "read", "again", "back", "both", "do", "undo", "break", "instead"];
    let mut expected = Vec::new();
    for helper in ["first", "second"] {
        expected.push(helper.to_owned());
        expected.extend(inside.map(|id| format!("{helper}.{id}")));
    }
    expected
        .extend(["third", "third.instead", "around", "inner", "inner.1", "inner.nested"].map(str::to_owned));
    expected.extend(inside.map(|id| format!("inner.nested.{id}")));
    assert_eq!(definition.step_ids().collect::<Vec<_>>(), expected);
    let to = |step| definition.outline().step(step).and_then(|it| it.to.clone());
    assert_eq!(to("second.back").as_deref(), Some("second.1"));
    assert_eq!(to("inner.nested.back").as_deref(), Some("inner.nested.1"));
}

#[test]
fn a_helper_that_is_used_twice_runs_twice_whenever_the_process_dies() {
    let world = everywhere(|| {
        let twice = begin().step("first", broken("a")).step("second", broken("b")).step(
            "third",
            task::<Line>().change(|line| line.push("c".to_owned())).if_(
                "again",
                |line| line.iter().filter(|it| *it == "c").count() < 2,
                |then| then.go_to("back", "1"),
            ),
        );
        world(twice)
    });
    assert_eq!((world.ending, &*line(&world)), (Some(Ending::Completed), "a b c c"));
}

#[test]
fn a_go_to_of_a_helper_leads_out_of_it_only_to_a_step_that_it_does_not_have() {
    let out = || task::<Line>().change(|_| ()).if_("over", |_| true, |over| over.go_to("out", "end"));
    let definition = begin().step("a", out()).change("middle", |_| ()).change("end", |_| ()).build().unwrap();
    assert_eq!(definition.outline().step("a.out").and_then(|it| it.to.clone()).as_deref(), Some("end"));
    let own = || out().change("end", |_| ());
    let definition = begin().step("a", own()).change("end", |_| ()).build().unwrap();
    assert_eq!(definition.outline().step("a.out").and_then(|it| it.to.clone()).as_deref(), Some("a.end"));
    let clash = WorkflowBuilder::<Line>::new("w", 1).step("a", own()).change("a.end", |_| ());
    assert_eq!(problem(clash), "two steps have the id \"a.end\"; give each step its own id");
}
