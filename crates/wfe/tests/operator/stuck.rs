//! What stands although it should not is found; what may stand is not.

use wfe::{
    Operator,
    definition::{Activity, OnFailure, WorkflowName},
    operator::{Code, Finding, Thresholds, Weight},
    schedules::{NewSchedule, Timetable},
    steps::StepError,
    traits::Query,
};

use crate::support::{APPROVED, HOUR, Order, World, builder, on_both_stores, order, waits};

const PACK: Activity<String, u32> = Activity::new("pack");

async fn found(operator: &Operator) -> Vec<(String, Code)> {
    let mut found: Vec<_> = operator
        .stuck(100)
        .await
        .unwrap()
        .into_iter()
        .inspect(|stuck| assert!(stuck.explanation.is_stuck && stuck.explanation.instance == stuck.id))
        .map(|stuck| (stuck.id, stuck.explanation.code))
        .collect();
    found.sort_by_key(|(_, code)| code.name());
    found
}

fn codes(found: &[Finding]) -> Vec<(&str, Weight)> {
    found
        .iter()
        .filter(|finding| finding.code != "disk_full")
        .map(|finding| (finding.code, finding.weight))
        .collect()
}

on_both_stores! {
    async fn each_reason_is_found(world: World) {
        let suspends = builder("suspends")
            .call("charge", |_, _| Err::<(), _>(StepError::fatal("refused")))
            .on_failure(OnFailure::Suspend)
            .build()
            .unwrap();
        let packs = builder("packs").activity("pack", PACK, |order: &Order| order.name.clone()).build().unwrap();
        let asks = builder("asks")
            .user_task("ask", |_: &Order| "Buy?")
            .plain_option("yes")
            .fail_after(|_: &Order| 2 * HOUR)
            .build()
            .unwrap();
        let child = WorkflowName::<Order>::new("packs");
        let parent = builder("parent").sub_workflow("sub", child, |order: &Order| order.clone()).build().unwrap();
        let host = world.host(&[&waits(), &suspends, &packs, &asks, &parent]).await;
        let operator = world.operator().await;
        let start = async |definition: &str| {
            let id = host.start_workflow(definition, &order()).await.unwrap();
            host.idle().await.unwrap();
            id
        };
        let (_healthy, arrives) = (start("waits").await, start("waits").await);
        let (suspended, unclaimed) = (start("suspends").await, start("packs").await);
        assert_eq!(found(&operator).await, [(suspended.clone(), Code::SuspendedFailure)]);
        assert_eq!(codes(&operator.doctor().await.unwrap()), [("suspended", Weight::Warning)]);
        let (above, requested) = (start("parent").await, start("waits").await);
        world.clock.advance(HOUR);
        let below = operator.why(&above).await.unwrap().chain[0].instance.clone();
        let mut expected = [
            (above.clone(), Code::Child),
            (below, Code::ActivityUnclaimed),
            (unclaimed.clone(), Code::ActivityUnclaimed),
            (suspended.clone(), Code::SuspendedFailure),
        ];
        let mut now = found(&operator).await;
        now.sort_by(|one, two| one.0.cmp(&two.0));
        expected.sort_by(|one, two| one.0.cmp(&two.0));
        assert_eq!(now, expected);
        let patient = operator.clone().thresholds(Thresholds { unclaimed: 2 * HOUR, ..Thresholds::default() });
        assert_eq!(found(&patient).await.len(), 1);

        // A claim that has run out.
        host.host().activities().claim(PACK, "worker 1", HOUR).await.unwrap().unwrap();
        world.clock.advance(2 * HOUR);
        assert!(found(&operator).await.contains(&(unclaimed, Code::LeaseOver)));
        let doctor = operator.doctor().await.unwrap();
        assert_eq!(codes(&doctor), [("suspended", Weight::Warning), ("stale_claim", Weight::Warning)]);

        // Without a host, what comes is not taken up.
        let asked = start("asks").await;
        host.stop().await.unwrap();
        host.publish(APPROVED, "chairs", "Ann".to_owned()).await.unwrap();
        host.suspend(&requested).await.unwrap();
        world.clock.advance(3 * HOUR);
        let now = found(&operator).await;
        for expected in [(asked, Code::Task), (arrives, Code::EventWaitingForHost), (requested, Code::RequestWaiting)] {
            assert!(now.contains(&expected), "{expected:?} {now:?}");
        }
        let doctor = operator.doctor().await.unwrap();
        let codes: Vec<_> = codes(&doctor).into_iter().map(|(code, _)| code).collect();
        assert_eq!(codes[..2], ["no_host", "overdue"]);
        assert!(codes.contains(&"undelivered_event"), "{doctor:?}");
        assert!(operator.stuck(2).await.unwrap().len() == 2);

        // Hosts of other definitions do not help.
        let other = world.host(&[&builder("other").then("s", async |_, _| Ok(())).build().unwrap()]).await;
        let now = found(&operator).await;
        assert!(now.iter().any(|(_, code)| *code == Code::NoDefinition), "{now:?}");
        let doctor = operator.doctor().await.unwrap();
        assert!(doctor.iter().any(|finding| finding.code == "no_definition" && finding.weight == Weight::Error));
        other.stop().await.unwrap();
    }

    async fn a_schedule_that_waits_for_its_next_tick_is_not_stuck(world: World) {
        let (host, operator) = (world.host(&[&waits()]).await, world.operator().await);
        let yearly = NewSchedule::new("yearly", "waits", Timetable::cron("0 3 1 6 *"));
        host.host().schedules().create(yearly, &order()).await.unwrap();
        host.idle().await.unwrap();
        world.clock.advance(HOUR);
        assert_eq!(found(&operator).await, []);
        let all = Query { include_own: true, ..Query::default() };
        let own = operator.list(&all, None, 9).await.unwrap().rows.remove(0).id;
        let why = operator.why(&own).await.unwrap();
        assert!(!why.is_stuck && why.chain.is_empty(), "{why:?}");
        assert_eq!(why.step.as_deref(), Some("tick"));
    }

    async fn the_clock_behind_the_store(world: World) {
        let (host, operator) = (world.host(&[&waits()]).await, world.operator().await);
        assert_eq!(codes(&operator.doctor().await.unwrap()), []);
        host.start_workflow("waits", &order()).await.unwrap();
        host.idle().await.unwrap();
        let slow = std::sync::Arc::new(wfe_testkit::VirtualClock::default());
        world.clock.advance(HOUR);
        host.start_workflow("waits", &order()).await.unwrap();
        host.idle().await.unwrap();
        let found = operator.clone().clock(slow).doctor().await.unwrap();
        assert_eq!(codes(&found), [("clock_behind", Weight::Warning)]);
        assert!(found.iter().any(|finding| finding.text.contains("at least 1 h behind")), "{found:?}");
        assert_eq!(operator.list(&Query::default(), None, 9).await.unwrap().rows.len(), 2);
    }
}
