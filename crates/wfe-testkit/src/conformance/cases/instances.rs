//! Instances: each instance is stored, read and replaced as a whole.

use std::collections::HashSet;

use wfe_core::Kind;

use super::prelude::*;

cases! { "instances":
    an_instance_comes_back_as_it_went_in,
    the_store_makes_an_id_where_none_is_given,
    an_empty_name_becomes_the_id,
    an_id_that_exists_is_refused_and_nothing_is_written,
    a_name_that_exists_is_refused_and_nothing_is_written,
    the_id_that_would_serve_as_name_must_be_free_as_a_name,
    an_id_may_be_the_name_of_another_instance,
    references_need_not_be_unique,
    a_missing_instance_is_not_found_by_id_or_by_name,
    ids_and_names_are_compared_character_by_character,
    persisting_replaces_every_field,
    persisting_an_older_copy_brings_the_older_state_back,
    persisting_an_unknown_id_is_refused_and_nothing_is_written,
    persisting_with_an_empty_name_keeps_the_stored_name,
    persisting_a_name_of_another_instance_is_refused_and_nothing_is_written,
    a_renamed_instance_is_found_by_its_new_name_only,
    instances_come_in_the_requested_order_and_missing_ids_are_skipped,
    thousands_of_instances_can_be_read_at_once,
    runnable_instances_come_earliest_first,
    only_runnable_instances_that_are_due_are_listed,
    an_instance_is_due_when_its_time_has_come_and_no_longer_when_it_is_put_off,
    a_sequence_counts_each_definition_from_one,
}

async fn an_instance_comes_back_as_it_went_in(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let stored = full_instance("i", 1);
    assert_eq!(store.create_new_workflow(&stored).await?, "i");
    assert_eq!(store.get_workflow_instance("i").await?, stored);
    assert_eq!(store.get_workflow_instance_by_name(&stored.name).await?, stored);
    assert_eq!(store.get_workflow_instances(&texts(&["i"])).await?, [stored]);
    for status in [
        WorkflowStatus::Runnable,
        WorkflowStatus::Suspended,
        WorkflowStatus::Complete,
        WorkflowStatus::Terminated,
    ] {
        let bare = WorkflowInstance { status, ..parked(&status.to_string()) };
        store.create_new_workflow(&bare).await?;
        assert_eq!(store.get_workflow_instance(&bare.id).await?, bare);
    }
    Ok(())
}

async fn the_store_makes_an_id_where_none_is_given(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let mut ids = HashSet::new();
    for tag in 0..10 {
        let given = WorkflowInstance { id: String::new(), ..full_instance("", tag) };
        let id = store.create_new_workflow(&given).await?;
        let version = uuid::Uuid::parse_str(&id)?.get_version_num();
        assert!([6, 7].contains(&version), "{id} is no time-ordered UUID");
        let expected = WorkflowInstance { id: id.clone(), ..given };
        assert_eq!(store.get_workflow_instance(&id).await?, expected);
        ids.insert(id);
    }
    assert_eq!(ids.len(), 10);
    Ok(())
}

async fn an_empty_name_becomes_the_id(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let unnamed = WorkflowInstance { name: String::new(), ..instance("i") };
    store.create_new_workflow(&unnamed).await?;
    assert_eq!(store.get_workflow_instance("i").await?, instance("i"));
    assert_eq!(store.get_workflow_instance_by_name("i").await?.id, "i");
    let made = store.create_new_workflow(&WorkflowInstance { id: String::new(), ..unnamed }).await?;
    assert_eq!(store.get_workflow_instance_by_name(&made).await?.id, made);
    Ok(())
}

async fn an_id_that_exists_is_refused_and_nothing_is_written(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let first = full_instance("i", 1);
    store.create_new_workflow(&first).await?;
    let second = full_instance("i", 2);
    assert_err!(
        store.create_new_workflow(&second).await,
        WfeError::AlreadyExists { kind: Kind::Workflow, id } if id == "i"
    );
    assert_eq!(store.get_workflow_instance("i").await?, first);
    assert_err!(store.get_workflow_instance_by_name(&second.name).await, WfeError::WorkflowNotFound(_));
    Ok(())
}

async fn a_name_that_exists_is_refused_and_nothing_is_written(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let first = full_instance("i", 1);
    store.create_new_workflow(&first).await?;
    let second = WorkflowInstance { name: first.name.clone(), ..full_instance("j", 2) };
    assert_err!(
        store.create_new_workflow(&second).await,
        WfeError::AlreadyExists { kind: Kind::WorkflowName, id } if id == first.name
    );
    assert_eq!(store.get_workflow_instance_by_name(&first.name).await?, first);
    assert_err!(store.get_workflow_instance("j").await, WfeError::WorkflowNotFound(_));
    Ok(())
}

async fn the_id_that_would_serve_as_name_must_be_free_as_a_name(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    store.create_new_workflow(&WorkflowInstance { name: "j".to_owned(), ..instance("i") }).await?;
    let unnamed = WorkflowInstance { name: String::new(), ..instance("j") };
    assert_err!(
        store.create_new_workflow(&unnamed).await,
        WfeError::AlreadyExists { kind: Kind::WorkflowName, id } if id == "j"
    );
    assert_err!(store.get_workflow_instance("j").await, WfeError::WorkflowNotFound(_));
    Ok(())
}

async fn an_id_may_be_the_name_of_another_instance(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let one = WorkflowInstance { name: "two".to_owned(), ..instance("one") };
    let two = WorkflowInstance { name: "one".to_owned(), ..instance("two") };
    store.create_new_workflow(&one).await?;
    store.create_new_workflow(&two).await?;
    assert_eq!(store.get_workflow_instance("one").await?, one);
    assert_eq!(store.get_workflow_instance_by_name("one").await?, two);
    Ok(())
}

async fn references_need_not_be_unique(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    for id in ["i", "j"] {
        let referred = WorkflowInstance { reference: Some("order 1".to_owned()), ..instance(id) };
        store.create_new_workflow(&referred).await?;
        assert_eq!(store.get_workflow_instance(id).await?, referred);
    }
    Ok(())
}

async fn a_missing_instance_is_not_found_by_id_or_by_name(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    store.create_new_workflow(&WorkflowInstance { name: "name".to_owned(), ..instance("id") }).await?;
    assert_err!(
        store.get_workflow_instance("name").await,
        WfeError::WorkflowNotFound(id) if id == "name"
    );
    assert_err!(
        store.get_workflow_instance_by_name("id").await,
        WfeError::WorkflowNotFound(name) if name == "id"
    );
    assert_err!(store.get_workflow_instance("").await, WfeError::WorkflowNotFound(_));
    Ok(())
}

async fn ids_and_names_are_compared_character_by_character(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let ids = ["a", "A", "a ", " a", "%", "_", "ä", "a\u{308}", "1", "1.0", "01", "a'b", "a\"b", "NULL"];
    for id in ids {
        store.create_new_workflow(&instance(id)).await?;
    }
    for id in ids {
        assert_eq!(store.get_workflow_instance(id).await?, instance(id));
        assert_eq!(store.get_workflow_instance_by_name(id).await?, instance(id));
    }
    Ok(())
}

async fn persisting_replaces_every_field(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    store.create_new_workflow(&full_instance("i", 1)).await?;
    store.create_new_workflow(&full_instance("other", 3)).await?;
    let changed = full_instance("i", 2);
    store.persist_workflow(&changed).await?;
    assert_eq!(store.get_workflow_instance("i").await?, changed);
    let emptied = WorkflowInstance { data: Value::Null, ..parked("i") };
    store.persist_workflow(&emptied).await?;
    assert_eq!(store.get_workflow_instance("i").await?, emptied);
    store.persist_workflow(&emptied).await?;
    assert_eq!(store.get_workflow_instance("i").await?, emptied);
    assert_eq!(store.get_workflow_instance("other").await?, full_instance("other", 3));
    Ok(())
}

async fn persisting_an_older_copy_brings_the_older_state_back(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let versions: Vec<_> = (0..4).map(|tag| full_instance("i", tag)).collect();
    store.create_new_workflow(&versions[0]).await?;
    for tag in [1, 2, 1, 3, 0, 3] {
        store.persist_workflow(&versions[tag]).await?;
        assert_eq!(store.get_workflow_instance("i").await?, versions[tag]);
    }
    Ok(())
}

async fn persisting_an_unknown_id_is_refused_and_nothing_is_written(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let unknown = full_instance("i", 1);
    assert_err!(store.persist_workflow(&unknown).await, WfeError::WorkflowNotFound(id) if id == "i");
    let waits = [wait("w", "i", "name", "key", second(0))];
    assert_err!(
        store.persist_workflow_with_subscriptions(&unknown, &waits).await,
        WfeError::WorkflowNotFound(id) if id == "i"
    );
    assert_err!(store.get_workflow_instance("i").await, WfeError::WorkflowNotFound(_));
    assert_err!(store.get_subscription("w").await, WfeError::SubscriptionNotFound(_));
    let nameless = WorkflowInstance { id: String::new(), ..unknown };
    assert_err!(store.persist_workflow(&nameless).await, WfeError::WorkflowNotFound(_));
    Ok(())
}

async fn persisting_with_an_empty_name_keeps_the_stored_name(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let named = full_instance("i", 1);
    store.create_new_workflow(&named).await?;
    let unnamed = WorkflowInstance { name: String::new(), ..full_instance("i", 2) };
    store.persist_workflow(&unnamed).await?;
    let expected = WorkflowInstance { name: named.name.clone(), ..unnamed };
    assert_eq!(store.get_workflow_instance("i").await?, expected);
    assert_eq!(store.get_workflow_instance_by_name(&named.name).await?, expected);
    Ok(())
}

async fn persisting_a_name_of_another_instance_is_refused_and_nothing_is_written(
    bench: Bench,
) -> Checked<()> {
    let store = bench.open().await?;
    let (one, two) = (full_instance("one", 1), full_instance("two", 2));
    store.create_new_workflow(&one).await?;
    store.create_new_workflow(&two).await?;
    let thief = WorkflowInstance { name: one.name.clone(), ..full_instance("two", 3) };
    let waits = [wait("w", "two", "name", "key", second(0))];
    for _ in 0..2 {
        assert_err!(
            store.persist_workflow_with_subscriptions(&thief, &waits).await,
            WfeError::AlreadyExists { kind: Kind::WorkflowName, id } if id == one.name
        );
        assert_eq!(store.get_workflow_instance("two").await?, two);
    }
    assert_eq!(store.get_workflow_instance_by_name(&one.name).await?, one);
    assert_err!(store.get_subscription("w").await, WfeError::SubscriptionNotFound(_));
    Ok(())
}

async fn a_renamed_instance_is_found_by_its_new_name_only(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    store.create_new_workflow(&instance("i")).await?;
    store.persist_workflow(&WorkflowInstance { name: "new".to_owned(), ..instance("i") }).await?;
    assert_eq!(store.get_workflow_instance_by_name("new").await?.id, "i");
    assert_err!(store.get_workflow_instance_by_name("i").await, WfeError::WorkflowNotFound(_));
    store.create_new_workflow(&WorkflowInstance { name: "i".to_owned(), ..instance("j") }).await?;
    assert_eq!(store.get_workflow_instance_by_name("i").await?.id, "j");
    Ok(())
}

async fn instances_come_in_the_requested_order_and_missing_ids_are_skipped(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    for id in ["a", "b", "c", "d"] {
        store.create_new_workflow(&full_instance(id, 1)).await?;
    }
    let asked = texts(&["d", "missing", "a", "c", ""]);
    let expected = ["d", "a", "c"].map(|id| full_instance(id, 1));
    assert_eq!(store.get_workflow_instances(&asked).await?, expected);
    assert_eq!(store.get_workflow_instances(&[]).await?, []);
    assert_eq!(store.get_workflow_instances(&texts(&["missing"])).await?, []);
    Ok(())
}

async fn thousands_of_instances_can_be_read_at_once(bench: Bench) -> Checked<()> {
    /// A number of ids that is too high for any database to accept each id as a parameter of one statement.
    const ASKED: usize = 70_000;
    let store = bench.open().await?;
    let mut asked: Vec<_> = (0..ASKED).map(|n| format!("missing {n}")).collect();
    let stored = [3, ASKED / 2, ASKED - 1].map(|at| instance_with(&format!("at {at}"), &["p", "q"]));
    for (instance, at) in stored.iter().zip([3, ASKED / 2, ASKED - 1]) {
        store.create_new_workflow(instance).await?;
        asked[at].clone_from(&instance.id);
    }
    assert_eq!(store.get_workflow_instances(&asked).await?, stored);
    Ok(())
}

async fn runnable_instances_come_earliest_first(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    for (id, due) in [("c", 30), ("z", 10), ("a", 40), ("b", -50), ("y", 20)] {
        store.create_new_workflow(&WorkflowInstance { next_execution: Some(due), ..instance(id) }).await?;
    }
    assert_eq!(store.get_runnable_instances(bench.now()).await?, ["b", "z", "y", "c", "a"]);
    Ok(())
}

async fn only_runnable_instances_that_are_due_are_listed(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    store.create_new_workflow(&instance("due")).await?;
    store.create_new_workflow(&parked("parked")).await?;
    for status in [WorkflowStatus::Suspended, WorkflowStatus::Complete, WorkflowStatus::Terminated] {
        let other = WorkflowInstance { status, ..instance(&status.to_string()) };
        store.create_new_workflow(&other).await?;
    }
    assert_eq!(store.get_runnable_instances(second(0)).await?, ["due"]);
    Ok(())
}

async fn an_instance_is_due_when_its_time_has_come_and_no_longer_when_it_is_put_off(
    bench: Bench,
) -> Checked<()> {
    let store = bench.open().await?;
    let due_at = |seconds| WorkflowInstance { next_execution: Some(second_ms(seconds)), ..instance("i") };
    store.create_new_workflow(&due_at(10)).await?;
    assert_eq!(store.get_runnable_instances(second(9)).await?, Vec::<String>::new());
    assert_eq!(store.get_runnable_instances(second(10)).await?, ["i"]);
    store.persist_workflow(&due_at(20)).await?;
    assert_eq!(store.get_runnable_instances(second(19)).await?, Vec::<String>::new());
    assert_eq!(store.get_runnable_instances(second(20)).await?, ["i"]);
    store.persist_workflow(&parked("i")).await?;
    assert_eq!(store.get_runnable_instances(second(99)).await?, Vec::<String>::new());
    store.persist_workflow(&instance("i")).await?;
    assert_eq!(store.get_runnable_instances(second(0)).await?, ["i"]);
    Ok(())
}

async fn a_sequence_counts_each_definition_from_one(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    // Names that a store's own counters or tables could also have.
    let definitions =
        ["a", "A", "definition:a", "workflows", "events", "execution_pointers", "owner", "a'b\"c", "ä"];
    for number in 1..=3 {
        for definition in definitions {
            assert_eq!(store.next_definition_sequence(definition).await?, number, "of {definition:?}");
        }
    }
    store.create_new_workflow(&instance("i")).await?;
    assert_eq!(store.next_definition_sequence("a").await?, 4);
    Ok(())
}
