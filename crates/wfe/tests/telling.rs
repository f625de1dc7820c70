//! What a host says through `tracing`. A process of its own: the subscriber is the whole process's.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is test code: it says what it expects by unwrapping it"
)]

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, LazyLock, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use tracing::{
    Event, Id, Subscriber,
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
    WorkflowHost,
    definition::{Inline, Retry, Task, WorkflowBuilder, blocking, inline},
    steps::{Ctx, StepError},
};
use wfe_sqlite::SqlitePersistenceProvider;

/// How long a condition may take to come true on a loaded machine before the test fails.
const PATIENCE: Duration = Duration::from_mins(1);

type Fields = BTreeMap<String, String>;

/// What was said: its own fields, and for each span around it, outermost first, its name and fields.
#[derive(Clone, Debug)]
struct Said {
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

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::new();
        event.record(&mut Note(&mut fields));
        let spans = context.event_scope(event).into_iter().flat_map(Scope::from_root);
        let around = spans.map(|span| {
            let fields = span.extensions().get::<Fields>().cloned().unwrap_or_default();
            (span.name(), fields)
        });
        let around = around.collect();
        self.lock().push(Said { fields, around });
    }
}

async fn host(definition: wfe::Result<wfe::definition::Definition>) -> WorkflowHost {
    LazyLock::force(&SAID);
    let host = WorkflowHost::new(SqlitePersistenceProvider::new(":memory:").await.unwrap());
    host.register(definition.unwrap()).unwrap();
    host.start().await.unwrap();
    host
}

type Says<R> = Task<R, u32, (), Inline<R, u32, ()>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_step_says_is_said_in_a_span_that_tells_instance_definition_version_step_and_attempt() {
    let quick: Says<()> = inline(|ctx: Ctx, _| async move {
        tracing::info!("from a quick step");
        if ctx.attempt() == 1 { Err(StepError::retryable("again")) } else { Ok(()) }
    });
    let host = host(
        WorkflowBuilder::<u32>::new("spans", 7)
            .then("quick", quick)
            .retry(Retry::up_to(1).first_pause(Duration::ZERO))
            .then(
                "blocks",
                blocking(|_: &Ctx, _: &u32| {
                    tracing::info!("from a blocking step");
                    Ok(())
                }),
            )
            .then("last", inline(|_, _| async { Ok(()) }).output(|(), _| tracing::info!("from an output")))
            .build(),
    )
    .await;
    let id = host.start_workflow("spans", &0_u32).await.unwrap();
    host.wait_for::<u32>(&id).await.unwrap();
    let step = |step: &str, attempt: &str| {
        let fields = [
            ("instance", &*id),
            ("definition", "spans"),
            ("version", "7"),
            ("step", step),
            ("attempt", attempt),
        ];
        ("step", fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
    };
    let innermost = |text: &str| -> Vec<_> {
        SAID.with(text).into_iter().map(|said| said.around.last().unwrap().clone()).collect()
    };
    assert_eq!(innermost("from a quick step"), [step("quick", "1"), step("quick", "2")]);
    assert_eq!(innermost("from a blocking step"), [step("blocks", "1")]);
    // What the engine itself does for an instance is told apart, too.
    let engine = [("instance", &*id), ("definition", "spans"), ("version", "7")];
    let engine = engine.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    assert_eq!(innermost("from an output"), [("workflow", engine)]);
}

/// It spins until it was told on, so the test takes no longer than the watchdog does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_never_yields_is_logged_once() {
    const TEXT: &str = "kept its thread for over a second";
    let greedy: Says<bool> = inline(|_, _| async {
        let began = Instant::now();
        while SAID.with(TEXT).is_empty() && began.elapsed() < PATIENCE {
            thread::yield_now();
        }
        Ok(began.elapsed() >= Duration::from_secs(1))
    });
    let definition = WorkflowBuilder::<u32>::new("greedy", 1)
        .then("spins", greedy.output(|late: &bool, data: &mut u32| *data = u32::from(*late)))
        .build();
    let host = host(definition).await;
    let id = host.start_workflow("greedy", &0_u32).await.unwrap();
    let end = host.wait_for::<u32>(&id).await.unwrap();
    let told = SAID.with(TEXT);
    assert_eq!((end, told.len()), (wfe::Outcome::Completed(1), 1), "not before a second is over");
    assert_eq!((&*told[0].fields["instance"], &*told[0].fields["step"]), (&*id, "spins"));
}
