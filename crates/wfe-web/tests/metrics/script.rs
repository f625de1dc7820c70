//! What the test does, and what the metrics must say afterwards. All times are those of a virtual clock.

mod store;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use axum::Router;
use sqlx::{ConnectOptions, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tokio::sync::Notify;
use wfe::{
    Operator, Result, WfeError, WorkflowHost,
    clock::Clock,
    definition::{Activity, AnyDefinition, Event, OnFailure, Retry, WorkflowBuilder},
    middleware::{WorkflowMiddleware, WorkflowStart},
    operator::{Face, Verb},
    schedules::{NewSchedule, Timetable},
    sqlite::SqliteStore,
    steps::StepError,
};
use wfe_testkit::{TestHost, VirtualClock};
use wfe_web::Monitoring;

use crate::{same, scrape::Scrape};

const HOUR: Duration = Duration::from_hours(1);
const PAID: Event<()> = Event::new("paid");
const PACK: Activity<(), ()> = Activity::new("pack");

pub struct Script {
    _folder: TempDir,
    path: PathBuf,
    clock: Arc<VirtualClock>,
    store: Arc<SqliteStore>,
    host: TestHost,
    router: Router,
    /// The steps `hold` end when it is notified.
    go: Arc<Notify>,
    /// Tells that a step `hold` has begun.
    began: Arc<Notify>,
    refuses: Arc<AtomicBool>,
    dummies: u32,
}

/// Refuses starts while the test says so.
struct Refuses(Arc<AtomicBool>);

#[async_trait]
impl WorkflowMiddleware for Refuses {
    async fn starting(&self, _: &WorkflowStart<'_>) -> Result<()> {
        if self.0.load(Relaxed) { Err(WfeError::Invalid("no".to_owned())) } else { Ok(()) }
    }
}

fn built(definition: Result<impl Into<AnyDefinition>>) -> AnyDefinition {
    definition.unwrap().into()
}

fn nothing(id: &str) -> AnyDefinition {
    built(WorkflowBuilder::<()>::new(id, 1).then("only", async |_, _| Ok(())).build())
}

impl Script {
    pub async fn start() -> Self {
        let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(VirtualClock::default()));
        let path = folder.path().join("a.db");
        let store = Arc::new(open(&path, &clock).await);
        let (go, began, refuses) =
            (Arc::new(Notify::new()), Arc::new(Notify::new()), Arc::<AtomicBool>::default());
        let of_body = clock.clone();
        let plain = WorkflowBuilder::<()>::new("plain", 1).then("one", async move |_, _| {
            of_body.advance(Duration::from_secs(2));
            Ok(())
        });
        let breaks = WorkflowBuilder::<()>::new("breaks", 1)
            .then("die", async |_, _| Err::<(), _>(StepError::fatal("broken").with_code("no")))
            .on_failure(OnFailure::Fail);
        let flaky = WorkflowBuilder::<()>::new("retries", 1)
            .then("flaky", async |ctx, _| {
                if ctx.attempt() == 1 {
                    Err(StepError::retryable("not yet").with_code("early"))
                } else {
                    Ok(())
                }
            })
            .retry(Retry::exponential().attempts(2).initial(HOUR).jitter(0.0));
        let sleeps = WorkflowBuilder::<()>::new("sleeps", 1).delay("sleep", |()| HOUR);
        let hears = WorkflowBuilder::<()>::new("hears", 1).wait_for("hear", PAID, |()| "k");
        let packs = WorkflowBuilder::<()>::new("packs", 1).activity("pack", PACK, |()| ());
        let asks = WorkflowBuilder::<()>::new("asks", 1)
            .user_task("ask", |()| "well?")
            .option("yes", |yes| yes.then("glad", async |_, _| Ok(())));
        let refusing = refuses.clone();
        let host = TestHost::builder_shared(store.clone(), clock.clone())
            .configure(move |builder| builder.workflow_middleware(Refuses(refusing.clone())))
            .define(built(plain.build()))
            .define(built(breaks.build()))
            .define(built(flaky.build()))
            .define(built(sleeps.build()))
            .define(built(hears.build()))
            .define(built(packs.build()))
            .define(built(asks.build()))
            .define(holds("holds", &go, &began))
            .define(nothing("report"))
            .start()
            .await
            .unwrap();
        let router = Monitoring::new(host.host()).into_router().unwrap();
        Self { _folder: folder, path, clock, store, host, router, go, began, refuses, dummies: 0 }
    }

    pub async fn scrape(&self) -> Scrape {
        Scrape::of(&self.router).await
    }

    async fn begin(&self, definition: &str) -> String {
        self.host.start_workflow(definition, &()).await.unwrap()
    }

    async fn run(&self, definition: &str) -> String {
        let id = self.begin(definition).await;
        self.host.idle().await.unwrap();
        id
    }

    async fn idle(&self) {
        self.host.idle().await.unwrap();
    }

    /// Waits until a step `hold` has begun.
    #[track_caller]
    fn has_begun(&self) -> impl Future<Output = ()> {
        let (began, caller) = (self.began.clone(), std::panic::Location::caller());
        async move {
            let began = tokio::time::timeout(Duration::from_secs(30), began.notified()).await;
            assert!(began.is_ok(), "no step began at {caller}");
        }
    }

    /// Makes the host read the store for instances of others.
    async fn look(&mut self) {
        self.register_another();
        self.idle().await;
    }

    fn register_another(&mut self) {
        self.dummies += 1;
        self.host.host().register_any(nothing(&format!("dummy-{}", self.dummies))).unwrap();
    }

    /// A connection to the file, as another program has it.
    async fn connection(&self) -> SqliteConnection {
        SqliteConnectOptions::new().filename(&self.path).connect().await.unwrap()
    }
}

async fn open(path: &std::path::Path, clock: &Arc<VirtualClock>) -> SqliteStore {
    let file = SqliteStore::file(path).clock(clock.clone());
    file.busy_timeout(Duration::from_millis(300)).open().await.unwrap()
}

/// A step that tells that it has begun, and ends when it is told to.
fn holds(id: &str, go: &Arc<Notify>, began: &Arc<Notify>) -> AnyDefinition {
    let (go, began) = (go.clone(), began.clone());
    built(
        WorkflowBuilder::<()>::new(id, 1)
            .then("hold", async move |ctx, _| {
                began.notify_one();
                tokio::select! {
                    () = go.notified() => {}
                    () = ctx.cancellation().cancelled() => {}
                }
                Ok(())
            })
            .build(),
    )
}

impl Script {
    pub async fn instances(&mut self) {
        self.run("plain").await;
        self.run("plain").await;
        self.run("breaks").await;
        let (one, other) = (self.run("sleeps").await, self.run("sleeps").await);
        self.clock.advance(Duration::from_secs(7));
        self.host.cancel(&one).await.unwrap();
        self.host.terminate(&other).await.unwrap();
        self.idle().await;
        let now = self.scrape().await;
        let started = |id| now.get("wfe_instances_started_total", &[("definition", id)]);
        assert_eq!((started("plain"), started("breaks"), started("sleeps")), (2.0, 1.0, 2.0));
        for (id, ending, count, seconds) in [
            ("plain", "completed", 2.0, 4.0),
            ("breaks", "failed", 1.0, 0.0),
            ("sleeps", "cancelled", 1.0, 7.0),
            ("sleeps", "terminated", 1.0, 7.0),
        ] {
            let labels = [("definition", id), ("ending", ending)];
            same(now.get("wfe_instances_ended_total", &labels), count, id);
            let (found, sum) = now.histogram("wfe_instance_duration_seconds", &labels);
            same(found, count, id);
            same(sum, seconds, id);
        }
        assert_eq!(now.histogram("wfe_start_delay_seconds", &[("definition", "plain")]), (2.0, 0.0));
        let step = [("definition", "plain"), ("step", "one"), ("outcome", "success")];
        assert_eq!(now.histogram("wfe_step_duration_seconds", &step), (2.0, 4.0));
        let bucket = |le| {
            let labels = [&step[..], &[("le", le)]].concat();
            now.get("wfe_step_duration_seconds_bucket", &labels)
        };
        assert_eq!((bucket("1"), bucket("2.5"), bucket("+Inf")), (0.0, 2.0, 2.0));
    }

    pub async fn steps(&mut self) {
        self.run("retries").await;
        self.host.advance(HOUR).await.unwrap();
        let id = self.begin("holds").await;
        self.has_begun().await;
        self.host.cancel(&id).await.unwrap();
        self.idle().await;
        let now = self.scrape().await;
        let failures = |id, step, code, kind| {
            let labels = [("definition", id), ("step", step), ("code", code), ("kind", kind)];
            now.get("wfe_step_failures_total", &labels)
        };
        assert_eq!(failures("retries", "flaky", "early", "retry"), 1.0);
        assert_eq!(failures("breaks", "die", "no", "fail"), 1.0);
        assert_eq!(now.by("wfe_step_failures_total", "definition").len(), 2);
        assert_eq!(now.get("wfe_step_retries_total", &[("definition", "retries"), ("step", "flaky")]), 1.0);
        let runs = |id, step, outcome| {
            let labels = [("definition", id), ("step", step), ("outcome", outcome)];
            now.get("wfe_step_duration_seconds_count", &labels)
        };
        assert_eq!((runs("retries", "flaky", "failure"), runs("retries", "flaky", "success")), (1.0, 1.0));
        assert_eq!((runs("holds", "hold", "cancelled"), runs("holds", "hold", "success")), (1.0, 0.0));
    }

    pub async fn timers(&mut self) {
        let before = self.scrape().await.histogram("wfe_timer_lateness_seconds", &[]);
        assert_eq!(before, (1.0, 0.0), "the second attempt was on time");
        self.run("sleeps").await;
        self.clock.advance(HOUR + Duration::from_secs(5));
        self.idle().await;
        assert_eq!(self.scrape().await.histogram("wfe_timer_lateness_seconds", &[]), (2.0, 5.0));
    }

    pub async fn events(&mut self) {
        self.run("hears").await;
        self.host.publish(PAID, "k", ()).await.unwrap();
        self.idle().await;
        assert_eq!(self.scrape().await.histogram("wfe_event_delivery_seconds", &[]), (1.0, 0.0));
        self.run("hears").await;
        let due = self.clock.now() + chrono::TimeDelta::minutes(10);
        let again = self.host.publish(PAID, "k", ()).effective(due).id("twice");
        again.await.unwrap();
        self.idle().await;
        self.clock.advance(Duration::from_mins(15));
        self.idle().await;
        let known = self.host.publish(PAID, "k", ()).effective(due).id("twice");
        assert!(!known.await.unwrap().is_new);
        let now = self.scrape().await;
        assert_eq!(now.histogram("wfe_event_delivery_seconds", &[]), (2.0, 300.0));
        assert_eq!(now.get("wfe_events_published_total", &[("event", "paid")]), 2.0);
    }

    pub async fn activities(&mut self) {
        self.run("packs").await;
        self.clock.advance(Duration::from_secs(90));
        let lease = Duration::from_mins(1);
        let activities = self.host.host().activities();
        let claim = || activities.claim_by_name("pack", "w", lease);
        let first = claim().await.unwrap().unwrap();
        assert!(claim().await.unwrap().is_none());
        self.clock.advance(lease + Duration::from_secs(1));
        let second = claim().await.unwrap().unwrap();
        first.succeed(&()).await.unwrap_err();
        second.succeed(&()).await.unwrap();
        self.idle().await;
        let now = self.scrape().await;
        let pack = [("activity", "pack")];
        assert_eq!(now.histogram("wfe_activities_claim_delay_seconds", &pack), (1.0, 90.0));
        assert_eq!(now.get("wfe_activities_leases_expired_total", &pack), 1.0);
    }

    pub async fn schedules(&mut self) {
        let hourly = NewSchedule::new("h", "report", Timetable::interval(HOUR));
        self.host.schedules().create(hourly, &()).await.unwrap();
        self.host.advance(HOUR).await.unwrap();
        self.refuses.store(true, Relaxed);
        self.host.advance(HOUR).await.unwrap();
        let ticks = async || {
            let now = self.scrape().await;
            ["started", "failed", "missed"]
                .map(|result| now.get("wfe_schedule_ticks_total", &[("result", result)]))
        };
        assert_eq!(ticks().await, [1.0, 1.0, 0.0]);
        self.refuses.store(false, Relaxed);
        self.host.advance(Duration::from_secs(5)).await.unwrap();
        assert_eq!(ticks().await, [2.0, 1.0, 0.0]);
        self.clock.advance(3 * HOUR);
        self.idle().await;
        assert_eq!(ticks().await, [3.0, 1.0, 1.0]);
        self.host.schedules().delete("h").await.unwrap();
        self.idle().await;
        let now = self.scrape().await;
        assert_eq!(now.get("wfe_instances_started_total", &[("definition", "report")]), 3.0);
        let own = now.by("wfe_instances_started_total", "definition");
        assert!(!own.keys().any(|id| id.starts_with("wfe.")), "{own:?}");
    }

    pub async fn requests(&mut self) {
        let (asleep, failed) = (self.run("sleeps").await, self.run("breaks").await);
        self.host.suspend(&asleep).await.unwrap();
        self.idle().await;
        self.host.suspend(&asleep).await.unwrap();
        self.host.resume(&asleep).await.unwrap();
        self.idle().await;
        self.host.retry(&failed).await.unwrap();
        self.idle().await;
        self.host.restart(&failed, &()).await.unwrap();
        self.host.terminate(&asleep).await.unwrap();
        self.idle().await;
        let now = self.scrape().await;
        let requests = |action, face| now.get("wfe_requests_total", &[("action", action), ("face", face)]);
        let by_program = ["suspend", "resume", "retry", "restart", "cancel", "terminate", "skip"];
        // The deletion of the schedule has terminated its instance.
        let expected = [1.0, 1.0, 1.0, 1.0, 2.0, 3.0, 0.0];
        assert_eq!(by_program.map(|action| requests(action, "program")), expected);
        let id = self.run("sleeps").await;
        let operator: Operator = self.host.operator().unwrap().acting_as("ann", Face::Cli);
        let acted = operator.act(&Verb::Terminate, &id).await;
        if !matches!(acted, Err(WfeError::Unsupported(_))) {
            acted.unwrap();
            self.idle().await;
            let labels = [("action", "terminate"), ("face", "cli")];
            assert_eq!(self.scrape().await.get("wfe_requests_total", &labels), 1.0);
        }
    }

    pub async fn many_values(&mut self) {
        for n in 0..150 {
            self.host.publish_event(&format!("n{n}"), "k", &()).await.unwrap();
        }
        self.idle().await;
        let by = self.scrape().await.by("wfe_events_published_total", "event");
        // `paid` and `large` came first.
        assert_eq!((by["n97"], by["other"], by.len()), (1.0, 52.0, 101));
    }

    pub async fn gauges(&mut self) {
        let begun = self.begin("holds").await;
        self.has_begun().await;
        let now = self.scrape().await;
        assert_eq!((now.get("wfe_bodies_running", &[]), now.get("wfe_bodies_limit", &[])), (1.0, 256.0));
        self.go.notify_one();
        self.idle().await;
        let now = self.scrape().await;
        assert_eq!(now.get("wfe_bodies_running", &[]), 0.0, "{begun}");
        let programs = now.by("wfe_host_info", "program");
        assert_eq!(programs.values().copied().collect::<Vec<_>>(), [1.0]);
        assert!(programs.keys().next().unwrap().starts_with("metrics-"), "{programs:?}");
        assert_eq!(now.by("wfe_host_info", "version").into_keys().collect::<Vec<_>>(), ["2.0.0-alpha.1"]);
        self.gauges_of_instances().await;
        self.gauges_of_tasks().await;
        self.gauges_of_the_file().await;
    }

    async fn gauges_of_instances(&mut self) {
        let sleeping = [("definition", "sleeps"), ("state", "asleep")];
        let before = self.scrape().await.get("wfe_instances", &sleeping);
        let asleep = self.run("sleeps").await;
        self.run("packs").await;
        self.run("packs").await;
        let other =
            WorkflowHost::builder(open(&self.path, &self.clock).await).clock(self.clock.clone()).build();
        other.register_any(nothing("elsewhere")).unwrap();
        other.start_workflow("elsewhere", &()).await.unwrap();
        self.clock.advance(Duration::from_secs(30));
        self.idle().await;
        let now = self.scrape().await;
        let open =
            |definition, state| now.get("wfe_instances", &[("definition", definition), ("state", state)]);
        assert_eq!((open("sleeps", "asleep"), open("packs", "waiting")), (before + 1.0, 2.0));
        assert_eq!(open("elsewhere", "due"), 1.0);
        let elsewhere = [("definition", "elsewhere")];
        assert_eq!(now.get("wfe_due_instances", &elsewhere), 1.0);
        assert_eq!(now.get("wfe_due_lag_seconds", &elsewhere), 30.0);
        assert_eq!(now.get("wfe_due_instances", &[("definition", "sleeps")]), 0.0);
        // What is not there any more is 0, and does not stay as it was.
        self.host.terminate(&asleep).await.unwrap();
        self.host.advance(2 * HOUR).await.unwrap();
        let key = [("definition", "sleeps"), ("state", "asleep")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let now = self.scrape().await;
        assert_eq!(now.series.get(&("wfe_instances".to_owned(), key.to_vec())), Some(&0.0));
    }

    async fn gauges_of_tasks(&mut self) {
        let before = self.scrape().await.get("wfe_activities_open", &[("activity", "pack")]);
        self.run("packs").await;
        self.run("asks").await;
        let now = self.scrape().await;
        assert_eq!(now.get("wfe_activities_open", &[("activity", "pack")]), before + 1.0);
        assert_eq!(now.by("wfe_activities_open", "activity").len(), 1);
        assert_eq!(now.get("wfe_tasks_open", &[]), 1.0);
    }

    async fn gauges_of_the_file(&mut self) {
        let now = self.scrape().await;
        assert_eq!(now.get("wfe_events_unprocessed", &[]), 0.0);
        let size = now.by("wfe_store_bytes", "part");
        #[expect(clippy::cast_precision_loss, reason = "some megabytes")]
        let length = |path: String| std::fs::metadata(path).map_or(0.0, |file| file.len() as f64);
        let (file, wal) =
            (length(self.path.display().to_string()), length(format!("{}-wal", self.path.display())));
        assert_eq!(size["wal"], wal);
        // Pages that only the log has belong to the file too.
        assert!(size["file"] >= file && size["file"] <= file + wal, "{size:?} {file}");
        assert!(size["free"] < size["file"] && size["disk"] > 0.0);
    }
}
