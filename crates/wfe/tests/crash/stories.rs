use std::time::Duration;

use wfe::{
    Family, PublishOptions, Result,
    definition::{Every, OnFailure, Retry, WorkflowBuilder, activity, child, each, event, user_task},
    models::WorkflowStatus,
};
use wfe_testkit::{TestHost, crash::Effects, steps::fail};

use crate::support::{Body, Line, Plain, act, begin, dies_everywhere, flaky, runs_alike, undoable};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

fn builder(id: &str) -> WorkflowBuilder<Line> {
    WorkflowBuilder::new(id, 1)
}

#[test]
fn loops_and_branches() {
    runs_alike(|effects| {
        let all = builder("w")
            .then("first", act(effects, "first"))
            .for_each("each", each(|_: &Line| vec![1_u32, 2, 3]), |one: Body<u32>| {
                one.then("a", act(effects, "a")).if_(
                    "two",
                    |_, n| *n == 2,
                    |then| then.then("b", act(effects, "b")),
                )
            })
            .while_("while", |line, ()| line.n < 8, |round| round.then("c", act(effects, "c")))
            .decide(
                "which",
                |line, ()| line.n,
                |by| {
                    by.when(8, |one| one.then("eight", act(effects, "eight")))
                        .otherwise(|other| other.then("other", act(effects, "other")))
                },
            )
            .if_("back", |line, ()| line.n < 14, |then| then.go_to("up", "while"));
        [all.build().unwrap()]
    });
}

/// Steps that end at once come in any order: the data tells only how many there were.
#[test]
fn branches_at_once() {
    runs_alike(|effects| {
        let count = || -> Plain<(), u32> { flaky(effects, 0).output(|(), line: &mut Line| line.n += 1) };
        let all = builder("w")
            .for_each("each", each(|_: &Line| vec![1_u32, 2, 3, 4, 5]).parallel(3), |one: Body<u32>| {
                one.then("a", count()).then("b", count())
            })
            .then("after", act(effects, "after"));
        [all.build().unwrap()]
    });
}

#[test]
fn sagas() {
    runs_alike(|effects| {
        let saga = builder("w").saga("saga", |saga| {
            undoable(undoable(saga, effects, "a", "un-a"), effects, "b", "un-b")
                .for_each("each", each(|_: &Line| vec![1_u32, 2]), |one: Body<u32>| {
                    undoable(one, effects, "c", "un-c")
                })
                .saga("inner", |inner| undoable(inner, effects, "d", "un-d"))
                .then("fail", fail())
        });
        let saga = saga.retry(Retry::up_to(1).initial(HOUR)).on_failure(OnFailure::Continue);
        [saga.then("after", act(effects, "after")).build().unwrap()]
    });
}

#[test]
fn time() {
    runs_alike(|effects| {
        let all = builder("w")
            .after("side", |_, ()| 5 * HOUR, |side| side.then("later", act(effects, "later")))
            .delay("day", |_, ()| HOUR)
            .then("flaky", flaky(effects, 2).retry(Retry::up_to(2).initial(HOUR).jitter(0.0)))
            .then("a", act(effects, "a"))
            .recur(
                "tick",
                Every::interval(DAY),
                |line, ()| line.n >= 4,
                |tick| tick.then("t", act(effects, "t")),
            );
        [all.build().unwrap()]
    });
}

#[test]
fn failures() {
    runs_alike(|effects| {
        let all = builder("w")
            .then("a", act(effects, "a"))
            .then("fail", fail())
            .fallback(|b| b.then("instead", act(effects, "instead")))
            .then("flaky", flaky(effects, 3).retry(Retry::up_to(3).initial(Duration::ZERO)))
            .then("end", fail());
        [all.build().unwrap()]
    });
}

#[test]
fn children() {
    runs_alike(|effects| {
        let one = builder("child").delay("hour", |_, ()| HOUR).then("c", act(effects, "c"));
        let all = builder("w")
            .for_each("each", each(|_: &Line| vec![1_u32, 2]).parallel(2), |one| {
                one.sub_workflow(
                    "run",
                    child("child", |_: &Line, n: &u32| Line { n: *n, ..Line::default() })
                        .output(|of: &Line, own: &mut Line| own.n += of.n),
                )
            })
            .then("after", act(effects, "after"));
        [all.build().unwrap(), one.build().unwrap()]
    });
}

fn waiting(effects: &Effects) -> wfe::definition::Definition {
    let word = || {
        event("word", |_: &Line, ()| "k")
            .output(|word: &String, line: &mut Line| line.words.push(word.clone()))
    };
    builder("w")
        .while_("three", |line, ()| line.words.len() < 3, |round| round.wait_for("word", word()))
        .then("a", act(effects, "a"))
        .wait_for("last", word().timeout(|_, ()| DAY, |late| late.then("late", act(effects, "late"))))
        .build()
        .unwrap()
}

async fn publish(host: &TestHost, word: &str) -> Result<()> {
    let options = PublishOptions { id: Some(word.to_owned()), ..PublishOptions::default() };
    host.host().publish_event_with("word", "k", word, options).await?;
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
            .activity(
                "price",
                activity("price", |line: &Line, ()| line.n).output(|n: &u32, l: &mut Line| l.n = *n),
            )
            .then("a", act(effects, "a"))
            .user_task(
                "ask",
                user_task(|_: &Line, ()| "?")
                    .option("yes", |yes| yes.then("yes", act(effects, "yes")))
                    .escalate(|_, ()| DAY, |b| b.then("remind", act(effects, "remind"))),
            )
            .then("after", act(effects, "after"));
        let (host, id) = begin(&life, [definition.build().unwrap()]).await?;
        while !host.status(&id).await?.status.is_final() {
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

#[test]
fn a_cancelled_saga() {
    dies_everywhere(async |life| {
        let saga = builder("w").saga("saga", |saga| {
            undoable(undoable(saga, &life.effects, "a", "un-a"), &life.effects, "b", "un-b")
                .delay("long", |_, ()| DAY)
        });
        let (host, id) = begin(&life, [saga.build().unwrap()]).await?;
        host.idle().await?;
        host.host().cancel(&id).await?;
        host.idle().await?;
        host.final_state(&id).await
    });
}

#[test]
fn a_suspended_instance() {
    dies_everywhere(async |life| {
        let two = builder("w").delay("day", |_, ()| DAY).then("a", act(&life.effects, "a"));
        let (host, id) = begin(&life, [two.build().unwrap()]).await?;
        host.idle().await?;
        host.host().suspend(&id).await?;
        host.advance(2 * DAY).await?;
        let status = host.status(&id).await?.status;
        assert!(status == WorkflowStatus::Suspended || status.is_final());
        host.host().resume(&id).await?;
        host.run_to_end::<Line>(&id).await?;
        host.final_state(&id).await
    });
}
