use super::prelude::*;
use wfe_core::sync::lock;

scenarios!("sub-workflows":
    a_child_gives_its_data_back_to_its_parent,
    children_of_a_while_follow_one_another,
    children_of_a_parallel_for_each_run_at_once_and_are_joined,
    a_child_that_fails_fails_its_parent_s_step_with_its_cause,
    a_cancelled_parent_cancels_its_child_which_compensates_its_saga,
    a_child_that_takes_too_long_is_cancelled,
    children_have_children,
    a_child_waits_for_events_as_others_do,
    an_event_from_before_a_child_existed_reaches_it_only_with_an_effective_date,
    an_event_from_before_a_child_existed_is_skipped_though_the_clock_does_not_move,
);

fn doubling() -> WorkflowBuilder<u64> {
    WorkflowBuilder::<u64>::new("double", 1)
        .delay("hour", |_, ()| HOUR)
        .then("double", inline(|_, _| async { Ok(()) }).output(|(), n: &mut u64| *n *= 2))
}

async fn a_child_gives_its_data_back_to_its_parent(stage: Stage) -> Checked<()> {
    let parent = begin("parent")
        .sub_workflow("child", child("double", |s: &Story, ()| s.n).output(|n: &u64, s: &mut Story| s.n = *n))
        .then("a", mark("after"));
    let host = stage.host_that_waits([built(parent)?, doubling().build()?]).await?;
    let id = host.start_workflow("parent", &Story { n: 4, ..Story::default() }).await?;
    let story = completed(&host, &id).await?;
    assert_eq!((story.n, story.words.len()), (8, 1));
    Ok(())
}

async fn children_of_a_while_follow_one_another(stage: Stage) -> Checked<()> {
    let parent = begin("parent").while_(
        "small",
        |s, ()| s.n < 100,
        |round| {
            round
                .sub_workflow(
                    "child",
                    child("double", |s: &Story, ()| s.n).output(|n: &u64, s: &mut Story| s.n = *n),
                )
                .then("a", mark("round"))
        },
    );
    let host = stage.host_that_waits([built(parent)?, doubling().build()?]).await?;
    let (id, began) =
        (host.start_workflow("parent", &Story { n: 7, ..Story::default() }).await?, stage.clock.now());
    let story = completed(&host, &id).await?;
    assert_eq!((story.n, story.words.len()), (112, 4));
    assert_eq!(stage.clock.now() - began, chrono::TimeDelta::hours(4));
    Ok(())
}

async fn children_of_a_parallel_for_each_run_at_once_and_are_joined(stage: Stage) -> Checked<()> {
    let parent = begin("fan").for_each("all", each(|_: &Story| (1..=10_u64).collect()).parallel(10), |one| {
        one.sub_workflow(
            "child",
            child("double", |_: &Story, n: &u64| *n).output(|n: &u64, s: &mut Story| s.n += n),
        )
    });
    let host = stage.host_that_waits([built(parent)?, doubling().build()?]).await?;
    let (id, began) = (host.start_workflow("fan", &Story::default()).await?, stage.clock.now());
    assert_eq!(completed(&host, &id).await?.n, 110);
    assert_eq!(stage.clock.now() - began, chrono::TimeDelta::hours(1));
    Ok(())
}

async fn a_child_that_fails_fails_its_parent_s_step_with_its_cause(stage: Stage) -> Checked<()> {
    let bad: Plain<(), ()> = inline(|_, _| async { Err(StepError::fatal("no money").with_code("broke")) });
    let parent = begin("parent")
        .sub_workflow("child", child("bad", |_: &Story, ()| Story::default()))
        .fallback(|instead| instead.then("a", mark("instead")));
    let host = stage.host_that_waits([built(parent)?, built(begin("bad").then("pay", bad))?]).await?;
    let id = host.start_workflow("parent", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "instead");
    let failures = host.failures(&id).await?;
    assert_eq!((&*failures[0].code, &failures[0].causes[..]), ("broke", &["no money".to_owned()][..]));
    Ok(())
}

fn saga(id: &str, words: &Arc<std::sync::Mutex<Vec<&'static str>>>) -> Checked<wfe::definition::Definition> {
    let words = words.clone();
    let revert: Plain<(), ()> = inline(move |_, _| {
        let words = words.clone();
        async move {
            lock(&words).push("compensated");
            Ok(())
        }
    });
    built(begin(id).saga("saga", |saga| {
        saga.then("do", mark("done"))
            .compensate_with(|b| b.then("revert", revert))
            .delay("long", |_, ()| 30 * DAY)
    }))
}

async fn a_cancelled_parent_cancels_its_child_which_compensates_its_saga(stage: Stage) -> Checked<()> {
    let compensated = Arc::default();
    let parent = begin("parent").sub_workflow("child", child("saga", |_: &Story, ()| Story::default()));
    let host = stage.host_that_waits([built(parent)?, saga("saga", &compensated)?]).await?;
    let id = host.start_workflow("parent", &Story::default()).await?;
    host.idle().await?;
    host.host().cancel(&id).await?;
    host.idle().await?;
    assert_eq!(host.outcome::<Story>(&id).await?, Some(Outcome::Cancelled));
    assert_eq!(*lock(&compensated), ["compensated"]);
    Ok(())
}

async fn a_child_that_takes_too_long_is_cancelled(stage: Stage) -> Checked<()> {
    let compensated = Arc::default();
    let timed = child("saga", |_: &Story, ()| Story::default())
        .timeout(|_, ()| DAY, |late| late.then("late", mark("late")));
    let host = stage
        .host_that_waits([built(begin("parent").sub_workflow("child", timed))?, saga("saga", &compensated)?])
        .await?;
    let id = host.start_workflow("parent", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "late");
    assert_eq!(*lock(&compensated), ["compensated"]);
    Ok(())
}

async fn children_have_children(stage: Stage) -> Checked<()> {
    let mut definitions = vec![doubling().build()?];
    for (id, of) in [("b", "double"), ("c", "b")] {
        let middle = WorkflowBuilder::<u64>::new(id, 1)
            .sub_workflow("child", child(of, |n: &u64, ()| *n).output(|n: &u64, own: &mut u64| *own = n + 1));
        definitions.push(middle.build()?);
    }
    let [a, b, c] = <[_; 3]>::try_from(definitions).unwrap_or_else(|_| unmet("there are three"));
    let host = stage.host_that_waits([a, b, c]).await?;
    let id = host.start_workflow("c", &5_u64).await?;
    assert_eq!(host.run_to_end::<u64>(&id).await?, Outcome::Completed(12));
    Ok(())
}

async fn a_child_waits_for_events_as_others_do(stage: Stage) -> Checked<()> {
    let told = begin("told").wait_for(
        "wait",
        event("n", |s: &Story, ()| s.text.clone()).output(|n: &u64, s: &mut Story| s.n = *n),
    );
    let parent = begin("parent").for_each(
        "all",
        each(|_: &Story| vec!["x".to_owned(), "y".to_owned()]).parallel(2),
        |one| {
            one.sub_workflow(
                "child",
                child("told", |_: &Story, text: &String| Story { text: text.clone(), ..Story::default() })
                    .output(|told: &Story, s: &mut Story| s.words.push(format!("{}{}", told.text, told.n))),
            )
        },
    );
    let host = stage.host_that_waits([built(parent)?, built(told)?]).await?;
    let id = host.start_workflow("parent", &Story::default()).await?;
    host.idle().await?;
    host.publish("n", "y", &2).await?;
    host.idle().await?;
    host.publish("n", "x", &1).await?;
    assert_eq!(words(&host, &id).await?, "y2 x1");
    Ok(())
}

async fn an_event_from_before_a_child_existed_reaches_it_only_with_an_effective_date(
    stage: Stage,
) -> Checked<()> {
    let waiting = |id: &str, effective: bool| {
        let paid = event("paid", |_: &Story, ()| "k").output(|(), s: &mut Story| s.n += 1);
        let paid = if effective { paid.effective(|_, ()| chrono::DateTime::UNIX_EPOCH) } else { paid };
        built(begin(id).wait_for("paid", paid.timeout(|_, ()| HOUR, |late| late.then("a", mark("late")))))
    };
    let run = |child_id: &str| {
        child(child_id, |_: &Story, ()| Story::default()).output(|of: &Story, s: &mut Story| {
            s.n += of.n;
            s.words.extend(of.words.clone());
        })
    };
    let parent = begin("parent")
        .delay("before", |_, ()| HOUR)
        .sub_workflow("plain", run("plain"))
        .sub_workflow("dated", run("dated"));
    let definitions = [built(parent)?, waiting("plain", false)?, waiting("dated", true)?];
    let host = stage.host_that_waits(definitions).await?;
    let id = host.start_workflow("parent", &Story::default()).await?;
    host.advance(HOUR / 2).await?;
    host.publish("paid", "k", &()).await?; // the parent runs, and neither child exists yet
    let story = completed(&host, &id).await?;
    assert_eq!((story.n, story.words), (1, vec!["late".to_owned()]));
    Ok(())
}

async fn an_event_from_before_a_child_existed_is_skipped_though_the_clock_does_not_move(
    stage: Stage,
) -> Checked<()> {
    let received = event("word", |_: &Story, ()| "k")
        .output(|word: &String, story: &mut Story| story.words.push(word.clone()));
    let run = child("child", |_: &Story, ()| Story::default())
        .output(|of: &Story, story: &mut Story| story.words.extend(of.words.clone()));
    let parent = begin("parent").wait_for("go", event("go", |_: &Story, ()| "k")).sub_workflow("run", run);
    let host =
        stage.host_that_waits([built(parent)?, built(begin("child").wait_for("wait", received))?]).await?;
    let id = host.start_workflow("parent", &Story::default()).await?;
    host.publish("word", "k", "before").await?; // the parent runs, and the child does not exist yet
    host.publish("go", "k", &()).await?;
    host.idle().await?;
    host.publish("word", "k", "after").await?;
    assert_eq!(words(&host, &id).await?, "after");
    Ok(())
}
