//! What happens is followed: of all instances, and of one with its steps, over stops of hosts.

use std::time::Duration;

use serde_json::json;
use wfe::{
    Operator,
    definition::Retry,
    operator::{Follow, Following, News, Verb},
    steps::StepError,
    traits::Query,
};

use crate::support::{APPROVED, HOUR, World, builder, on_both_stores, order, waits};

/// Begins to follow: nothing has happened yet.
async fn begun(operator: &Operator, scope: Follow) -> Following {
    let mut following = operator.follow(scope);
    let first = tokio::time::timeout(Duration::from_millis(300), following.next()).await;
    assert!(first.is_err(), "{first:?}");
    following
}

/// The next news, in short, until there are as many.
async fn next(following: &mut Following, count: usize) -> Vec<String> {
    let mut found = Vec::new();
    while found.len() < count {
        let news = tokio::time::timeout(Duration::from_secs(20), following.next()).await;
        found.extend(news.expect("news come").unwrap().iter().map(short));
    }
    found
}

fn short(news: &News) -> String {
    let json = json!(news);
    let part = match news {
        News::Step { .. } => json["step"]["step"].clone(),
        News::Failed { .. } => json["failure"]["code"].clone(),
        News::Acted { .. } => json["record"]["action"].clone(),
        News::Missed { .. } => json["kind"].clone(),
        _ => json["instance"]["state"].clone(),
    };
    let part = part.as_str().unwrap().to_owned();
    format!("{} {part}", json["news"].as_str().unwrap())
}

on_both_stores! {
    async fn everything(world: World) {
        let fails = builder("fails")
            .call("charge", |_, _| Err::<(), _>(StepError::retryable("no").with_code("bank")))
            .retry(Retry::every(HOUR).attempts(2))
            .build()
            .unwrap();
        let (host, operator) = (world.host(&[&waits(), &fails]).await, world.operator().await);
        let before = host.start_workflow("waits", &order()).await.unwrap();
        host.idle().await.unwrap();
        let mut following = begun(&operator, Follow::Query(Query::default())).await;
        let only = Query { definition: Some("waits".to_owned()), ..Query::default() };
        let mut some = begun(&operator, Follow::Query(only)).await;
        host.start_workflow("fails", &order()).await.unwrap();
        host.idle().await.unwrap();
        let mut news = next(&mut following, 2).await;
        news.sort();
        assert_eq!(news, ["failed bank", "started asleep"]);
        host.advance(HOUR).await.unwrap();
        let mut news = next(&mut following, 2).await;
        news.sort();
        assert_eq!(news, ["ended failed", "failed bank"]);
        operator.act(&Verb::Terminate, &before).await.unwrap();
        host.idle().await.unwrap();
        let mut news = next(&mut following, 2).await;
        news.sort();
        assert_eq!(news, ["acted terminate", "ended terminated"]);
        let mut news = next(&mut some, 2).await;
        news.sort();
        assert_eq!(news, ["acted terminate", "ended terminated"]);
        // Each once: nothing is left.
        let rest = tokio::time::timeout(Duration::from_millis(500), following.next()).await;
        assert!(rest.is_err(), "{rest:?}");
    }

    async fn one_instance_over_a_stop_of_its_host(world: World) {
        let (host, operator) = (world.host(&[&waits()]).await, world.operator().await);
        let id = host.start_workflow("waits", &order()).await.unwrap();
        host.idle().await.unwrap();
        let mut following = begun(&operator, Follow::Instances(vec![id.clone()])).await;
        operator.act(&Verb::Suspend, &id).await.unwrap();
        host.idle().await.unwrap();
        let mut news = next(&mut following, 2).await;
        news.sort();
        assert_eq!(news, ["acted suspend", "changed suspended"]);
        operator.act(&Verb::Resume, &id).await.unwrap();
        host.idle().await.unwrap();
        next(&mut following, 2).await;
        host.stop().await.unwrap();
        let host = world.host(&[&waits()]).await;
        host.publish(APPROVED, "chairs", "Ann".to_owned()).await.unwrap();
        host.idle().await.unwrap();
        let mut news = next(&mut following, 3).await;
        news.retain(|news| !news.starts_with("changed"));
        news.sort();
        assert_eq!(news, ["ended completed", "step approval", "step ship"]);
        assert!(following.is_over());
        assert!(following.next().await.unwrap().is_empty());
    }

    async fn what_is_not_there_cannot_be_followed(world: World) {
        let operator = world.operator().await;
        let mut following = operator.follow(Follow::Instances(vec!["x".to_owned()]));
        assert_eq!(following.next().await.unwrap_err().code(), "workflow-not-found");
        let mut many = operator.follow(Follow::Instances(vec!["x".to_owned(); 101]));
        assert_eq!(many.next().await.unwrap_err().code(), "invalid");
    }
}
