//! What takes long goes on without the request, shows how far it is, and can be stopped.

use std::{
    collections::BTreeMap,
    future::Future,
    ops::ControlFlow,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use tokio::sync::Notify;
use wfe::{
    WfeError,
    operator::{ActionKind, Role},
    traits::Progress,
};
use wfe_core::sync::lock;

use crate::{
    ask::Ask,
    html::{Page, ago, empty, icon, num, symbol, table, text},
    reply::{Failure, Reply},
};

/// So long a request waits for its job before it shows how far it is.
const PATIENCE: Duration = Duration::from_millis(500);
/// So many jobs are remembered.
const REMEMBERED: usize = 50;
/// So many are listed beside the store.
const LISTED: usize = 6;
/// So many lines of a report are shown.
const LINES: usize = 200;

/// What became of a job.
#[derive(Debug, Clone)]
pub(super) struct Told {
    is_good: bool,
    says: String,
    lines: Vec<String>,
}

impl Told {
    pub(super) fn good(says: impl Into<String>) -> Self {
        Self { is_good: true, says: says.into(), lines: Vec::new() }
    }

    /// Something to look at, with what there is to know about it.
    pub(super) fn bad(says: impl Into<String>, lines: Vec<String>) -> Self {
        Self { is_good: false, says: says.into(), lines }
    }
}

/// Something that takes long.
pub(super) struct Job {
    name: &'static str,
    /// In what its progress is counted.
    unit: &'static str,
    /// The role that may stop it: that which may begin it.
    needs: Role,
    kind: Option<ActionKind>,
    actor: String,
    began: DateTime<Utc>,
    done: AtomicU64,
    total: AtomicU64,
    is_stopped: AtomicBool,
    told: Mutex<Option<Told>>,
    ended: Notify,
    /// Open pages are sent again.
    nudge: Arc<Notify>,
}

impl Job {
    /// A job that this action needs. Without one, everybody may begin it.
    pub(super) fn new(name: &'static str, unit: &'static str, kind: Option<ActionKind>) -> Self {
        Self {
            name,
            unit,
            needs: kind.map_or(Role::Viewer, ActionKind::needs),
            kind,
            actor: String::new(),
            began: DateTime::UNIX_EPOCH,
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
            is_stopped: AtomicBool::new(false),
            told: Mutex::new(None),
            ended: Notify::new(),
            nudge: Arc::default(),
        }
    }

    /// How much there is to do, if it is known.
    pub(super) fn of(self, total: Option<u64>) -> Self {
        Self { total: AtomicU64::new(total.unwrap_or(0)), ..self }
    }

    fn told(&self) -> Option<Told> {
        lock(&self.told).clone()
    }

    fn progress(&self) -> String {
        let (done, total) = (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed));
        let of = if total > 0 { format!(" of {}", num(total)) } else { String::new() };
        format!("{}{of} {}", num(done), self.unit)
    }
}

impl Progress for Job {
    fn advanced(&self, done: u64, total: Option<u64>) -> ControlFlow<()> {
        self.done.store(done, Ordering::Relaxed);
        if let Some(total) = total {
            self.total.store(total, Ordering::Relaxed);
        }
        self.nudge.notify_one();
        if self.is_stopped.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

/// The jobs of this process.
#[derive(Default)]
pub(crate) struct Jobs {
    next: AtomicU64,
    all: Mutex<BTreeMap<u64, Arc<Job>>>,
}

impl Jobs {
    /// Begins a job, which goes on when the request has ended, and waits for it for a moment.
    ///
    /// # Errors
    /// A job with the same name is running.
    pub(super) async fn begin<F>(
        &self,
        ask: &Ask,
        job: Job,
        run: impl FnOnce(Arc<Job>) -> F,
    ) -> Result<u64, Failure>
    where
        F: Future<Output = wfe::Result<Told>> + Send + 'static,
    {
        let nudge = ask.app.hub.nudge();
        let job = Arc::new(Job { actor: ask.visitor.actor().to_owned(), began: ask.now, nudge, ..job });
        let number = {
            let mut all = lock(&self.all);
            if let Some((number, _)) = all.iter().find(|(_, of)| of.name == job.name && of.told().is_none()) {
                let text = format!("{} {number} is running. Wait for it, or stop it.", job.name);
                return Err(Failure::new(axum::http::StatusCode::CONFLICT, "Nothing was begun", text));
            }
            let number = self.next.fetch_add(1, Ordering::Relaxed) + 1;
            all.insert(number, job.clone());
            // One that runs is never forgotten.
            while all.len() > REMEMBERED
                && let Some(old) = all.iter().find(|(_, of)| of.told().is_some()).map(|(number, _)| *number)
            {
                all.remove(&old);
            }
            number
        };
        let (of, run) = (job.clone(), run(job.clone()));
        tokio::spawn(async move {
            let told = match run.await {
                Ok(told) => told,
                Err(WfeError::Cancelled) => Told::bad("stopped", Vec::new()),
                Err(error) => Told::bad(format!("failed: {error}"), Vec::new()),
            };
            *lock(&of.told) = Some(told);
            of.ended.notify_one();
            of.nudge.notify_one();
        });
        // If it has not ended by then, its page shows how far it is.
        let _ = tokio::time::timeout(PATIENCE, job.ended.notified()).await;
        Ok(number)
    }

    fn get(&self, ask: &Ask) -> Result<(u64, Arc<Job>), Failure> {
        let number = ask.param("number")?.parse().ok();
        let job = number.and_then(|number: u64| Some((number, lock(&self.all).get(&number).cloned()?)));
        job.ok_or_else(|| {
            Failure::missing(
                "No work on the store of this process has this number. The audit has what was done.",
            )
        })
    }
}

pub(super) fn stop(ask: &Ask) -> Result<Reply, Failure> {
    let (number, job) = ask.app.upkeep.get(ask)?;
    if ask.visitor.role() < job.needs {
        return Err(Failure::forbidden(format!(
            "Your role is {}, and this needs {}.",
            ask.visitor.role(),
            job.needs
        )));
    }
    job.is_stopped.store(true, Ordering::Relaxed);
    Ok(Reply::See(ask.to(&format!("storage/jobs/{number}"))))
}

pub(super) fn job(ask: &Ask) -> Result<Reply, Failure> {
    let (number, job) = ask.app.upkeep.get(ask)?;
    let back = html! { a.b href=(ask.to("storage")) { "Back to the store" } };
    let lead = html! { "Begun " (ago(ask.now, job.began)) " by " (text(&job.actor)) "." };
    let page = match job.told() {
        None => {
            let is_stopped = job.is_stopped.load(Ordering::Relaxed);
            Page::new(format!("{}: {}", job.name, job.progress())).lead(lead).body(html! {
                (meter(&job))
                p.empty {
                    @if is_stopped { b { "It stops after this part." } } @else { b { "It is running." } }
                    "It goes on in this process, also if you leave this page."
                }
                @if ask.visitor.role() >= job.needs && !is_stopped {
                    form.form method="post" action={ (number) "/stop" } { input type="hidden" name="sure" value="1"; button.b.end { "Stop" } }
                }
                div.bs { a.b href=(number) { "Look again" } (back) }
            })
        }
        Some(told) => Page::new(format!("{}: {}", job.name, if told.is_good { "done" } else { "look at this" }))
            .lead(lead)
            .body(html! {
                div.note.done[told.is_good].fail[!told.is_good] role="status" {
                    (icon(if told.is_good { "done" } else { "warn" }))
                    p { (text(&sentence(&told.says))) }
                }
                @if !told.lines.is_empty() {
                    ul.notes { @for line in told.lines.iter().take(LINES) { li { code { (text(line)) } } } }
                    @if told.lines.len() > LINES { p.q { "And " (told.lines.len() - LINES) " more: " code { "wfe check" } } }
                }
                div.bs.notes {
                    (back)
                    @if let Some(kind) = job.kind { a.b.bare href={ (ask.to("audit")) "?action=" (kind.name()) } { "In the audit" } }
                }
            }),
    };
    Ok(page.into())
}

fn sentence(says: &str) -> String {
    let mut text = format!("{says}.");
    if let Some(first) = text.get(..1).map(str::to_uppercase) {
        text.replace_range(..1, &first);
    }
    text
}

fn meter(job: &Job) -> Markup {
    let (done, total) = (job.done.load(Ordering::Relaxed), job.total.load(Ordering::Relaxed));
    html! {
        @if total > 0 {
            svg.meter height="6" role="img" aria-label={ (job.progress()) } {
                rect.track width="100%" height="6" {}
                rect.c2 width={ (done.min(total) * 100 / total) "%" } height="6" {}
            }
        }
    }
}

/// What is running, and what has ended last.
pub(super) fn section(ask: &Ask) -> Markup {
    let all: Vec<(u64, Arc<Job>)> = lock(&ask.app.upkeep.all)
        .iter()
        .rev()
        .take(LISTED)
        .map(|(number, job)| (*number, job.clone()))
        .collect();
    let running = all.iter().filter(|(_, job)| job.told().is_none()).count();
    let rows = html! {
        @for (number, job) in &all {
            tr {
                td {
                    @match job.told() {
                        None => (symbol("run", "Running")),
                        Some(Told { is_good: true, .. }) => (symbol("done", "Done")),
                        Some(_) => (symbol("due", "Look")),
                    }
                }
                th.nw scope="row" { a href=(ask.to(&format!("storage/jobs/{number}"))) { (job.name) } }
                td.main {
                    @match job.told() {
                        None => span.clip { (job.progress()) },
                        Some(told) => span.clip title=(told.says) { (text(&told.says)) },
                    }
                }
                (super::when(ask, job.began))
            }
        }
    };
    let body = if all.is_empty() {
        empty(
            "Nothing is running.",
            &html! { "Backups, checks, compactions and purges that are begun here are shown here; the audit has those of all processes." },
        )
    } else {
        table("Work on the store", true, &["State", "What", "How far", "Begun"], &rows)
    };
    crate::html::section(
        "h-run",
        "Running now",
        Some(&num(running as u64)),
        Some((&ask.to("audit"), "Audit")),
        &body,
    )
}

#[cfg(test)]
mod tests {
    use axum::{
        body::Body,
        http::{Method, StatusCode},
    };
    use futures_util::StreamExt;
    use tower::ServiceExt;

    use super::*;
    use crate::{
        Visitor,
        app::App,
        ask::Fields,
        routes,
        tests::{Bench, get, post, request},
    };

    fn ask(app: &App, role: Role) -> Ask {
        Ask {
            app: app.clone(),
            visitor: Visitor::new("ann", role),
            operator: app.operator.clone(),
            now: app.clock.now(),
            root: "../../".to_owned(),
            path: "/storage/jobs/1".to_owned(),
            headers: axum::http::HeaderMap::new(),
            peer: None,
            params: Fields(vec![("number".to_owned(), "1".to_owned())]),
            query: Fields::default(),
            form: Fields::default(),
        }
    }

    #[tokio::test]
    async fn a_job_shows_how_far_it_is_while_it_runs_and_stops_when_asked() {
        let bench = Bench::new().await;
        let app = bench.dashboard().access(|_| Some(Visitor::new("ann", Role::Admin))).into_app();
        let router = routes::router(&app);
        let (go, mut went) = tokio::sync::mpsc::unbounded_channel();
        let run = |job: Arc<Job>| async move {
            let mut done = 0;
            loop {
                done += 1;
                if job.advanced(done, Some(9)).is_break() {
                    return Err(WfeError::Cancelled);
                }
                went.recv().await;
            }
        };
        let admin = ask(&app, Role::Admin);
        let compaction = || Job::new("Compaction", "pages", Some(ActionKind::Compact));
        assert_eq!(app.upkeep.begin(&admin, compaction(), run).await.unwrap(), 1);
        let second = app.upkeep.begin(&admin, compaction(), |_| async { Ok(Told::good("never")) }).await;
        assert_eq!(second.unwrap_err().status, StatusCode::CONFLICT, "one at a time");

        // An open page follows although nothing is stored.
        let live = request(Method::GET, "/live/storage/jobs/1").body(Body::empty()).unwrap();
        let mut live = router.clone().oneshot(live).await.unwrap().into_body().into_data_stream();
        let mut seen = String::new();
        for (says, next) in [("1 of 9 pages", true), ("2 of 9 pages", false)] {
            while !seen.contains(says) {
                seen.push_str(&String::from_utf8_lossy(&live.next().await.unwrap().unwrap()));
            }
            if next {
                go.send(()).unwrap();
            }
        }
        assert!(get(&router, "/storage").await.body.contains("2 of 9 pages"));
        let refused = stop(&ask(&app, Role::Operator)).map(|_| ()).unwrap_err();
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "who may not begin it may not stop it");
        assert_eq!(post(&router, "/storage/jobs/1/stop", &[]).await.status, StatusCode::SEE_OTHER);
        assert!(get(&router, "/storage/jobs/1").await.body.contains("It stops after this part."));
        go.send(()).unwrap();
        while !seen.contains("Stopped.") {
            seen.push_str(&String::from_utf8_lossy(&live.next().await.unwrap().unwrap()));
        }
        assert_eq!(get(&router, "/storage/jobs/2").await.status, StatusCode::NOT_FOUND);
        bench.host.stop().await.unwrap();
    }
}
