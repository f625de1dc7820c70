use std::sync::Mutex;

use wfe::definition::AnyDefinition;
use wfe_core::sync::lock;

use super::prelude::*;

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

const DOUBLE: WorkflowName<u64> = WorkflowName::new("double");

fn doubling() -> Checked<AnyDefinition> {
    built(DOUBLE.define(1).delay("hour", |_| HOUR).change("double", |n| *n *= 2))
}

async fn a_child_gives_its_data_back_to_its_parent(stage: Stage) -> Checked<()> {
    let parent = begin("parent")
        .sub_workflow("child", DOUBLE, |s| s.n)
        .output(|n, s| s.n = n)
        .step("a", mark("after"));
    let host = stage.host_that_waits([built(parent)?, doubling()?]).await?;
    let id = host.start_workflow("parent", &Story { n: 4, ..Story::default() }).await?;
    let story = completed(&host, &id).await?;
    assert_eq!((story.n, story.words.len()), (8, 1));
    Ok(())
}

async fn children_of_a_while_follow_one_another(stage: Stage) -> Checked<()> {
    let parent = begin("parent").while_(
        "small",
        |s| s.n < 100,
        |round| round.sub_workflow("child", DOUBLE, |s| s.n).output(|n, s| s.n = n).step("a", mark("round")),
    );
    let host = stage.host_that_waits([built(parent)?, doubling()?]).await?;
    let (id, began) =
        (host.start_workflow("parent", &Story { n: 7, ..Story::default() }).await?, stage.clock.now());
    let story = completed(&host, &id).await?;
    assert_eq!((story.n, story.words.len()), (112, 4));
    assert_eq!(stage.clock.now() - began, chrono::TimeDelta::hours(4));
    Ok(())
}

async fn children_of_a_parallel_for_each_run_at_once_and_are_joined(stage: Stage) -> Checked<()> {
    let parent = begin("fan")
        .for_each(
            "all",
            |_| (1..=10_u64).collect(),
            |one| one.sub_workflow("child", DOUBLE, |_, n| *n).output(|n, s, _| s.n += n),
        )
        .concurrent(10);
    let host = stage.host_that_waits([built(parent)?, doubling()?]).await?;
    let (id, began) = (host.start_workflow("fan", &Story::default()).await?, stage.clock.now());
    assert_eq!(completed(&host, &id).await?.n, 110);
    assert_eq!(stage.clock.now() - began, chrono::TimeDelta::hours(1));
    Ok(())
}

async fn a_child_that_fails_fails_its_parent_s_step_with_its_cause(stage: Stage) -> Checked<()> {
    let bad = begin("bad").call("pay", |_, _| Err::<(), _>(StepError::fatal("no money").with_code("broke")));
    let parent = begin("parent")
        .sub_workflow("child", WorkflowName::new("bad"), |_| Story::default())
        .fallback(|instead| instead.step("a", mark("instead")));
    let host = stage.host_that_waits([built(parent)?, built(bad)?]).await?;
    let id = host.start_workflow("parent", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "instead");
    let failures = host.failures(&id).await?;
    assert_eq!((&*failures[0].code, &failures[0].causes[..]), ("broke", &["no money".to_owned()][..]));
    Ok(())
}

fn saga(words: &Arc<Mutex<Vec<&'static str>>>) -> Checked<AnyDefinition> {
    built(begin("saga").with(words.clone()).saga("saga", |saga| {
        saga.step("do", mark("done"))
            .compensate_with(|b| {
                b.call("revert", |ctx, _| {
                    lock(&ctx.app).push("compensated");
                    Ok(())
                })
            })
            .delay("long", |_| 30 * DAY)
    }))
}

async fn a_cancelled_parent_cancels_its_child_which_compensates_its_saga(stage: Stage) -> Checked<()> {
    let compensated = Arc::default();
    let parent = begin("parent").sub_workflow("child", WorkflowName::new("saga"), |_| Story::default());
    let host = stage.host_that_waits([built(parent)?, saga(&compensated)?]).await?;
    let id = host.start_workflow("parent", &Story::default()).await?;
    host.idle().await?;
    host.cancel(&id).await?;
    host.idle().await?;
    assert_eq!(host.outcome::<Story>(&id).await?, Some(Outcome::Cancelled));
    assert_eq!(*lock(&compensated), ["compensated"]);
    Ok(())
}

async fn a_child_that_takes_too_long_is_cancelled(stage: Stage) -> Checked<()> {
    let compensated = Arc::default();
    let parent = begin("parent")
        .sub_workflow("child", WorkflowName::new("saga"), |_| Story::default())
        .on_timeout(|_| DAY, |late| late.step("late", mark("late")));
    let host = stage.host_that_waits([built(parent)?, saga(&compensated)?]).await?;
    let id = host.start_workflow("parent", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "late");
    assert_eq!(*lock(&compensated), ["compensated"]);
    Ok(())
}

async fn children_have_children(stage: Stage) -> Checked<()> {
    let middle = |id, of| {
        built(
            WorkflowBuilder::<u64>::new(id, 1)
                .sub_workflow("child", WorkflowName::new(of), |n| *n)
                .output(|n, own| *own = n + 1),
        )
    };
    let host = stage.host_that_waits([doubling()?, middle("b", "double")?, middle("c", "b")?]).await?;
    let id = host.start_workflow("c", &5_u64).await?;
    assert_eq!(host.run_to_end::<u64>(&id).await?, Outcome::Completed(12));
    Ok(())
}

async fn a_child_waits_for_events_as_others_do(stage: Stage) -> Checked<()> {
    let told =
        begin("told").wait_for("wait", Event::<u64>::new("n"), |s| s.text.clone()).output(|n, s| s.n = n);
    let parent = begin("parent")
        .for_each(
            "all",
            |_| vec!["x".to_owned(), "y".to_owned()],
            |one| {
                one.sub_workflow("child", WorkflowName::new("told"), |_, text| Story {
                    text: text.clone(),
                    ..Story::default()
                })
                .output(|told, s, _| note(format!("{}{}", told.text, told.n), s))
            },
        )
        .concurrent(2);
    let host = stage.host_that_waits([built(parent)?, built(told)?]).await?;
    let id = host.start_workflow("parent", &Story::default()).await?;
    host.idle().await?;
    host.publish_event("n", "y", &2).await?;
    host.idle().await?;
    host.publish_event("n", "x", &1).await?;
    assert_eq!(words(&host, &id).await?, "y2 x1");
    Ok(())
}

async fn an_event_from_before_a_child_existed_reaches_it_only_with_an_effective_date(
    stage: Stage,
) -> Checked<()> {
    let waiting = |id, effective| {
        let paid = begin(id).wait_for("paid", Event::<()>::new("paid"), |_| "k").output(|(), s| s.n += 1);
        let paid = if effective { paid.effective(|_| chrono::DateTime::UNIX_EPOCH) } else { paid };
        built(paid.on_timeout(|_| HOUR, |late| late.step("a", mark("late"))))
    };
    let add = |of: Story, s: &mut Story| {
        s.n += of.n;
        s.words.extend(of.words);
    };
    let parent = begin("parent")
        .delay("before", |_| HOUR)
        .sub_workflow("plain", WorkflowName::new("plain"), |_| Story::default())
        .output(add)
        .sub_workflow("dated", WorkflowName::new("dated"), |_| Story::default())
        .output(add);
    let definitions = [built(parent)?, waiting("plain", false)?, waiting("dated", true)?];
    let host = stage.host_that_waits(definitions).await?;
    let id = host.start_workflow("parent", &Story::default()).await?;
    host.advance(HOUR / 2).await?;
    host.publish_event("paid", "k", &()).await?; // the parent runs, and neither child exists yet
    let story = completed(&host, &id).await?;
    assert_eq!((story.n, story.words), (1, vec!["late".to_owned()]));
    Ok(())
}

async fn an_event_from_before_a_child_existed_is_skipped_though_the_clock_does_not_move(
    stage: Stage,
) -> Checked<()> {
    let child = begin("child").wait_for("wait", Event::<String>::new("word"), |_| "k").output(note);
    let parent = begin("parent")
        .wait_for("go", Event::<()>::new("go"), |_| "k")
        .sub_workflow("run", WorkflowName::new("child"), |_| Story::default())
        .output(|of, story| story.words.extend(of.words));
    let host = stage.host_that_waits([built(parent)?, built(child)?]).await?;
    let id = host.start_workflow("parent", &Story::default()).await?;
    host.publish_event("word", "k", "before").await?; // the parent runs, and the child does not exist yet
    host.publish_event("go", "k", &()).await?;
    host.idle().await?;
    host.publish_event("word", "k", "after").await?;
    assert_eq!(words(&host, &id).await?, "after");
    Ok(())
}
