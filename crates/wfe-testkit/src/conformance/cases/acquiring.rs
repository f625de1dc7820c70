//! Acquiring: a caller claims one instance, chosen by its id, if this instance has something to do.

use wfe_core::traits::{Control, Deaths};

use super::{
    claiming::{claim, due, started, waiting},
    prelude::*,
};

cases! { "acquiring":
    one_instance_can_be_acquired_by_its_id,
    an_instance_with_nothing_to_do_or_of_another_owner_cannot_be_acquired,
    a_request_or_an_event_lets_an_instance_be_acquired,
    an_instance_of_another_definition_is_not_acquired_and_the_answer_names_it,
    what_is_acquired_with_its_load_equals_a_load,
}

async fn one_instance_can_be_acquired_by_its_id(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let other = WorkflowInstance { workflow_definition_id: "other".to_owned(), version: 9, ..instance("i") };
    started(&store, &[other, instance("j")]).await?;
    let owner = steps.register().await?;
    let definitions = [("other".to_owned(), 9)];
    let Some(claimed) = steps.acquire(&owner, &definitions, "i", bench.now()).await? else {
        unmet("nothing to acquire")
    };
    assert_eq!((claimed.id.as_str(), claimed.deaths), ("i", Deaths::default()));
    done(&store, claimed.fence, commit("i")).await?;
    assert_eq!(claim(&bench, &store, &owner).await?, ["j"]);
    Ok(())
}

async fn an_instance_with_nothing_to_do_or_of_another_owner_cannot_be_acquired(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let (_owner, fence) = owned(&store, &instance("owned")).await?;
    let ended = WorkflowInstance { status: WorkflowStatus::Complete, ..instance("ended") };
    started(&store, &[parked("parked"), due("later", second_ms(10)), ended]).await?;
    let other = steps.register().await?;
    for id in ["unknown", "owned", "parked", "later", "ended"] {
        assert_eq!(steps.acquire(&other, &definitions(), id, bench.now()).await?, None, "{id}");
    }
    done(&store, fence, commit("owned")).await
}

async fn a_request_or_an_event_lets_an_instance_be_acquired(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    waiting(&store, &["i"]).await?;
    started(&store, &[WorkflowInstance { status: WorkflowStatus::Suspended, ..parked("j") }]).await?;
    let owner = steps.register().await?;
    for id in ["i", "j"] {
        assert_eq!(steps.acquire(&owner, &definitions(), id, bench.now()).await?, None, "{id}");
    }
    store.create_event(&event("e", "name", "key", second(0))).await?;
    steps.request("j", Control::Resume).await?;
    for id in ["i", "j"] {
        let acquired = steps.acquire(&owner, &definitions(), id, bench.now()).await?;
        assert_eq!(acquired.map(|one| one.id).as_deref(), Some(id));
    }
    Ok(())
}

async fn an_instance_of_another_definition_is_not_acquired_and_the_answer_names_it(
    bench: Bench,
) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    started(&store, &[instance("i"), parked("parked")]).await?;
    let owner = steps.register().await?;
    let before = steps.load("i").await?;
    for (id, version) in [("other", 1), (DEFINITION, 7)] {
        let others = [(id.to_owned(), version)];
        for others in [&others[..], &[]] {
            assert_err!(
                steps.acquire(&owner, others, "i", bench.now()).await,
                WfeError::DefinitionNotFound { id, version: 1 } if id == DEFINITION
            );
            assert_err!(
                steps.acquire_loaded(&owner, others, "i", bench.now()).await,
                WfeError::DefinitionNotFound { .. }
            );
            assert_eq!(steps.acquire(&owner, others, "parked", bench.now()).await?, None);
        }
    }
    assert_eq!(steps.load("i").await?, before);
    assert_eq!(claim(&bench, &store, &owner).await?, ["i"]);
    let other = steps.register().await?;
    assert_eq!(steps.acquire(&other, &[], "i", bench.now()).await?, None, "another owner has it");
    Ok(())
}

async fn what_is_acquired_with_its_load_equals_a_load(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let owner = steps.register().await?;
    assert!(steps.acquire_loaded(&owner, &definitions(), "i", bench.now()).await?.is_none());
    waiting(&store, &["i"]).await?;
    store.create_event(&event("e", "name", "key", second(0))).await?;
    steps.request("i", Control::Suspend).await?;
    let Some((claimed, loaded)) = steps.acquire_loaded(&owner, &definitions(), "i", bench.now()).await?
    else {
        unmet("nothing to acquire")
    };
    let loaded = loaded?;
    assert_eq!((loaded.fence, loaded.owner), (claimed.fence, Some(owner.id())));
    assert_eq!(loaded.control.as_ref().map(|request| request.control), Some(Control::Suspend));
    assert_eq!(loaded.deliveries.len(), 1);
    assert_eq!(loaded, steps.load("i").await?);
    Ok(())
}
