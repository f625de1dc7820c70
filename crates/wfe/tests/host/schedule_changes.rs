//! Schedules that are changed, and calls on schedules that answer.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use wfe::{
    Result, WfeError, WorkflowHost,
    clock::Clock,
    definition::{Definition, WorkflowName},
    schedules::{CatchUp, Change, NewSchedule, Timetable},
    status::State,
    steps::StepError,
    traits::{Owner, PersistenceProvider, Started},
};
use wfe_core::models::WorkflowInstance;
use wfe_testkit::{Layer, Layered};

use crate::{
    schedules::{HOUR, Log, hourly, listed, next, next_after, report, runs, sum, tick},
    support::{Timed, completed, in_time, started, until},
};

fn every(id: &str, minutes: u32) -> NewSchedule {
    NewSchedule::new(id, "report", Timetable::interval(HOUR * minutes / 60))
}

fn sums(log: &Log) -> Vec<u32> {
    log.lock().unwrap().iter().map(|(_, sum)| *sum).collect()
}

async fn last(host: &WorkflowHost, id: &str) -> Option<DateTime<Utc>> {
    host.schedules().get(id).await.unwrap().last
}

/// Lets time pass, in steps no longer than any timetable of these tests, until the schedules have done what was due.
async fn pass(place: &Timed, host: &WorkflowHost, minutes: i64) {
    for _ in 0..minutes {
        place.clock.advance(HOUR / 60);
        host.idle().await.unwrap();
    }
}

in_time! {
    async fn the_call_says_whether_a_schedule_was_created_or_replaced_or_is_the_same(place: Timed) {
        let log = Log::default();
        let host = place.builder().await.build();
        let reports = host.register(report(1, &log)).unwrap();
        // Before and after the host is started.
        for id in ["before", "after"] {
            let put = async |new, n| host.schedules().create_or_replace(new, &sum(n)).await.unwrap();
            assert_eq!(put(hourly(id), 1).await, Change::Created);
            assert_eq!(put(hourly(id), 1).await, Change::Unchanged);
            assert_eq!(put(hourly(id), 2).await, Change::Replaced);
            assert_eq!(put(hourly(id).version(1), 2).await, Change::Replaced);
            assert_eq!(put(hourly(id).version(1).catch_up(CatchUp::None), 2).await, Change::Replaced);
            assert_eq!(put(every(id, 30), 2).await, Change::Replaced);
            let typed = || reports.schedule(id, Timetable::interval(HOUR / 2), &sum(2));
            assert_eq!(typed().await.unwrap(), Change::Unchanged);
            assert_eq!(typed().version(1).catch_up(CatchUp::All(2)).await.unwrap(), Change::Replaced);
            let update = || host.schedules().update(id);
            assert_eq!(update().await.unwrap(), Change::Unchanged);
            assert_eq!(update().data(&sum(3)).await.unwrap(), Change::Replaced);
            assert_eq!(update().catch_up(CatchUp::One).await.unwrap(), Change::Replaced);
            let timetable = Timetable::cron("0 7 * * *");
            assert_eq!(update().timetable(timetable.clone()).await.unwrap(), Change::Replaced);
            let status = host.schedules().get(id).await.unwrap();
            assert_eq!((status.version, status.catch_up, &status.timetable), (Some(1), CatchUp::One, &timetable));
            assert_eq!((status.last, status.next), (None, Some(place.clock.now() + TimeDelta::hours(7))));
            if id == "before" {
                host.start().await.unwrap();
            }
        }
        let all = listed(&host, 2).await;
        assert_eq!(all.iter().map(|one| &*one.id).collect::<Vec<_>>(), ["before", "after"]);
        host.idle().await.unwrap();
        place.clock.advance(7 * HOUR);
        runs(&log, 2).await;
        assert_eq!(*log.lock().unwrap(), [(1, 3), (1, 3)]);
    }

    async fn a_changed_schedule_goes_on_after_its_last_tick(place: Timed) {
        let log = Log::default();
        let host = place.host(&[&report(1, &log)]).await;
        host.schedules().create(every("s", 60), &sum(1)).await.unwrap();
        let at = tick(&place, &host, "s").await;
        until(async || last(&host, "s").await == Some(at)).await;
        let first = host.schedules().get("s").await.unwrap();
        pass(&place, &host, 10).await;
        let changed = host.schedules().create_or_replace(every("s", 20), &sum(2)).await.unwrap();
        assert_eq!(changed, Change::Replaced);
        let status = host.schedules().get("s").await.unwrap();
        assert_eq!((status.last, status.next), (Some(at), Some(at + TimeDelta::minutes(20))), "at once");
        assert_ne!(status.instance_id, first.instance_id);
        assert_eq!((&status.first_instance_id, &first.first_instance_id), (&first.instance_id, &first.instance_id));
        host.idle().await.unwrap();
        let old = host.status(&first.instance_id).await.unwrap();
        assert_eq!(old.state, State::Terminated);
        pass(&place, &host, 55).await;
        assert_eq!(sums(&log), [1, 2, 2, 2], "at 20, 40 and 60 past");
        // The rhythm stays, however often the other settings change: the last tick was 5 minutes ago.
        for n in 3..9 {
            host.schedules().update("s").data(&sum(n)).await.unwrap();
            pass(&place, &host, 2).await;
        }
        assert_eq!(sums(&log), [1, 2, 2, 2], "17 past");
        pass(&place, &host, 3).await;
        assert_eq!(sums(&log), [1, 2, 2, 2, 8]);
    }

    async fn ticks_that_were_due_before_a_change_are_caught_up_with_and_the_new_timetable_has_none_before_it(
        place: Timed
    ) {
        let log = Log::default();
        let host = place.host(&[&report(1, &log)]).await;
        host.schedules().create(every("s", 60).catch_up(CatchUp::All(9)), &sum(1)).await.unwrap();
        next(&place, &host, "s").await;
        host.stop().await.unwrap();
        // Nobody is there at 1:00 and 2:00; from 2:30 on, it shall tick twice as often.
        place.clock.advance(2 * HOUR + HOUR / 2);
        let client = place.builder().await.build();
        client.register(report(1, &log)).unwrap();
        let changed = every("s", 30).catch_up(CatchUp::All(9));
        assert_eq!(client.schedules().create_or_replace(changed, &sum(2)).await.unwrap(), Change::Replaced);
        let one = place.clock.now() - TimeDelta::minutes(90);
        assert_eq!(client.schedules().get("s").await.unwrap().next, Some(one), "what nobody has done yet");
        place.clock.advance(HOUR);
        let host = place.host(&[&report(1, &log)]).await;
        let mut at = Vec::new();
        until(async || last(&host, "s").await == Some(place.clock.now())).await;
        let first = host.schedules().get("s").await.unwrap().first_instance_id;
        let store = place.provider().await;
        for half_hours in 1..=7 {
            let time = DateTime::UNIX_EPOCH + TimeDelta::seconds(1_893_456_000) + TimeDelta::minutes(half_hours * 30);
            let name = format!("wfe.tick:{first}/{}", time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true));
            if store.get_workflow_instance_by_name(&name).await.is_ok() {
                at.push(half_hours);
            }
        }
        assert_eq!(at, [2, 4, 6, 7], "1:00 and 2:00 as it was, 3:00 and 3:30 as it is");
        runs(&log, 4).await;
        assert_eq!(sums(&log), [2; 4], "with the new data");
    }

    async fn a_paused_schedule_stays_paused_when_it_is_changed_unless_told_otherwise(place: Timed) {
        let log = Log::default();
        let host = place.host(&[&report(1, &log)]).await;
        let schedules = host.schedules();
        schedules.create(every("s", 60), &sum(1)).await.unwrap();
        schedules.pause("s").await.unwrap();
        assert!(schedules.get("s").await.unwrap().is_paused, "before a host has applied it");
        for n in 2..5 {
            schedules.create_or_replace(every("s", 10 * n), &sum(n)).await.unwrap();
            assert!(schedules.get("s").await.unwrap().is_paused);
            assert!(listed(&host, 1).await[0].is_paused, "it is listed all the same");
            host.idle().await.unwrap();
            pass(&place, &host, 5).await;
        }
        assert!(sums(&log).is_empty());
        schedules.resume("s").await.unwrap();
        assert!(!schedules.get("s").await.unwrap().is_paused);
        pass(&place, &host, 40).await;
        assert_eq!(sums(&log), [4]);
        let change = schedules.create_or_replace(every("s", 40).paused(true), &sum(4)).await.unwrap();
        assert_eq!(change, Change::Replaced);
        pass(&place, &host, 80).await;
        assert_eq!(sums(&log), [4]);
        let change = schedules.create_or_replace(every("s", 40).paused(false), &sum(4)).await.unwrap();
        assert_eq!(change, Change::Replaced);
        host.idle().await.unwrap();
        assert_eq!(sums(&log), [4, 4], "what was missed");
        // One that begins as paused.
        schedules.create(every("p", 10).paused(true), &sum(7)).await.unwrap();
        pass(&place, &host, 5).await;
        assert!(schedules.get("p").await.unwrap().is_paused);
        schedules.resume("p").await.unwrap();
        pass(&place, &host, 5).await;
        assert_eq!(sums(&log), [4, 4, 7]);
    }

    async fn a_deleted_schedule_can_be_created_again_at_once(place: Timed) {
        let log = Log::default();
        let host = place.builder().await.build();
        host.register(report(1, &log)).unwrap();
        for round in 0..60 {
            if round == 30 {
                host.start().await.unwrap();
            }
            host.schedules().create(every("s", 60), &sum(round)).await.unwrap();
            let twice = host.schedules().create(every("s", 60), &sum(99)).await;
            assert!(matches!(twice, Err(WfeError::AlreadyExists { .. })), "{twice:?}");
            if round == 59 {
                break;
            }
            host.schedules().delete("s").await.unwrap();
            let gone = host.schedules().get("s").await;
            assert!(matches!(gone, Err(WfeError::ScheduleNotFound(_))), "{gone:?}");
            listed(&host, 0).await;
        }
        next(&place, &host, "s").await;
        pass(&place, &host, 60).await;
        assert_eq!(sums(&log), [59]);
        assert_eq!(listed(&host, 1).await[0].last, Some(place.clock.now()));
    }

    async fn calls_on_a_deleted_or_unknown_schedule_say_so(place: Timed) {
        let log = Log::default();
        let host = place.host(&[&report(1, &log)]).await;
        let schedules = host.schedules();
        schedules.create(hourly("deleted"), &sum(1)).await.unwrap();
        schedules.delete("deleted").await.unwrap();
        for id in ["deleted", "unknown"] {
            let answers = [
                schedules.get(id).await.map(drop),
                schedules.trigger(id).await.map(drop),
                schedules.pause(id).await.map(drop),
                schedules.resume(id).await.map(drop),
                schedules.delete(id).await,
                schedules.update(id).data(&sum(2)).await.map(drop),
            ];
            for answer in answers {
                assert!(matches!(&answer, Err(WfeError::ScheduleNotFound(found)) if found == id), "{answer:?}");
            }
        }
    }

    async fn callers_at_once_lose_no_change_and_create_one_schedule(place: Timed) {
        let log = Log::default();
        let hosts = [place.host(&[&report(1, &log)]).await, place.host(&[&report(1, &log)]).await];
        let puts = (0..16).map(|n| {
            let schedules = hosts[n % 2].schedules();
            async move { schedules.create_or_replace(every("s", 60), &sum(u32::try_from(n).unwrap())).await.unwrap() }
        });
        let changes = join_all(puts).await;
        assert_eq!(changes.iter().filter(|change| **change == Change::Created).count(), 1);
        assert_eq!(changes.iter().filter(|change| **change == Change::Replaced).count(), 15);
        assert_eq!(listed(&hosts[0], 1).await.len(), 1);
        let (one, other) = (hosts[0].schedules(), hosts[1].schedules());
        for n in 20..30 {
            let timetable = Timetable::interval(HOUR * n / 60);
            let (first, second) = tokio::join!(
                async { one.update("s").timetable(timetable.clone()).await },
                async { other.update("s").data(&sum(n)).await },
            );
            assert_eq!((first.unwrap(), second.unwrap()), (Change::Replaced, Change::Replaced));
            assert_eq!(one.get("s").await.unwrap().timetable, timetable);
        }
        for host in &hosts {
            host.idle().await.unwrap();
        }
        completed(&hosts[0], &one.trigger("s").await.unwrap()).await;
        assert_eq!(sums(&log), [29]);
    }

    async fn a_schedule_can_be_given_another_definition(place: Timed) {
        let log = Log::default();
        let (host, noted) = (place.builder().await.build(), log.clone());
        host.register(report(1, &log)).unwrap();
        let other = WorkflowName::<String>::new("other");
        let other = other.define(3).call("write", move |_, text| {
            noted.lock().unwrap().push((3, u32::try_from(text.len()).unwrap()));
            Ok(())
        });
        let other = host.register(other.build().unwrap()).unwrap();
        host.start().await.unwrap();
        host.schedules().create(hourly("s"), &sum(1)).await.unwrap();
        let at = tick(&place, &host, "s").await;
        until(async || last(&host, "s").await == Some(at)).await;
        let text = "four".to_owned();
        assert_eq!(other.schedule("s", Timetable::interval(HOUR), &text).await.unwrap(), Change::Replaced);
        let wrong = host.schedules().update("s").data(&sum(1)).await;
        assert!(matches!(wrong, Err(WfeError::Invalid(_))), "{wrong:?}");
        let status = host.schedules().get("s").await.unwrap();
        assert_eq!((&*status.definition, status.last), ("other", Some(at)));
        pass(&place, &host, 60).await;
        runs(&log, 2).await;
        assert_eq!(*log.lock().unwrap(), [(1, 1), (3, 4)]);
        // A host that does not know it leaves it to others, as before.
        let unknown = NewSchedule::new("s", "unknown", Timetable::interval(HOUR));
        let unknown = host.schedules().create_or_replace(unknown, &1_u8).await;
        assert!(matches!(unknown, Err(WfeError::DefinitionNotFound { .. })), "{unknown:?}");
        assert_eq!(host.schedules().get("s").await.unwrap().definition, "other");
    }

    async fn a_change_in_the_very_moment_of_a_tick_neither_doubles_nor_loses_it(place: Timed) {
        for (is_before, to_other) in [(true, false), (false, false), (true, true), (false, true)] {
            let log = Log::default();
            let id = format!("s {is_before} {to_other}");
            // The host is just about to start the instance of the tick, or has started it and not noted it yet.
            let (own, name) = (Arc::new(OnceLock::<WorkflowHost>::new()), id.clone());
            let (host, has_changed) = (own.clone(), AtomicBool::new(false));
            let change: BeginChange = Box::new(move || {
                if has_changed.swap(true, Ordering::SeqCst) {
                    return None;
                }
                let definition = if to_other { "other-report" } else { "report" };
                let new = NewSchedule::new(&name, definition, Timetable::interval(HOUR / 2));
                let schedules = host.get().unwrap().schedules();
                Some(tokio::spawn(async move {
                    let change = schedules.create_or_replace(new, &sum(2)).await.unwrap();
                    assert_eq!(change, Change::Replaced);
                }))
            });
            let store = Arc::new(Layered(Changes { inner: place.provider().await, change, is_before }));
            let host = WorkflowHost::builder_shared(store).clock(place.clock.clone()).poll_interval(100_000 * HOUR);
            let host = host.build();
            host.register(other_report(&log)).unwrap();
            let host = started(host, &[&report(1, &log)]).await;
            own.set(host.clone()).unwrap();
            host.schedules().create(hourly(&id), &sum(1)).await.unwrap();
            let at = tick(&place, &host, &id).await;
            until(async || last(&host, &id).await == Some(at)).await;
            let status = host.schedules().get(&id).await.unwrap();
            assert_eq!(status.next, Some(at + TimeDelta::minutes(30)));
            host.idle().await.unwrap();
            assert_eq!(log.lock().unwrap().len(), 1, "before: {is_before}, to another definition: {to_other}");
            next_after(&place, &host, &id, at).await;
            pass(&place, &host, 30).await;
            runs(&log, 2).await;
            assert_eq!(sums(&log)[1], 2);
            host.schedules().delete(&id).await.unwrap();
            host.stop().await.unwrap();
        }
    }

    async fn a_change_takes_effect_whichever_host_owns_the_schedule(place: Timed) {
        let log = Log::default();
        let host = place.host(&[&report(1, &log)]).await;
        host.schedules().create(hourly("s"), &sum(1)).await.unwrap();
        next(&place, &host, "s").await;
        let client = place.builder().await.build();
        client.register(report(1, &log)).unwrap();
        client.schedules().update("s").data(&sum(2)).timetable(Timetable::interval(HOUR / 4)).await.unwrap();
        // The hosts of these tests are told nothing of the changes of others: at the latest, the old owner learns of
        // the change when it would tick.
        host.schedules().trigger("s").await.unwrap();
        runs(&log, 1).await;
        place.clock.advance(HOUR);
        until(async || last(&host, "s").await == Some(place.clock.now())).await;
        runs(&log, 2).await;
        assert_eq!(sums(&log), [2, 2]);
    }

    async fn data_that_the_newest_version_cannot_read_fail_at_the_schedule_until_it_is_mended(place: Timed) {
        for mends_data in [true, false] {
            let log = Log::default();
            let host = place.host(&[&report(1, &log)]).await;
            let id = format!("s {mends_data}");
            host.schedules().create(hourly(&id).catch_up(CatchUp::All(2)), &sum(1)).await.unwrap();
            next(&place, &host, &id).await;
            host.register(renamed_report(&log)).unwrap();
            let mut failure = None;
            for _ in 0..4 {
                place.clock.advance(HOUR);
                until(async || {
                    let now = host.schedules().get(&id).await.unwrap().last_failure;
                    let is_new = now.is_some() && now != failure;
                    failure = if is_new { now } else { failure.take() };
                    is_new
                })
                .await;
            }
            let failure = failure.unwrap();
            assert_eq!(failure.code, StepError::DEFINITION);
            let cause = failure.causes.join(": ");
            assert!(cause.contains("version 2 of workflow \"report\"") && cause.contains("shape"), "{cause}");
            let by_hand = host.schedules().trigger(&id).await;
            assert!(matches!(&by_hand, Err(WfeError::Invalid(why)) if why.contains("version 2")), "{by_hand:?}");
            assert!(log.lock().unwrap().is_empty());
            let status = host.schedules().get(&id).await.unwrap();
            assert_eq!((status.last, status.is_paused), (None, false));
            if mends_data {
                let mended = host.schedules().update(&id).data(&Renamed { amount: 7 }).await.unwrap();
                assert_eq!(mended, Change::Replaced);
                assert_eq!(host.schedules().get(&id).await.unwrap().last_failure, None);
            } else {
                host.register(report(3, &log)).unwrap();
                place.clock.advance(HOUR / 10);
            }
            runs(&log, 2).await;
            let expected = if mends_data { [(2, 7), (2, 7)] } else { [(3, 1), (3, 1)] };
            assert_eq!(*log.lock().unwrap(), expected, "the two newest of the four");
            until(async || last(&host, &id).await.is_some()).await;
            assert_eq!(host.schedules().get(&id).await.unwrap().last_failure, None);
            host.schedules().delete(&id).await.unwrap();
            host.stop().await.unwrap();
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Renamed {
    amount: u32,
}

/// Version 2 of the report, which has renamed a field.
fn renamed_report(log: &Log) -> Definition<Renamed> {
    let log = log.clone();
    WorkflowName::new("report")
        .define(2)
        .call("write", move |_, renamed: &Renamed| {
            log.lock().unwrap().push((2, renamed.amount));
            Ok(())
        })
        .build()
        .unwrap()
}

fn other_report(log: &Log) -> Definition<crate::support::Tally> {
    let log = log.clone();
    WorkflowName::new("other-report")
        .define(1)
        .call("write", move |_, tally: &crate::support::Tally| {
            log.lock().unwrap().push((9, tally.sum));
            Ok(())
        })
        .build()
        .unwrap()
}

/// Begins a change, once.
type BeginChange = Box<dyn Fn() -> Option<JoinHandle<()>> + Send + Sync>;

/// A store in which a schedule is changed while an instance is started for a tick: before it is stored, or after that.
struct Changes {
    inner: Arc<dyn PersistenceProvider>,
    change: BeginChange,
    is_before: bool,
}

#[async_trait]
impl Layer for Changes {
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.inner
    }

    async fn start(&self, owner: Option<&Owner>, instance: &WorkflowInstance) -> Result<Started> {
        let is_tick = instance.name.starts_with("wfe.tick:");
        let change = async |when: bool| {
            if is_tick
                && when == self.is_before
                && let Some(change) = (self.change)()
            {
                change.await.unwrap();
            }
        };
        change(true).await;
        let started = self.inner.clone().step_store().unwrap().start(owner, instance).await;
        change(false).await;
        started
    }
}
