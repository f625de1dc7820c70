use wfe::definition::{Every, Sequence};

use super::prelude::*;

scenarios!("nesting":
    everything_in_everything_ends,
    a_go_to_out_of_a_nested_loop_cancels_what_is_in_it,
    a_failure_deep_inside_reaches_the_saga_around_all_of_it,
    steps_nest_fifty_deep,
);

/// One workflow with for-each, parallel, saga, while, wait, schedule, decision, delay, sub-workflow, activity, user
/// task and recur.
async fn everything_in_everything_ends(stage: Stage) -> Checked<()> {
    let inner = begin("inner").delay("hour", |_| HOUR).step("i", mark("inner"));
    let all = begin("all")
        .for_each(
            "each",
            |_| vec![1_u64, 2],
            |one| {
                one.parallel("both", |all| {
                    all.branch(|b| {
                        b.saga("saga", |saga| {
                            saga.step("pay", mark_item("pay"))
                                .compensate_with(|undo| undo.step("refund", mark_item("refund")))
                                .if_("second", |_, n| *n == 2, |then| then.step("fail", fail()))
                        })
                        .on_failure(OnFailure::Continue)
                    })
                    .branch(|b| {
                        b.wait_for("wait", Event::<String>::new("go"), |_, n| n.to_string())
                            .output(|word, s, _| note(word, s))
                            .on_timeout(|_, _| DAY, |late| late.step("late", mark_item("late")))
                            .sub_workflow("child", WorkflowName::new("inner"), |_, _| Story::default())
                    })
                })
            },
        )
        .concurrent(2)
        .while_(
            "rounds",
            |s| s.n < 2,
            |round| {
                round.step("count", count()).decide(
                    "which",
                    |s| s.n,
                    |by| {
                        by.when(1, |one| {
                            one.activity("work", Activity::<_, String>::new("work"), |s| s.n).output(note)
                        })
                        .otherwise(|other| {
                            other.user_task("ask", |_| "?").option("ok", |ok| ok.step("said", mark("said")))
                        })
                    },
                )
            },
        )
        .recur("tick", Every::interval(HOUR), |s| s.n >= 4, |tick| tick.step("more", count()))
        .after("side", |_| MINUTE, |side| side.step("beside", mark("beside")))
        .step("last", mark("last"));
    let host = stage.host_that_waits([built(all)?, built(inner)?]).await?;
    let id = host.start_workflow("all", &Story::default()).await?;
    host.idle().await?;
    host.publish_event("go", "1", "go1").await?;
    host.advance(2 * DAY).await?;
    host.work("work", |_| Ok("worked")).await?;
    host.idle().await?;
    let task = host.user_tasks().await?.remove(0);
    host.choose(&task.id, "ok").await?;
    let story = completed(&host, &id).await?;
    assert_eq!(story.n, 4);
    assert_eq!(story.words.iter().filter(|word| *word == "refund2").count(), 1);
    for word in ["pay1", "pay2", "go1", "late2", "worked", "said", "last", "beside"] {
        assert!(story.words.iter().any(|w| w == word), "{word} is missing in {:?}", story.words);
    }
    assert_eq!(story.words.len(), 9);
    Ok(())
}

async fn a_go_to_out_of_a_nested_loop_cancels_what_is_in_it(stage: Stage) -> Checked<()> {
    let out = begin("out")
        .step("count", count())
        .if_(
            "once",
            |s| s.n < 2,
            |then| {
                then.parallel("both", |all| {
                    all.branch(|b| {
                        b.for_each(
                            "each",
                            |_| vec![0_u64, 1],
                            |one| one.delay("long", |_, _| DAY).step("never", mark_item("never")),
                        )
                        .concurrent(2)
                    })
                    .branch(|b| b.delay("hour", |_| HOUR).go_to("out", "count"))
                })
            },
        )
        .step("last", mark("last"));
    let host = stage.host([built(out)?]).await?;
    let id = host.start_workflow("out", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "last");
    host.advance(2 * DAY).await?;
    assert_eq!(host.data::<Story>(&id).await?.words, ["last"]);
    Ok(())
}

async fn a_failure_deep_inside_reaches_the_saga_around_all_of_it(stage: Stage) -> Checked<()> {
    let deep = begin("deep")
        .saga("saga", |saga| {
            saga.step("a", mark("a")).compensate_with(|b| b.step("un-a", mark("un-a"))).while_(
                "always",
                |_| true,
                |round| {
                    round.for_each(
                        "each",
                        |_| vec![0_u64, 1],
                        |one| {
                            one.step("b", mark_item("b"))
                                .compensate_with(|b| b.step("un-b", mark_item("un-b")))
                                .if_("second", |_, n| *n == 1, |then| then.step("fail", fail()))
                        },
                    )
                },
            )
        })
        .step("after", mark("after"));
    let host = stage.host([built(deep)?]).await?;
    let id = host.start_workflow("deep", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "a b0 b1 un-b1 un-b0 un-a after");
    Ok(())
}

fn nested(steps: Sequence<Story>, depth: u32) -> Sequence<Story> {
    if depth == 0 {
        return steps.step("bottom", mark("bottom")).closed();
    }
    let (id, inner) = (format!("d{depth}"), |b| nested(b, depth - 1));
    match depth % 4 {
        0 => steps.if_(id, |_| true, inner),
        1 => steps.parallel(id, |all| all.branch(inner)),
        2 => steps.saga(id, inner),
        _ => steps.while_(id, |s| s.words.is_empty(), inner),
    }
    .closed()
}

async fn steps_nest_fifty_deep(stage: Stage) -> Checked<()> {
    let deep = begin("deep").if_("top", |_| true, |b| nested(b, 49)).step("after", mark("after"));
    let host = stage.host([built(deep)?]).await?;
    let id = host.start_workflow("deep", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "bottom after");
    Ok(())
}
