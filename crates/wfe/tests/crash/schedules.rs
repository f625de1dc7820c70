//! A schedule that is changed, paused, deleted and created again.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use wfe::{
    Result,
    clock::Clock,
    definition::{Event, WorkflowName},
    schedules::{CatchUp, NewSchedule, Timetable},
};
use wfe_sqlite::SqlitePersistenceProvider;
use wfe_testkit::{
    TestHost,
    conformance::{InFile, InMemory},
    crash::{Life, at_every_commit},
};

const MINUTE: Duration = Duration::from_mins(1);
const REPORT: WorkflowName<u32> = WorkflowName::new("report");
const OTHER: WorkflowName<u32> = WorkflowName::new("other");
const NEVER: Event<()> = Event::new("never");

fn every(minutes: u32) -> Timetable {
    Timetable::interval(MINUTE * minutes)
}

/// Goes on to this time, unless it is over already.
async fn until(host: &TestHost, time: DateTime<Utc>) -> Result<()> {
    host.idle().await?;
    if let Ok(left) = (time - host.clock().now()).to_std() {
        host.advance(left).await?;
    }
    Ok(())
}

/// What runs of the schedules: the tick and the data of every instance, none of which ends.
async fn started(host: &TestHost) -> Result<Vec<(String, String, Value)>> {
    let store = host.store().clone();
    let ids = store.clone().step_store().unwrap().named("wfe.tick:", None, 100).await?.rows;
    let instances = store.get_workflow_instances(&ids).await?;
    let mut all: Vec<_> = instances
        .into_iter()
        .map(|one| {
            let tick = one.name.rsplit_once('/').unwrap().1.to_owned();
            (tick, one.workflow_definition_id, one.data)
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(all)
}

async fn story(life: Life) -> Result<Vec<(String, String, Value)>> {
    let began: DateTime<Utc> = "2030-01-01T00:00:00Z".parse().unwrap();
    let minute = |minutes| began + TimeDelta::minutes(minutes);
    let clock = life.clock.clone();
    let waits = |name: WorkflowName<u32>| name.define(1).wait_for("wait", NEVER, |_| "key").build().unwrap();
    let host = TestHost::builder_shared(life.store, life.clock).define(waits(REPORT)).define(waits(OTHER));
    let host = host.start().await?;
    let schedules = host.schedules();
    let is_before = |minutes| clock.now() < minute(minutes);
    // What was done in an earlier life is not done again.
    if is_before(61) {
        host.workflow(REPORT).schedule("s", every(60), &1).await?;
        until(&host, minute(61)).await?;
    }
    host.idle().await?;
    if is_before(100) {
        host.workflow(REPORT).schedule("s", every(20), &2).await?;
        until(&host, minute(100)).await?;
    }
    host.idle().await?;
    if is_before(130) {
        schedules.pause("s").await?;
        host.idle().await?;
        // Two ticks are missed, under two timetables.
        until(&host, minute(121)).await?;
        let nine = |timetable| NewSchedule::new("s", REPORT.name(), timetable).catch_up(CatchUp::All(9));
        schedules.create_or_replace(nine(every(5)), &3_u32).await?;
        until(&host, minute(130)).await?;
    }
    host.idle().await?;
    if is_before(141) {
        schedules.resume("s").await?;
        until(&host, minute(141)).await?;
    }
    host.idle().await?;
    if is_before(160) {
        host.workflow(OTHER).schedule("s", every(10), &4).await?;
        until(&host, minute(160)).await?;
    }
    host.idle().await?;
    if is_before(230) {
        match schedules.get("s").await {
            Ok(status) if status.timetable == every(10) => schedules.delete("s").await?,
            _ => {}
        }
        host.workflow(REPORT).schedule("s", every(60), &5).await?;
        until(&host, minute(230)).await?;
    }
    host.idle().await?;
    assert_eq!(schedules.list(None, 9).await?.rows.len(), 1);
    started(&host).await
}

fn expected() -> Vec<(String, String, Value)> {
    [
        ("01:00", "report", 1),
        ("01:20", "report", 2),
        ("01:40", "report", 2),
        ("02:00", "report", 3), // missed under the former timetable
        ("02:05", "report", 3),
        ("02:10", "report", 3),
        ("02:15", "report", 3),
        ("02:20", "report", 3),
        ("02:30", "other", 4),
        ("02:40", "other", 4),
        ("03:40", "report", 5),
    ]
    .map(|(time, definition, n)| (format!("2030-01-01T{time}:00Z"), definition.to_owned(), Value::from(n)))
    .into()
}

#[test]
fn a_schedule_in_memory_is_the_old_or_the_new_one_and_no_tick_is_lost_or_doubled() {
    let memory = InMemory::new(|clock| SqlitePersistenceProvider::builder(":memory:").clock(clock).open());
    let checked = async |life| {
        let started = story(life).await?;
        assert_eq!(started, expected());
        Ok(started)
    };
    let deaths = at_every_commit(&memory, &|life| checked(life)).unwrap();
    assert!(deaths > 40, "{deaths}");
}

#[test]
fn a_schedule_in_a_file_is_the_old_or_the_new_one_and_no_tick_is_lost_or_doubled() {
    let file = InFile::new(|path, clock| SqlitePersistenceProvider::file(path).clock(clock).open());
    let deaths = at_every_commit(&file, &story).unwrap();
    assert!(deaths > 40, "{deaths}");
}
