use std::sync::Mutex;

use chrono::{DateTime, Utc};
use wfe::{
    WfeError,
    definition::Definition,
    error::RetryRefusal,
    host::Requested,
    schedules::{Change, ScheduleStatus, Timetable},
};

use super::prelude::*;
use crate::{TestHost, conformance::checked::Stop};

scenarios!("schedules":
    each_tick_of_a_schedule_starts_one_instance,
    a_changed_schedule_goes_on_after_its_last_tick,
    a_paused_schedule_stays_paused_when_it_is_changed,
    a_deleted_schedule_is_created_again_at_once,
    data_that_cannot_be_read_fail_at_the_schedule,
    the_ended_instance_of_a_schedule_is_neither_retried_nor_restarted,
);

const REPORT: WorkflowName<Story> = WorkflowName::new("report");
const ID: &str = "nightly";

/// The numbers in the data of the instances that ran, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u64>>>);

impl Log {
    fn report(&self, version: u32) -> Checked<Definition<Story>> {
        let log = self.clone();
        let report = REPORT.define(version).call("write", move |_, story| {
            log.0.lock().map_err(|e| e.to_string())?.push(story.n);
            Ok(())
        });
        Ok(report.build()?)
    }

    fn numbers(&self) -> Vec<u64> {
        self.0.lock().map(|numbers| numbers.clone()).unwrap_or_default()
    }
}

/// Gives the schedule this interval and this number. Skips the scenario if the store cannot keep schedules.
async fn put(host: &TestHost, every: Duration, n: u64) -> Checked<Change> {
    let story = Story { n, ..Story::default() };
    match host.workflow(REPORT).schedule(ID, Timetable::interval(every), &story).await {
        Err(WfeError::Unsupported(_)) => Err(Stop::Skipped("the store cannot replace instances")),
        change => Ok(change?),
    }
}

async fn status(host: &TestHost) -> Checked<ScheduleStatus> {
    Ok(host.schedules().get(ID).await?)
}

/// When the schedule ticked last, and when it ticks next.
fn ticks(status: &ScheduleStatus, began: DateTime<Utc>) -> (Option<i64>, Option<i64>) {
    let minutes = |time: DateTime<Utc>| (time - began).num_minutes();
    (status.last.map(minutes), status.next.map(minutes))
}

async fn each_tick_of_a_schedule_starts_one_instance(stage: Stage) -> Checked<()> {
    stage.must_be_notified()?;
    let log = Log::default();
    let host = stage.host_that_waits([log.report(1)?.into()]).await?;
    let began = stage.clock.now();
    assert_eq!(put(&host, HOUR, 1).await?, Change::Created);
    assert_eq!(put(&host, HOUR, 1).await?, Change::Unchanged);
    host.advance(3 * HOUR).await?;
    assert_eq!(log.numbers(), [1; 3]);
    let all = host.schedules().list(None, 9).await?.rows;
    assert_eq!(all.len(), 1);
    assert_eq!(ticks(&all[0], began), (Some(180), Some(240)));
    Ok(())
}

async fn a_changed_schedule_goes_on_after_its_last_tick(stage: Stage) -> Checked<()> {
    stage.must_be_notified()?;
    let log = Log::default();
    let host = stage.host_that_waits([log.report(1)?.into()]).await?;
    let began = stage.clock.now();
    put(&host, HOUR, 1).await?;
    host.advance(HOUR + 10 * MINUTE).await?;
    assert_eq!(put(&host, 20 * MINUTE, 2).await?, Change::Replaced);
    assert_eq!(ticks(&status(&host).await?, began), (Some(60), Some(80)));
    host.advance(30 * MINUTE).await?;
    assert_eq!(log.numbers(), [1, 2, 2], "at 80 and 100 minutes");
    // However often the data change, no tick is lost, and none comes twice.
    for n in 3..33 {
        put(&host, 20 * MINUTE, n).await?;
        host.advance(4 * MINUTE).await?;
    }
    assert_eq!(log.numbers().len(), 3 + 6);
    assert_eq!(ticks(&status(&host).await?, began), (Some(220), Some(240)));
    Ok(())
}

async fn a_paused_schedule_stays_paused_when_it_is_changed(stage: Stage) -> Checked<()> {
    stage.must_be_notified()?;
    let log = Log::default();
    let host = stage.host_that_waits([log.report(1)?.into()]).await?;
    put(&host, HOUR, 1).await?;
    assert_eq!(host.schedules().resume(ID).await?, Requested::Redundant);
    assert_eq!(host.schedules().pause(ID).await?, Requested::Accepted);
    assert_eq!(host.schedules().pause(ID).await?, Requested::Redundant);
    for n in 2..5 {
        assert_eq!(put(&host, HOUR, n).await?, Change::Replaced);
        host.advance(HOUR).await?;
        assert!(status(&host).await?.is_paused);
    }
    assert!(log.numbers().is_empty());
    assert_eq!(host.schedules().resume(ID).await?, Requested::Accepted);
    host.idle().await?;
    assert_eq!(log.numbers(), [4], "one instance catches up");
    Ok(())
}

async fn a_deleted_schedule_is_created_again_at_once(stage: Stage) -> Checked<()> {
    stage.must_be_notified()?;
    let log = Log::default();
    let host = stage.host_that_waits([log.report(1)?.into()]).await?;
    for n in 0..20 {
        assert_eq!(put(&host, HOUR, n).await?, Change::Created);
        host.schedules().delete(ID).await?;
        let gone = host.schedules().trigger(ID).await;
        if !matches!(gone, Err(WfeError::ScheduleNotFound(_))) {
            unmet(&format!("a deleted schedule answers {gone:?}"))
        }
    }
    put(&host, HOUR, 20).await?;
    host.advance(HOUR).await?;
    assert_eq!(log.numbers(), [20]);
    Ok(())
}

async fn data_that_cannot_be_read_fail_at_the_schedule(stage: Stage) -> Checked<()> {
    stage.must_be_notified()?;
    let log = Log::default();
    let host = stage.host_that_waits([log.report(1)?.into()]).await?;
    put(&host, HOUR, 1).await?;
    host.idle().await?;
    for host in host.hosts() {
        host.register(WorkflowBuilder::<u8>::new(REPORT.name(), 2).change("write", |n| *n += 1).build()?)?;
    }
    host.advance(3 * HOUR).await?;
    let failing = status(&host).await?;
    let Some(failure) = failing.last_failure else { unmet("no failure is shown") };
    assert_eq!((&*failure.code, failing.last), (StepError::DEFINITION, None));
    let story = Story { n: 3, ..Story::default() };
    for host in host.hosts() {
        host.register(log.report(3)?)?;
    }
    host.schedules().update(ID).data(&story).await?;
    host.idle().await?;
    assert_eq!(log.numbers(), [3], "one instance catches up, and none was left behind");
    assert_eq!(status(&host).await?.last_failure, None);
    Ok(())
}

/// Otherwise, the schedule could be there twice.
async fn the_ended_instance_of_a_schedule_is_neither_retried_nor_restarted(stage: Stage) -> Checked<()> {
    stage.must_be_notified()?;
    let log = Log::default();
    let host = stage.host_that_waits([log.report(1)?.into()]).await?;
    for n in 0..2 {
        put(&host, HOUR, n).await?;
        host.idle().await?;
        let id = status(&host).await?.instance_id;
        if n == 0 {
            host.host().cancel(&id).await?;
        } else {
            host.schedules().delete(ID).await?;
        }
        host.idle().await?;
        put(&host, HOUR, n + 10).await?;
        let answers = [
            host.host().retry(&id).await,
            host.host().restart(&id, &Story::default()).await.map(drop),
            host.host().restart_with_its_data(&id).version(1).await.map(drop),
        ];
        for answer in answers {
            match answer {
                Err(WfeError::CannotRetry { id: of, reason: RetryRefusal::Engine }) => assert_eq!(of, id),
                other => unmet(&format!("it is not refused: {other:?}")),
            }
        }
        host.advance(HOUR + MINUTE).await?;
        assert_eq!(log.numbers().len() as u64, n + 1, "one instance per tick");
        host.schedules().delete(ID).await?;
    }
    assert_eq!(log.numbers(), [10, 11]);
    Ok(())
}
