//! An instance in the place of another one, and the list of instances by their names.

use futures_util::future::join_all;
use wfe_core::{
    Kind,
    traits::{Control, Cursor, Expected, Loaded},
};

use super::{claiming::claim, prelude::*};

cases! { "replacing":
    the_new_instance_gets_the_name_and_the_other_one_is_to_terminate,
    an_instance_that_has_ended_loses_its_name_and_nothing_else,
    an_instance_that_changed_since_it_was_read_is_not_replaced,
    a_request_that_came_since_it_was_read_prevents_a_replacement_and_one_that_was_read_is_overruled,
    an_owner_that_works_on_the_replaced_instance_stores_nothing_more_before_it_ends_it,
    the_new_instance_is_claimed_unless_it_is_suspended,
    a_replacement_that_cannot_be_stored_changes_nothing,
    of_many_replacements_of_one_instance_exactly_one_happens,
    of_replacements_at_two_providers_exactly_one_happens,
    a_replacement_outlives_its_provider,
    the_engines_instances_are_listed_by_the_beginning_of_their_names,
    instances_are_listed_by_their_names_in_pages,
    the_names_of_the_programs_instances_are_not_listed,
}

const NAME: &str = "wfe.one";

fn named(id: &str, name: &str) -> WorkflowInstance {
    WorkflowInstance { name: name.to_owned(), ..instance(id) }
}

async fn load(store: &Store, id: &str) -> Checked<Loaded> {
    Ok(steps(store)?.load(id).await?)
}

/// Stores the instance `i`, and returns its state.
async fn stored(store: &Store) -> Checked<Expected> {
    store.create_new_workflow(&named("i", NAME)).await?;
    Ok(load(store, "i").await?.expected())
}

async fn replace(store: &Store, old: &Expected, new: &WorkflowInstance) -> Checked<Option<String>> {
    offered(steps(store)?.replace(old, new).await)
}

async fn the_new_instance_gets_the_name_and_the_other_one_is_to_terminate(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let old = stored(&store).await?;
    assert_eq!(old.request, None);
    let new = WorkflowInstance { data: json!("new"), ..named("j", NAME) };
    assert_eq!(replace(&store, &old, &new).await?, Some("j".to_owned()));
    assert_eq!(store.get_workflow_instance_by_name(NAME).await?, new);
    assert_eq!(store.get_workflow_instance("j").await?, new);
    let old = load(&store, "i").await?;
    assert_eq!(old.instance, named("i", "i"), "its id is its name, and nothing else has changed");
    assert_eq!(old.control.map(|request| request.control), Some(Control::Terminate));
    assert_eq!(store.get_workflow_instance_by_name("i").await?.id, "i");
    // The store chooses an id, as for every start.
    let new = load(&store, "j").await?.expected();
    let id = replace(&store, &new, &named("", NAME)).await?;
    assert_eq!(Some(store.get_workflow_instance_by_name(NAME).await?.id), id);
    Ok(())
}

async fn an_instance_that_has_ended_loses_its_name_and_nothing_else(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    stored(&store).await?;
    let ended = WorkflowInstance { status: WorkflowStatus::Complete, ..named("i", NAME) };
    store.persist_workflow(&ended).await?;
    let old = load(&store, "i").await?.expected();
    assert!(replace(&store, &old, &named("j", NAME)).await?.is_some());
    let old = load(&store, "i").await?;
    assert_eq!((old.instance, old.control), (WorkflowInstance { name: "i".to_owned(), ..ended }, None));
    Ok(())
}

async fn an_instance_that_changed_since_it_was_read_is_not_replaced(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let old = stored(&store).await?;
    let changed = WorkflowInstance { data: json!("changed"), ..named("i", NAME) };
    store.persist_workflow(&changed).await?;
    assert_eq!(replace(&store, &old, &named("j", NAME)).await?, None);
    let gone = Expected { id: "unknown".to_owned(), ..old };
    assert_eq!(replace(&store, &gone, &named("j", "other")).await?, None);
    assert_err!(store.get_workflow_instance("j").await, WfeError::WorkflowNotFound(_));
    let after = load(&store, "i").await?;
    assert_eq!((&after.instance, &after.control), (&changed, &None));
    assert!(replace(&store, &after.expected(), &named("j", NAME)).await?.is_some());
    Ok(())
}

async fn a_request_that_came_since_it_was_read_prevents_a_replacement_and_one_that_was_read_is_overruled(
    bench: Bench,
) -> Checked<()> {
    let store = bench.open().await?;
    let mut seen = stored(&store).await?;
    for control in [Control::Suspend, Control::Resume, Control::Cancel] {
        // A request to resume is possible while one to suspend is pending.
        steps(&store)?.request("i", control).await?;
        assert_eq!(replace(&store, &seen, &named("j", NAME)).await?, None, "{control:?}");
        seen = load(&store, "i").await?.expected();
        assert!(seen.request.is_some());
    }
    assert!(replace(&store, &seen, &named("j", NAME)).await?.is_some());
    let old = load(&store, "i").await?;
    assert_eq!(old.control.map(|request| request.control), Some(Control::Terminate));
    Ok(())
}

async fn an_owner_that_works_on_the_replaced_instance_stores_nothing_more_before_it_ends_it(
    bench: Bench,
) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned(&store, &named("i", NAME)).await?;
    let old = load(&store, "i").await?.expected();
    assert!(replace(&store, &old, &named("j", NAME)).await?.is_some());
    let result = StepCommit { data: Some(json!("late")), release: true, ..commit("i") };
    let told = steps(&store)?.commit_step(fence, &result).await?;
    let Committed::Control(request) = told else { unmet(&format!("it answers {told:?}")) };
    assert_eq!(request.control, Control::Terminate);
    let end = StepCommit {
        status: Some(WorkflowStatus::Terminated),
        ending: Some(Ending::Terminated),
        applied: Some(request.number),
        release: true,
        ..commit("i")
    };
    done(&store, fence, end).await?;
    let old = load(&store, "i").await?;
    assert_eq!((old.instance.name.as_str(), old.instance.status), ("i", WorkflowStatus::Terminated));
    assert_eq!(load(&store, "j").await?.instance, named("j", NAME));
    Ok(())
}

async fn the_new_instance_is_claimed_unless_it_is_suspended(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let owner = steps(&store)?.register().await?;
    let old = stored(&store).await?;
    let suspended =
        WorkflowInstance { status: WorkflowStatus::Suspended, next_execution: None, ..named("j", NAME) };
    assert!(replace(&store, &old, &suspended).await?.is_some());
    assert_eq!(claim(&bench, &store, &owner).await?, ["i"], "to be terminated");
    let old = load(&store, "j").await?.expected();
    assert!(replace(&store, &old, &named("k", NAME)).await?.is_some());
    let claimed = claim(&bench, &store, &owner).await?;
    assert_eq!(claimed, ["j", "k"]);
    Ok(())
}

async fn a_replacement_that_cannot_be_stored_changes_nothing(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let old = stored(&store).await?;
    store.create_new_workflow(&named("k", "third")).await?;
    let steps = steps(&store)?;
    // To find out whether there are replacements at all.
    offered(steps.replace(&Expected { id: "unknown".to_owned(), ..old.clone() }, &instance("j")).await)?;
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    assert_err!(
        steps.replace(&old, &WorkflowInstance { data: deep, ..named("j", NAME) }).await,
        WfeError::Unstorable { .. }
    );
    assert_err!(
        steps.replace(&old, &named("j", "third")).await,
        WfeError::AlreadyExists { kind: Kind::WorkflowName, id } if id == "third"
    );
    assert_err!(
        steps.replace(&old, &named("i", NAME)).await,
        WfeError::AlreadyExists { kind: Kind::Workflow, id } if id == "i"
    );
    let referred = WorkflowInstance { reference: Some("order".to_owned()), ..named("j", NAME) };
    assert_err!(steps.replace(&old, &referred).await, WfeError::Invalid(_));
    let after = load(&store, "i").await?;
    assert_eq!((after.expected(), after.instance), (old.clone(), named("i", NAME)));
    store.create_new_workflow(&named("l", "i")).await?;
    assert_err!(
        steps.replace(&old, &named("j", NAME)).await,
        WfeError::AlreadyExists { kind: Kind::WorkflowName, id } if id == "i"
    );
    assert_err!(store.get_workflow_instance("j").await, WfeError::WorkflowNotFound(_));
    assert_eq!(load(&store, "i").await?.expected(), old);
    Ok(())
}

async fn one_replacement_of_many(stores: &[Store]) -> Checked<()> {
    let old = stored(&stores[0]).await?;
    let new: Vec<_> = (0..12).map(|n| named(&format!("j{n}"), NAME)).collect();
    let mut replacing = Vec::new();
    for (n, new) in new.iter().enumerate() {
        replacing.push(replace(&stores[n % stores.len()], &old, new));
    }
    let mut done = Vec::new();
    for result in join_all(replacing).await {
        done.extend(result?);
    }
    assert_eq!(done.len(), 1, "{done:?}");
    assert_eq!(stores[0].get_workflow_instance_by_name(NAME).await?.id, done[0]);
    let ids: Vec<_> = new.iter().map(|one| one.id.clone()).collect();
    assert_eq!(stores[0].get_workflow_instances(&ids).await?.len(), 1);
    Ok(())
}

async fn of_many_replacements_of_one_instance_exactly_one_happens(bench: Bench) -> Checked<()> {
    one_replacement_of_many(&[bench.open().await?]).await
}

async fn of_replacements_at_two_providers_exactly_one_happens(bench: Bench) -> Checked<()> {
    let one = bench.open().await?;
    steps(&one)?;
    one_replacement_of_many(&[one, bench.open_another().await?]).await
}

async fn a_replacement_outlives_its_provider(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let old = stored(&store).await?;
    assert!(replace(&store, &old, &named("j", NAME)).await?.is_some());
    let store = bench.reopen(store).await?;
    assert_eq!(store.get_workflow_instance_by_name(NAME).await?, named("j", NAME));
    let old = load(&store, "i").await?;
    assert_eq!(old.instance, named("i", "i"));
    assert_eq!(old.control.map(|request| request.control), Some(Control::Terminate));
    Ok(())
}

/// The ids on a page, and the cursor of the next page.
async fn list(
    store: &Store,
    prefix: &str,
    after: Option<Cursor>,
    limit: usize,
) -> Checked<(Vec<String>, Option<Cursor>)> {
    let page = offered(steps(store)?.named(prefix, after, limit).await)?;
    Ok((page.rows, page.next))
}

async fn the_engines_instances_are_listed_by_the_beginning_of_their_names(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    assert_eq!(list(&store, "wfe.a:", None, 9).await?, (vec![], None));
    for (id, name, status) in [
        ("1", "wfe.a:z", WorkflowStatus::Runnable),
        ("2", "wfe.a:a\0 ☃", WorkflowStatus::Suspended),
        ("3", "wfe.a:b", WorkflowStatus::Complete),
        ("4", "wfe.a:c", WorkflowStatus::Terminated),
        ("5", "wfe.a;", WorkflowStatus::Runnable),
        ("6", "wfe.a", WorkflowStatus::Runnable),
        ("7", "WFE.A:", WorkflowStatus::Runnable),
        ("8", "wfe.a:\u{10ffff}\u{10ffff}", WorkflowStatus::Runnable),
        ("9", "wfe.a:", WorkflowStatus::Runnable),
        ("10", "of the program", WorkflowStatus::Runnable),
    ] {
        store.create_new_workflow(&WorkflowInstance { status, ..named(id, name) }).await?;
    }
    assert_eq!(list(&store, "wfe.a:", None, 9).await?.0, ["1", "2", "8", "9"]);
    assert_eq!(list(&store, "wfe.a:a\0", None, 9).await?.0, ["2"]);
    assert_eq!(list(&store, "wfe.", None, 9).await?.0, ["1", "2", "5", "6", "8", "9"]);
    Ok(())
}

async fn instances_are_listed_by_their_names_in_pages(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    for id in ["e", "d", "c", "b", "a"] {
        store.create_new_workflow(&named(id, &format!("wfe.{id}"))).await?;
    }
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = list(&store, "wfe.", after, 2).await?;
        assert!(page.len() <= 2);
        if found.is_empty() {
            // Neither a new one nor one that ends moves the others.
            store.create_new_workflow(&named("f", "wfe.f")).await?;
            let ended = WorkflowInstance { status: WorkflowStatus::Complete, ..named("e", "wfe.e") };
            store.persist_workflow(&ended).await?;
        }
        found.extend(page);
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, ["e", "d", "c", "b", "a", "f"]);
    assert_eq!(list(&store, "wfe.", Some(Cursor(u64::MAX)), 2).await?, (vec![], None));
    Ok(())
}

async fn the_names_of_the_programs_instances_are_not_listed(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    offered(steps.named("wfe.", None, 1).await)?;
    for prefix in ["", "w", "wfe", "order"] {
        assert_err!(steps.named(prefix, None, 1).await, WfeError::Invalid(_));
    }
    Ok(())
}
