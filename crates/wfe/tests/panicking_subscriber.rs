//! A subscriber of the log that panics, in whatever it is asked for: everything comes to its end all the same, and the
//! process too. In a program of its own, which has one log.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "all of this is test code: it says what it expects by unwrapping it"
)]

use std::{
    cell::RefCell,
    collections::HashMap,
    fs, panic,
    path::Path,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use tracing::{
    Metadata, Subscriber,
    metadata::LevelFilter,
    span::{Attributes, Id, Record},
    subscriber::Interest,
};
use tracing_core::span::Current;
use walkdir::WalkDir;
use wfe::{
    Outcome, WorkflowHost,
    definition::{Activity, Definition, Event, OnFailure, Retry, WorkflowBuilder, WorkflowName},
    middleware::{WorkflowEnd, WorkflowMiddleware},
    status::State,
    steps::StepError,
};
use wfe_sqlite::SqlitePersistenceProvider;

const REGISTER: u32 = 1;
const ENABLED: u32 = 1 << 1;
const NEW_SPAN: u32 = 1 << 2;
const RECORD: u32 = 1 << 3;
const EVENT: u32 = 1 << 4;
const ENTER: u32 = 1 << 5;
const EXIT: u32 = 1 << 6;
const CLONE: u32 = 1 << 7;
const CLOSE: u32 = 1 << 8;
const CURRENT: u32 = 1 << 9;
const ALL: u32 = (1 << 10) - 1;

/// In which of these the subscriber panics now, and in which it has.
static ARMED: AtomicU32 = AtomicU32::new(0);
static STRUCK: AtomicU32 = AtomicU32::new(0);

static SPANS: LazyLock<Mutex<HashMap<u64, &'static Metadata<'static>>>> = LazyLock::new(Mutex::default);

thread_local! {
    static INSIDE: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// The payload of the subscriber's panics, which the hook leaves out.
struct Struck;

fn strike(what: u32) {
    if ARMED.load(SeqCst) & what != 0 {
        STRUCK.fetch_or(what, SeqCst);
        panic::panic_any(Struck);
    }
}

#[derive(Default)]
struct Bomb {
    spans: AtomicU64,
}

impl Subscriber for Bomb {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        strike(REGISTER);
        Interest::sometimes()
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        strike(ENABLED);
        true
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        strike(NEW_SPAN);
        let id = self.spans.fetch_add(1, SeqCst) + 1;
        SPANS.lock().unwrap().insert(id, span.metadata());
        Id::from_u64(id)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {
        strike(RECORD);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        strike(EVENT);
    }

    fn enter(&self, id: &Id) {
        INSIDE.with_borrow_mut(|inside| inside.push(id.into_u64()));
        strike(ENTER);
    }

    fn exit(&self, id: &Id) {
        INSIDE.with_borrow_mut(|inside| {
            let at = inside.iter().rposition(|one| *one == id.into_u64());
            inside.remove(at.expect("a span is left that was entered"));
        });
        strike(EXIT);
    }

    fn clone_span(&self, id: &Id) -> Id {
        strike(CLONE);
        id.clone()
    }

    fn try_close(&self, _: Id) -> bool {
        strike(CLOSE);
        true
    }

    fn current_span(&self) -> Current {
        strike(CURRENT);
        let Some(id) = INSIDE.with_borrow(|inside| inside.last().copied()) else { return Current::none() };
        Current::new(Id::from_u64(id), SPANS.lock().unwrap()[&id])
    }
}

/// Fails at an end, which is logged.
struct Fails;

#[async_trait]
impl WorkflowMiddleware for Fails {
    async fn ended(&self, _: &WorkflowEnd) {
        panic!("a panic of the middleware");
    }
}

const GO: Event<u32> = Event::new("go");
const DOUBLE: Activity<u32, u32> = Activity::new("double");
const CHILD: WorkflowName<u32> = WorkflowName::new("child");

fn definitions() -> Vec<Definition<u32>> {
    let plain = WorkflowBuilder::<u32>::new("plain", 1)
        .then("async", async |_, n| Ok(*n + 1))
        .output(|next, n| *n = next)
        .blocking("blocking", |_, n| Ok(*n + 1))
        .output(|next, n| *n = next)
        .wait_for("wait", GO, |_| "key")
        .output(|more, n| *n += more)
        .sub_workflow("sub", CHILD, |n| *n)
        .output(|child, n| *n = child)
        .activity("ask", DOUBLE, |n| *n)
        .output(|twice, n| *n = twice)
        .retry(Retry::every(Duration::ZERO).attempts(2))
        .build();
    let child = CHILD.define(1).then("only", async |_, n| Ok(*n + 1)).output(|next, n| *n = next).build();
    let fails = |attempt, is_blocking| {
        assert!(attempt != 1, "a panic of attempt 1, blocking: {is_blocking}");
        if attempt == 2 { Err(StepError::retryable("the second attempt fails")) } else { Ok(()) }
    };
    let retry = Retry::every(Duration::ZERO).attempts(3);
    let retried = WorkflowBuilder::<u32>::new("retried", 1)
        .then("async", async move |ctx, _| fails(ctx.attempt(), false))
        .retry(retry.clone())
        .blocking("blocking", move |ctx, _| fails(ctx.attempt(), true))
        .retry(retry)
        .build();
    let suspended = WorkflowBuilder::<u32>::new("suspended", 1)
        .then("fails", async |_, _| Err::<(), _>(StepError::fatal("no")))
        .on_failure(OnFailure::Suspend)
        .build();
    let saga = WorkflowBuilder::<u32>::new("saga", 1)
        .saga("all", |all| {
            all.then("done", async |_, _| Ok(()))
                .compensate_with(|undo| undo.then("undone", async |_, _| Ok(())))
                .then("fails", async |_, _| Err::<(), _>(StepError::fatal("no")))
        })
        .build();
    let held = WorkflowBuilder::<u32>::new("held", 1)
        .then("held", async |ctx, n| {
            if *n == 0 {
                ctx.cancellation().cancelled().await;
            }
            Ok(())
        })
        .build();
    [plain, child, retried, suspended, saga, held].map(Result::unwrap).into()
}

async fn store(path: &Path) -> SqlitePersistenceProvider {
    SqlitePersistenceProvider::file(path).open().await.unwrap()
}

async fn host(path: &Path) -> WorkflowHost {
    let host = WorkflowHost::builder(store(path).await)
        .poll_interval(Duration::from_millis(20))
        .grace(Duration::from_millis(10))
        .workflow_middleware(Fails)
        .build();
    for definition in definitions() {
        host.register(definition).unwrap();
    }
    host.start().await.unwrap();
    host
}

async fn until(mut condition: impl AsyncFnMut() -> bool) {
    let all = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all).await.expect("the condition came about");
}

async fn ended(host: &WorkflowHost, id: &str) -> Outcome<u32> {
    let end = tokio::time::timeout(Duration::from_secs(30), host.outcome::<u32>(id));
    end.await.expect("it ended in time").unwrap()
}

/// Two hosts on a file do all sorts of things, and end in all ways.
async fn story(path: &Path) {
    let (one, other) = (host(path).await, host(path).await);
    let worker = one.activities().worker(DOUBLE, "w");
    let attempts = Arc::new(AtomicU32::new(0));
    let work = tokio::spawn(worker.run(move |n, _| {
        assert!(attempts.fetch_add(1, SeqCst) > 0, "a panic of the worker");
        async move { Ok(2 * n) }
    }));
    let unknown =
        WorkflowBuilder::<u32>::new("unknown", 1).then("only", async |_, _| Ok(())).build().unwrap();
    other.register(unknown).unwrap();
    let unknown = other.start_workflow("unknown", &1_u32).await.unwrap();
    let plain = one.start_workflow("plain", &1_u32).await.unwrap();
    other.publish(GO, "key", 10).await.unwrap();
    let retried = other.start_workflow("retried", &1_u32).await.unwrap();
    let suspended = one.start_workflow("suspended", &1_u32).await.unwrap();
    let saga = other.start_workflow("saga", &1_u32).await.unwrap();
    let cancelled = one.start_workflow("held", &0_u32).await.unwrap();
    assert_eq!(ended(&other, &unknown).await, Outcome::Completed(1));
    assert_eq!(ended(&one, &plain).await, Outcome::Completed(28));
    assert_eq!(ended(&other, &retried).await, Outcome::Completed(1));
    assert_eq!(ended(&one, &saga).await, Outcome::Completed(1), "the saga is compensated");
    until(async || one.status(&suspended).await.unwrap().state == State::Suspended).await;
    other.skip(&suspended).await.unwrap();
    assert_eq!(ended(&one, &suspended).await, Outcome::Completed(1));
    other.cancel(&cancelled).await.unwrap();
    assert_eq!(ended(&other, &cancelled).await, Outcome::Cancelled);
    let (left, dropped) =
        (one.start_workflow("held", &0_u32).await, other.start_workflow("held", &0_u32).await);
    let (left, dropped) = (left.unwrap(), dropped.unwrap());
    until(async || {
        let all = [&left, &dropped].map(|id| one.status(id));
        let [left, dropped] = futures_util::future::join_all(all).await.try_into().unwrap();
        [left, dropped].into_iter().all(|status| status.unwrap().current_steps == ["held"])
    })
    .await;
    one.stop().await.unwrap();
    work.await.unwrap().unwrap();
    drop((one, other));
    let last = host(path).await;
    for id in [left, dropped] {
        last.terminate(&id).await.unwrap();
        assert_eq!(ended(&last, &id).await, Outcome::Terminated);
    }
    last.stop().await.unwrap();
}

/// A program that panics drops its host and its store while it unwinds.
fn unwinds(path: &Path) {
    let path = path.to_owned();
    let program = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (host, _store) = (host(&path).await, store(&path).await);
            let id = host.start_workflow("held", &0_u32).await.unwrap();
            until(async || host.status(&id).await.unwrap().current_steps == ["held"]).await;
            panic::panic_any(Struck);
        });
    });
    assert!(program.join().unwrap_err().is::<Struck>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_panics_in_the_log_everything_comes_to_its_end_and_the_process_goes_on() {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let said = info.payload();
        let is_meant = |text: &str| text.starts_with("a panic of ");
        let text = said.downcast_ref::<String>().map(String::as_str).or(said.downcast_ref::<&str>().copied());
        if !said.is::<Struck>() && !text.is_some_and(is_meant) {
            hook(info);
        }
    }));
    tracing::subscriber::set_global_default(Bomb::default()).unwrap();
    for armed in [
        ALL,
        REGISTER,
        ENABLED,
        NEW_SPAN,
        RECORD,
        EVENT,
        ENTER,
        EXIT,
        CLONE,
        CLOSE,
        CURRENT,
        ALL & !(ENABLED | REGISTER),
        0,
    ] {
        let folder = tempfile::tempdir().unwrap();
        ARMED.store(armed, SeqCst);
        story(&folder.path().join("a.db")).await;
        let path = folder.path().join("b.db");
        tokio::task::spawn_blocking(move || unwinds(&path)).await.unwrap();
        ARMED.store(0, SeqCst);
    }
    assert_eq!(STRUCK.load(SeqCst), ALL, "each of them was struck");
}

/// Elsewhere a subscriber's panic would go on into the engine, or into a store.
#[test]
fn only_one_module_of_the_crates_names_the_crate_tracing() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for of in ["wfe", "wfe-sqlite", "wfe-testkit"] {
        let manifest = fs::read_to_string(crates.join(of).join("Cargo.toml")).unwrap();
        let ours = manifest.split("[dev-dependencies]").next().unwrap();
        assert!(!ours.lines().any(|line| line.starts_with("tracing")), "{of} logs by `wfe_core::logging`");
    }
    let mut files = 0;
    for entry in WalkDir::new(crates.join("wfe-core/src")) {
        let path = entry.unwrap().into_path();
        if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("logging.rs") {
            files += 1;
            let source = fs::read_to_string(&path).unwrap();
            assert!(!source.contains("tracing"), "{} logs by `crate::logging`", path.display());
        }
    }
    assert!(files > 50, "{files}");
}
