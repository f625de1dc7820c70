//! Extreme numbers in the settings of hosts, stores, workers and schedules: each is refused, naming what it is about, or
//! does what it says.

use std::{sync::Arc, time::Duration};

use proptest::{prelude::*, sample::select};
use wfe::{
    Outcome, WfeError, WorkflowHost,
    clock::Clock,
    definition::{Activity, Definition, Retry, WorkflowBuilder},
    schedules::{NewSchedule, Timetable},
    steps::StepError,
};
use wfe_sqlite::SqlitePersistenceProvider;
use wfe_testkit::VirtualClock;

use crate::support::{Tally, nothing, started};

const TIMES: [Duration; 8] = [
    Duration::ZERO,
    Duration::from_nanos(1),
    Duration::from_millis(1),
    Duration::from_secs(1),
    Duration::from_hours(24 * 365 * 100),
    Duration::from_millis(i64::MAX as u64),
    Duration::from_secs(u64::MAX / 2),
    Duration::MAX,
];
const SIZES: [usize; 6] = [0, 1, 2, 1_000, usize::MAX - 1, usize::MAX];

const DO: Activity<(), u32> = Activity::new("do");

/// Longer than a host needs to hear of its own commits: after that, nothing but its timers wakes it.
const PAUSE: Duration = Duration::from_millis(150);

/// Fails once, sleeps, and runs on.
fn sleepy() -> Definition<Tally> {
    WorkflowBuilder::<Tally>::new("sleepy", 1)
        .call(
            "flaky",
            |ctx, _| if ctx.attempt() == 1 { Err(StepError::retryable("not yet")) } else { Ok(()) },
        )
        .retry(Retry::every(PAUSE).attempts(2))
        .delay("short", |_| PAUSE)
        .step("last", nothing())
        .build()
        .unwrap()
}

#[derive(Debug, Clone)]
struct Settings {
    poll: Duration,
    ahead: Duration,
    grace: Duration,
    lease: Duration,
    busy: Duration,
    cache: usize,
    steps: usize,
    instances: usize,
    /// Of the definition, and of its first step.
    limits: Option<(usize, usize)>,
}

fn settings() -> impl Strategy<Value = Settings> {
    let (time, size) = (|| select(&TIMES[..]), || select(&SIZES[..]));
    let limits = prop::option::of((size(), size()));
    ((time(), time(), time()), (time(), time(), size()), (size(), size(), limits)).prop_map(
        |((poll, ahead, grace), (lease, busy, cache), (steps, instances, limits))| Settings {
            poll,
            ahead,
            grace,
            lease,
            busy,
            cache,
            steps,
            instances,
            limits,
        },
    )
}

impl Settings {
    /// Two instances on a host with these settings.
    async fn run(self) {
        let options = SqlitePersistenceProvider::builder(":memory:");
        let options = options.lease(self.lease).busy_timeout(self.busy).cache_bytes(self.cache);
        let mut builder = WorkflowHost::builder(options.open().await.unwrap())
            .poll_interval(self.poll)
            .claim_ahead(self.ahead)
            .grace(self.grace)
            .concurrent_steps(self.steps)
            .concurrent_instances(self.instances);
        if let Some((works, bodies)) = self.limits {
            builder = builder
                .concurrent_instances_of("sleepy", works)
                .concurrent_bodies_of("sleepy", "flaky", bodies);
        }
        let host = started(builder.build(), &[&sleepy()]).await;
        for id in [
            host.start_workflow("sleepy", &Tally::default()).await.unwrap(),
            host.start_workflow("sleepy", &Tally::default()).await.unwrap(),
        ] {
            let end = tokio::time::timeout(Duration::from_mins(1), host.outcome::<Tally>(&id)).await;
            assert_eq!(end.expect("its timers fire").unwrap(), Outcome::Completed(Tally::default()));
        }
        host.stop().await.unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2, max_shrink_iters: 0, ..ProptestConfig::default() })]

    /// Side by side, since they mostly sleep.
    #[test]
    fn whatever_the_settings_of_a_host_its_timers_fire(all in prop::collection::vec(settings(), 48)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let failed = runtime.block_on(async {
            let hosts: Vec<_> = all.into_iter().map(|one| (one.clone(), tokio::spawn(one.run()))).collect();
            let mut failed = Vec::new();
            for (settings, host) in hosts {
                failed.extend(host.await.is_err().then_some(settings));
            }
            failed
        });
        prop_assert!(failed.is_empty(), "{:#?}", failed);
    }
}

#[tokio::test]
async fn a_lease_of_a_claim_or_a_worker_is_refused_or_kept() {
    let clock = Arc::new(VirtualClock::default());
    let options = SqlitePersistenceProvider::builder(":memory:").clock(clock.clone());
    let builder = WorkflowHost::builder(options.open().await.unwrap()).clock(clock.clone());
    let asks = WorkflowBuilder::<Tally>::new("asks", 1)
        .activity("ask", DO, |_| ())
        .output(|sum, tally| tally.sum = sum)
        .build()
        .unwrap();
    let host = started(builder.build(), &[&asks]).await;
    host.start_workflow("asks", &Tally::default()).await.unwrap();
    host.idle().await.unwrap();
    for lease in TIMES {
        match host.activities().claim_by_name("do", "worker", lease).await {
            Ok(claim) => {
                let claim = claim.unwrap();
                assert!(claim.expiry() > clock.now(), "{lease:?}");
                claim.release().await.unwrap();
            }
            Err(WfeError::Invalid(problem)) => {
                assert!(lease.is_zero() && problem.contains("lease"), "{lease:?}: {problem}");
            }
            Err(other) => panic!("{lease:?}: {other}"),
        }
    }
    for lease in TIMES {
        let id = host.start_workflow("asks", &Tally::default()).await.unwrap();
        let working = host.activities().worker(DO, "worker").lease(lease).run(async |(), _| Ok(7));
        tokio::select! {
            ended = host.outcome::<Tally>(&id) => {
                assert_eq!(ended.unwrap(), Outcome::Completed(Tally { numbers: vec![], sum: 7 }));
                assert!(lease >= Duration::from_millis(3));
            }
            refused = working => match refused {
                Err(WfeError::Invalid(problem)) => assert!(problem.contains("lease"), "{problem}"),
                other => panic!("{lease:?}: {other:?}"),
            },
        }
    }
    host.stop().await.unwrap();
}

#[tokio::test]
async fn an_interval_of_a_schedule_is_refused_or_kept() {
    let clock = Arc::new(VirtualClock::default());
    let options = SqlitePersistenceProvider::builder(":memory:").clock(clock.clone());
    let builder = WorkflowHost::builder(options.open().await.unwrap()).clock(clock.clone());
    let host = started(builder.build(), &[&sleepy()]).await;
    for (number, interval) in TIMES.into_iter().enumerate() {
        let id = number.to_string();
        let schedule = NewSchedule::new(&id, "sleepy", Timetable::interval(interval));
        match host.schedules().create(schedule, &Tally::default()).await {
            Ok(()) => {
                let next = host.schedules().get(&id).await.unwrap().next;
                host.idle().await.unwrap();
                let next = next.or(host.schedules().get(&id).await.unwrap().next).unwrap();
                assert_eq!((next - clock.now()).to_std().unwrap(), interval);
            }
            Err(WfeError::Invalid(problem)) => {
                assert!(problem.contains("interval") || problem.contains("timetable"), "{problem}");
                assert!(
                    interval.is_zero() || interval > Duration::from_hours(24 * 365 * 230),
                    "{interval:?}"
                );
            }
            Err(other) => panic!("{interval:?}: {other}"),
        }
    }
    host.stop().await.unwrap();
}
