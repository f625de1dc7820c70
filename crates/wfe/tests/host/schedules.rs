//! Schedules that start workflows.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tokio::sync::Notify;
use wfe::{
    Result, WfeError, WorkflowHost,
    clock::Clock,
    definition::{Definition, Retry, WorkflowBuilder, WorkflowName},
    middleware::{WorkflowMiddleware, WorkflowStart},
    models::WorkflowInstance,
    schedules::{CatchUp, NewSchedule, ScheduleStatus, Tick, Timetable},
    status::{Blocked, State, Waits},
    steps::StepError,
    traits::{Owner, PersistenceProvider, Started},
};
use wfe_testkit::{Layer, Layered, VirtualClock};

use crate::support::{Count, Store, Tally, Timed, completed, in_time, nothing, started, until};

pub const HOUR: Duration = Duration::from_hours(1);
pub const REPORT: WorkflowName<Tally> = WorkflowName::new("report");

pub type Log = Arc<Mutex<Vec<(u32, u32)>>>;

/// Notes its version and the number in its data.
pub fn report(version: u32, log: &Log) -> Definition<Tally> {
    let log = log.clone();
    REPORT
        .define(version)
        .call("write", move |ctx, tally| {
            log.lock().unwrap().push((ctx.definition_version(), tally.sum));
            Ok(())
        })
        .build()
        .unwrap()
}

pub fn hourly(id: &str) -> NewSchedule {
    NewSchedule::new(id, "report", Timetable::interval(HOUR))
}

pub fn sum(sum: u32) -> Tally {
    Tally { numbers: vec![], sum }
}

/// The next tick from now on, once the host has come to it: what it stored before was another one.
pub async fn next(place: &Timed, host: &WorkflowHost, id: &str) -> DateTime<Utc> {
    let mut next = None;
    until(async || {
        next = host.schedules().get(id).await.unwrap().next.filter(|next| *next > place.clock.now());
        next.is_some()
    })
    .await;
    next.unwrap()
}

/// Goes to the next tick, once the host has set its timer for it.
pub async fn tick(place: &Timed, host: &WorkflowHost, id: &str) -> DateTime<Utc> {
    let next = next(place, host, id).await;
    place.clock.wait_for(|deadlines| deadlines.contains(&next)).await;
    place.clock.set(next);
    next
}

pub async fn runs(log: &Log, count: usize) {
    until(async || log.lock().unwrap().len() == count).await;
}

/// Holds each start until the test lets it go on.
struct HoldsStarts {
    held: Count,
    go: Arc<Notify>,
}

#[async_trait]
impl WorkflowMiddleware for HoldsStarts {
    async fn starting(&self, _: &WorkflowStart<'_>) -> Result<()> {
        self.held.up();
        self.go.notified().await;
        Ok(())
    }
}

pub async fn listed(host: &WorkflowHost, count: usize) -> Vec<ScheduleStatus> {
    let mut all = Vec::new();
    until(async || {
        all = host.schedules().list(None, 100).await.unwrap().rows;
        all.len() == count
    })
    .await;
    all
}

in_time! {
    async fn each_tick_starts_one_instance(place: Timed) {
        let log = Log::default();
        let host = place.host(&[&report(1, &log)]).await;
        host.schedules().create(hourly("h"), &sum(7)).await.unwrap();
        let start = place.clock.now();
        for n in 1..=3_usize {
            let at = tick(&place, &host, "h").await;
            assert_eq!(at, start + TimeDelta::hours(i64::try_from(n).unwrap()));
            runs(&log, n).await;
        }
        assert_eq!(*log.lock().unwrap(), [(1, 7); 3]);
        until(async || host.schedules().get("h").await.unwrap().last == Some(start + TimeDelta::hours(3))).await;
        // However long it runs: no history.
        let status = host.schedules().get("h").await.unwrap();
        let stored = place.provider().await.get_workflow_instance(&status.instance_id).await.unwrap();
        assert_eq!(stored.execution_pointers.len(), 3);
        assert!(place.provider().await.step_store().unwrap()
            .finished(&status.instance_id, "schedule", 0, 10).await.unwrap().is_empty());
    }

    async fn an_instance_knows_the_tick_that_it_was_started_for(place: Timed) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let tells = told.clone();
        let report = REPORT
            .define(1)
            .call("tell", move |ctx, _| {
                tells.lock().unwrap().push((Tick::of(ctx), ctx.reference().map(str::to_owned)));
                if ctx.attempt() == 1 { Err(StepError::retryable("late")) } else { Ok(()) }
            })
            .retry(Retry::every(Duration::ZERO).attempts(2))
            .build()
            .unwrap();
        let host = place.host(&[&report]).await;
        host.schedules().create(hourly("h"), &sum(1)).await.unwrap();
        let at = next(&place, &host, "h").await;
        let schedule = host.schedules().get("h").await.unwrap().instance_id;
        host.stop().await.unwrap();
        // It is caught up with half an hour late, and tried again.
        place.clock.advance(HOUR + HOUR / 2);
        let host = place.host(&[&report]).await;
        until(async || told.lock().unwrap().len() == 2).await;
        for (tick, reference) in told.lock().unwrap().drain(..) {
            let tick = tick.unwrap();
            assert_eq!((tick.time, &tick.schedule_instance_id), (at, &schedule));
            assert_eq!(reference.unwrap(), format!("{schedule}/2030-01-01T01:00:00Z"));
        }
        let triggered = host.schedules().trigger("h").await.unwrap();
        completed(&host, &triggered).await;
        let own = host.workflow(REPORT).start(&sum(1)).reference("mine").await.unwrap();
        completed(&host, own.id()).await;
        let plain = host.start_workflow("report", &sum(1)).await.unwrap();
        completed(&host, &plain).await;
        let told = told.lock().unwrap();
        assert!(told.iter().all(|(tick, _)| tick.is_none()), "none of these stands for a tick");
        assert!(told[0].1.as_ref().unwrap().starts_with(&format!("{schedule}/trigger/")));
        assert_eq!((told[2].1.as_deref(), &told[4].1), (Some("mine"), &None));
    }

    async fn a_clock_that_is_set_while_a_tick_is_at_work_makes_the_next_one_neither_late_nor_early(place: Timed) {
        let log = Log::default();
        for jump in [TimeDelta::minutes(30), TimeDelta::minutes(-30)] {
            let store = Arc::new(Layered(Set { inner: place.provider().await, clock: place.clock.clone(), jump }));
            let host = WorkflowHost::builder_shared(store).clock(place.clock.clone()).poll_interval(100_000 * HOUR);
            let host = started(host.build(), &[&report(1, &log)]).await;
            let id = format!("h{jump}");
            host.schedules().create(hourly(&id), &sum(1)).await.unwrap();
            let at = tick(&place, &host, &id).await;
            until(async || host.schedules().get(&id).await.unwrap().last == Some(at)).await;
            let instance = host.schedules().get(&id).await.unwrap().instance_id;
            let positions = host.status(&instance).await.unwrap().positions;
            let waits: Vec<_> = positions.into_iter().map(|at| at.waits).collect();
            let next = Waits::Timer { until: at + TimeDelta::hours(1) };
            assert!(waits.contains(&next), "{waits:?} when the clock jumps by {jump}");
            host.schedules().delete(&id).await.unwrap();
            host.stop().await.unwrap();
        }
    }

    async fn while_a_tick_is_looked_at_it_is_not_the_next_one_and_while_nobody_is_there_it_is(place: Timed) {
        let log = Log::default();
        let go = Arc::new(Notify::new());
        let hold = go.clone();
        let holds = WorkflowBuilder::<Tally>::new("holds", 1)
            .then("h", async move |_, _| {
                hold.notified().await;
                Ok(())
            })
            .build()
            .unwrap();
        let host = started(place.builder().await.concurrent_steps(1).build(), &[&report(1, &log), &holds]).await;
        host.schedules().create(hourly("h"), &sum(1)).await.unwrap();
        let at = next(&place, &host, "h").await;
        let at_work = host.start_workflow("holds", &sum(0)).await.unwrap();
        place.clock.wait_for(|deadlines| deadlines.contains(&at)).await;
        until(async || matches!(host.status(&at_work).await.unwrap().positions[0].waits, Waits::Running { .. })).await;
        place.clock.set(at);
        until(async || host.schedules().get("h").await.unwrap().next.is_none()).await;
        go.notify_one();
        let at = next(&place, &host, "h").await;
        host.stop().await.unwrap();
        place.clock.set(at);
        assert_eq!(place.builder().await.build().schedules().get("h").await.unwrap().next, Some(at));
    }

    async fn a_cron_expression_is_in_its_zone(place: Timed) {
        let log = Log::default();
        let host = place.host(&[&report(1, &log)]).await;
        let nine = Timetable::cron("0 9 * * MON-FRI").in_zone("Europe/Berlin");
        host.schedules().create(NewSchedule::new("c", "report", nine), &sum(1)).await.unwrap();
        // New Year 2030 is a Tuesday, and in winter.
        assert_eq!(tick(&place, &host, "c").await, "2030-01-01T08:00:00Z".parse::<DateTime<Utc>>().unwrap());
        runs(&log, 1).await;
    }

    async fn a_schedule_outlives_its_host_and_one_instance_catches_up(place: Timed) {
        let log = Log::default();
        let host = place.host(&[&report(1, &log)]).await;
        host.schedules().create(hourly("one"), &sum(1)).await.unwrap();
        host.schedules().create(hourly("all").catch_up(CatchUp::All(3)), &sum(2)).await.unwrap();
        host.schedules().create(hourly("none").catch_up(CatchUp::None), &sum(3)).await.unwrap();
        for id in ["one", "all", "none"] {
            next(&place, &host, id).await;
        }
        host.stop().await.unwrap();
        place.clock.advance(5 * HOUR + HOUR / 2);
        let host = place.host(&[&report(1, &log)]).await;
        runs(&log, 4).await;
        let then = place.clock.now() + TimeDelta::minutes(30);
        for id in ["one", "all", "none"] {
            assert_eq!(next(&place, &host, id).await, then);
        }
        let mut sums: Vec<_> = log.lock().unwrap().iter().map(|(_, sum)| *sum).collect();
        sums.sort_unstable();
        assert_eq!(sums, [1, 2, 2, 2]);
        place.clock.wait_for(|deadlines| deadlines.contains(&then)).await;
        place.clock.set(then);
        runs(&log, 7).await;
    }

    /// A retry would be late, and the log would report a failure of the schedule.
    async fn ticks_that_a_stopping_host_still_starts_do_not_fail(place: Timed) {
        let (log, held, go) = (Log::default(), Count::default(), Arc::new(Notify::new()));
        let host = place.host(&[&report(1, &log)]).await;
        host.schedules().create(hourly("all").catch_up(CatchUp::All(3)), &sum(1)).await.unwrap();
        next(&place, &host, "all").await;
        host.stop().await.unwrap();
        place.clock.advance(2 * HOUR + HOUR / 2);
        let holds = HoldsStarts { held: held.clone(), go: go.clone() };
        let host = started(place.builder().await.workflow_middleware(holds).build(), &[&report(1, &log)]).await;
        until(async || held.get() == 1).await;
        let stopping = host.clone();
        let stopped = tokio::spawn(async move { stopping.stop().await });
        until(async || matches!(host.schedules().trigger("all").await, Err(WfeError::Closed(_)))).await;
        go.notify_one();
        until(async || held.get() == 2).await;
        go.notify_one();
        stopped.await.unwrap().unwrap();
        let status = host.schedules().get("all").await.unwrap();
        assert_eq!(status.next, Some(place.clock.now() + TimeDelta::minutes(30)));
        assert_eq!(log.lock().unwrap().len(), 0, "the instances wait in the store");
        let _host = place.host(&[&report(1, &log)]).await;
        runs(&log, 2).await;
    }

    async fn a_tick_whose_instance_was_started_before_a_crash_starts_no_other(place: Timed) {
        let log = Log::default();
        let host = place.host(&[&report(1, &log)]).await;
        host.schedules().create(hourly("h"), &sum(1)).await.unwrap();
        let at = next(&place, &host, "h").await;
        let id = host.schedules().get("h").await.unwrap().instance_id;
        // As if it had been started, and its process had died before that was noted.
        let reference = format!("{id}/2030-01-01T01:00:00Z");
        let started = host.workflow(REPORT).start(&sum(1)).reference(reference).await.unwrap();
        completed(&host, started.id()).await;
        place.clock.wait_for(|deadlines| deadlines.contains(&at)).await;
        place.clock.set(at);
        assert_eq!(next_after(&place, &host, "h", at).await, at + TimeDelta::hours(1));
        assert_eq!(log.lock().unwrap().len(), 1);
    }

    async fn a_paused_schedule_stands_still_and_what_it_missed_is_caught_up_with(place: Timed) {
        let log = Log::default();
        let host = place.host(&[&report(1, &log)]).await;
        host.schedules().create(hourly("h"), &sum(1)).await.unwrap();
        next(&place, &host, "h").await;
        host.schedules().pause("h").await.unwrap();
        until(async || host.schedules().get("h").await.unwrap().is_paused).await;
        // Only now no tick can come any more: a pause that is stored counts, too.
        let schedule = host.schedules().get("h").await.unwrap().instance_id;
        until(async || host.status(&schedule).await.unwrap().state == State::Suspended).await;
        assert!(listed(&host, 1).await[0].is_paused, "it is listed all the same");
        place.clock.advance(3 * HOUR);
        let id = host.schedules().trigger("h").await.unwrap();
        completed(&host, &id).await;
        assert_eq!(log.lock().unwrap().len(), 1, "what was triggered, and nothing else");
        host.schedules().resume("h").await.unwrap();
        runs(&log, 2).await;
        assert!(!host.schedules().get("h").await.unwrap().is_paused);
    }

    async fn a_deleted_schedule_starts_nothing_and_its_id_can_be_used_again(place: Timed) {
        let log = Log::default();
        let host = place.host(&[&report(1, &log)]).await;
        for n in 1..=3 {
            host.schedules().create(hourly("h"), &sum(n)).await.unwrap();
            let twice = host.schedules().create(hourly("h"), &sum(9)).await;
            assert!(matches!(&twice, Err(WfeError::AlreadyExists { id, .. }) if id == "h"), "{twice:?}");
            assert!(twice.unwrap_err().to_string().starts_with("schedule \"h\" exists already"));
            tick(&place, &host, "h").await;
            runs(&log, n as usize).await;
            host.schedules().delete("h").await.unwrap();
            until(async || matches!(host.schedules().get("h").await, Err(WfeError::ScheduleNotFound(_)))).await;
        }
        assert_eq!(*log.lock().unwrap(), [(1, 1), (1, 2), (1, 3)]);
        listed(&host, 0).await;
        for gone in [host.schedules().pause("h").await.map(drop), host.schedules().delete("h").await] {
            assert!(matches!(&gone, Err(WfeError::ScheduleNotFound(id)) if id == "h"), "{gone:?}");
        }
    }

    async fn schedules_are_listed_in_pages_with_their_next_ticks(place: Timed) {
        let log = Log::default();
        let host = place.host(&[&report(1, &log)]).await;
        for n in 0..5_u64 {
            let timetable = Timetable::interval(HOUR * u32::try_from(n + 1).unwrap());
            host.schedules().create(NewSchedule::new(format!("s{n}"), "report", timetable), &sum(1)).await.unwrap();
            listed(&host, usize::try_from(n).unwrap() + 1).await;
            next(&place, &host, &format!("s{n}")).await;
        }
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = host.schedules().list(after, 2).await.unwrap();
            found.extend(page.rows.into_iter().map(|row| (row.id, row.next.unwrap())));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let expected: Vec<_> =
            (0..5).map(|n| (format!("s{n}"), place.clock.now() + TimeDelta::hours(n + 1))).collect();
        assert_eq!(found, expected);
    }

    async fn a_schedule_starts_the_newest_version_known_at_each_tick_unless_it_names_one(place: Timed) {
        let log = Log::default();
        let host = place.host(&[&report(1, &log)]).await;
        host.schedules().create(hourly("newest"), &sum(1)).await.unwrap();
        host.schedules().create(hourly("fixed").version(1), &sum(2)).await.unwrap();
        next(&place, &host, "fixed").await;
        tick(&place, &host, "newest").await;
        runs(&log, 2).await;
        host.register(report(2, &log)).unwrap();
        next_after(&place, &host, "fixed", place.clock.now()).await;
        tick(&place, &host, "newest").await;
        runs(&log, 4).await;
        let mut all = log.lock().unwrap().clone();
        all.sort_unstable();
        assert_eq!(all, [(1, 1), (1, 2), (1, 2), (2, 1)]);
    }

    async fn a_host_that_does_not_know_the_definition_leaves_its_schedules_to_others(place: Timed) {
        let log = Log::default();
        let client = place.builder().await.build();
        client.register(report(1, &log)).unwrap();
        client.schedules().create(hourly("h"), &sum(1)).await.unwrap();
        let other = WorkflowBuilder::<Tally>::new("other", 1).step("a", nothing()).build().unwrap();
        let host = place.host(&[&other]).await;
        let id = host.start_workflow("other", &sum(0)).await.unwrap();
        completed(&host, &id).await;
        let status = host.schedules().get("h").await.unwrap();
        let stands = host.status(&status.instance_id).await.unwrap().blocked;
        assert!(matches!(&stands, Some(Blocked::DefinitionMissing { version: 1, .. })), "{stands:?}");
        assert_eq!(status.next, Some(place.clock.now() + TimeDelta::hours(1)));
        host.register(report(1, &log)).unwrap();
        tick(&place, &host, "h").await;
        runs(&log, 1).await;
    }

    async fn a_host_that_knows_another_version_only_leaves_a_pinned_schedule_to_others(place: Timed) {
        let log = Log::default();
        let new = place.host(&[&report(2, &log)]).await;
        new.schedules().create(hourly("h").version(2), &sum(1)).await.unwrap();
        tick(&place, &new, "h").await;
        runs(&log, 1).await;
        next_after(&place, &new, "h", place.clock.now()).await;
        let id = new.schedules().get("h").await.unwrap().instance_id;
        new.stop().await.unwrap();
        // A rolling restart: for a while, only the old program is there.
        let old = place.host(&[&report(1, &log)]).await;
        place.clock.advance(HOUR);
        old.idle().await.unwrap();
        assert!(old.failures(&id).all().await.unwrap().is_empty());
        let stands = old.status(&id).await.unwrap().blocked;
        assert!(matches!(&stands, Some(Blocked::DefinitionMissing { version: 2, .. })), "{stands:?}");
        assert_eq!(listed(&old, 1).await[0].version, Some(2));
        let new = place.host(&[&report(2, &log)]).await;
        runs(&log, 2).await;
        tick(&place, &new, "h").await;
        runs(&log, 3).await;
        assert_eq!(*log.lock().unwrap(), [(2, 1); 3]);
    }

    async fn a_pinned_schedule_that_an_earlier_version_stored_goes_on_and_says_why_it_fails(place: Timed) {
        let log = Log::default();
        let old = place.host(&[&report(1, &log)]).await;
        let data = json!({
            "id": "h", "definition": "report", "version": 2, "data": sum(1), "timetable": {"Interval": HOUR},
            "catch_up": "One", "created": place.clock.now(),
        });
        let stored = WorkflowInstance {
            name: "wfe.schedule:1:h".to_owned(),
            create_time: place.clock.now(),
            ..WorkflowInstance::new("wfe.schedule:report", 1, data)
        };
        place.provider().await.create_new_workflow(&stored).await.unwrap();
        old.register(WorkflowBuilder::<Tally>::new("other", 1).step("a", nothing()).build().unwrap()).unwrap();
        let at = tick(&place, &old, "h").await;
        let failed = async || old.schedules().get("h").await.unwrap().last_failure;
        until(async || failed().await.is_some()).await;
        let failure = failed().await.unwrap();
        assert!(failure.causes[0].contains("report"), "{failure:?}");
        assert_eq!(listed(&old, 1).await[0].last_failure.as_ref(), Some(&failure));
        old.register(report(2, &log)).unwrap();
        place.clock.advance(HOUR / 60);
        runs(&log, 1).await;
        until(async || old.schedules().get("h").await.unwrap().last == Some(at)).await;
        assert_eq!(failed().await, None, "it did not fail the last time");
    }

    async fn one_row_that_is_no_schedule_keeps_no_others_from_being_listed(place: Timed) {
        let log = Log::default();
        let host = place.host(&[&report(1, &log)]).await;
        host.schedules().create(hourly("h"), &sum(1)).await.unwrap();
        next(&place, &host, "h").await;
        // A schedule by a later version of the program.
        let mut stray = WorkflowInstance::new("elsewhere", 1, json!("no schedule"));
        "wfe.schedule:1:stray".clone_into(&mut stray.name);
        place.provider().await.create_new_workflow(&stray).await.unwrap();
        assert_eq!(listed(&host, 1).await[0].id, "h");
    }

    async fn a_schedule_that_makes_no_sense_is_refused(place: Timed) {
        let log = Log::default();
        let host = place.host(&[&report(1, &log)]).await;
        let create = async |id: &str, timetable| {
            host.schedules().create(NewSchedule::new(id, "report", timetable), &sum(1)).await
        };
        for timetable in [
            Timetable::interval(Duration::ZERO),
            Timetable::interval(Duration::MAX),
            Timetable::cron("61 * * * *"),
            Timetable::cron("0 0 30 2 *"),
            Timetable::cron("0 0 0 1 1 * 2020"), // over
            Timetable::cron("0 9 * * *").in_zone("Mars/Base"),
            Timetable::interval(HOUR).in_zone("Mars"),
        ] {
            let refused = create("s", timetable).await;
            assert!(matches!(refused, Err(WfeError::Invalid(_))), "{refused:?}");
        }
        assert!(matches!(create("", Timetable::interval(HOUR)).await, Err(WfeError::Invalid(_))));
        create("it's \0 \"☃", Timetable::interval(HOUR)).await.unwrap();
        assert_eq!(listed(&host, 1).await[0].id, "it's \0 \"☃");
        let wrong = host.schedules().create(hourly("wrong"), &7_u8).await;
        assert!(matches!(wrong, Err(WfeError::Invalid(_))), "{wrong:?}");
        let unknown = NewSchedule::new("u", "unknown", Timetable::interval(HOUR));
        let unknown = host.schedules().create(unknown, &sum(1)).await;
        assert!(matches!(unknown, Err(WfeError::DefinitionNotFound { version: 0, .. })), "{unknown:?}");
        let told = unknown.unwrap_err().to_string();
        assert_eq!(told, "no version of workflow definition \"unknown\" is registered with this host");
        let own = || WorkflowBuilder::<Tally>::new("wfe.schedule:report", 2).step("a", nothing());
        assert!(matches!(own().build(), Err(WfeError::InvalidDefinition { .. })));
        assert!(matches!(host.register_any(own().build_own().unwrap()), Err(WfeError::Invalid(_))));
        let refused = host.workflow(REPORT).start(&sum(1)).name("wfe.schedule:1:h").await;
        assert!(matches!(refused, Err(WfeError::Invalid(_))), "{refused:?}");
    }
}

/// A store under a clock that is set, by so much, whenever an instance is started for a tick.
struct Set {
    inner: Arc<dyn PersistenceProvider>,
    clock: Arc<VirtualClock>,
    jump: TimeDelta,
}

#[async_trait]
impl Layer for Set {
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.inner
    }

    async fn start(&self, owner: Option<&Owner>, instance: &WorkflowInstance) -> Result<Started> {
        let started = self.inner.clone().step_store().unwrap().start(owner, instance).await;
        if instance.workflow_definition_id == "report" {
            self.clock.set(self.clock.now() + self.jump);
        }
        started
    }
}

pub async fn next_after(place: &Timed, host: &WorkflowHost, id: &str, at: DateTime<Utc>) -> DateTime<Utc> {
    let mut found = at;
    until(async || {
        found = next(place, host, id).await;
        found > at
    })
    .await;
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_the_plain_traits_alone_there_are_no_schedules() {
    let host = Store::plain().host(&[&report(1, &Log::default())]).await;
    let refused = host.schedules().create(hourly("h"), &sum(1)).await;
    assert!(matches!(refused, Err(WfeError::Unsupported(_))), "{refused:?}");
}
