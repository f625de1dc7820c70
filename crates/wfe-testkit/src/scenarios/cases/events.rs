use std::sync::Mutex;

use wfe::{PublishOptions, WfeError, WorkflowHost, steps::EventWait};

use super::prelude::*;
use wfe_core::sync::lock;

scenarios!("events":
    an_event_reaches_a_wait_that_came_before_it,
    an_event_reaches_a_wait_that_comes_after_it,
    waits_in_a_loop_take_each_event_once_and_in_order,
    an_event_of_the_same_id_is_accepted_and_has_no_effect,
    an_event_under_the_id_of_one_of_another_name_or_key_is_refused,
    an_event_reaches_every_instance_that_waits_for_it,
    only_an_event_of_its_key_reaches_a_wait,
    an_event_dated_in_the_future_reaches_no_wait_before,
    an_event_from_before_the_effective_date_is_skipped,
    an_event_from_before_the_start_is_skipped_though_the_clock_does_not_move,
    an_event_from_before_the_start_is_skipped_though_the_clock_was_set_back,
    an_event_from_after_the_start_counts_whatever_the_clock_shows,
    an_effective_date_counts_even_if_it_is_that_of_the_start,
    an_event_that_a_step_publishes_counts_as_any_other,
    a_wait_in_a_branch_that_timed_out_takes_no_event_any_more,
    a_cancel_condition_cancels_a_wait,
    an_event_reaches_an_instance_whose_step_runs,
    a_body_that_waits_for_an_event_finds_it,
    two_waits_of_one_instance_that_are_open_at_once_share_an_event,
);

fn wait(id: &str) -> WorkflowBuilder<Story> {
    begin(id).wait_for("wait", received())
}

fn received<I: wfe::definition::Item>() -> wfe::definition::Await<Story, I> {
    event("word", |_: &Story, _: &I| "k")
        .output(|word: &String, story: &mut Story| story.words.push(word.clone()))
}

async fn an_event_reaches_a_wait_that_came_before_it(stage: Stage) -> Checked<()> {
    let host = stage.host_that_waits([built(wait("wait"))?]).await?;
    let id = host.start_workflow("wait", &Story::default()).await?;
    host.idle().await?;
    assert_eq!(host.current_steps(&id).await?, ["wait"]);
    host.publish("word", "k", "hello").await?;
    assert_eq!(words(&host, &id).await?, "hello");
    Ok(())
}

async fn an_event_reaches_a_wait_that_comes_after_it(stage: Stage) -> Checked<()> {
    let host = stage
        .host_that_waits([built(begin("late").delay("long", |_, ()| DAY).wait_for("wait", received()))?])
        .await?;
    let id = host.start_workflow("late", &Story::default()).await?;
    host.publish("word", "k", "early").await?;
    host.idle().await?;
    assert_eq!(host.current_steps(&id).await?, ["long"]);
    assert_eq!(words(&host, &id).await?, "early");
    // The instance does not receive an event from before its start.
    let id = host.start_workflow("late", &Story::default()).await?;
    host.advance(2 * DAY).await?;
    assert_eq!(host.current_steps(&id).await?, ["wait"]);
    Ok(())
}

async fn waits_in_a_loop_take_each_event_once_and_in_order(stage: Stage) -> Checked<()> {
    let all =
        begin("loop").while_("more", |s, ()| s.words.len() < 6, |round| round.wait_for("wait", received()));
    let host = stage.host_that_waits([built(all)?]).await?;
    let id = host.start_workflow("loop", &Story::default()).await?;
    for word in ["a", "b", "c"] {
        host.publish("word", "k", word).await?;
    }
    host.idle().await?;
    for word in ["d", "e", "f"] {
        host.publish("word", "k", word).await?;
        host.idle().await?;
    }
    assert_eq!(words(&host, &id).await?, "a b c d e f");
    Ok(())
}

async fn an_event_of_the_same_id_is_accepted_and_has_no_effect(stage: Stage) -> Checked<()> {
    let twice = wait("twice").wait_for("again", received());
    let host = stage.host_that_waits([built(twice)?]).await?;
    let id = host.start_workflow("twice", &Story::default()).await?;
    for own in ["1", "1", "2", "1"] {
        let options = PublishOptions { id: Some(own.to_owned()), ..PublishOptions::default() };
        host.host().publish_event_with("word", "k", own, options).await?;
        host.idle().await?;
    }
    assert_eq!(words(&host, &id).await?, "1 2");
    Ok(())
}

async fn an_event_under_the_id_of_one_of_another_name_or_key_is_refused(stage: Stage) -> Checked<()> {
    let host = stage.host_that_waits([built(wait("own"))?]).await?;
    let id = host.start_workflow("own", &Story::default()).await?;
    let options = PublishOptions { id: Some("mine".to_owned()), ..PublishOptions::default() };
    for (name, key) in [("other", "k"), ("word", "other"), ("word", "k")] {
        let told = host.host().publish_event_with(name, key, "first", options.clone()).await;
        match told {
            Ok(_) if name == "other" => {}
            Err(WfeError::AlreadyExists { kind: wfe::Kind::Event, id }) if name != "other" => {
                assert_eq!(id, "mine");
            }
            told => unmet(&format!("{name} {key}: {told:?}")),
        }
    }
    host.idle().await?;
    assert_eq!(host.current_steps(&id).await?, ["wait"]);
    host.host().publish_event_with("other", "k", "again", options).await?;
    host.publish("word", "k", "hello").await?;
    assert_eq!(words(&host, &id).await?, "hello");
    Ok(())
}

async fn an_event_reaches_every_instance_that_waits_for_it(stage: Stage) -> Checked<()> {
    let host = stage.host_that_waits([built(wait("all"))?]).await?;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(host.start_workflow("all", &Story::default()).await?);
    }
    host.idle().await?;
    host.publish("word", "k", "hello").await?;
    host.idle().await?;
    for id in &ids {
        assert_eq!(words(&host, id).await?, "hello");
    }
    Ok(())
}

async fn only_an_event_of_its_key_reaches_a_wait(stage: Stage) -> Checked<()> {
    let keyed = event("word", |story: &Story, ()| story.text.clone())
        .output(|word: &String, story: &mut Story| story.words.push(word.clone()));
    let host = stage.host_that_waits([built(begin("keyed").wait_for("wait", keyed))?]).await?;
    let id = host.start_workflow("keyed", &Story { text: "mine".to_owned(), ..Story::default() }).await?;
    host.publish("word", "other", "no").await?;
    host.publish("another", "mine", "no").await?;
    host.idle().await?;
    assert_eq!(host.current_steps(&id).await?, ["wait"]);
    host.publish("word", "mine", "yes").await?;
    assert_eq!(words(&host, &id).await?, "yes");
    Ok(())
}

async fn an_event_dated_in_the_future_reaches_no_wait_before(stage: Stage) -> Checked<()> {
    let host = stage.host_that_waits([built(wait("ahead").wait_for("again", received()))?]).await?;
    let id = host.start_workflow("ahead", &Story::default()).await?;
    let options = PublishOptions { effective: Some(stage.clock.now() + DAY), ..PublishOptions::default() };
    host.hosts()[0].publish_event_with("word", "k", "tomorrow", options).await?;
    host.publish("word", "k", "today").await?;
    host.advance(DAY.saturating_sub(Duration::from_millis(1))).await?;
    assert_eq!(host.data::<Story>(&id).await?.words, ["today"]);
    host.advance(Duration::from_millis(1)).await?;
    assert_eq!(words(&host, &id).await?, "today tomorrow");
    Ok(())
}

async fn an_event_from_before_the_effective_date_is_skipped(stage: Stage) -> Checked<()> {
    let from = stage.clock.now() + DAY;
    let late = begin("from").wait_for("wait", received().effective(move |_, ()| from));
    let host = stage.host_that_waits([built(late)?]).await?;
    let id = host.start_workflow("from", &Story::default()).await?;
    host.publish("word", "k", "early").await?;
    host.advance(DAY).await?;
    assert_eq!(host.current_steps(&id).await?, ["wait"]);
    host.publish("word", "k", "late").await?;
    assert_eq!(words(&host, &id).await?, "late");
    Ok(())
}

async fn an_event_from_before_the_start_is_skipped_though_the_clock_does_not_move(
    stage: Stage,
) -> Checked<()> {
    let host = stage.host_that_waits([built(wait("still"))?]).await?;
    host.publish("word", "k", "before").await?;
    let id = host.start_workflow("still", &Story::default()).await?;
    host.idle().await?;
    assert_eq!(host.current_steps(&id).await?, ["wait"]);
    host.publish("word", "k", "after").await?;
    assert_eq!(words(&host, &id).await?, "after");
    Ok(())
}

async fn an_event_from_before_the_start_is_skipped_though_the_clock_was_set_back(
    stage: Stage,
) -> Checked<()> {
    let host = stage.host_that_waits([built(wait("back"))?]).await?;
    host.publish("word", "k", "before").await?;
    stage.clock.set(stage.clock.now() - HOUR);
    let id = host.start_workflow("back", &Story::default()).await?;
    host.advance(DAY).await?;
    assert_eq!(host.current_steps(&id).await?, ["wait"]);
    host.publish("word", "k", "after").await?;
    assert_eq!(words(&host, &id).await?, "after");
    Ok(())
}

async fn an_event_from_after_the_start_counts_whatever_the_clock_shows(stage: Stage) -> Checked<()> {
    let late = begin("late").wait_for("go", event("go", |_: &Story, ()| "k")).wait_for("wait", received());
    let host = stage.host_that_waits([built(late)?]).await?;
    let same_instant = host.start_workflow("late", &Story::default()).await?;
    host.publish("word", "k", "now").await?;
    let set_back = host.start_workflow("late", &Story::default()).await?;
    stage.clock.set(stage.clock.now() - HOUR);
    host.publish("word", "k", "earlier").await?;
    host.publish("go", "k", &()).await?;
    assert_eq!(words(&host, &same_instant).await?, "now");
    assert_eq!(words(&host, &set_back).await?, "earlier");
    Ok(())
}

async fn an_effective_date_counts_even_if_it_is_that_of_the_start(stage: Stage) -> Checked<()> {
    let from = stage.clock.now();
    let dated = begin("dated").wait_for("wait", received().effective(move |_, ()| from));
    let by_body: Plain<Next, ()> = inline(move |ctx: Ctx, _| async move {
        match ctx.event::<String>()? {
            None => Ok(Next::WaitForEvent(EventWait {
                name: "word".to_owned(),
                key: "k".to_owned(),
                effective: Some(from),
            })),
            Some(word) => Next::outcome(&word),
        }
    });
    let by_body = by_body.output(|next: &Next, story: &mut Story| {
        if let Next::Outcome(word) = next {
            story.words.extend(word.as_str().map(str::to_owned));
        }
    });
    let host = stage.host_that_waits([built(dated)?, built(begin("body").then("ask", by_body))?]).await?;
    host.publish("word", "k", "before").await?;
    for definition in ["dated", "body"] {
        let id = host.start_workflow(definition, &Story::default()).await?;
        assert_eq!(words(&host, &id).await?, "before");
    }
    Ok(())
}

async fn an_event_that_a_step_publishes_counts_as_any_other(stage: Stage) -> Checked<()> {
    // The host is dropped after the scenario, because a host that its own steps keep alive would never end.
    let publisher: Arc<Mutex<Option<WorkflowHost>>> = Arc::default();
    let publish = |word: &'static str| {
        let publisher = publisher.clone();
        let body: Plain<(), ()> = inline(move |_, _| {
            let host = lock(&publisher).clone();
            async move {
                let host = host.ok_or_else(|| StepError::fatal("there is no host"))?;
                host.publish_event("word", "k", word).await?;
                Ok(())
            }
        });
        body
    };
    let told = |id: &str| {
        child(id, |_: &Story, ()| Story::default())
            .output(|of: &Story, story: &mut Story| story.words.extend(of.words.clone()))
    };
    let parent = begin("parent").then("before", publish("before")).sub_workflow("child", told("child"));
    let within = begin("child").then("after", publish("after")).wait_for("wait", received());
    let host = stage.host_that_waits([built(parent)?, built(within)?]).await?;
    *lock(&publisher) = Some(host.host().clone());
    let id = host.start_workflow("parent", &Story::default()).await?;
    let words = words(&host, &id).await;
    lock(&publisher).take();
    assert_eq!(words?, "after");
    Ok(())
}

async fn a_wait_in_a_branch_that_timed_out_takes_no_event_any_more(stage: Stage) -> Checked<()> {
    let timed = begin("timed").parallel("both", |all| {
        all.branch(|b| {
            b.wait_for("wait", received().timeout(|_, ()| HOUR, |late| late.then("late", mark("late"))))
                .then("after", mark("after"))
        })
        .branch(|b| b.delay("long", |_, ()| DAY).wait_for("other", received()))
    });
    let host = stage.host_that_waits([built(timed)?]).await?;
    let id = host.start_workflow("timed", &Story::default()).await?;
    host.advance(HOUR).await?;
    assert_eq!(host.data::<Story>(&id).await?.words, ["late", "after"]);
    host.publish("word", "k", "hello").await?;
    host.idle().await?;
    assert_eq!(host.current_steps(&id).await?, ["long"]);
    assert_eq!(words(&host, &id).await?, "late after hello");
    Ok(())
}

async fn a_cancel_condition_cancels_a_wait(stage: Stage) -> Checked<()> {
    let cancel = begin("cancel").parallel("both", |all| {
        all.branch(|b| {
            b.wait_for("wait", received()).cancel_when(|story, ()| story.n == 1).then("a", mark("on"))
        })
        .branch(|b| b.delay("hour", |_, ()| HOUR).then("count", count()))
    });
    let host = stage.host_that_waits([built(cancel)?]).await?;
    let id = host.start_workflow("cancel", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "on");
    Ok(())
}

async fn an_event_reaches_an_instance_whose_step_runs(stage: Stage) -> Checked<()> {
    stage.must_be_notified()?;
    let gate = Gate::default();
    let slow = gate.clone();
    let both = begin("busy").parallel("both", move |all| {
        all.branch(move |b| b.then("slow", slow.step())).branch(|b| b.wait_for("wait", received()))
    });
    let host = stage.host_that_waits([built(both)?]).await?;
    let id = host.start_workflow("busy", &Story::default()).await?;
    gate.reached(1).await;
    host.publish("word", "k", "hello").await?;
    host.until(async || host.data::<Story>(&id).await.is_ok_and(|story| story.words == ["hello"])).await?;
    assert_eq!(gate.entered(), 1, "its step still runs");
    gate.open();
    completed(&host, &id).await?;
    Ok(())
}

async fn a_body_that_waits_for_an_event_finds_it(stage: Stage) -> Checked<()> {
    let ask: Plain<Next, ()> = inline(|ctx: Ctx, _| async move {
        match ctx.event::<String>()? {
            None => Ok(Next::wait_for_event("word", "k")),
            Some(word) => Next::outcome(&word),
        }
    });
    let ask = ask.output(|next: &Next, story: &mut Story| {
        if let Next::Outcome(word) = next {
            story.words.extend(word.as_str().map(str::to_owned));
        }
    });
    let host = stage.host_that_waits([built(begin("ask").then("ask", ask))?]).await?;
    let id = host.start_workflow("ask", &Story::default()).await?;
    host.idle().await?;
    host.publish("word", "k", "answer").await?;
    assert_eq!(words(&host, &id).await?, "answer");
    Ok(())
}

async fn two_waits_of_one_instance_that_are_open_at_once_share_an_event(stage: Stage) -> Checked<()> {
    let both = begin("share").parallel("both", |all| {
        all.branch(|b| b.wait_for("one", received())).branch(|b| b.wait_for("two", received()))
    });
    let host = stage.host_that_waits([built(both)?]).await?;
    let id = host.start_workflow("share", &Story::default()).await?;
    host.idle().await?;
    host.publish("word", "k", "hello").await?;
    assert_eq!(words(&host, &id).await?, "hello hello");
    Ok(())
}
