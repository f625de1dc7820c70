//! Attributes of instances: how they are stored, and what leaves them as they are.

use serde_json::Map;
use wfe_core::{
    limits::{LONGEST_ATTRIBUTE, LONGEST_ATTRIBUTE_KEY, MOST_ATTRIBUTES},
    traits::{Control, Known, StepStore},
};

use super::{
    prelude::*,
    retries::{end, ended},
};

cases! { "attributes":
    an_instance_has_the_attributes_with_which_it_was_started,
    an_instance_that_is_started_with_an_owner_has_its_attributes,
    a_commit_replaces_all_attributes_and_one_without_them_none,
    a_commit_that_releases_or_ends_an_instance_stores_attributes_too,
    attributes_come_back_exactly,
    attributes_are_still_there_when_the_store_is_opened_again,
    a_whole_instance_that_is_written_keeps_its_attributes,
    a_request_and_a_claim_keep_attributes,
    a_commit_that_is_refused_changes_no_attributes,
    attributes_that_no_instance_can_have_are_refused_and_nothing_is_written,
    a_start_that_finds_an_instance_leaves_its_attributes,
    a_restart_keeps_attributes_and_a_start_that_restarts_has_its_own,
    children_inherit_no_attributes,
}

type Attributes = Map<String, Value>;

fn some(value: Value) -> Attributes {
    match value {
        Value::Object(attributes) => attributes,
        _ => unmet("the sample is no object"),
    }
}

/// Starts an instance with these attributes. Skips the case if the store keeps none.
async fn started(
    store: &Store,
    owner: Option<&Owner>,
    instance: &WorkflowInstance,
    value: Value,
) -> Checked<Option<Fence>> {
    let started = steps(store)?.start_with(owner, instance, Known::Existing, &some(value)).await;
    Ok(offered(started)?.fence)
}

/// Starts an instance with an owner and these attributes.
async fn owned_with(store: &Store, instance: &WorkflowInstance, value: Value) -> Checked<(Owner, Fence)> {
    let owner = steps(store)?.register().await?;
    match started(store, Some(&owner), instance, value).await? {
        Some(fence) => Ok((owner, fence)),
        None => unmet("a new instance with an owner came without a fence"),
    }
}

/// The attributes of the instance, in whatever way it is loaded.
async fn loaded(steps: &Arc<dyn StepStore>, id: &str) -> Checked<Value> {
    let loaded = steps.load(id).await?.attributes;
    assert_eq!(steps.inspect(id).await?.attributes, loaded);
    for (_, one) in steps.load_many(&[id.to_owned()]).await? {
        assert_eq!(one?.attributes, loaded);
    }
    Ok(Value::Object(loaded))
}

fn setting(id: &str, value: Value) -> StepCommit {
    StepCommit { attributes: Some(some(value)), ..commit(id) }
}

async fn an_instance_has_the_attributes_with_which_it_was_started(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let all = json!({ "customer": "Ann", "priority": 1, "express": true });
    started(&store, None, &instance("i"), all.clone()).await?;
    started(&store, None, &instance("j"), json!({})).await?;
    steps.start(None, &instance("k")).await?;
    store.create_new_workflow(&instance("l")).await?;
    assert_eq!(loaded(&steps, "i").await?, all);
    for id in ["j", "k", "l"] {
        assert_eq!(loaded(&steps, id).await?, json!({}), "{id}");
    }
    Ok(())
}

async fn an_instance_that_is_started_with_an_owner_has_its_attributes(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned_with(&store, &instance("i"), json!({ "a": 1 })).await?;
    done(&store, fence, commit("i")).await?;
    assert_eq!(loaded(&steps(&store)?, "i").await?, json!({ "a": 1 }));
    Ok(())
}

async fn a_commit_replaces_all_attributes_and_one_without_them_none(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let (_owner, fence) = owned_with(&store, &instance("i"), json!({ "a": 1, "b": 2 })).await?;
    for (commit, expected) in [
        (StepCommit { data: Some(json!("new")), ..commit("i") }, json!({ "a": 1, "b": 2 })),
        (setting("i", json!({ "b": "two", "c": false })), json!({ "b": "two", "c": false })),
        (commit("i"), json!({ "b": "two", "c": false })),
        (setting("i", json!({})), json!({})),
        (setting("i", json!({ "a": 3 })), json!({ "a": 3 })),
    ] {
        done(&store, fence, commit).await?;
        assert_eq!(loaded(&steps, "i").await?, expected);
    }
    Ok(())
}

async fn a_commit_that_releases_or_ends_an_instance_stores_attributes_too(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    for (id, rest) in [
        ("released", StepCommit { release: true, ..commit("released") }),
        ("parked", StepCommit { release: true, next_execution: Some(None), ..commit("parked") }),
        ("ended", end("ended", Ending::Completed)),
    ] {
        let (_owner, fence) = owned_with(&store, &instance(id), json!({ "a": 1 })).await?;
        done(&store, fence, StepCommit { attributes: Some(some(json!({ "a": 2 }))), ..rest }).await?;
        assert_eq!(loaded(&steps, id).await?, json!({ "a": 2 }), "{id}");
    }
    Ok(())
}

async fn attributes_come_back_exactly(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let mut all = some(json!({
        "most": u64::MAX, "least": i64::MIN, "huge": f64::MAX, "tiny": f64::MIN_POSITIVE, "minus": -0.0,
        "third": 1.0 / 3.0, "text": "\0\u{1b} \u{2028} 𝕎 \" \\ /", "empty": "", "no": false,
        "long": "ä".repeat(LONGEST_ATTRIBUTE / 2), "$.a[0]": 1, "\"'\\": "quotes", "a.b": 2, "é 𝕎": 3,
    }));
    all.insert("ä".repeat(LONGEST_ATTRIBUTE_KEY / 2), json!(true));
    while all.len() < MOST_ATTRIBUTES {
        all.insert(all.len().to_string(), json!("one of many"));
    }
    started(&store, None, &instance("i"), Value::Object(all.clone())).await?;
    let (_owner, fence) = owned_with(&store, &instance("j"), json!({ "other": 1 })).await?;
    done(&store, fence, setting("j", Value::Object(all.clone()))).await?;
    for id in ["i", "j"] {
        // As texts: `-0.0` is another value than `0.0`, but equals it.
        assert_eq!(loaded(&steps, id).await?.to_string(), Value::Object(all.clone()).to_string());
    }
    Ok(())
}

async fn attributes_are_still_there_when_the_store_is_opened_again(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    started(&store, None, &instance("i"), json!({ "a": 1 })).await?;
    let store = bench.reopen(store).await?;
    assert_eq!(loaded(&steps(&store)?, "i").await?, json!({ "a": 1 }));
    Ok(())
}

async fn a_whole_instance_that_is_written_keeps_its_attributes(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    started(&store, None, &instance_with("i", &["p"]), json!({ "a": 1 })).await?;
    let read = store.get_workflow_instance("i").await?;
    store.persist_workflow(&WorkflowInstance { data: json!("new"), ..read.clone() }).await?;
    store.persist_workflow_with_subscriptions(&read, &[wait("w", "i", "n", "k", second(0))]).await?;
    assert_eq!(loaded(&steps(&store)?, "i").await?, json!({ "a": 1 }));
    Ok(())
}

async fn a_request_and_a_claim_keep_attributes(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    started(&store, None, &instance("i"), json!({ "a": 1 })).await?;
    steps.request("i", Control::Suspend).await?;
    let owner = steps.register().await?;
    for (claimed, one) in steps.claim_loaded(&owner, &definitions(), bench.now(), 9).await? {
        assert_eq!((claimed.id.as_str(), Value::Object(one?.attributes)), ("i", json!({ "a": 1 })));
    }
    assert_eq!(loaded(&steps, "i").await?, json!({ "a": 1 }));
    Ok(())
}

async fn a_commit_that_is_refused_changes_no_attributes(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let (_owner, fence) = owned_with(&store, &instance("i"), json!({ "a": 1 })).await?;
    let wrong = Fence(fence.0 + 1);
    assert_eq!(steps.commit_step(wrong, &setting("i", json!({ "a": 2 }))).await?, Committed::Lost);
    assert_eq!(loaded(&steps, "i").await?, json!({ "a": 1 }));
    Ok(())
}

async fn attributes_that_no_instance_can_have_are_refused_and_nothing_is_written(
    bench: Bench,
) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let (_owner, fence) = owned_with(&store, &instance("i"), json!({ "a": 1 })).await?;
    let many: Attributes = (0..=MOST_ATTRIBUTES).map(|n| (n.to_string(), json!(n))).collect();
    for (wrong, is_invalid) in [
        (json!({ "": 1 }), true),
        (json!({ "a\u{1}": 1 }), true),
        (json!({ "wfe.ack": true }), true),
        (json!({ "a": null }), true),
        (json!({ "a": [] }), true),
        (json!({ "a": {} }), true),
        (json!({ "a": "x".repeat(LONGEST_ATTRIBUTE + 1) }), false),
        (json!({ "x".repeat(LONGEST_ATTRIBUTE_KEY + 1): 1 }), false),
        (Value::Object(many), false),
    ] {
        let start =
            steps.start_with(None, &instance("j"), Known::Existing, &some(wrong.clone())).await.map(drop);
        let commit = StepCommit { data: Some(json!("new")), ..setting("i", wrong.clone()) };
        let step = steps.commit_step(fence, &commit).await.map(drop);
        for refused in [start, step] {
            match refused {
                Err(WfeError::Invalid(_)) if is_invalid => {}
                Err(WfeError::Unstorable { .. }) if !is_invalid => {}
                other => unmet(&format!("{wrong}: {other:?}")),
            }
        }
    }
    assert_eq!(loaded(&steps, "i").await?, json!({ "a": 1 }));
    assert_eq!(steps.load("i").await?.instance.data, instance("i").data);
    assert_err!(steps.load("j").await, WfeError::WorkflowNotFound(_));
    Ok(())
}

async fn a_start_that_finds_an_instance_leaves_its_attributes(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let referred = |id: &str| WorkflowInstance { reference: Some("order".to_owned()), ..instance(id) };
    started(&store, None, &referred("i"), json!({ "a": 1 })).await?;
    started(&store, None, &referred("j"), json!({ "a": 2 })).await?;
    assert_eq!(loaded(&steps, "i").await?, json!({ "a": 1 }));
    Ok(())
}

async fn a_restart_keeps_attributes_and_a_start_that_restarts_has_its_own(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let steps = steps(&store)?;
    let referred =
        |id: &str| WorkflowInstance { reference: Some("order".to_owned()), ..instance_with(id, &["p"]) };
    let (_owner, fence) = owned_with(&store, &referred("i"), json!({ "a": 1 })).await?;
    done(&store, fence, end("i", Ending::Failed)).await?;
    offered(steps.restart(None, "i", &instance_with("j", &["p"])).await)?;
    assert_eq!(loaded(&steps, "j").await?, json!({ "a": 1 }));
    assert_eq!(loaded(&steps, "i").await?, json!({ "a": 1 }));
    let owner = steps.register().await?;
    let claimed = steps.claim(&owner, &definitions(), bench.now(), 9).await?;
    let Some(claimed) = claimed.first() else { unmet("the restarted instance is not due") };
    done(&store, claimed.fence, end("j", Ending::Failed)).await?;
    let third = referred("k");
    steps.start_with(None, &third, Known::RestartIfFailed, &some(json!({ "b": 2 }))).await?;
    assert_eq!(loaded(&steps, "k").await?, json!({ "b": 2 }));
    ended(&store, &instance_with("l", &["p"]), Ending::Completed).await?;
    steps.restart(None, "l", &instance_with("m", &["p"])).await?;
    assert_eq!(loaded(&steps, "m").await?, json!({}));
    Ok(())
}

async fn children_inherit_no_attributes(bench: Bench) -> Checked<()> {
    let store = bench.open().await?;
    let (_owner, fence) = owned_with(&store, &instance("i"), json!({ "a": 1 })).await?;
    let created = vec![instance("child")];
    done(&store, fence, StepCommit { created, ..setting("i", json!({ "a": 2 })) }).await?;
    let steps = steps(&store)?;
    assert_eq!(loaded(&steps, "i").await?, json!({ "a": 2 }));
    assert_eq!(loaded(&steps, "child").await?, json!({}));
    Ok(())
}
