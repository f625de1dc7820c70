//! What the program hides is shown nowhere, and cannot be searched.

use serde_json::{Value, json};
use wfe::{
    Operator,
    definition::{OnFailure, Retry},
    operator::{Follow, HIDDEN, Over, Place, Verb, hidden},
    steps::StepError,
    traits::{EventFilter, Query},
};

use crate::support::{APPROVED, HOUR, Order, World, builder, on_both_stores, order};

const SECRET: &str = "4711";

/// Hides everything, everywhere.
fn blind(operator: Operator) -> Operator {
    operator.redact(|place, _, value| {
        if place != Place::Attribute {
            *value = hidden();
        }
    })
}

on_both_stores! {
    async fn nothing_hidden_is_shown(world: World) {
        let fails = builder("fails")
            .call("price", |_, order| Ok(order.secret.clone()))
            .output(|secret: String, order| order.secret = secret)
            .for_each("lines", |_: &Order| vec![SECRET.to_owned()], |line| line.then("look", async |_, _, _| Ok(())))
            .wait_for("approval", APPROVED, |_: &Order| "k")
            .then("charge", async |_, _| Err::<(), _>(StepError::fatal(SECRET).with_code("bank")))
            .on_failure(OnFailure::Suspend)
            .build()
            .unwrap();
        let retries = builder("retries")
            .then("charge", async |_, _| Err::<(), _>(StepError::retryable(SECRET)))
            .retry(Retry::every(HOUR).attempts(3))
            .build()
            .unwrap();
        let asks = builder("asks")
            .user_task("ask", |order: &Order| format!("Is it {}?", order.secret))
            .plain_option("yes")
            .build()
            .unwrap();
        let pack = wfe::definition::Activity::<String, u32>::new("pack");
        let packs = builder("packs").activity("pack", pack, |order: &Order| order.secret.clone()).build().unwrap();
        let host = world.host(&[&fails, &retries, &asks, &packs]).await;
        let operator = blind(world.operator().await);
        let mut following = operator.follow(Follow::Query(Query::default()));
        let begun = tokio::time::timeout(std::time::Duration::from_millis(300), following.next()).await;
        assert!(begun.is_err(), "nothing has happened");
        let mut ids = Vec::new();
        for definition in ["fails", "retries", "asks", "packs"] {
            ids.push(host.start_workflow(definition, &order()).await.unwrap());
        }
        host.idle().await.unwrap();
        host.publish(APPROVED, "k", SECRET.to_owned()).await.unwrap();
        host.idle().await.unwrap();

        let mut shown = vec![json!(operator.list(&Query::default(), None, 9).await.unwrap())];
        for id in &ids {
            shown.push(json!(operator.show(id).await.unwrap()));
            shown.push(json!(operator.data(id).await.unwrap()));
            shown.push(json!(operator.history(id, None, 99).await.unwrap()));
            shown.push(json!(operator.errors(Some(id), None, 99).await.unwrap()));
        }
        shown.push(json!(operator.errors(None, None, 99).await.unwrap()));
        shown.push(json!(operator.failure_groups(&Query::default()).await.unwrap()));
        shown.push(json!(operator.events(&EventFilter::default(), None, 99).await.unwrap()));
        shown.push(json!(operator.waits(None, None, 99).await.unwrap()));
        shown.push(json!(operator.waiting_for("approved", "k", 9).await.unwrap()));
        shown.push(json!(operator.tasks(None, None, 99).await.unwrap()));
        shown.push(json!(operator.activities(None, None, 99).await.unwrap()));
        shown.push(json!(operator.stuck(99).await.unwrap()));
        let preview = operator.bulk(Verb::Suspend, Over::Query(Query::default())).preview().await.unwrap();
        shown.push(json!(preview));
        shown.push(json!(following.next().await.unwrap()));
        for shown in &shown {
            assert!(!shown.to_string().contains(SECRET), "{shown:#}");
        }
        // It is marked as hidden.
        assert_eq!(operator.data(&ids[0]).await.unwrap(), json!({ "hidden": true }));
        let status = operator.status(&ids[0]).await.unwrap();
        assert_eq!((&*status.cause.as_ref().unwrap().message(), &*status.cause.unwrap().code), (HIDDEN, "bank"));
        assert_eq!(operator.tasks(None, None, 9).await.unwrap().rows[0].task.prompt, HIDDEN);
        assert_eq!(operator.activities(None, None, 9).await.unwrap().rows[0].input, hidden());
        assert_eq!(operator.stuck(9).await.unwrap()[0].explanation.headline.matches(HIDDEN).count(), 1);
    }

    async fn what_is_hidden_cannot_be_searched(world: World) {
        let operator = world.operator().await;
        let text = Query { text: Some(SECRET.to_owned()), ..Query::default() };
        operator.list(&text, None, 9).await.unwrap();
        let hides = operator.clone().redact(|place, _, value| {
            if place == Place::Attribute && let Some(fields) = value.as_object_mut() {
                fields.remove("salary");
            }
        });
        assert_eq!(hides.list(&text, None, 9).await.unwrap_err().code(), "forbidden");
        assert_eq!(hides.count(&text, 9).await.unwrap_err().code(), "forbidden");
        assert_eq!(hides.failure_groups(&text).await.unwrap_err().code(), "forbidden");
        let bulk = hides.bulk(Verb::Suspend, Over::Query(text));
        assert_eq!(bulk.preview().await.unwrap_err().code(), "forbidden");
        assert_eq!(bulk.run(&()).await.unwrap_err().code(), "forbidden");
        let by = |key: &str, definition: Option<&str>| Query {
            attributes: vec![(key.to_owned(), Value::from(1))],
            definition: definition.map(str::to_owned),
            ..Query::default()
        };
        assert_eq!(hides.list(&by("salary", Some("d")), None, 9).await.unwrap_err().code(), "forbidden");
        assert_eq!(hides.list(&by("age", None), None, 9).await.unwrap_err().code(), "forbidden");
        hides.list(&by("age", Some("d")), None, 9).await.unwrap();
    }
}
