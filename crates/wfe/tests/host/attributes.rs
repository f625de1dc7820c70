//! Attributes of instances, from the start to the status.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use wfe::{
    Outcome, WfeError, WorkflowHost,
    definition::{OnFailure, WorkflowBuilder},
    host::Known,
    steps::StepError,
    traits::PersistenceProvider,
};
use wfe_sqlite::SqlitePersistenceProvider;
use wfe_testkit::{Layer, Layered};

async fn host_on(provider: Arc<dyn PersistenceProvider>) -> WorkflowHost {
    let host = WorkflowHost::builder_shared(provider).poll_interval(Duration::from_hours(1)).build();
    let workflow = WorkflowBuilder::<bool>::new("w", 1)
        .then("set", async |ctx, _| {
            let before = ctx.attribute("n").and_then(|n| n.as_u64()).unwrap_or(0);
            ctx.set_attribute("n", before + 1)?;
            ctx.set_attribute("gone", Value::Null)
        })
        .then("end", async |_, good| if *good { Ok(()) } else { Err(StepError::fatal("no")) })
        .on_failure(OnFailure::Fail);
    host.register(workflow.build().unwrap()).unwrap();
    host.start().await.unwrap();
    host
}

async fn attributes(host: &WorkflowHost, id: &str) -> Value {
    Value::Object(host.status(id).await.unwrap().attributes)
}

#[tokio::test]
async fn a_start_sets_attributes_a_step_changes_them_and_a_restart_keeps_them() {
    let host = host_on(Arc::new(SqlitePersistenceProvider::new(":memory:").await.unwrap())).await;
    let workflow = host.workflow::<bool>(wfe::definition::WorkflowName::new("w"));
    let first = workflow
        .start(&false)
        .attribute("n", 1)
        .attribute("n", 41)
        .attribute("gone", "soon")
        .attribute("customer", "Ann")
        .reference("r")
        .await
        .unwrap();
    assert!(matches!(first.outcome().await.unwrap(), Outcome::Failed(_)));
    assert_eq!(attributes(&host, first.id()).await, json!({ "n": 42, "customer": "Ann" }));
    let second = host.restart(first.id(), &false).await.unwrap();
    second.outcome().await.unwrap();
    assert_eq!(attributes(&host, second.id()).await, json!({ "n": 43, "customer": "Ann" }));
    // A start by the same reference finds the instance, and one that restarts it has attributes of its own.
    let known = workflow.start(&true).attribute("other", true).reference("r").await.unwrap();
    assert_eq!(
        (known.is_new, attributes(&host, known.id()).await),
        (false, json!({ "n": 43, "customer": "Ann" }))
    );
    let third = workflow
        .start(&true)
        .attribute("other", true)
        .reference("r")
        .if_known(Known::RestartIfFailed)
        .await
        .unwrap();
    assert!(third.outcome().await.unwrap().completed().unwrap());
    assert_eq!(attributes(&host, third.id()).await, json!({ "n": 1, "other": true }));
    host.stop().await.unwrap();
}

#[tokio::test]
async fn attributes_that_no_instance_can_have_are_refused_when_the_start_is_awaited() {
    let host = host_on(Arc::new(SqlitePersistenceProvider::new(":memory:").await.unwrap())).await;
    let workflow = host.workflow::<bool>(wfe::definition::WorkflowName::new("w"));
    for (key, value) in [("", json!(1)), ("wfe.ack", json!(true)), ("a", json!(null)), ("a", json!([1]))] {
        let refused = workflow.start(&true).attribute(key, value).await;
        assert!(matches!(refused, Err(WfeError::Invalid(_))), "{key:?}: {refused:?}");
    }
    let long = workflow.start(&true).attribute("a", "x".repeat(1025)).await;
    assert!(matches!(long, Err(WfeError::Unstorable { .. })), "{long:?}");
    host.stop().await.unwrap();
}

/// A store that has only the base traits.
struct Plain(Arc<dyn PersistenceProvider>);

impl Layer for Plain {
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.0
    }

    fn has_step_store(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn a_store_with_the_base_traits_keeps_what_steps_set_and_refuses_attributes_of_a_start() {
    let below = Arc::new(SqlitePersistenceProvider::new(":memory:").await.unwrap());
    let host = host_on(Arc::new(Layered(Plain(below)))).await;
    let workflow = host.workflow::<bool>(wfe::definition::WorkflowName::new("w"));
    let refused = workflow.start(&true).attribute("a", 1).await;
    assert!(matches!(refused, Err(WfeError::Unsupported(_))), "{refused:?}");
    let one = workflow.start(&true).await.unwrap();
    one.outcome().await.unwrap();
    assert_eq!(attributes(&host, one.id()).await, json!({ "n": 1 }));
    host.stop().await.unwrap();
}
