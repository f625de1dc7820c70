//! Work on the store: how far it is, and how it ended.

use std::{future::Future, sync::Arc};

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use wfe::{
    WfeError,
    operator::{ActionKind, Role},
};

use crate::{
    ask::Ask,
    html::{Page, ago, empty, icon, num, symbol, table, text},
    jobs::Running,
    reply::{Failure, Reply},
};

/// So many are listed beside the store.
const LISTED: usize = 6;
/// So many lines of a report are shown.
const LINES: usize = 200;

/// What became of a job.
#[derive(Debug, Clone)]
pub(crate) struct Told {
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

/// The jobs on the store, of this process.
pub(crate) type Jobs = crate::jobs::Jobs<Work, Told>;
pub(super) type Job = crate::jobs::Job<Work, Told>;

/// What is done to the store.
pub(crate) struct Work {
    name: &'static str,
    /// In what its progress is counted.
    unit: &'static str,
    /// How much there is to do, if it is known.
    total: u64,
    /// The role that may stop it: that which may begin it.
    needs: Role,
    kind: Option<ActionKind>,
    actor: String,
    began: DateTime<Utc>,
}

impl Work {
    /// Work that this action needs. Without one, everybody may begin it.
    pub(super) fn new(ask: &Ask, name: &'static str, unit: &'static str, kind: Option<ActionKind>) -> Self {
        Self {
            name,
            unit,
            total: 0,
            needs: kind.map_or(Role::Viewer, ActionKind::needs),
            kind,
            actor: ask.visitor.actor().to_owned(),
            began: ask.now,
        }
    }

    /// How much there is to do, if it is known.
    pub(super) fn of(self, total: Option<u64>) -> Self {
        Self { total: total.unwrap_or(0), ..self }
    }
}

/// Begins work on the store, and waits for it for a moment.
///
/// # Errors
/// Work with the same name is running.
pub(super) async fn begin<F>(ask: &Ask, work: Work, run: impl FnOnce(Arc<Job>) -> F) -> Result<Reply, Failure>
where
    F: Future<Output = wfe::Result<Told>> + Send + 'static,
{
    let (name, total) = (work.name, work.total);
    let run = |job| {
        let run = run(job);
        async move {
            match run.await {
                Ok(told) => told,
                Err(WfeError::Cancelled) => Told::bad("stopped", Vec::new()),
                Err(error) => Told::bad(format!("failed: {error}"), Vec::new()),
            }
        }
    };
    match ask.app.upkeep.begin(ask, work, total, |one, other| one.name == other.name, run).await {
        Ok(number) => Ok(Reply::See(ask.to(&format!("storage/jobs/{number}")))),
        Err(Running(number)) => {
            let text = format!("{name} {number} is running. Wait for it, or stop it.");
            Err(Failure::new(axum::http::StatusCode::CONFLICT, "Nothing was begun", text))
        }
    }
}

fn get(ask: &Ask) -> Result<(u64, Arc<Job>), Failure> {
    ask.app.upkeep.get(ask).ok_or_else(|| {
        Failure::missing("No work on the store of this process has this number. The audit has what was done.")
    })
}

fn progress(job: &Job) -> String {
    let (done, total) = job.progress();
    let of = if total > 0 { format!(" of {}", num(total)) } else { String::new() };
    format!("{}{of} {}", num(done), job.about.unit)
}

pub(super) fn stop(ask: &Ask) -> Result<Reply, Failure> {
    let (number, job) = get(ask)?;
    if ask.visitor.role() < job.about.needs {
        return Err(Failure::forbidden(format!(
            "Your role is {}, and this needs {}.",
            ask.visitor.role(),
            job.about.needs
        )));
    }
    job.stop();
    Ok(Reply::See(ask.to(&format!("storage/jobs/{number}"))))
}

pub(super) fn job(ask: &Ask) -> Result<Reply, Failure> {
    let (number, job) = get(ask)?;
    let back = html! { a.b href=(ask.to("storage")) { "Back to the store" } };
    let lead = html! { "Begun " (ago(ask.now, job.about.began)) " by " (text(&job.about.actor)) "." };
    let page = match job.end() {
        None => {
            let is_stopped = job.is_stopped();
            Page::new(format!("{}: {}", job.about.name, progress(&job))).lead(lead).body(html! {
                (meter(&job))
                p.empty {
                    @if is_stopped { b { "It stops after this part." } } @else { b { "It is running." } }
                    "It goes on in this process, also if you leave this page."
                }
                @if ask.visitor.role() >= job.about.needs && !is_stopped {
                    form.form method="post" action={ (number) "/stop" } { input type="hidden" name="sure" value="1"; button.b.end { "Stop" } }
                }
                div.bs { a.b href=(number) { "Look again" } (back) }
            })
        }
        Some(told) => Page::new(format!("{}: {}", job.about.name, if told.is_good { "done" } else { "look at this" }))
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
                    @if let Some(kind) = job.about.kind { a.b.bare href={ (ask.to("audit")) "?action=" (kind.name()) } { "In the audit" } }
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
    let (done, total) = job.progress();
    html! {
        @if total > 0 {
            svg.meter height="6" role="img" aria-label={ (progress(job)) } {
                rect.track width="100%" height="6" {}
                rect.c2 width={ (done.min(total) * 100 / total) "%" } height="6" {}
            }
        }
    }
}

/// What is running, and what has ended last.
pub(super) fn section(ask: &Ask) -> Markup {
    let all = ask.app.upkeep.newest(LISTED);
    let running = all.iter().filter(|(_, job)| job.end().is_none()).count();
    let rows = html! {
        @for (number, job) in &all {
            tr {
                td {
                    @match job.end() {
                        None => (symbol("run", "Running")),
                        Some(Told { is_good: true, .. }) => (symbol("done", "Done")),
                        Some(_) => (symbol("due", "Look")),
                    }
                }
                th.nw scope="row" { a href=(ask.to(&format!("storage/jobs/{number}"))) { (job.about.name) } }
                td.main {
                    @match job.end() {
                        None => span.clip { (progress(job)) },
                        Some(told) => span.clip title=(told.says) { (text(&told.says)) },
                    }
                }
                (super::when(ask, job.about.began))
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

    use wfe::traits::Progress;

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
        let compaction = || Work::new(&admin, "Compaction", "pages", Some(ActionKind::Compact));
        assert!(begin(&admin, compaction(), run).await.is_ok());
        let second = begin(&admin, compaction(), |_| async { Ok(Told::good("never")) }).await;
        assert_eq!(second.map(|_| ()).unwrap_err().status, StatusCode::CONFLICT, "one at a time");

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

    #[tokio::test]
    async fn what_runs_is_never_forgotten() {
        let bench = Bench::new().await;
        let app = bench.dashboard().access(|_| Some(Visitor::new("ann", Role::Admin))).into_app();
        let router = routes::router(&app);
        let admin = ask(&app, Role::Admin);
        let first = Work::new(&admin, "Compaction", "pages", Some(ActionKind::Compact));
        assert!(begin(&admin, first, |_| std::future::pending()).await.is_ok());
        for _ in 0..120 {
            let check = Work::new(&admin, "Check", "steps", None);
            assert!(begin(&admin, check, |_| async { Ok(Told::good("done")) }).await.is_ok());
        }
        assert_eq!(get(&router, "/storage/jobs/1").await.status, StatusCode::OK);
        assert_eq!(get(&router, "/storage/jobs/2").await.status, StatusCode::NOT_FOUND);
        assert_eq!(get(&router, "/storage/jobs/121").await.status, StatusCode::OK);
        bench.host.stop().await.unwrap();
    }
}
