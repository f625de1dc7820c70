//! Every action is refused to those who may not do it, and nothing is written then.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use wfe::{
    Operator, WfeError,
    operator::{ActionKind, NewEvent, NewInstance, Over, RestartWith, Role, Verb},
    schedules::{NewSchedule, Timetable},
    traits::{AuditFilter, CheckpointMode, PurgeFilter, Query},
};

use crate::support::{World, on_both_stores, order, waits};

/// Tries the action. A new action needs a row here.
async fn try_to(operator: &Operator, kind: ActionKind, id: &str) -> Result<(), WfeError> {
    let act = async |verb: Verb| operator.act(&verb, id).await.map(drop);
    match kind {
        ActionKind::Suspend => act(Verb::Suspend).await,
        ActionKind::Resume => act(Verb::Resume).await,
        ActionKind::Retry => act(Verb::Retry).await,
        ActionKind::Restart => act(Verb::Restart(RestartWith::default())).await,
        ActionKind::Skip => act(Verb::Skip).await,
        ActionKind::ResumeFrom => act(Verb::ResumeFrom("s".to_owned())).await,
        ActionKind::Cancel => act(Verb::Cancel).await,
        ActionKind::Terminate => act(Verb::Terminate).await,
        ActionKind::Acknowledge => act(Verb::Acknowledge(true)).await,
        ActionKind::Delete => act(Verb::Delete).await,
        ActionKind::Start => {
            operator.start(NewInstance::new("waits", Value::Null).version(1)).await.map(drop)
        }
        ActionKind::Publish => operator.publish(NewEvent::new("e", "k")).await.map(drop),
        ActionKind::Answer => operator.answer_task("t", "yes", None).await.map(drop),
        ActionKind::Release => operator.release("t").await.map(drop),
        ActionKind::CreateSchedule => {
            let schedule = NewSchedule::new("s", "waits", Timetable::cron("0 3 * * *"));
            operator.create_schedule(schedule, Value::Null).await
        }
        ActionKind::PauseSchedule => operator.pause_schedule("s").await.map(drop),
        ActionKind::ResumeSchedule => operator.resume_schedule("s").await.map(drop),
        ActionKind::TriggerSchedule => operator.trigger_schedule("s").await.map(drop),
        ActionKind::DeleteSchedule => operator.delete_schedule("s").await,
        ActionKind::Purge => {
            operator.purge(&PurgeFilter::before(chrono::DateTime::UNIX_EPOCH), &()).await.map(drop)
        }
        ActionKind::PurgeEvents => operator.purge_events(chrono::DateTime::UNIX_EPOCH, &()).await.map(drop),
        ActionKind::Backup => {
            operator.backup(std::path::Path::new("/nowhere/at/all.db"), &()).await.map(drop)
        }
        ActionKind::Compact => operator.compact(&()).await.map(drop),
        ActionKind::Checkpoint => operator.checkpoint(CheckpointMode::Passive).await.map(drop),
        other => panic!("no row for {other}"),
    }
}

fn is_forbidden(tried: &Result<(), WfeError>, kind: ActionKind) -> bool {
    matches!(tried, Err(WfeError::Forbidden { actor, action, .. }) if actor == "ann" && action == kind.name())
}

on_both_stores! {
    async fn every_action_needs_its_role(world: World) {
        let (host, operator) = (world.host(&[&waits()]).await, world.operator().await);
        let id = host.start_workflow("waits", &order()).await.unwrap();
        host.idle().await.unwrap();
        let before = host.store().clone().step_store().unwrap().load(&id).await.unwrap();
        for role in [Role::Viewer, Role::Operator] {
            let operator = operator.clone().role(role);
            for kind in ActionKind::ALL.iter().copied().filter(|kind| role < kind.needs()) {
                let tried = try_to(&operator, kind, &id).await;
                assert!(is_forbidden(&tried, kind), "{kind} as {role}: {tried:?}");
            }
        }
        let viewer = operator.clone().role(Role::Viewer);
        let bulk = viewer.bulk(Verb::Terminate, Over::Query(Query::default()));
        assert_eq!(bulk.preview().await.unwrap_err().code(), "forbidden");
        assert_eq!(bulk.run(&()).await.unwrap_err().code(), "forbidden");
        // Nothing was written, and a viewer may ask everything.
        assert!(viewer.audit(&AuditFilter::default(), None, 9).await.unwrap().rows.is_empty());
        assert_eq!(host.store().clone().step_store().unwrap().load(&id).await.unwrap(), before);
        assert_eq!(viewer.show(&id).await.unwrap().summary.id, id);
        assert_eq!(ActionKind::ALL.iter().filter(|kind| kind.needs() == Role::Viewer).count(), 0);
    }

    async fn the_program_has_the_last_word(world: World) {
        let (host, operator) = (world.host(&[&waits()]).await, world.operator().await);
        let id = host.start_workflow("waits", &order()).await.unwrap();
        host.idle().await.unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        let operator = operator.allow(move |permission| {
            let definition = permission.definition.map(str::to_owned);
            seen.lock().unwrap().push((permission.actor.to_owned(), permission.action, definition));
            permission.action == ActionKind::Suspend
        });
        for kind in ActionKind::ALL.iter().copied() {
            if matches!(kind, ActionKind::Suspend | ActionKind::Answer | ActionKind::Release) {
                continue;
            }
            let tried = try_to(&operator, kind, &id).await;
            let is_refused = is_forbidden(&tried, kind);
            // Nothing is asked about a schedule that is not there.
            let is_missing = matches!(tried, Err(WfeError::ScheduleNotFound(_)));
            assert!(is_refused || is_missing, "{kind}: {tried:?}");
        }
        assert!(operator.audit(&AuditFilter::default(), None, 9).await.unwrap().rows.is_empty());
        asked.lock().unwrap().clear();
        try_to(&operator, ActionKind::Suspend, &id).await.unwrap();
        let expected = [("ann".to_owned(), ActionKind::Suspend, Some("waits".to_owned()))];
        assert_eq!(*asked.lock().unwrap(), expected);
        // A bulk action asks for each instance, and for its definition if it names one.
        host.idle().await.unwrap();
        let report = operator.bulk(Verb::Resume, Over::Ids(vec![id.clone()])).run(&()).await.unwrap();
        assert_eq!((report.refused, report.refusals[0].code), (1, "forbidden"));
        let query = Query { definition: Some("waits".to_owned()), ..Query::default() };
        let refused = operator.bulk(Verb::Resume, Over::Query(query)).run(&()).await.unwrap_err();
        assert_eq!(refused.to_string(), "ann may not resume (the rules of the program refuse it for \"waits\"); ask somebody who may");
    }
}

#[test]
fn an_action_has_a_name_and_a_role() {
    let names: Vec<_> = ActionKind::ALL.iter().map(|kind| kind.name()).collect();
    assert_eq!(names.iter().collect::<std::collections::HashSet<_>>().len(), names.len());
    assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
    assert_eq!(json!(Role::Admin), "admin");
}
