//! The same action on many instances.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use serde_json::json;
use wfe::{
    Operator,
    operator::{BulkReport, Over, Verb},
    traits::{AuditFilter, InstanceState, Query},
};
use wfe_testkit::TestHost;

use crate::support::{World, on_both_stores, order, waits};

async fn start(host: &TestHost, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(host.start_workflow("waits", &order()).await.unwrap());
    }
    host.idle().await.unwrap();
    ids
}

fn waiting() -> Query {
    Query { states: vec![InstanceState::Waiting], definition: Some("waits".to_owned()), ..Query::default() }
}

async fn count(operator: &Operator, state: InstanceState) -> u64 {
    operator.count(&Query { states: vec![state], ..Query::default() }, 10_000).await.unwrap().n
}

fn numbers(report: &BulkReport) -> (u64, u64, u64, u64, bool) {
    (report.matched, report.done, report.redundant, report.refused, report.is_complete)
}

on_both_stores! {
    async fn a_query_is_previewed_then_run(world: World) {
        let (host, operator) = (world.host(&[&waits()]).await, world.operator().await);
        start(&host, 7).await;
        let bulk = operator.because("maintenance").bulk(Verb::Suspend, Over::Query(waiting()));
        let preview = bulk.preview().await.unwrap();
        assert_eq!((preview.count.n, preview.count.is_exact, preview.examples.len()), (7, true, 5));
        assert!(operator.audit(&AuditFilter::default(), None, 9).await.unwrap().rows.is_empty());
        let report = bulk.run(&()).await.unwrap();
        assert_eq!(numbers(&report), (7, 7, 0, 0, true));
        host.idle().await.unwrap();
        assert_eq!(count(&operator, InstanceState::Suspended).await, 7);

        let records = operator.audit(&AuditFilter::default(), None, 100).await.unwrap().rows;
        assert_eq!(records.len(), 9);
        for record in &records {
            let audit = &record.audit;
            let (bulk, reason) = (audit.bulk.as_deref(), audit.reason.as_deref());
            assert_eq!((bulk, reason, &*audit.action), (Some(&*report.bulk), Some("maintenance"), "suspend"));
        }
        let (end, begin) = (&records[0].audit, &records[8].audit);
        assert_eq!((&begin.detail["phase"], &begin.detail["query"]), (&json!("begin"), &json!(waiting())));
        assert_eq!((&end.detail["phase"], &end.detail["done"], &end.detail["is_complete"]), (&json!("end"), &json!(7), &json!(true)));
        assert_eq!(records.iter().filter(|record| record.audit.instance.is_some()).count(), 7);
    }

    async fn one_refusal_does_not_stop_the_rest(world: World) {
        let (host, operator) = (world.host(&[&waits()]).await, world.operator().await);
        let mut ids = start(&host, 3).await;
        host.terminate(&ids[1]).await.unwrap();
        host.suspend(&ids[2]).await.unwrap();
        host.idle().await.unwrap();
        ids.extend(["no such instance".to_owned(), ids[0].clone()]);
        let report = operator.bulk(Verb::Suspend, Over::Ids(ids.clone())).run(&()).await.unwrap();
        assert_eq!(numbers(&report), (4, 1, 1, 2, true));
        let mut refused: Vec<_> =
            report.refusals.iter().map(|refusal| (&*refusal.instance, refusal.code)).collect();
        refused.sort_unstable_by_key(|(_, code)| *code);
        assert_eq!(refused, [(&*ids[1], "no-effect"), ("no such instance", "workflow-not-found")]);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!((&json["action"], &json["refused"], json.get("stopped_by")), (&json!("suspend"), &json!(2), None));
    }

    async fn an_interrupted_action_says_how_far_it_came_and_can_be_repeated(world: World) {
        let (host, operator) = (world.host(&[&waits()]).await, world.operator().await);
        start(&host, 30).await;
        let calls = Arc::new(AtomicU64::new(0));
        let seen = calls.clone();
        let stop = move |done: u64, total: Option<u64>| {
            assert_eq!((done, total), (10, Some(30)));
            seen.fetch_add(1, Relaxed);
            ControlFlow::Break(())
        };
        let bulk = || operator.bulk(Verb::Suspend, Over::Query(waiting()));
        // Ten a second: ten in the first batch.
        let report = bulk().rate(10.0).run(&stop).await.unwrap();
        assert_eq!((numbers(&report), calls.load(Relaxed)), ((10, 10, 0, 0, false), 1));
        host.idle().await.unwrap();
        assert_eq!(count(&operator, InstanceState::Suspended).await, 10);
        let records = operator.audit(&AuditFilter::default(), None, 1).await.unwrap().rows;
        assert_eq!((&records[0].audit.detail["done"], &records[0].audit.detail["is_complete"]), (&json!(10), &json!(false)));
        let report = bulk().run(&()).await.unwrap();
        assert_eq!(numbers(&report), (20, 20, 0, 0, true));
        host.idle().await.unwrap();
        assert_eq!(count(&operator, InstanceState::Suspended).await, 30);
        // Nothing is left.
        assert_eq!(numbers(&bulk().run(&()).await.unwrap()), (0, 0, 0, 0, true));
    }

    async fn what_is_started_meanwhile_is_not_touched(world: World) {
        let (host, operator) = (world.host(&[&waits()]).await, world.operator().await);
        start(&host, 3).await;
        let other = operator.clone();
        let runtime = tokio::runtime::Handle::current();
        let starts = move |_: u64, _: Option<u64>| {
            let new = wfe::operator::NewInstance::new("waits", json!(null)).version(1);
            let other = other.clone();
            tokio::task::block_in_place(|| runtime.block_on(async { other.start(new).await.unwrap() }));
            ControlFlow::Continue(())
        };
        let all = Query { definition: Some("waits".to_owned()), ..Query::default() };
        let report = operator.bulk(Verb::Terminate, Over::Query(all)).rate(1.0).run(&starts).await.unwrap();
        assert_eq!(numbers(&report), (3, 3, 0, 0, true));
    }

    async fn a_rate_that_makes_no_sense_is_refused(world: World) {
        let operator = world.operator().await;
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let bulk = operator.bulk(Verb::Suspend, Over::Ids(Vec::new())).rate(rate);
            assert_eq!(bulk.run(&()).await.unwrap_err().code(), "invalid");
        }
        assert!(operator.audit(&AuditFilter::default(), None, 9).await.unwrap().rows.is_empty());
    }
}
