//! What is done to instances: to one, to those that are marked, or to all that a filter selects. It asks first.

use std::sync::Arc;

use maud::{Markup, html};
use wfe::{
    Operator,
    operator::{ActionKind, BulkReport, Effect, Over, Role, Verb},
};

use super::instances::called;
use crate::{
    ask::{Ask, Fields, segment},
    filter::Filter,
    html::{Page, Sure, icon, num, text},
    jobs::Running,
    reply::{Failure, Reply},
    routes::{Group, Route},
};

pub(crate) const GROUP: Group = Group {
    nav: None,
    routes: &[
        Route::action("/act", Role::Operator, |ask| Box::pin(act(ask))),
        Route::page("/bulk/{number}", |ask| Box::pin(async move { job(&ask) })),
        Route::action("/bulk/{number}/stop", Role::Operator, |ask| Box::pin(async move { stop(&ask) })),
    ],
};

/// From so many instances on, their number has to be typed.
const MANY: u64 = 100;
/// What a verb is called, and what it does.
struct Told {
    verb: Verb,
    name: &'static str,
    what: &'static str,
    ends: bool,
}

fn told(form: &Fields) -> Result<Told, Failure> {
    let told = |verb, name, what| Told { verb, name, what, ends: false };
    let ends = |verb, name, what| Told { verb, name, what, ends: true };
    Ok(match form.get("do").unwrap_or("") {
        "resume" => told(
            Verb::Resume,
            "Resume",
            "Goes on where it stands; failed steps are tried again with all their retries.",
        ),
        "skip" => told(
            Verb::Skip,
            "Skip",
            "Goes on behind the failed steps, as if they had succeeded without an outcome.",
        ),
        "retry" => {
            told(Verb::Retry, "Retry", "A failed instance becomes runnable again, at the steps that failed.")
        }
        "restart" => told(
            Verb::Restart(wfe::operator::RestartWith::default()),
            "Restart",
            "Starts a new instance in its place, with the data that the ended one had last.",
        ),
        "suspend" => {
            told(Verb::Suspend, "Suspend", "Is suspended until it is resumed; bodies that run may finish.")
        }
        "ack" => told(
            Verb::Acknowledge(true),
            "Acknowledge",
            "Records that the failure is dealt with. Nothing else changes.",
        ),
        "unack" => told(
            Verb::Acknowledge(false),
            "Reopen",
            "Records that the failure is not dealt with. Nothing else changes.",
        ),
        "cancel" => ends(
            Verb::Cancel,
            "Cancel",
            "Ends it in good order: what sagas have done is compensated first, in reverse.",
        ),
        "terminate" => ends(Verb::Terminate, "Terminate", "Ends it at once. Nothing is compensated."),
        "delete" => ends(
            Verb::Delete,
            "Delete",
            "Removes ended instances with everything that belongs to them. They do not come back.",
        ),
        "resume-from" => {
            let step =
                form.get("step").ok_or_else(|| Failure::wrong("Name the step from which to go on."))?;
            let what = "Goes on from the step; what ran behind it runs again.";
            told(Verb::ResumeFrom(step.to_owned()), "Resume from a step", what)
        }
        other => return Err(Failure::wrong(format!("There is no action {other:?}."))),
    })
}

async fn act(ask: Ask) -> Result<Reply, Failure> {
    let Told { verb, name, what, ends } = told(&ask.form)?;
    // Told before it is asked for, not only after.
    let needs = verb.kind().needs();
    if ask.visitor.role() < needs {
        return Err(Failure::forbidden(format!(
            "Your role is {}, and this needs {needs}.",
            ask.visitor.role()
        )));
    }
    let filter = Filter::of(&ask.form);
    let is_all = ask.form.get("all").is_some();
    let ids: Vec<String> = ask.form.all("id").filter(|id| !id.is_empty()).map(str::to_owned).collect();
    let single = ids.first().filter(|_| !is_all && ids.len() == 1).cloned();
    if !is_all && ids.is_empty() {
        return Err(Failure::wrong("Nothing is marked. Mark instances in the list first."));
    }
    let operator = ask.acting();
    let back = match &single {
        Some(id) => ask.to(&format!("instances/{}", segment(id))),
        None => ask.to(&format!("instances{}", filter.fields().link())),
    };
    let over = if is_all { Over::Query(filter.query(ask.now)?) } else { Over::Ids(ids) };
    let bulk = operator.bulk(verb.clone(), over.clone());
    let preview = bulk.preview().await?;
    let (n, plus) = (preview.count.n, if preview.count.is_exact { "" } else { "+" });
    let typed = (n > MANY || verb.kind() == ActionKind::Delete).then_some(n);
    let is_typed = typed.is_none_or(|n| ask.form.get("typed").map(str::trim) == Some(&n.to_string()));
    if ask.form.get("sure").is_none() || !is_typed {
        let examples = preview.examples.iter().map(|row| {
            html! { a href=(ask.to(&format!("instances/{}", segment(&row.id)))) { (text(&called(row))) } }
        });
        let many = if n == 1 { "1 instance".to_owned() } else { format!("{}{plus} instances", num(n)) };
        let again = ask.form.get("sure").map(|_| match typed {
            Some(n) => format!("Nothing was done: type {n} to go on."),
            None => String::new(),
        });
        return Ok(Sure {
            verb: format!("{name} {many}"),
            what: html! { (what) " Instances to which it does not apply stay as they are, and are named." },
            examples: examples.collect(),
            fields: &ask.form,
            action: ask.to("act"),
            back,
            ends,
            typed,
            again,
            ..Sure::default()
        }
        .page()
        .into());
    }
    let Some(id) = single else {
        return Ok(begin(&ask, &operator, verb, over, name, back).await);
    };
    Ok(Reply::See(match operator.act(&verb, &id).await? {
        Effect::Restarted { id } => ask.to(&format!("instances/{}", segment(&id))),
        Effect::Deleted(_) => ask.to("instances"),
        _ => back,
    }))
}

/// The bulk actions of this process.
pub(crate) type Jobs = crate::jobs::Jobs<About, End>;
type Job = crate::jobs::Job<About, End>;
/// What was done, or the message of the error.
type End = Result<BulkReport, String>;

/// What a bulk action is called, and where one comes back to.
pub(crate) struct About {
    name: &'static str,
    back: String,
}

/// Begins a bulk action, and waits for it for a moment.
pub(super) async fn begin(
    ask: &Ask,
    operator: &Operator,
    verb: Verb,
    over: Over,
    name: &'static str,
    back: String,
) -> Reply {
    let bulk = operator.bulk(verb, over);
    let run = |job: Arc<Job>| async move { bulk.run(&*job).await.map_err(|error| error.to_string()) };
    let begun = ask.app.jobs.begin(ask, About { name, back }, 0, |_, _| false, run).await;
    let (Ok(number) | Err(Running(number))) = begun;
    Reply::See(ask.to(&format!("bulk/{number}")))
}

fn get(ask: &Ask) -> Result<(u64, Arc<Job>), Failure> {
    ask.app.jobs.get(ask).ok_or_else(|| {
        Failure::missing("No bulk action of this process has this number. The audit has all of them.")
    })
}

fn stop(ask: &Ask) -> Result<Reply, Failure> {
    let (number, job) = get(ask)?;
    job.stop();
    Ok(Reply::See(ask.to(&format!("bulk/{number}"))))
}

fn job(ask: &Ask) -> Result<Reply, Failure> {
    let (number, job) = get(ask)?;
    let back =
        html! { p { a.b href={ "../" (job.about.back.trim_start_matches("./")) } { "Back to the list" } } };
    let name = job.about.name;
    Ok(match job.end() {
        None => {
            let (done, total) = job.progress();
            let of = if total > 0 { format!(" of {}", num(total)) } else { String::new() };
            Page::new(format!("{name}: {}{of} tried", num(done))).body(html! {
                p { "It goes on in this process, also if you leave this page." }
                form method="post" action={ (number) "/stop" } { button.b.end { "Stop after this batch" } }
            })
        }
        Some(Err(error)) => Page::new(format!("{name} has failed")).body(html! {
            div.note.fail role="alert" { (icon("warn")) p { (text(&error)) } }
            (back)
        }),
        Some(Ok(report)) => Page::new(format!("{name}: {} done", num(report.done)))
            .lead(html! {
                (num(report.matched)) " tried, " (num(report.done)) " changed, " (num(report.redundant))
                " held already, " (num(report.refused)) " refused. "
                @if !report.is_complete { "It was not tried on all: run it again to go on." }
            })
            .body(html! {
                @if let Some(error) = &report.stopped_by { div.note.fail role="alert" { (icon("warn")) p { (text(error)) } } }
                (refusals(ask, &report))
                (back)
            }),
    }
    .into())
}

fn refusals(ask: &Ask, report: &BulkReport) -> Markup {
    let rows = html! {
        @for refusal in &report.refusals {
            tr {
                th scope="row" { a href=(ask.to(&format!("instances/{}", segment(&refusal.instance)))) { (crate::html::id(&refusal.instance)) } }
                td.main { span.clip title=(refusal.message) { (text(&refusal.message)) } }
            }
        }
    };
    html! { @if !report.refusals.is_empty() { (crate::html::table("Refused", false, &["Instance", "Why"], &rows)) } }
}
