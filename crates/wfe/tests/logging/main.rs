//! What a host says through `tracing`. A process of its own: the subscriber is the whole process's.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is test code: it says what it expects by unwrapping it"
)]

mod faults;
mod lines;
mod secrets;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, LazyLock, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use sqlx::{ConnectOptions, sqlite::SqliteConnectOptions};

use tracing::{
    Id, Subscriber,
    field::{Field, Visit},
    span,
};
use tracing_subscriber::{
    Layer,
    layer::Context,
    layer::SubscriberExt,
    registry::{LookupSpan, Scope},
};
use wfe::{
    WfeError, WorkflowHost,
    definition::{Activity, Definition, Event, Retry, WorkflowBuilder},
    schedules::{NewSchedule, Timetable},
    steps::{Next, StepError},
};
use wfe_sqlite::SqlitePersistenceProvider;

/// How long a condition may take to come true on a loaded machine before the test fails.
const PATIENCE: Duration = Duration::from_mins(1);

type Fields = BTreeMap<String, String>;

/// What was said: its level and fields, and for each span around it, outermost first, its name and fields.
#[derive(Clone, Debug)]
struct Said {
    level: tracing::Level,
    fields: Fields,
    around: Vec<(&'static str, Fields)>,
}

static SAID: LazyLock<Heard> = LazyLock::new(|| {
    let heard = Heard::default();
    let subscriber = tracing_subscriber::registry().with(heard.clone());
    tracing::subscriber::set_global_default(subscriber).expect("nobody else listens in this process");
    heard
});

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Said>>>);

impl Heard {
    fn lock(&self) -> MutexGuard<'_, Vec<Said>> {
        self.0.lock().unwrap()
    }

    /// All that was said with this text.
    fn with(&self, text: &str) -> Vec<Said> {
        let says = |said: &&Said| said.fields.get("message").is_some_and(|message| message.contains(text));
        self.lock().iter().filter(says).cloned().collect()
    }
}

struct Note<'a>(&'a mut Fields);

impl Visit for Note<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Heard {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::new();
        attributes.record(&mut Note(&mut fields));
        context.span(id).unwrap().extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &span::Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let mut extensions = span.extensions_mut();
        values.record(&mut Note(extensions.get_mut::<Fields>().unwrap()));
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::new();
        event.record(&mut Note(&mut fields));
        let spans = context.event_scope(event).into_iter().flat_map(Scope::from_root);
        let around = spans.map(|span| {
            let fields = span.extensions().get::<Fields>().cloned().unwrap_or_default();
            (span.name(), fields)
        });
        let around = around.collect();
        if fields.get("wfe.definition.id").is_some_and(|definition| definition == lines::SLOW) {
            thread::sleep(Duration::from_millis(20));
        }
        let level = *event.metadata().level();
        self.lock().push(Said { level, fields, around });
    }
}

async fn host(definition: wfe::Result<Definition<u32>>) -> WorkflowHost {
    LazyLock::force(&SAID);
    let host = WorkflowHost::new(SqlitePersistenceProvider::new(":memory:").await.unwrap());
    host.register(definition.unwrap()).unwrap();
    host.start().await.unwrap();
    host
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_step_says_is_said_in_a_span_that_tells_instance_definition_version_step_and_attempt() {
    let host = host(
        WorkflowBuilder::<u32>::new("spans", 7)
            .then("quick", async |ctx, _| {
                tracing::info!("from a quick step");
                if ctx.attempt() == 1 { Err(StepError::retryable("again")) } else { Ok(()) }
            })
            .retry(Retry::every(Duration::ZERO).attempts(2))
            .blocking("blocks", |_, _| {
                tracing::info!("from a blocking step");
                Ok(())
            })
            .then("last", async |_, _| Ok(()))
            .output(|(), _| tracing::info!("from an output"))
            .build(),
    )
    .await;
    let id = host.start_workflow("spans", &0_u32).await.unwrap();
    host.outcome::<u32>(&id).await.unwrap();
    let step = |step: &str, attempt: &str| {
        let fields = [
            ("wfe.instance.id", &*id),
            ("wfe.definition.id", "spans"),
            ("wfe.definition.version", "7"),
            ("wfe.step.id", step),
            ("wfe.step.attempt", attempt),
        ];
        ("step", fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    };
    let innermost = |text: &str| -> Vec<_> {
        SAID.with(text).into_iter().map(|said| said.around.last().unwrap().clone()).collect()
    };
    assert_eq!(innermost("from a quick step"), [step("quick", "1"), step("quick", "2")]);
    assert_eq!(innermost("from a blocking step"), [step("blocks", "1")]);
    // What the engine itself does for an instance is told apart, too.
    let engine = [("wfe.instance.id", &*id), ("wfe.definition.id", "spans"), ("wfe.definition.version", "7")];
    let engine = engine.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    assert_eq!(innermost("from an output"), [("workflow", engine)]);
}

/// It spins until it was told on, so the test takes no longer than the watchdog does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_never_yields_is_logged_once() {
    const TEXT: &str = "kept its thread for over a second";
    let greedy = WorkflowBuilder::<u32>::new("greedy", 1)
        .then("spins", async |_, _| {
            let began = Instant::now();
            while SAID.with(TEXT).is_empty() && began.elapsed() < PATIENCE {
                thread::yield_now();
            }
            Ok(began.elapsed() >= Duration::from_secs(1))
        })
        .output(|is_late, data| *data = u32::from(is_late))
        .build();
    let host = host(greedy).await;
    let id = host.start_workflow("greedy", &0_u32).await.unwrap();
    let end = host.outcome::<u32>(&id).await.unwrap();
    let told = SAID.with(TEXT);
    assert_eq!((end, told.len()), (wfe::Outcome::Completed(1), 1), "not before a second is over");
    assert_eq!((&*told[0].fields["wfe.instance.id"], &*told[0].fields["wfe.step.id"]), (&*id, "spins"));
}

/// What must be told to nobody but those who ask for the data itself.
const SECRET: &str = "4111-1111-1111-1111";

/// An error and its causes, as people and logs tell them.
fn tells(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| (*error).source());
    chain.map(|error| format!("{error} {error:?}")).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn keeps_the_secret<T: fmt::Debug>(answer: wfe::Result<T>) {
    let error = answer.expect_err("it does not fit");
    let told = tells(&error);
    assert!(!told.contains(SECRET), "{told}");
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Card(String);

/// Each step reads the secret as something that it is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_its_type_is_told_by_kind_and_place_and_never_quoted() {
    LazyLock::force(&SAID);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let provider = SqlitePersistenceProvider::file(&path).cache_bytes(0).open().await.unwrap();
    let host = WorkflowHost::builder(provider).poll_interval(Duration::from_millis(20)).build();
    let define = |id: &str| WorkflowBuilder::<Card>::new(id, 1);
    let parses = define("parses").then("s", async |_, card| {
        let _number: u32 = serde_json::from_value(card.0.clone().into())?;
        Ok(())
    });
    let keeps = define("keeps").then("s", async |ctx, card| {
        if ctx.state::<Card>().is_ok_and(|kept| kept.is_none()) {
            return Next::sleep(Duration::ZERO).keeping(&*card);
        }
        let _number: Option<u32> = ctx.state()?;
        Ok(Next::Done)
    });
    let works =
        define("works").activity("s", Activity::<Card, u32>::new("charge"), Card::clone).output(|_, _| {});
    let takes = define("takes").wait_for("s", Event::<u32>::new("paid"), |_| "k").output(|_, _| {});
    let waits = define("waits").wait_for("s", Event::<()>::new("never"), |_| "k");
    for definition in [parses.build(), keeps.build(), works.build(), takes.build(), waits.build()] {
        host.register(definition.unwrap()).unwrap();
    }
    host.start().await.unwrap();
    let card = Card(SECRET.to_owned());
    let mut ids = Vec::new();
    for definition in ["parses", "keeps", "works", "takes", "waits", "waits"] {
        ids.push(host.start_workflow(definition, &card).await.unwrap());
    }
    host.publish_event("paid", "k", &SECRET).await.unwrap();
    let claim = loop {
        if let Some(claim) =
            host.activities().claim_by_name("charge", "w", Duration::from_mins(1)).await.unwrap()
        {
            break claim;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    keeps_the_secret(claim.input::<u32>());
    claim.succeed(&SECRET).await.unwrap();
    for id in &ids[..4] {
        let failed = async {
            while host.failures(id).next().await.unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, failed).await.expect("it fails");
        let failures = host.failures(id).all().await.unwrap();
        assert!(!format!("{failures:?}").contains(SECRET), "{failures:?}");
    }
    keeps_the_secret(host.data::<u32>(&ids[4]).await);
    // Rows that quote it themselves.
    let mut hand = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    let spoils = [
        ("UPDATE workflows SET data = ? WHERE id = ?", format!("{{\"{SECRET}\"")),
        (
            "UPDATE execution_pointers SET children = ? WHERE workflow = (SELECT seq FROM workflows WHERE id = ?)",
            format!("\"{SECRET}\""),
        ),
    ];
    for ((spoils, value), id) in spoils.into_iter().zip(&ids[4..]) {
        // As an argument: sqlx logs the texts of statements.
        sqlx::query(spoils).bind(value).bind(id).execute(&mut hand).await.unwrap();
        assert!(matches!(host.status(id).await, Err(WfeError::Corrupt { .. })));
        keeps_the_secret(host.status(id).await);
        host.suspend(id).await.unwrap(); // a host looks at it
        let found = async {
            while host.failures(id).next().await.unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, found).await.expect("it is found corrupt");
        let failures = host.failures(id).all().await.unwrap();
        assert!(!format!("{failures:?}").contains(SECRET), "{failures:?}");
    }
    host.stop().await.unwrap();
    let said = SAID.lock().clone();
    let quotes = said.iter().find(|said| {
        let fields = said.around.iter().flat_map(|(_, fields)| fields).chain(&said.fields);
        fields.into_iter().any(|(_, value)| value.contains(SECRET))
    });
    assert!(quotes.is_none(), "{quotes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_out_of_a_list_because_its_wait_is_another_instances_is_told_once() {
    LazyLock::force(&SAID);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let provider = SqlitePersistenceProvider::file(&path).cache_bytes(0).open().await.unwrap();
    let host = WorkflowHost::new(provider);
    let asks =
        WorkflowBuilder::<u32>::new("left-out", 1)
            .activity("ask", Activity::<_, ()>::new("left-out"), |n| *n);
    host.register(asks.build().unwrap()).unwrap();
    host.start().await.unwrap();
    let yearly = NewSchedule::new("one", "left-out", Timetable::interval(Duration::from_hours(9000)));
    host.schedules().create(yearly, &7_u32).await.unwrap();
    let asking = host.start_workflow("left-out", &7_u32).await.unwrap();
    let listed = async || {
        let schedules = host.schedules().list(None, 9).await.unwrap().rows.len();
        (schedules, host.activities().open("left-out", None, 9).await.unwrap().rows.len())
    };
    let both = async {
        while listed().await != (1, 1) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, both).await.expect("both are listed");
    let schedule = host.schedules().get("one").await.unwrap().instance_id;
    let mut hand = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    for id in [&schedule, &asking] {
        let spoils = "UPDATE event_subscriptions SET workflow_id = 'another' WHERE workflow_id = ?";
        sqlx::query(spoils).bind(id).execute(&mut hand).await.unwrap();
    }
    // Schedules are not listed by their waits.
    for _ in 0..3 {
        assert_eq!(listed().await, (1, 0));
    }
    let left_out = SAID.with("it is left out");
    let row = format!("event_subscriptions.workflow_id, row {asking}//");
    let told = left_out.iter().filter(|said| said.fields["error"].contains(&row));
    assert_eq!(told.count(), 1, "{left_out:#?}");
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_activity_whose_wait_contradicts_its_id_is_not_handed_out_and_holds_up_no_other() {
    LazyLock::force(&SAID);
    for (spoils, column) in [
        ("UPDATE event_subscriptions SET event_key = 'other' WHERE id = ?", "event_key"),
        ("UPDATE event_subscriptions SET workflow_id = 'other' WHERE id = ?", "workflow_id"),
        (
            "UPDATE event_subscriptions SET execution_pointer_id = 'other' WHERE id = ?",
            "execution_pointer_id",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let provider = SqlitePersistenceProvider::file(&path).cache_bytes(0).open().await.unwrap();
        let host = WorkflowHost::new(provider);
        let asks =
            WorkflowBuilder::<u32>::new("asks", 1).activity("ask", Activity::<_, ()>::new("spoilt"), |n| *n);
        host.register(asks.build().unwrap()).unwrap();
        host.start().await.unwrap();
        for number in [1_u32, 2] {
            host.start_workflow("asks", &number).await.unwrap();
        }
        let open = async || host.activities().open("spoilt", None, 9).await.unwrap().rows;
        let both = async {
            while open().await.len() != 2 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, both).await.expect("both are open");
        let (spoilt, sound) = (open().await.remove(0), open().await.remove(1));
        let mut hand = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
        sqlx::query(spoils).bind(&spoilt.id).execute(&mut hand).await.unwrap();
        let claim =
            async || host.activities().claim_by_name("spoilt", "w", Duration::from_hours(1)).await.unwrap();
        let claimed = claim().await.expect("the sound one");
        assert_eq!(claimed.activity().id, sound.id, "{column}");
        assert!(claim().await.is_none(), "{column}");
        let row = format!("event_subscriptions.{column}, row {},", spoilt.id);
        let told = SAID.with("it is left out").into_iter().filter(|said| said.fields["error"].contains(&row));
        assert_eq!(told.count(), 1, "{column}");
        host.stop().await.unwrap();
    }
}
