//! The database is removed under a host: it says so to everybody, and ends.

use std::{
    fmt::Debug,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use tracing::Level;
use wfe::{
    Result, WfeError, WorkflowHost,
    definition::{Activity, Definition, Event, WorkflowBuilder},
    models::{self, EventSubscription, WorkflowInstance},
    steps::UserAnswer,
    traits::{PersistenceProvider, Published},
};
use wfe_testkit::{Layer, Layered};

use crate::support::{Count, Missed, Store, Tally, completed, nothing, started, until};

const ASK: Activity<(), ()> = Activity::new("ask");

/// Two steps; the first one goes on until it is let go, or not wanted any more.
fn two_steps(go: &Arc<Notify>, begun: &Count, left: &Count) -> Definition<Tally> {
    let (go, begun, left, second) = (go.clone(), begun.clone(), left.clone(), begun.clone());
    WorkflowBuilder::<Tally>::new("two", 1)
        .then("first", async move |ctx, _| {
            begun.up();
            tokio::select! {
                () = go.notified() => {}
                () = ctx.cancellation().cancelled() => { left.up(); }
            }
            Ok(())
        })
        .call("second", move |_, _| {
            second.up();
            Ok(())
        })
        .build()
        .unwrap()
}

fn asking() -> Definition<Tally> {
    WorkflowBuilder::<Tally>::new("asking", 1)
        .activity("ask", ASK, |_| ())
        .output(|(), _| {})
        .build()
        .unwrap()
}

/// That a call has failed because this file is gone.
#[track_caller]
fn is_lost<T: Debug>(answer: Result<T>, file: &Path) {
    match answer {
        Err(WfeError::Unusable { path, reason, .. }) => {
            assert_eq!(path, file);
            assert!(reason.contains("removed or renamed"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

async fn everything_says_so(host: &WorkflowHost, id: &str, file: &Path, is_native: bool) {
    is_lost(host.outcome::<Tally>(id).await, file);
    is_lost(host.idle().await, file);
    is_lost(host.start().await, file);
    is_lost(host.start_workflow("two", &Tally::default()).await, file);
    is_lost(host.status(id).await, file);
    is_lost(host.data::<Tally>(id).await, file);
    is_lost(host.suspend(id).await, file);
    is_lost(host.cancel(id).await, file);
    if is_native {
        is_lost(host.failures(id).next().await, file);
        is_lost(host.publish_event("e", "k", &()).await, file);
        is_lost(host.skip(id).await, file);
        is_lost(host.user_tasks().open(None, None, 9).await, file);
        is_lost(host.activities().claim_by_name("ask", "w", Duration::from_mins(1)).await, file);
    }
    is_lost(host.stop().await, file);
    is_lost(host.stop().await, file);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_whose_database_is_removed_ends_and_says_so_to_everybody() {
    Missed::listen();
    for (store, is_native) in [(Store::file(), true), (Store::plain(), false)] {
        let (go, begun, left) = (Arc::new(Notify::new()), Count::default(), Count::default());
        let host = store.host(&[&two_steps(&go, &begun, &left)]).await;
        let id = host.start_workflow("two", &Tally::default()).await.unwrap();
        until(async || begun.get() == 1).await;
        let (waiting, of) = (host.clone(), id.clone());
        let waiter = tokio::spawn(async move { waiting.outcome::<Tally>(&of).await });
        let path = store.path().unwrap();
        fs::remove_file(&path).unwrap();
        // Nobody asks anything of the host.
        is_lost(waiter.await.unwrap(), &path);
        until(async || left.get() == 1).await;
        everything_says_so(&host, &id, &path, is_native).await;
        assert_eq!(begun.get(), 1, "no body began");
        assert_eq!(Missed::levels(path.to_str().unwrap()), [Level::ERROR], "it is logged, once");
    }
}

/// Its result comes when the database is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_ends_in_a_database_that_was_removed_is_followed_by_none() {
    Missed::listen();
    for (store, is_native) in [(Store::file(), true), (Store::plain(), false)] {
        let (go, begun, left) = (Arc::new(Notify::new()), Count::default(), Count::default());
        let host = store.host(&[&two_steps(&go, &begun, &left)]).await;
        let id = host.start_workflow("two", &Tally::default()).await.unwrap();
        until(async || begun.get() == 1).await;
        let path = store.path().unwrap();
        fs::remove_file(&path).unwrap();
        go.notify_one();
        is_lost(host.outcome::<Tally>(&id).await, &path);
        everything_says_so(&host, &id, &path, is_native).await;
        assert_eq!(begun.get(), 1, "no body began");
        assert_eq!(Missed::levels(path.to_str().unwrap()), [Level::ERROR], "it is logged, once");
    }
}

/// A host that does a lot asks and stores much in the moment before it ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_loss_of_a_database_under_a_busy_host_is_logged_once() {
    Missed::listen();
    let cut: fn(&Path) = |path| {
        let log = fs::File::options().write(true).open(path.with_file_name("state.db-wal"));
        log.unwrap().set_len(0).unwrap();
    };
    let remove: fn(&Path) = |path| fs::remove_file(path).unwrap();
    for lose in [cut, remove] {
        let store = Store::file();
        let busy = WorkflowBuilder::<Tally>::new("busy", 1)
            .step("first", nothing())
            .step("second", nothing())
            .delay("pause", |_| Duration::from_millis(3))
            .step("third", nothing())
            .build()
            .unwrap();
        let host = store.host(&[&busy, &asking()]).await;
        let (done, ask) = (Count::default(), host.activities().worker(ASK, "w"));
        let worker = tokio::spawn(ask.run(async |(), _| Ok(())));
        let clients = ["busy", "busy", "busy", "busy", "busy", "busy", "busy", "asking"].map(|definition| {
            let (host, done) = (host.clone(), done.clone());
            tokio::spawn(async move {
                while let Ok(id) = host.start_workflow(definition, &Tally::default()).await {
                    if host.outcome::<Tally>(&id).await.is_ok() {
                        done.up();
                    }
                }
            })
        });
        until(async || done.get() > 20).await;
        let path = store.path().unwrap();
        lose(&path);
        for client in clients {
            client.await.unwrap();
        }
        assert!(matches!(worker.await.unwrap(), Err(WfeError::Unusable { .. })));
        assert!(matches!(host.stop().await, Err(WfeError::Unusable { .. })));
        assert_eq!(Missed::levels(path.parent().unwrap().to_str().unwrap()), [Level::ERROR]);
    }
}

/// Whoever stops it is the first one who can notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_stopped_right_after_its_database_was_removed_does_not_end_well() {
    let store = Store::file();
    let (go, begun, left) = (Arc::new(Notify::new()), Count::default(), Count::default());
    go.notify_one();
    let host = store.host(&[&two_steps(&go, &begun, &left)]).await;
    let id = host.start_workflow("two", &Tally::default()).await.unwrap();
    completed(&host, &id).await;
    let path = store.path().unwrap();
    fs::remove_file(&path).unwrap();
    is_lost(host.stop().await, &path);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_ends_with_the_loss_whether_its_host_runs_or_not() {
    for runs in [true, false] {
        let store = Store::file();
        let host = store.host(&[&asking()]).await;
        host.start_workflow("asking", &Tally::default()).await.unwrap();
        let (asked, of) = (Count::default(), if runs { host.clone() } else { store.builder().await.build() });
        let at_work = asked.clone();
        let worker = of.activities().worker(ASK, "w").lease(Duration::from_secs(3));
        let worker = worker.run(move |(), _| {
            at_work.up();
            std::future::pending()
        });
        let worker = tokio::spawn(worker);
        until(async || asked.get() == 1).await;
        let path = store.path().unwrap();
        fs::remove_file(&path).unwrap();
        is_lost(worker.await.unwrap(), &path);
        is_lost(of.stop().await, &path);
    }
}

/// A store of somebody else's that says the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_host_says_of_its_end_is_what_the_store_said_first() {
    let store = Store::file();
    let definition = asking();
    let host = started(store.builder().await.build(), &[&definition]).await;
    let path = store.path().unwrap();
    fs::remove_file(path.with_file_name("state.db-wal")).unwrap();
    let wal = path.with_file_name("state.db-wal");
    // Its own polls find it. The answer to a call that they overtake is that its outcome is unknown.
    until(async || matches!(host.idle().await, Err(WfeError::Unusable { .. }))).await;
    fs::remove_file(&path).unwrap();
    is_lost(host.start_workflow("asking", &Tally::default()).await, &wal);
    is_lost(host.idle().await, &wal);
    is_lost(host.stop().await, &wal);
}

/// A store that says so itself, as far as what a host asks of its plain traits goes.
struct Losing {
    inner: Arc<dyn PersistenceProvider>,
    is_lost: Arc<AtomicBool>,
}

impl Losing {
    fn check(&self) -> Result<()> {
        if !self.is_lost.load(Ordering::SeqCst) {
            return Ok(());
        }
        let reason = "it was removed or renamed".to_owned();
        Err(WfeError::Unusable { path: "x.db".into(), reason, source: None })
    }
}

#[async_trait]
impl Layer for Losing {
    fn inner(&self) -> &Arc<dyn PersistenceProvider> {
        &self.inner
    }

    async fn create_event(&self, event: &models::Event) -> Result<String> {
        self.check()?;
        self.inner.create_event(event).await
    }

    async fn create_event_now(&self, event: &models::Event) -> Result<String> {
        self.check()?;
        self.inner.create_event_now(event).await
    }

    async fn publish(
        &self,
        event: &models::Event,
        is_dated: bool,
        receiver: Option<&str>,
    ) -> Result<Published> {
        self.check()?;
        self.inner.clone().step_store().unwrap().publish(event, is_dated, receiver).await
    }

    async fn get_subscription(&self, id: &str) -> Result<EventSubscription> {
        self.check()?;
        self.inner.get_subscription(id).await
    }

    async fn set_subscription_token(
        &self,
        id: &str,
        token: &str,
        worker: &str,
        expiry: DateTime<Utc>,
    ) -> Result<bool> {
        self.check()?;
        self.inner.set_subscription_token(id, token, worker, expiry).await
    }

    async fn clear_subscription_token(&self, id: &str, token: &str) -> Result<()> {
        self.check()?;
        self.inner.clear_subscription_token(id, token).await
    }

    async fn get_workflow_instance_by_name(&self, name: &str) -> Result<WorkflowInstance> {
        self.check()?;
        self.inner.get_workflow_instance_by_name(name).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_ends_whichever_of_its_calls_hears_first_that_the_store_is_lost() {
    let file = Path::new("x.db");
    for call in ["publish", "renew", "release", "answer", "schedule"] {
        let (store, is_lost_now) = (Store::memory().await, Arc::new(AtomicBool::new(false)));
        let losing = Losing { inner: store.provider().await, is_lost: is_lost_now.clone() };
        let host = WorkflowHost::builder(Layered(losing)).poll_interval(Duration::from_hours(1)).build();
        let host = started(host, &[&asking()]).await;
        let id = host.start_workflow("asking", &Tally::default()).await.unwrap();
        host.idle().await.unwrap();
        let claim = host.activities().claim_by_name("ask", "w", Duration::from_hours(1)).await.unwrap();
        let mut claim = claim.unwrap();
        is_lost_now.store(true, Ordering::SeqCst);
        match call {
            "publish" => is_lost(host.publish_event("e", "k", &()).await, file),
            "renew" => is_lost(claim.heartbeat().await, file),
            "release" => is_lost(claim.release().await, file),
            "answer" => {
                let answer = UserAnswer::new("yes");
                is_lost(host.user_tasks().answer("t", &answer).await, file);
            }
            _ => is_lost(host.schedules().get("s").await, file),
        }
        // It asks nothing more of the store.
        let waits = host.outcome::<Tally>(&id);
        is_lost(tokio::time::timeout(Duration::from_secs(30), waits).await.expect(call), file);
    }
}

fn waiting() -> Definition<Tally> {
    WorkflowBuilder::<Tally>::new("waits", 1)
        .wait_for("wait", Event::<()>::new("go"), |_| "k")
        .output(|(), _| {})
        .build()
        .unwrap()
}

/// It is still there; but others could take the host for dead meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_whose_lock_file_is_removed_goes_on_as_another_owner_and_logs_that_once() {
    Missed::listen();
    // The loss is found by a poll, or where an instance is to go on.
    for polls in [true, false] {
        let store = Store::file();
        let mut builder = store.builder().await;
        if !polls {
            builder = builder.poll_interval(Duration::from_hours(1));
        }
        let host = started(builder.build(), &[&waiting()]).await;
        let id = host.start_workflow("waits", &Tally::default()).await.unwrap();
        host.idle().await.unwrap();
        let folder = store.path().unwrap().parent().unwrap().to_owned();
        let owners = || {
            let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
            names.filter(|path| path.to_string_lossy().contains("-owner-")).collect::<Vec<_>>()
        };
        let before = owners();
        fs::remove_file(&before[0]).unwrap();
        if polls {
            until(async || owners().iter().any(|owner| !before.contains(owner))).await;
        }
        host.publish_event("go", "k", &()).await.unwrap();
        completed(&host, &id).await;
        assert!(owners().iter().any(|owner| !before.contains(owner)));
        host.stop().await.unwrap();
        assert_eq!(Missed::levels(folder.to_str().unwrap()), [Level::ERROR], "polls: {polls}");
    }
}
