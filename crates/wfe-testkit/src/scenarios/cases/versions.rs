use wfe::{Blocked, StartOptions};

use super::prelude::*;

scenarios!("versions":
    an_instance_runs_the_version_that_it_started_with_and_new_ones_the_newest,
    a_start_with_a_reference_creates_one_instance,
    an_instance_waits_for_its_definition_to_be_registered,
    an_instance_that_no_longer_fits_its_definition_is_quarantined_and_says_why,
    children_run_the_newest_version,
);

fn version(number: u32) -> Checked<wfe::definition::Definition> {
    let word = format!("v{number}");
    built(WorkflowBuilder::new("w", number).delay("day", |_, ()| DAY).then("tell", mark(word)))
}

async fn an_instance_runs_the_version_that_it_started_with_and_new_ones_the_newest(
    stage: Stage,
) -> Checked<()> {
    let host = stage.host([version(1)?]).await?;
    let old = host.start_workflow("w", &Story::default()).await?;
    host.idle().await?;
    for each in host.hosts() {
        each.register(version(3)?)?;
        each.register(version(2)?)?;
    }
    let new = host.start_workflow("w", &Story::default()).await?;
    let options = StartOptions { version: Some(2), ..StartOptions::default() };
    let chosen = host.start_workflow_with("w", &Story::default(), options).await?;
    for (id, told) in [(old, "v1"), (new, "v3"), (chosen, "v2")] {
        assert_eq!(words(&host, &id).await?, told);
    }
    Ok(())
}

async fn a_start_with_a_reference_creates_one_instance(stage: Stage) -> Checked<()> {
    let host = stage.host([version(1)?]).await?;
    let options = StartOptions { reference: Some("order 7".to_owned()), ..StartOptions::default() };
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(host.start_workflow_with("w", &Story::default(), options.clone()).await?);
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
        each.register(version(1)?)?;
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
    let host = stage.host([built(begin("w").then("tell", mark("other")))?]).await?;
    host.advance(2 * DAY).await?;
    let status = host.status(&id).await?;
    assert_eq!(status.status, WorkflowStatus::Suspended);
    let cause = status.cause.unwrap_or_else(|| unmet("it does not say why"));
    assert!(cause.error.message.contains("day"), "{cause:?}");
    host.stop().await?;
    let host = stage.host([version(1)?]).await?;
    host.host().resume(&id).await?;
    assert_eq!(words(&host, &id).await?, "v1");
    Ok(())
}

async fn children_run_the_newest_version(stage: Stage) -> Checked<()> {
    let run = |version| {
        let newest = child("w", |_: &Story, ()| Story::default());
        let newest = match version {
            None => newest,
            Some(version) => newest.version(version),
        };
        newest.output(|of: &Story, own: &mut Story| own.words.extend(of.words.clone()))
    };
    let parent = begin("parent").sub_workflow("newest", run(None)).sub_workflow("first", run(Some(1)));
    let host = stage.host_that_waits([built(parent)?, version(2)?, version(1)?]).await?;
    let id = host.start_workflow("parent", &Story::default()).await?;
    assert_eq!(words(&host, &id).await?, "v2 v1");
    Ok(())
}
