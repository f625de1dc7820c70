use std::time::Duration;

use wfe::{
    Outcome, Result,
    definition::{
        Activity, Definition, Event, Every, IntoStep, OnFailure, Retry, WorkflowBuilder, WorkflowName, task,
    },
    error::Family,
    status::State,
    steps::StepError,
};
use wfe_testkit::{TestHost, crash::Effects, steps::fail};

use crate::support::{Line, act, begin, dies_everywhere, flaky, runs_alike, undoable, unless_ended};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

fn builder(id: &str) -> WorkflowBuilder<Line> {
    WorkflowBuilder::new(id, 1)
}

#[test]
fn loops_and_branches() {
    runs_alike(|effects| {
        let all = builder("w")
            .step("first", act(effects, "first"))
            .for_each(
                "each",
                |_| vec![1_u32, 2, 3],
                |one| {
                    one.step("a", act(effects, "a")).if_(
                        "two",
                        |_, n| *n == 2,
                        |then| then.step("b", act(effects, "b")),
                    )
                },
            )
            .while_("while", |line| line.n < 8, |round| round.step("c", act(effects, "c")))
            .decide(
                "which",
                |line| line.n,
                |by| {
                    by.when(8, |one| one.step("eight", act(effects, "eight")))
                        .otherwise(|other| other.step("other", act(effects, "other")))
                },
            )
            .if_("back", |line| line.n < 14, |then| then.go_to("up", "while"));
        [all.build().unwrap()]
    });
}

/// Steps that end at once come in any order: the data tells only how many there were.
#[test]
fn branches_at_once() {
    runs_alike(|effects| {
        let all = builder("w")
            .for_each(
                "each",
                |_| vec![1_u32, 2, 3, 4, 5],
                |one| {
                    one.step("a", flaky(effects, 0))
                        .output(|(), line, _| line.n += 1)
                        .step("b", flaky(effects, 0))
                        .output(|(), line, _| line.n += 1)
                },
            )
            .concurrent(3)
            .step("after", act(effects, "after"));
        [all.build().unwrap()]
    });
}

#[test]
fn sagas() {
    runs_alike(|effects| {
        let saga = builder("w").saga("saga", |saga| {
            saga.step("a", undoable(effects, "a", "un-a"))
                .step("b", undoable(effects, "b", "un-b"))
                .for_each("each", |_| vec![1_u32, 2], |one| one.step("c", undoable(effects, "c", "un-c")))
                .saga("inner", |inner| inner.step("d", undoable(effects, "d", "un-d")))
                .step("fail", fail())
        });
        let saga = saga.retry(Retry::exponential().attempts(2).initial(HOUR)).on_failure(OnFailure::Continue);
        [saga.step("after", act(effects, "after")).build().unwrap()]
    });
}

/// The failed step and what it cuts short are compensated, and what a race has cut short too.
#[test]
fn unfinished_steps() {
    runs_alike(|effects| {
        let saga = builder("w").saga("saga", |saga| {
            saga.step("a", undoable(effects, "a", "un-a"))
                .race("race", |first| {
                    first
                        .branch(|b| {
                            b.step("b", undoable(effects, "b", "un-b"))
                                .delay("day", |_| DAY)
                                .compensate_even_if_failed(|undo| undo.step("un-day", act(effects, "un-day")))
                        })
                        .branch(|b| b.delay("hour", |_| HOUR).step("c", act(effects, "c")))
                })
                .step("fail", fail())
                .compensate_even_if_failed(|undo| undo.step("un-fail", act(effects, "un-fail")))
        });
        [saga.step("after", act(effects, "after")).build().unwrap()]
    });
}

#[test]
fn races() {
    runs_alike(|effects| {
        let races = builder("w")
            .for_each(
                "each",
                |_| vec![1_u32, 2, 3],
                |one| {
                    one.race("race", |first| {
                        first
                            .branch(|b| b.delay("work", |_, n| *n * HOUR).step("done", act(effects, "done")))
                            .branch(|b| {
                                b.delay("limit", |_, _| HOUR * 5 / 2).step("late", act(effects, "late"))
                            })
                    })
                },
            )
            .parallel("both", |all| {
                all.branch(|b| {
                    b.delay("long", |_| DAY)
                        .cancel_branch_when(|line| line.n > 3)
                        .step("x", act(effects, "x"))
                })
                .branch(|b| b.delay("short", |_| HOUR).step("b", act(effects, "b")))
            });
        [races.step("after", act(effects, "after")).build().unwrap()]
    });
}

#[test]
fn time() {
    runs_alike(|effects| {
        let all = builder("w")
            .after("side", |_| 5 * HOUR, |side| side.step("later", act(effects, "later")))
            .delay("day", |_| HOUR)
            .step("flaky", flaky(effects, 2))
            .retry(Retry::exponential().attempts(3).initial(HOUR).jitter(0.0))
            .step("a", act(effects, "a"))
            .recur(
                "tick",
                Every::interval(DAY),
                |line| line.n >= 4,
                |tick| tick.step("t", act(effects, "t")),
            );
        [all.build().unwrap()]
    });
}

#[test]
fn failures() {
    runs_alike(|effects| {
        let all = builder("w")
            .step("a", act(effects, "a"))
            .step("fail", fail())
            .fallback(|instead| instead.step("instead", act(effects, "instead")))
            .step("flaky", flaky(effects, 3))
            .retry(Retry::every(Duration::ZERO).attempts(4))
            .step("end", fail());
        [all.build().unwrap()]
    });
}

#[test]
fn children() {
    runs_alike(|effects| {
        let one = builder("child").delay("hour", |_| HOUR).step("c", act(effects, "c"));
        let all = builder("w")
            .for_each(
                "each",
                |_| vec![1_u32, 2],
                |one| {
                    one.sub_workflow("run", WorkflowName::<Line>::new("child"), |_, n| Line {
                        n: *n,
                        ..Line::default()
                    })
                    .output(|child, line, _| line.n += child.n)
                },
            )
            .concurrent(2)
            .step("after", act(effects, "after"));
        [all.build().unwrap(), one.build().unwrap()]
    });
}

const WORD: Event<String> = Event::new("word");

fn waiting(effects: &Effects) -> Definition<Line> {
    builder("w")
        .while_(
            "three",
            |line| line.words.len() < 3,
            |round| round.wait_for("word", WORD, |_| "k").output(|word, line| line.words.push(word)),
        )
        .step("a", act(effects, "a"))
        .wait_for("last", WORD, |_| "k")
        .output(|word, line| line.words.push(word))
        .on_timeout(|_| DAY, |late| late.step("late", act(effects, "late")))
        .build()
        .unwrap()
}

async fn publish(host: &TestHost, word: &str) -> Result<()> {
    host.publish(WORD, "k", word.to_owned()).id(word).await?;
    Ok(())
}

#[test]
fn events() {
    dies_everywhere(async |life| {
        let (host, id) = begin(&life, [waiting(&life.effects)]).await?;
        publish(&host, "one").await?;
        host.idle().await?;
        publish(&host, "two").await?;
        publish(&host, "three").await?;
        host.idle().await?;
        host.run_to_end::<Line>(&id).await?;
        host.final_state(&id).await
    });
}

#[test]
fn work_outside() {
    dies_everywhere(async |life| {
        let effects = &life.effects;
        let definition = builder("w")
            .activity("price", Activity::<u32, u32>::new("price"), |line| line.n)
            .output(|price, line| line.n = price)
            .step("a", act(effects, "a"))
            .user_task("ask", |_| "?")
            .option("yes", |yes| yes.step("yes", act(effects, "yes")))
            .escalate(|_| DAY, |late| late.step("remind", act(effects, "remind")))
            .step("after", act(effects, "after"));
        let (host, id) = begin(&life, [definition.build().unwrap()]).await?;
        while !host.status(&id).await?.state.is_final() {
            // What a worker that died has claimed is free after its lease.
            host.advance(Duration::from_mins(1)).await?;
            host.work("price", |_| Ok(7)).await?;
            host.idle().await?;
            for open in host.user_tasks().await? {
                host.advance(DAY).await?;
                match host.choose(&open.id, "yes").await {
                    Ok(()) => {}
                    Err(error) if error.family() == Family::Worker => {}
                    Err(error) => return Err(error),
                }
            }
        }
        host.final_state(&id).await
    });
}

/// The deciding commit closes the wait for an answer first. The process may die before and after.
#[test]
fn a_race_between_a_worker_and_a_delay() {
    dies_everywhere(async |life| {
        let effects = &life.effects;
        let race = builder("w").race("race", |first| {
            first
                .branch(|b| b.activity("price", Activity::<u32, u32>::new("price"), |line| line.n))
                .branch(|b| b.delay("hour", |_| HOUR).step("late", act(effects, "late")))
        });
        let (host, id) = begin(&life, [race.step("after", act(effects, "after")).build().unwrap()]).await?;
        host.run_to_end::<Line>(&id).await?;
        host.final_state(&id).await
    });
}

#[test]
fn an_activity_that_nobody_claims() {
    dies_everywhere(async |life| {
        let effects = &life.effects;
        let definition = builder("w")
            .activity("price", Activity::<u32, u32>::new("price"), |line| line.n)
            .claim_within(|_| Duration::from_hours(1))
            .on_timeout(|_| DAY, |late| late.step("late", act(effects, "late")))
            .step("after", act(effects, "after"));
        let (host, id) = begin(&life, [definition.build().unwrap()]).await?;
        host.run_to_end::<Line>(&id).await?;
        host.final_state(&id).await
    });
}

#[test]
fn a_cancelled_saga() {
    dies_everywhere(async |life| {
        let saga = builder("w").saga("saga", |saga| {
            saga.step("a", undoable(&life.effects, "a", "un-a"))
                .step("b", undoable(&life.effects, "b", "un-b"))
                .delay("long", |_| DAY)
        });
        let (host, id) = begin(&life, [saga.build().unwrap()]).await?;
        host.idle().await?;
        unless_ended(host.host().cancel(&id).await)?;
        host.idle().await?;
        host.final_state(&id).await
    });
}

/// Fails in its first execution.
fn second_time(effects: &Effects) -> impl IntoStep<Line> {
    task::<Line>().with(effects.clone()).call(|ctx, _| {
        ctx.app.happen(ctx);
        if ctx.idempotency_key().contains('#') { Ok(()) } else { Err(StepError::fatal("once")) }
    })
}

#[test]
fn a_retried_instance() {
    dies_everywhere(async |life| {
        let effects = &life.effects;
        let flow = builder("w")
            .parallel("all", |all| {
                all.branch(|b| b.delay("hour", |_| HOUR).step("fails", second_time(effects)))
                    .branch(|b| {
                        b.step("a", act(effects, "a"))
                            .wait_for("word", WORD, |_| "k")
                            .output(|word, line| line.words.push(word))
                    })
                    .branch(|b| b.delay("day", |_| DAY).step("b", act(effects, "b")))
            })
            .step("after", act(effects, "after"));
        let (host, id) = begin(&life, [flow.build().unwrap()]).await?;
        while let Outcome::Failed(_) = host.run_to_end::<Line>(&id).await? {
            publish(&host, "one").await?;
            host.retry(&id).await?;
        }
        host.final_state(&id).await
    });
}

#[test]
fn a_retried_saga() {
    dies_everywhere(async |life| {
        let effects = &life.effects;
        let flow = builder("w")
            .saga("saga", |saga| {
                saga.step("a", undoable(effects, "a", "un-a")).step("b", undoable(effects, "b", "un-b")).call(
                    "c",
                    |ctx, _| {
                        if ctx.idempotency_key().contains("saga/1/") {
                            Err(StepError::fatal("first round"))
                        } else {
                            Ok(())
                        }
                    },
                )
            })
            .on_failure(OnFailure::Fail)
            .step("after", act(effects, "after"));
        let (host, id) = begin(&life, [flow.build().unwrap()]).await?;
        while let Outcome::Failed(_) = host.run_to_end::<Line>(&id).await? {
            host.retry(&id).await?;
        }
        host.final_state(&id).await
    });
}

/// A race in a saga, whose loser is half done, and a step that fails the instance beside it: the retry comes when the
/// claim limit, the cancel condition and the race are all under way.
#[test]
fn a_retried_race_in_a_saga() {
    dies_everywhere(async |life| {
        let effects = &life.effects;
        let flow = builder("w")
            .parallel("all", |all| {
                all.branch(|b| b.delay("hour", |_| HOUR).step("fails", second_time(effects)))
                    .branch(|b| {
                        b.saga("saga", |saga| {
                            saga.step("a", undoable(effects, "a", "un-a"))
                                .race("race", |first| {
                                    first
                                        .branch(|b| {
                                            b.activity("price", Activity::<u32, u32>::new("price"), |line| {
                                                line.n
                                            })
                                            .claim_within(|_| 3 * HOUR)
                                            .on_timeout(
                                                |_| DAY,
                                                |late| {
                                                    late.delay("later", |_| DAY).compensate_even_if_failed(
                                                        |undo| {
                                                            undo.step("un-later", act(effects, "un-later"))
                                                        },
                                                    )
                                                },
                                            )
                                        })
                                        .branch(|b| {
                                            b.delay("long", |_| 6 * HOUR).step("b", act(effects, "b"))
                                        })
                                })
                                .step("fail", fail())
                        })
                        .on_failure(OnFailure::Continue)
                    })
                    .branch(|b| {
                        b.delay("days", |_| 9 * DAY)
                            .cancel_branch_when(|line| line.words.iter().any(|word| word == "un-later"))
                            .step("never", act(effects, "never"))
                    })
            })
            .step("after", act(effects, "after"));
        let (host, id) = begin(&life, [flow.build().unwrap()]).await?;
        while let Outcome::Failed(_) = host.run_to_end::<Line>(&id).await? {
            host.retry(&id).await?;
        }
        host.final_state(&id).await
    });
}

#[test]
fn a_restarted_instance() {
    dies_everywhere(async |life| {
        let flow = builder("w")
            .step("a", act(&life.effects, "a"))
            .call("b", |_, line| if line.n < 10 { Err(StepError::fatal("too few")) } else { Ok(()) });
        let (host, id) = begin(&life, [flow.build().unwrap()]).await?;
        let mut newest = id;
        while let Outcome::Failed(_) = host.run_to_end::<Line>(&newest).await? {
            newest = if let Some(newer) = host.status(&newest).await?.restarted_as {
                newer
            } else {
                host.restart(&newest, &Line { n: 10, ..Line::default() }).await?.into_id()
            };
        }
        host.final_state(&newest).await
    });
}

#[test]
fn a_suspended_instance() {
    dies_everywhere(async |life| {
        let two = builder("w").delay("day", |_| DAY).step("a", act(&life.effects, "a"));
        let (host, id) = begin(&life, [two.build().unwrap()]).await?;
        host.idle().await?;
        unless_ended(host.host().suspend(&id).await)?;
        host.advance(2 * DAY).await?;
        let status = host.status(&id).await?.state;
        assert!(status == State::Suspended || status.is_final());
        unless_ended(host.host().resume(&id).await)?;
        host.run_to_end::<Line>(&id).await?;
        host.final_state(&id).await
    });
}
