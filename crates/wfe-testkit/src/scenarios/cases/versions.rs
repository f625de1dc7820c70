use wfe::{definition::AnyDefinition, status::Blocked};

use super::prelude::*;

scenarios!("versions":
    an_instance_runs_the_version_that_it_started_with_and_new_ones_the_newest,
    a_start_with_a_reference_creates_one_instance,
    an_instance_waits_for_its_definition_to_be_registered,
    an_instance_that_no_longer_fits_its_definition_is_quarantined_and_says_why,
    children_run_the_newest_version,
);

const W: WorkflowName<Story> = WorkflowName::new("w");

fn version(number: u32) -> Checked<AnyDefinition> {
    built(W.define(number).delay("day", |_| DAY).step("tell", mark(format!("v{number}"))))
}

async fn an_instance_runs_the_version_that_it_started_with_and_new_ones_the_newest(
    stage: Stage,
) -> Checked<()> {
    let host = stage.host([version(1)?]).await?;
    let old = host.start_workflow("w", &Story::default()).await?;
    host.idle().await?;
    for each in host.hosts() {
        each.register_any(version(3)?)?;
        each.register_any(version(2)?)?;
    }
    let new = host.start_workflow("w", &Story::default()).await?;
    let chosen = host.workflow(W).start(&Story::default()).version(2).await?.instance.into_id();
    for (id, told) in [(old, "v1"), (new, "v3"), (chosen, "v2")] {
        assert_eq!(words(&host, &id).await?, told);
    }
    Ok(())
}

async fn a_start_with_a_reference_creates_one_instance(stage: Stage) -> Checked<()> {
    let host = stage.host([version(1)?]).await?;
    let mut ids = Vec::new();
    for _ in 0..4 {
        let started = host.workflow(W).start(&Story::default()).reference("order 7").await?;
        ids.push(started.instance.into_id());
        host.advance(15 * HOUR).await?;
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!(words(&host, &ids[0]).await?, "v1");
    Ok(())
}

async fn an_instance_waits_for_its_definition_to_be_registered(stage: Stage) -> Checked<()> {
    stage.must_last()?;
    let host = stage.host([version(1)?]).await?;
    let id = host.start_workflow("w", &Story::default()).await?;
    host.stop().await?;
    let host = stage.host([]).await?;
    host.advance(10 * DAY).await?;
    let missing = Blocked::DefinitionMissing { id: "w".to_owned(), version: 1 };
    assert_eq!(host.status(&id).await?.blocked, Some(missing));
    for each in host.hosts() {
        each.register_any(version(1)?)?;
    }
    assert_eq!(words(&host, &id).await?, "v1");
    Ok(())
}

async fn an_instance_that_no_longer_fits_its_definition_is_quarantined_and_says_why(
    stage: Stage,
) -> Checked<()> {
    stage.must_last()?;
    let host = stage.host([version(1)?]).await?;
    let id = host.start_workflow("w", &Story::default()).await?;
    host.idle().await?;
    host.stop().await?;
    // The current step of the instance is no longer in the definition.
    let host = stage.host([built(begin("w").step("tell", mark("other")))?]).await?;
    host.advance(2 * DAY).await?;
    let status = host.status(&id).await?;
    assert_eq!(status.state, State::Suspended);
    let cause = status.cause.unwrap_or_else(|| unmet("it does not say why"));
    assert!(cause.error.message.contains("day"), "{cause:?}");
    host.stop().await?;
    let host = stage.host([version(1)?]).await?;
    host.resume(&id).await?;
    assert_eq!(words(&host, &id).await?, "v1");
    Ok(())
}

async fn children_run_the_newest_version(stage: Stage) -> Checked<()> {
    let parent = begin("parent")
        .sub_workflow("newest", W, |_| Story::default())
        .output(|of, own| own.words.extend(of.words))
        .sub_workflow("first", W, |_| Story::default())
        .version(1)
        .output(|of, own| own.words.extend(of.words));
    let host = stage.host_that_waits([built(parent)?, version(2)?, version(1)?]).await?;
    let id = host.start_workflow("parent", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "v2 v1");
    Ok(())
}
